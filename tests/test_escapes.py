"""What a hostile step, Dockerfile or context would try to get out, and that it does not. Escapes of layers and of
streams of files stand in test_bad_layers and test_bad_peers."""

import io
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tarfile

import pytest
from kilntest import failure, oci
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon
from kilntest.request import write_context

SOURCE = pathlib.Path(__file__).with_name("escape") / "attempts.c"
NAMES = re.findall(r'(?:APART|say)\("([^"]+)", ', SOURCE.read_text())
SECRET = "a file of the host\n"
# errno says that there is no way: not permitted, not there, not seen.
REFUSED = {"EPERM", "EACCES", "EROFS", "ENOSYS", "ESRCH", "ENOENT", "EBADF", "ENODATA", "ENOTTY"}
# What is let through, as buildkitd lets it: a step shares the host's network unless it asks for none, and has
# CAP_NET_RAW. All else buildkitd refuses as well (`--daemon buildkitd`).
OTHERWISE = {
    "raw socket": "allowed",
    "packet socket": "allowed",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory, daemon_program, clients, busybox_layout):
    """A daemon for all of these, its builder, and a folder of the host with a secret in it."""
    folder = tmp_path_factory.mktemp("escape")
    (folder / "secret").write_text(SECRET)
    with Daemon(daemon_program, folder / "daemon") as daemon:
        builder = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, folder)
        builder.host = folder
        yield builder
    # Of folders that are too deep for pytest to remove.
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


@pytest.fixture
def build(place):
    """After every attempt the host's file is what it was, and nothing lies beside it."""
    yield place
    assert (place.host / "secret").read_text() == SECRET
    assert not (place.host / "escaped").exists()


