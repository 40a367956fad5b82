"""`kiln build` itself: its flags mean the same embedded and through a daemon, and what is not served is refused."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile

import pytest
from kilntest import oci, paths, plain
from kilntest.clients import Kiln
from kilntest.request import write_context

pytestmark = pytest.mark.kiln_only

DOCKERFILE = """\
FROM base AS first
ARG A=default
ARG FROM_ENVIRONMENT
ENV B=$A
RUN echo "$A $FROM_ENVIRONMENT" >/made && cat /etc/hosts >/hosts.seen
FROM first AS second
LABEL in=file
RUN --mount=type=secret,id=token cat /run/secrets/token >/secret-length 2>/dev/null; wc -c </secret-length >/length
FROM scratch AS last
COPY --from=second /made /hosts.seen /
"""


@pytest.fixture
def context(tmp_path):
    files = {"Dockerfile": DOCKERFILE, "other/My.Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f\n"}
    return write_context(tmp_path / "context", files)


@pytest.fixture(params=["embedded", "through a daemon"])
def cli(request, kiln, tmp_path, busybox_layout):
    """cli(*flags) runs `kiln build` with `base` given."""
    if request.param == "embedded":
        client = Kiln(kiln, root=tmp_path / "root")
        where = ["--root", tmp_path / "root"]
    else:
        daemon = request.getfixturevalue("daemon")
        client = Kiln(kiln, address=daemon.address)
        where = ["--addr", daemon.address]
    client.environment = {**client.environment, "FROM_ENVIRONMENT": "surroundings"}

    def run(*words, check=True):
        base = ["--build-context", f"base=oci-layout://{busybox_layout}:latest"]
        return client.run("build", *where, *base, *words, check=check)

    return run


def config_of(path):
    with tarfile.open(path) as archive:
        descriptor = oci.read_member(archive, "index.json")["manifests"][0]
        manifest = oci.read_archived(archive, descriptor)
        return descriptor, oci.read_archived(archive, manifest["config"])


def test_output_as_a_folder(cli, context, tmp_path):
    cli("-o", tmp_path / "out", context)
    assert (tmp_path / "out/made").read_text() == "default \n"


def test_output_as_a_tar_on_standard_output(cli, context):
    done = cli("-o", "-", "--target", "last", context, check=False)
    assert done.returncode == 0, done.stderr
    assert "made" in done.stdout


def test_build_arguments(cli, context, tmp_path):
    flags = ["--build-arg", "A=one,two=3", "--build-arg", "FROM_ENVIRONMENT"]
    cli(*flags, "-o", tmp_path / "out", context)
    assert (tmp_path / "out/made").read_text() == "one,two=3 surroundings\n"


def test_file(cli, context, tmp_path):
    cli("-f", context / "other/My.Dockerfile", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/f").read_text() == "f\n"


def test_tag_label_and_target(cli, context, tmp_path):
    flags = ["-t", "example.org/me/made:2", "--label", "by=flag", "--target", "second"]
    cli(*flags, "-o", f"type=oci,dest={tmp_path}/image.tar", context)
    descriptor, config = config_of(tmp_path / "image.tar")
    assert descriptor["annotations"]["io.containerd.image.name"] == "example.org/me/made:2"
    assert config["config"]["Labels"] == {"in": "file", "by": "flag"}
    assert "B=default" in config["config"]["Env"]


def test_add_host(cli, context, tmp_path):
    cli("--add-host", "somewhere:10.1.2.3", "-o", tmp_path / "out", context)
    assert "10.1.2.3\tsomewhere" in (tmp_path / "out/hosts.seen").read_text()


def test_secret(cli, context, tmp_path):
    (tmp_path / "token").write_text("12345")
    done = cli("--secret", f"id=token,src={tmp_path}/token", "--target", "second", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/length").read_text().strip() == "5"
    assert "12345" not in done.stderr


def test_metadata_and_image_id(cli, context, tmp_path):
    flags = ["--metadata-file", tmp_path / "metadata", "--iidfile", tmp_path / "iid"]
    cli(*flags, "-o", f"type=oci,dest={tmp_path}/image.tar", context)
    metadata = json.loads((tmp_path / "metadata").read_text())
    descriptor, _ = config_of(tmp_path / "image.tar")
    assert metadata["containerimage.digest"] == descriptor["digest"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", (tmp_path / "iid").read_text())


@pytest.mark.parametrize("umask", (0o022, 0o077))
def test_modes_of_what_is_made(cli, tmp_path, umask):
    """The umask of whoever builds holds for every output, also where the engine in the same process has none."""
    context = write_context(tmp_path / "context", {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f\n"})
    made = tmp_path / "made"
    words = ["--iidfile", made / "iid", "--metadata-file", made / "metadata", "-o", f"type=local,dest={made}/a/folder"]
    words += ["-o", f"type=tar,dest={made}/b/tar", "-o", f"type=oci,dest={made}/c/oci"]
    words += ["-o", f"type=docker,dest={made}/d/docker", "-o", f"type=oci,tar=false,dest={made}/e/layout"]
    before = os.umask(umask)
    try:
        made.mkdir()
        cli(*words, context)
    finally:
        os.umask(before)
    modes = {str(path.relative_to(made)): path.stat().st_mode & 0o777 for path in made.rglob("*")}
    # Of the result itself the image says what it is.
    assert modes.pop("a/folder/f") == (context / "f").stat().st_mode & 0o777
    folders = {name for name in modes if (made / name).is_dir()}
    assert {"a", "a/folder", "b", "c", "d", "e", "e/layout", "e/layout/blobs/sha256"} <= folders
    assert {"iid", "metadata", "b/tar", "c/oci", "d/docker", "e/layout/index.json"} <= modes.keys() - folders
    for name, mode in modes.items():
        assert oct(mode) == oct((0o777 if name in folders else 0o644) & ~umask), name


def test_a_user_who_may_not_mount(kiln, tmp_path):
    """Without a daemon: what to do is said, whichever command it is."""
    for words in (["build", tmp_path], ["ls"], ["du"], ["prune", "-f"]):
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", kiln, *words],
            capture_output=True, text=True, env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, cwd="/",
        )  # fmt: skip
        assert done.returncode == 1
        assert "run as root, or name a running kilnd with --addr" in done.stderr, done.stderr


def test_a_root_that_is_no_mount_point(kiln, tmp_path, busybox_layout, unchanged_host):
    """As after chroot: kiln makes it one for itself, and nothing of it reaches the machine."""
    root = tmp_path / "root"
    for name in ("proc", "sys", "dev", "tmp", "usr", "etc", "run", "var"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    shutil.copytree(busybox_layout, root / "base")
    shutil.copy(kiln, root / "kiln")
    write_context(root / "context", {"Dockerfile": "FROM base\nRUN echo fine >/fine\n"})
    mounts = ["mount --rbind /dev dev", "mount --rbind /sys sys", "mount -t proc proc proc", "mount --bind /usr usr"]
    build = "/kiln build --root /state --build-context base=oci-layout:///base:latest -o type=local,dest=/out /context"
    script = " && ".join([f"cd {root}", *mounts, f"exec chroot . {build}"])
    words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (root / "out/fine").read_text() == "fine\n"


def test_warnings_at_the_end(cli, tmp_path, monkeypatch):
    context = write_context(tmp_path / "context", {"Dockerfile": "FROM scratch AS One\nENV a b\n"})
    metadata = tmp_path / "metadata"
    arguments = ["--metadata-file", metadata, "--platform", "linux/amd64,linux/arm64", context]
    done = cli(*arguments)
    summary = done.stderr.partition("\n 2 warnings found (use --call check to expand):\n")[2].splitlines()
    assert summary[0].startswith(" - StageNameCasing: ")
    assert summary[1].startswith(" - LegacyKeyValueFormat: ")
    assert "buildx.build.warnings" not in json.loads(metadata.read_text())
    monkeypatch.setenv("BUILDX_METADATA_WARNINGS", "1")
    assert "warnings found" not in cli("--progress", "rawjson", *arguments).stderr
    warnings = json.loads(metadata.read_text())["buildx.build.warnings"]
    assert [one["range"][0]["start"]["line"] for one in warnings] == [1, 2]
    assert base64.b64decode(warnings[0]["short"]).decode() == summary[0].removeprefix(" - ")


def test_a_file_that_is_not_there(cli, tmp_path):
    context = write_context(tmp_path / "context", {"Dockerfile": "FROM scratch\nCOPY mian.go /\n", "main.go": "m"})
    done = cli(context, check=False)
    assert '"/mian.go": not found\nThe build context has no mian.go (did you mean main.go?)\n' in done.stderr


def test_quiet_prints_the_image_id_only(cli, context, tmp_path):
    done = cli("-q", "-o", f"type=oci,dest={tmp_path}/image.tar", context)
    assert done.stderr == ""
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n?", done.stdout)


def test_rawjson(cli, context):
    done = cli("--progress", "rawjson", context)
    events = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert any(vertex["name"].startswith("[first") for event in events for vertex in event.get("vertexes", []))


def test_annotations(cli, context, tmp_path):
    flags = ["--annotation", "a=plain", "--annotation", "manifest,manifest-descriptor:b:c=typed"]
    cli(*flags, "-o", f"type=oci,dest={tmp_path}/image.tar", context)
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = oci.read_archived(archive, oci.read_member(archive, "index.json")["manifests"][0])
    assert manifest["annotations"] == {"a": "plain", "b:c": "typed"}


LIMITS = """\
FROM base
RUN ulimit -n >/nofile; ulimit -Hn >>/nofile; df -k /dev/shm | tail -1 >/shm; cat /proc/self/cgroup >/cgroup
"""


def test_ulimit_shm_size_and_cgroup_parent(cli, tmp_path):
    context = write_context(tmp_path / "n", {"Dockerfile": LIMITS})
    flags = ["--ulimit", "nofile=123:456", "--shm-size", "3m", "--cgroup-parent", "/kiln-test"]
    cli(*flags, "-o", tmp_path / "out", context)
    assert (tmp_path / "out/nofile").read_text().split() == ["123", "456"]
    assert (tmp_path / "out/shm").read_text().split()[1] == "3072"


def test_no_cache_filter(cli, tmp_path):
    stages = "FROM base AS one\nRUN echo 1 >/one\nFROM base AS two\nCOPY --from=one /one /\nRUN echo 2 >/two\n"
    context = write_context(tmp_path / "n", {"Dockerfile": stages})
    cli("--progress=plain", context)
    done = cli("--progress=plain", "--no-cache-filter", "two", context)
    cached = {name.split("] ")[1]: cached for name, cached in plain.steps(done.stderr).items()}
    assert cached["RUN echo 1 >/one"] and not cached["RUN echo 2 >/two"], done.stderr


def test_named_context_in_a_folder(cli, tmp_path):
    context = write_context(tmp_path / "n", {"Dockerfile": "FROM scratch\nCOPY --from=more /f /\n"})
    write_context(tmp_path / "more", {"f": "there\n"})
    cli("--build-context", f"more={tmp_path}/more", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/f").read_text() == "there\n"


ENTITLED = """\
FROM base AS host
RUN --network=host readlink /proc/self/ns/net >/net
FROM base AS insecure
RUN --security=insecure grep CapEff /proc/self/status >/caps
"""


@pytest.mark.parametrize("target, allow", [("host", "network.host"), ("insecure", "security.insecure")])
def test_what_is_allowed_without_a_daemon(kiln, tmp_path, busybox_layout, unchanged_host, target, allow):
    """There is no daemon whose configuration could refuse: the flag is enough, and it is needed."""
    context = write_context(tmp_path / "n", {"Dockerfile": ENTITLED})
    (tmp_path / "none.toml").write_text('[worker.oci]\nnetworkMode = "none"\n')
    words = ["--root", tmp_path / "root", "--build-context", f"base=oci-layout://{busybox_layout}:latest"]
    words += ["--config", tmp_path / "none.toml", "--target", target, "-o", tmp_path / "out"]
    kiln_itself = Kiln(kiln, root=tmp_path / "root")
    refused = kiln_itself.run("build", *words, context, check=False)
    assert refused.returncode == 1 and f"{allow} is not allowed" in refused.stderr
    kiln_itself.run("build", *words, "--allow", allow, context)
    if target == "host":
        assert (tmp_path / "out/net").read_text().strip() == str(pathlib.Path("/proc/self/ns/net").readlink())
    else:
        assert int((tmp_path / "out/caps").read_text().split()[1], 16) >> 21 & 1, "no CAP_SYS_ADMIN"


def test_push(cli, context, registry):
    cli("-t", f"{registry.host}/made:1", "--push", context)
    assert registry.manifest("made", "1")[0]["layers"]


def test_network_none_for_all_steps(cli, tmp_path, busybox_layout):
    context = write_context(tmp_path / "n", {"Dockerfile": "FROM base\nRUN ip -o link | wc -l >/links\n"})
    cli("--network", "none", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/links").read_text().strip() == "1"


def test_failed_step_shows_output_and_excerpt(cli, tmp_path):
    context = write_context(tmp_path / "n", {"Dockerfile": "FROM base\nRUN echo why; exit 9\n"})
    done = cli("--progress", "plain", context, check=False)
    assert done.returncode == 1
    assert "why" in done.stderr
    assert "exit code: 9" in done.stderr
    assert ">>> RUN echo why; exit 9" in done.stderr


@pytest.mark.parametrize(
    "flags, status, said",
    [
        (["--sbom=true"], 1, "--sbom: attestations (SBOM and provenance) are not served yet"),
        (["--provenance=mode=max"], 1, "--provenance: attestations (SBOM and provenance) are not served yet"),
        (["--attest", "type=sbom"], 1, "--attest: attestations (SBOM and provenance) are not served yet"),
        (["--cache-to", "type=registry,ref=x"], 1, 'exporting cache to "registry" is not supported by this'),
        (["--builder", "x"], 2, "--builder: not served: kiln has no builders: --addr or KILN_HOST names a daemon"),
        (["--policy", "filename=x"], 2, "--policy: not served: policies of buildx"),
        (["--squash"], 2, "--squash: not served: it is of docker's old builder"),
        (["--device", "x"], 2, "--device: not served: --allow device=NAME"),
        (["--nonsense"], 2, "kiln build: unknown flag --nonsense"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_is_not_served_is_refused_by_name(cli, context, flags, status, said):
    done = cli(*flags, context, check=False)
    assert done.returncode == status, done.stderr
    assert said in done.stderr, done.stderr
    assert "RUN" not in done.stderr, "something was built before"


NOTHING = [["--provenance=false", "--sbom=0"], ["--attest", "type=sbom,disabled=true"], ["--rm"]]


@pytest.mark.parametrize("flags", NOTHING, ids=str)
def test_what_asks_for_nothing_is_taken(cli, context, tmp_path, flags):
    cli(*flags, "-o", tmp_path / "out", context)
    assert (tmp_path / "out/made").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--cache-from", "localhost:1/cache"],
        ["--cache-from", "type=gha"],
        ["--cache-from", "type=local,src=/does/not/exist"],
        ["--cache-to", "type=registry,ref=localhost:1/cache,ignore-error=true"],
    ],
    ids=lambda flags: flags[-1],
)
def test_remote_caches_are_warned_of(cli, context, tmp_path, flags):
    done = cli("--progress=plain", *flags, "-o", tmp_path / "out", context)
    step = re.search(r"^#(\d+) (?:importing cache from|exporting cache to) (\w+)", done.stderr, re.M)
    assert step, done.stderr
    assert f"#{step[1]} ERROR: remote caches are not supported by this build server: building without it" in done.stderr
    assert (tmp_path / "out/made").exists()


def test_a_failure_beside_a_missing_cache_names_its_own_step(cli, tmp_path):
    context = write_context(tmp_path / "n", {"Dockerfile": "FROM base\nRUN exit 7\n"})
    done = cli("--progress=plain", "--cache-from", "type=gha", context, check=False)
    number = re.search(r"^#(\d+) \[.*RUN exit 7$", done.stderr, re.M)[1]
    assert re.search(rf"^The whole log of that step: kiln logs .* {number}$", done.stderr, re.M), done.stderr


def test_no_output_is_said_once(cli, context):
    hint = "No output specified"
    assert cli("-t", "app", context).stderr.count(hint) == 1
    assert hint not in cli("-t", "app", "-o", "type=cacheonly", context).stderr
    assert hint not in cli("--progress=rawjson", context).stderr
    assert cli("-q", context).stderr == ""


def test_lists_of_keys_may_have_spaces_and_capitals(cli, context, tmp_path):
    for number, text in enumerate(["type=local, dest={}", "TYPE=local,DEST={}", '"dest={}",type=local']):
        out = tmp_path / f"out{number}"
        cli("-o", text.format(out), context)
        assert (out / "made").exists()


SEEN = r"""
FROM base
RUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes >/memory 2>/dev/null || cat /sys/fs/cgroup/memory.max >/memory
RUN grep Cpus_allowed_list /proc/self/status >/cpus
"""


def test_limits_of_steps(cli, tmp_path):
    context = write_context(tmp_path / "n", {"Dockerfile": SEEN})
    cli("-m", "96m", "--resource", "cpuset-cpus=0", "-o", tmp_path / "out", context)
    assert (tmp_path / "out/memory").read_text().strip() == str(96 << 20)
    assert (tmp_path / "out/cpus").read_text().split() == ["Cpus_allowed_list:", "0"]


POLICY = {"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://docker.io/library/never:1"}}]}


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_source_policy(cli, tmp_path, monkeypatch, how):
    context = write_context(tmp_path / "n", {"Dockerfile": "FROM never:1\n"})
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    if how == "variable":
        monkeypatch.setenv("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY", str(tmp_path / "policy.json"))
    words = ["--source-policy-file", tmp_path / "policy.json"] if how == "flag" else []
    done = cli(*words, context, check=False)
    assert done.returncode == 1
    assert "denied by policy" in done.stderr, done.stderr


def test_debug_is_a_flag_of_every_command(kiln, context, tmp_path, busybox_layout):
    where = ["--root", tmp_path / "root", "--build-context", f"base=oci-layout://{busybox_layout}:latest"]
    client = Kiln(kiln, root=None)
    for words in (["build", "--debug", *where], ["--debug", "build", *where]):
        client.run(*words, "-o", tmp_path / "out", context)
    assert "Total" in client.run("du", "--debug", *where[:2]).stdout


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--output", "type=floppy"], "floppy"),
        (["--output", "dest=x"], "type is required"),
        (["--build-arg", "=x"], "--build-arg"),
        (["--build-context", "nothing"], "nothing"),
        (["--build-context", "more=/does/not/exist"], "/does/not/exist"),
        (["--build-context", "more=oci-layout:///does/not/exist"], "/does/not/exist"),
        (["--platform", "a/b/c/d"], "a/b/c/d"),
        (["--network", "moon"], "moon"),
        (["--progress", "fancy"], "fancy"),
        (["--secret", "id=x,src=/does/not/exist"], "/does/not/exist"),
        (["--secret", "id=x,src=/"], "directory"),
        (["--secret", "id=x,type=vault"], "vault"),
        (["--add-host", "name"], "--add-host"),
        (["--add-host", "name:host-gateway"], "host-gateway"),
        (["--ssh", "default=/does/not/exist"], "/does/not/exist"),
        (["--ssh", f"a={__file__}"], "not a private key"),
        (["--ssh", f"a={__file__}", "--ssh", f"a={__file__}"], "twice"),
        (["--shm-size", "lots"], "--shm-size"),
        (["--annotation", "floppy[linux/amd64]:a=b"], "floppy"),
        (["--build-argument", "a=b"], "--build-argument"),
        (["--secrets", "id=x"], "did you mean --secret?"),
        (["--no-cachefilter", "x"], "did you mean --no-cache-filter?"),
        (["--file", "/does/not/exist"], "/does/not/exist"),
        (["--addr", "gopher://x"], "gopher"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else None,
)
def test_bad_value_of_a_flag(cli, context, flags, said):
    if flags[0] == "--addr" and said == "gopher":
        done = Kiln(paths.kiln(), address=flags[1]).run("build", "--addr", flags[1], context, check=False)
    else:
        done = cli(*flags, context, check=False)
    assert done.returncode != 0
    assert said in done.stderr, done.stderr


def test_unknown_command_gets_the_nearest(kiln):
    done = subprocess.run([kiln, "biuld", "."], capture_output=True, text=True)
    assert done.returncode == 2
    assert 'unknown command "biuld" (did you mean build?)' in done.stderr


@pytest.mark.parametrize("words", [["--help"], ["build", "--help"], ["build", "-h"]])
def test_help(kiln, words):
    done = subprocess.run([kiln, *words], capture_output=True, text=True)
    assert done.returncode == 0
    assert "build" in done.stdout and "--help" in done.stdout
    assert "Exit status: 0 for success" in done.stdout and "/run/kiln/kilnd.sock" in done.stdout
    if words[0] == "build":
        assert "Examples:" in done.stdout and "--secret" in done.stdout and "squash" not in done.stdout
        assert "/var/lib/kiln" in done.stdout and "/etc/kiln/kilnd.toml" in done.stdout


def test_help_of_the_daemon():
    said = subprocess.run([paths.kilnd(), "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("/etc/kiln/kilnd.toml", "/var/lib/kiln", "/run/kiln/kilnd.sock", "Examples:", "Exit status: 0"):
        assert word in said, said


def test_context_that_is_not_there(cli, tmp_path):
    done = cli(tmp_path / "nowhere", check=False)
    assert done.returncode != 0
    assert str(tmp_path / "nowhere") in done.stderr


def test_embedded_leaves_nothing(unchanged_host, kiln, context, tmp_path, busybox_layout):
    words = ["--root", tmp_path / "root", "--build-context", f"base=oci-layout://{busybox_layout}:latest"]
    Kiln(kiln, root=None).run("build", *words, "-o", tmp_path / "out", context)
    assert (tmp_path / "out/made").exists()


def test_two_embedded_builds_on_one_root(unchanged_host, kiln, context, tmp_path, busybox_layout):
    """The second finds the first one's engine and uses it."""
    where = ["--root", tmp_path / "root", "--build-context", f"base=oci-layout://{busybox_layout}:latest"]
    running = [
        subprocess.Popen(
            [kiln, "build", *map(str, where), "-o", str(tmp_path / f"out{n}"), "--progress=plain", context],
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(3)
    ]
    for n, process in enumerate(running):
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        assert (tmp_path / f"out{n}/made").exists()


def test_program_needs_no_libraries(kiln):
    assert "statically linked" in subprocess.run(["ldd", kiln], capture_output=True, text=True, check=True).stdout
    assert "kiln" in subprocess.run([kiln, "--version"], capture_output=True, text=True, check=True).stdout


def test_example(unchanged_host, kiln, tmp_path):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path), "KILN": str(kiln)}
    done = subprocess.run(
        [paths.ROOT / "examples/hello/run"],
        env={**environment, "KILN_EXAMPLE": str(tmp_path / "example")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Hello from nobody in /site: about.html index.html" in done.stdout
    assert "all 9 steps cached, the same image" in done.stdout