@pytest.fixture(scope="module")
def outcomes(place, tmp_path_factory):
    """{attempt: what came of it} of all that the helper tries in one step."""
    program = tmp_path_factory.mktemp("attempts") / "attempts"
    subprocess.run(["gcc", "-static", "-O1", "-o", program, SOURCE], check=True)
    place(
        {
            "Dockerfile": "FROM base AS s\nCOPY --chmod=755 attempts /bin/\nARG PID FILE\n"
            "RUN attempts $PID $FILE >/said\nFROM scratch\nCOPY --from=s /said /\n",
            "attempts": program.read_bytes(),
        },
        args={"PID": str(os.getpid()), "FILE": str(place.host / "secret")},
    )
    return dict(line.split("\t") for line in place.read("said").splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_attempt_of_a_step(outcomes, name):
    assert outcomes[name] in ({OTHERWISE[name]} if name in OTHERWISE else REFUSED)


def archive(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, fields, data in members:
            info = tarfile.TarInfo(name)
            for key, value in fields.items():
                setattr(info, key, value)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    return (name, {"type": kind, "linkname": target}, b"")


def escapes(build, dockerfile, **files):
    """Builds; `HOST` in the Dockerfile is the host's folder, with what leads up to / before it."""
    text = dockerfile.replace("UP", "../" * 12).replace("HOST", str(build.host).lstrip("/"))
    return build({"Dockerfile": text, **files}, check=False)


def show(build, done):
    """What a build showed and made, all of it."""
    made = build.out.rglob("*") if done.returncode == 0 else []
    texts = [path.read_bytes().decode("latin-1") for path in made if path.is_file() and not path.is_symlink()]
    return done.stdout + done.stderr + "".join(texts)


FROM_DOCKERFILES = {
    "COPY climbs": "FROM base\nCOPY UPHOST/secret /\n",
    "COPY of an absolute path": "FROM base\nCOPY /HOST/secret /\n",
    "COPY to a place that climbs": "FROM base\nCOPY Dockerfile UPHOST/escaped\n",
    "COPY --from climbs": "FROM base AS a\nFROM base\nCOPY --from=a UPHOST/secret /\n",
    "COPY --from through a link": "FROM base AS a\nRUN ln -s /HOST /l\nFROM base\nCOPY --from=a /l/secret /\n",
    "COPY --from through a climbing link":
        "FROM base AS a\nRUN ln -s UPHOST /l\nFROM base\nCOPY --from=a /l/secret /\n",
    "COPY to a place behind a link": "FROM base\nRUN ln -s /HOST /l\nCOPY Dockerfile /l/escaped\n",
    "COPY to a place behind a climbing link": "FROM base\nRUN ln -s UPHOST /l\nCOPY Dockerfile /l/escaped\n",
    "bind mount whose source climbs": "FROM base\nRUN --mount=type=bind,source=UPHOST,target=/m cat /m/secret\n",
    "bind mount whose source is a link":
        "FROM base AS a\nRUN ln -s UPHOST /l\nFROM base\n"
        "RUN --mount=type=bind,from=a,source=/l,target=/m cat /m/secret\n",
    "bind mount at a place that climbs":
        "FROM base\nRUN --mount=type=bind,target=UPHOST/escaped cat /HOST/secret\n",
    "cache mount behind a link":
        "FROM base\nRUN ln -s /HOST /l\nRUN --mount=type=cache,target=/l/escaped touch /l/escaped/x; cat /l/secret\n",
    "cache mount behind a climbing link":
        "FROM base\nRUN ln -s UPHOST /l\nRUN --mount=type=cache,target=/l/escaped touch /l/escaped/x; cat /l/secret\n",
    "cache mount whose source climbs":
        "FROM base\nRUN --mount=type=cache,from=base,source=UPHOST,target=/m cat /m/secret\n",
    "cache mount whose name climbs":
        "FROM base\nRUN --mount=type=cache,id=UPHOST/escaped,target=/m touch /m/x; cat /m/../HOST/secret\n",
    "tmpfs behind a climbing link": "FROM base\nRUN ln -s UPHOST /l\nRUN --mount=type=tmpfs,target=/l cat /l/secret\n",
    "WORKDIR in a leaked descriptor (CVE-2024-21626)":
        "FROM base\nWORKDIR /proc/self/fd/8\nRUN cat UPHOST/secret; cat ../../../HOST/secret\n",
    "WORKDIR behind a link to a leaked descriptor":
        "FROM base\nRUN ln -s /proc/self/fd/9 /w\nWORKDIR /w\nRUN cat UPHOST/secret\n",
    "WORKDIR that climbs": "FROM base\nWORKDIR UPHOST/escaped\nRUN cat /HOST/secret\n",
    "/etc behind a climbing link":
        "FROM base\nRUN rm -r /etc && ln -s UPHOST /etc\nRUN cat /etc/secret; touch /etc/x\n",
    "/proc that is a link": "FROM scratch AS b\nCOPY --from=base /bin /bin\nADD l.tar /\nRUN cat /proc/secret\n",
    "/dev that is a link": "FROM scratch AS b\nCOPY --from=base /bin /bin\nADD d.tar /\nRUN cat /dev/secret\n",
    "USER from a file behind a link":
        "FROM base\nRUN rm /etc/passwd && ln -s UPHOST/secret /etc/passwd\nUSER nobody\nRUN cat /etc/passwd\n",
    "secret put behind a climbing link":
        "FROM base\nRUN ln -s UPHOST /l\nRUN --mount=type=secret,id=none,target=/l/escaped cat /l/secret\n",
    "the runtime as the program (CVE-2019-5736)":
        'FROM base\nRUN ["/proc/self/exe", "--version"]\nRUN cat /HOST/secret\n',
    "a program that is a link to the host": "FROM base\nRUN ln -s UPHOST/secret /x\nRUN [\"/x\"]\n",
    "a SHELL that climbs": 'FROM base\nSHELL ["UPHOST/secret"]\nRUN x\n',
}  # fmt: skip


@pytest.mark.parametrize("name", FROM_DOCKERFILES)
def test_dockerfile(build, name):
    host = str(build.host).lstrip("/")
    files = {
        "l.tar": archive(link("proc", f"../../../../../../../../{host}")),
        "d.tar": archive(link("dev", f"../../../../../../../../{host}")),
    }
    runtime = pathlib.Path("/usr/sbin/runc")
    before = runtime.read_bytes() if runtime.exists() else b""
    done = escapes(build, FROM_DOCKERFILES[name], **files)
    assert "panic" not in done.stderr
    assert SECRET not in show(build, done)
    assert not runtime.exists() or runtime.read_bytes() == before


ARCHIVES = {
    "climbs": [("../../../../../../../../../HOST/escaped", {}, b"x")],
    "is absolute": [("/HOST/escaped", {}, b"x")],
    "goes through its own link": [link("l", "/HOST"), ("l/escaped", {}, b"x")],
    "goes through its own climbing link": [link("l", "../../../../../../../../../HOST"), ("l/escaped", {}, b"x")],
    "links hard to the host": [link("h", "/HOST/secret", tarfile.LNKTYPE)],
    "links hard through a link": [link("l", "/HOST"), link("h", "l/secret", tarfile.LNKTYPE)],
    "overwrites a link's target": [link("secret", "/HOST/secret"), ("secret", {}, b"x")],
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_added_archive(build, name):
    host = str(build.host).lstrip("/")
    members = [
        (path.replace("HOST", host), {**fields, "linkname": fields.get("linkname", "").replace("HOST", host)}, data)
        for path, fields, data in ARCHIVES[name]
    ]
    done = build({"Dockerfile": "FROM base\nADD a.tar /\nRUN cat /h; true\n", "a.tar": archive(*members)}, check=False)
    assert SECRET not in show(build, done)


def test_archive_of_devices_gives_no_access(build):
    devices = [("mem", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 1}, b""),
               ("disk", {"type": tarfile.BLKTYPE, "devmajor": 7, "devminor": 0}, b"")]  # fmt: skip
    text = "FROM base\nADD a.tar /x/\nRUN ls -R /x; (head -c1 /x/mem || head -c1 /x/disk) >/seen 2>&1; rm -r /x\n"
    done = build({"Dockerfile": text, "a.tar": archive(*devices)}, check=False)
    assert done.returncode != 0 or "not permitted" in build.read("seen") or "No such file" in build.read("seen")


@pytest.mark.kiln_only  # there the step after it cannot be committed
def test_folders_deeper_than_any_path(build, serves_on):
    """5,000 levels: the step may make them, and others build upon them; they are no layer, which is said."""
    nest = (
        "p=$(printf 'd/%.0s' $(seq 1000)); mkdir t; "
        "for i in $(seq 5); do mkdir -p c/$p && mv t c/${p}t && mv c t || exit 1; done"
    )
    steps = f"FROM base AS deep\nWORKDIR /w\nRUN {nest}\nRUN touch /w/more && rm -r /tmp && mkdir /tmp\n"
    build(steps, outputs=[])
    build(f"{steps}FROM base\nCOPY --from=deep /w/more /more\n")
    assert build.read("more") == ""
    done = build(steps, check=False)
    failure.check(done, "too long")


@pytest.mark.kiln_only  # kiln's own command
def test_folders_as_deep_as_paths_go_where_stacks_are_small(kiln, tmp_path, busybox_layout):
    """Trees are walked by threads whose stacks do not depend on the limits of who starts kiln."""
    path = "d/" * 1900
    text = f"FROM base AS deep\nRUN mkdir -p /w && cd /w && mkdir -p {path}\nFROM base\nCOPY --from=deep /w /w\n"
    context = write_context(tmp_path / "context", {"Dockerfile": text})
    base = f"base=oci-layout://{busybox_layout}:latest"
    words = [kiln, "build", "--root", tmp_path / "root", "--build-context", base]
    words += ["-o", f"type=oci,dest={tmp_path}/image.tar", context]
    done = subprocess.run(["prlimit", "--stack=1048576", *words], capture_output=True, text=True)
    subprocess.run(["rm", "-rf", tmp_path / "root"], check=True)  # too deep for pytest
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / "image.tar") as image:
        layer = oci.read_archived(image, oci.read_member(image, "index.json")["manifests"][0])["layers"][-1]
    assert layer["size"] > 1900


def test_sparse_file_of_eight_tebibytes(build):
    """All of it is read, as of any other file; but it can be broken off, and takes no room."""
    request = build.request({"Dockerfile": "FROM base\nADD a.tar /\n"})
    info = tarfile.TarInfo("huge")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "huge",
                        "GNU.sparse.realsize": str(1 << 43)}  # fmt: skip
    body = f"1\n{(1 << 43) - 1}\n1\n".encode().ljust(512, b"\0") + b"x"
    info.size = len(body)
    with tarfile.open(request.context / "a.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(body))
    request.outputs = []
    free = shutil.disk_usage(build.host).free
    process = build.client.start(request)
    for line in process.stderr:
        if "ADD" in line:
            break
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.7)
    assert free - shutil.disk_usage(build.host).free < 1 << 30
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    build(failure.GOOD)


def test_names_of_every_kind_in_a_context(build):
    """Newlines, backslashes, quotes, what a terminal would obey: copied as they are."""
    names = ["new\nline", "back\\slash", "'\"$(id)`id`", " lead", "-rf", "..x", "\x7f\x1b[31m", "*"]
    request = build.request({"Dockerfile": "FROM scratch\nCOPY d /d\n"})
    (request.context / "d").mkdir()
    for name in names:
        (request.context / "d" / name).write_text(name)
    build.client.build(request)
    assert {path.name: path.read_text() for path in (build.out / "d").iterdir()} == {name: name for name in names}


def test_links_and_sockets_in_a_context(build):
    """Links are copied as links, never followed out of the context; a pipe is no file to wait for."""
    request = build.request({"Dockerfile": "FROM scratch\nCOPY d /d\n"})
    folder = request.context / "d"
    folder.mkdir()
    (folder / "absolute").symlink_to(build.host / "secret")
    (folder / "climbs").symlink_to("../" * 12 + str(build.host / "secret").lstrip("/"))
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    done = build.client.build(request, check=False)
    assert SECRET not in show(build, done)
    if done.returncode == 0:
        assert (build.out / "d/absolute").is_symlink() and (build.out / "d/climbs").is_symlink()


def test_a_context_copied_through_its_own_link(build):
    request = build.request({"Dockerfile": "FROM scratch\nCOPY l/secret /\n"})
    (request.context / "l").symlink_to(build.host)
    done = build.client.build(request, check=False)
    failure.check(done, "secret")
    assert SECRET not in show(build, done)
