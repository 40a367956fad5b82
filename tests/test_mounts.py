"""What RUN --mount brings into a step: secrets, SSH agents, tmpfs, caches, other images; and that none of it stays."""

import base64
import gzip
import hashlib
import os
import pathlib
import pty
import subprocess
import tarfile
import tempfile

import pytest
from kilntest import hosttools, ssh
from kilntest.build import Builder
from kilntest.clients import Kiln

HOST_NETWORK = "network.host"
VALUE = "s3cr3t-Value/with+signs-0123456789"


@pytest.fixture(params=["buildctl", pytest.param("kiln", marks=pytest.mark.kiln_only)])
def either(request, build, kiln, tmp_path, busybox_layout):
    """As `build`, by buildctl and by `kiln build` in its own process."""
    if request.param == "buildctl":
        return build
    return Builder(Kiln(kiln, root=tmp_path / "embedded"), busybox_layout, tmp_path / "kiln")


@pytest.fixture
def daemon_arguments():
    return ["--allow-insecure-entitlement", HOST_NETWORK]


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text(VALUE)
    return path


# Secrets.


def test_secret_file(either, token):
    either(
        "FROM base\nRUN --mount=type=secret,id=token "
        "cmp /run/secrets/token /run/secrets/token && stat -c '%a %u:%g %s' /run/secrets/token >/seen && "
        "grep ' /run/secrets/token ' /proc/mounts >>/seen && sha256sum </run/secrets/token >/sum\n",
        secrets=[f"id=token,src={token}"],
    )
    said = either.read("seen").splitlines()
    assert said[0] == f"400 0:0 {len(VALUE)}"
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(said[1].split()[3].split(","))
    assert either.read("sum").split()[0] == hashlib.sha256(VALUE.encode()).hexdigest()
    assert not (either.out / "run").exists()


def test_secret_file_with_target_mode_and_owner(build, token):
    build(
        "FROM base\nRUN --mount=type=secret,id=token,target=/etc/deep/in,mode=0751,uid=12,gid=34 "
        "stat -c '%a %u:%g' /etc/deep/in >/seen\n",
        secrets=[f"id=token,src={token}"],
    )
    assert build.read("seen") == "751 12:34\n"
    assert not (build.out / "etc/deep").exists()


def test_secret_of_a_step_that_is_not_root(build, token):
    dockerfile = (
        "FROM base\nRUN mkdir /made && chown nobody /made\nUSER nobody\n"
        "RUN --mount=type=secret,id=token,uid=65534 wc -c </run/secrets/token >/made/length\n"
        "RUN --mount=type=secret,id=token cat /run/secrets/token 2>/made/error || true\n"
    )
    build(dockerfile, secrets=[f"id=token,src={token}"])
    assert build.read("made/length").strip() == str(len(VALUE))
    assert "Permission denied" in build.read("made/error")


def test_secret_in_the_environment(either, token):
    either(
        "FROM base\nRUN --mount=type=secret,id=token,env=TOKEN "
        "printf %s ${#TOKEN} >/length; ls /run/secrets 2>/dev/null >/files || true\n"
        "RUN env >/later\n",
        secrets=[f"id=token,src={token}"],
    )
    assert either.read("length") == str(len(VALUE))
    assert either.read("files") == ""
    assert "TOKEN" not in either.read("later")


def test_secret_from_the_clients_environment(either):
    either.client.environment = {**either.client.environment, "FROM_HERE": VALUE, "by_name": "other"}
    either(
        "FROM base\nRUN --mount=type=secret,id=one,env=ONE --mount=type=secret,id=by_name,env=TWO "
        'echo "${#ONE} $TWO" >/seen\n',
        secrets=["id=one,env=FROM_HERE", "type=env,id=by_name"],
    )
    assert either.read("seen") == f"{len(VALUE)} other\n"


def test_secret_that_is_not_given(build):
    build(
        "FROM base\nRUN --mount=type=secret,id=gone --mount=type=secret,id=gone,env=GONE "
        '[ ! -e /run/secrets/gone ] && echo "${GONE-unset}" >/seen\n'
    )
    assert build.read("seen") == "\n"


@pytest.mark.parametrize("how", ["", ",env=GONE"], ids=["file", "environment"])
def test_required_secret_that_is_not_given(either, how):
    done = either(f"FROM base\nRUN --mount=type=secret,id=gone,required{how} true\n", check=False)
    assert done.returncode != 0
    assert "secret gone: not found" in done.stderr


def test_another_value_of_a_secret_runs_nothing_again(build, token):
    dockerfile = "FROM base\nRUN --mount=type=secret,id=token sha256sum /run/secrets/token >/sum\n"
    build(dockerfile, secrets=[f"id=token,src={token}"])
    first = build.read("sum")
    token.write_text("another")
    assert "CACHED" in build(dockerfile, secrets=[f"id=token,src={token}"]).stderr
    assert build.read("sum") == first


def forms_of(value):
    """The value's bytes, and its base64 at each of the three offsets it may have in a longer text."""
    raw = value.encode()
    yield raw
    for pad in range(3):
        text = base64.b64encode(b"\0" * pad + raw)
        yield text[(0, 4, 4)[pad] : len(text) // 4 * 4 - 4]
    yield base64.urlsafe_b64encode(raw)[:-4]
    yield raw.hex().encode()


def pieces_of(folder):
    """(what, bytes) of everything in a folder; what is compressed, plain as well."""
    for directory, _, names in os.walk(folder):
        for name in names:
            path = pathlib.Path(directory, name)
            yield path, name.encode()
            if path.is_symlink():
                yield path, str(path.readlink()).encode()
            elif path.is_file():
                data = path.read_bytes()
                yield path, data
                if data[:2] == b"\x1f\x8b":
                    yield f"{path} (gunzip)", gzip.decompress(data)
                if tarfile.is_tarfile(path):
                    yield from archived(path)


def archived(path):
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            data = archive.extractfile(member).read() if member.isfile() else b""
            yield f"{path}:{member.name}", data
            if data[:2] == b"\x1f\x8b":
                yield f"{path}:{member.name} (gunzip)", gzip.decompress(data)


def test_secrets_are_nowhere_afterwards(either, token, tmp_path, daemon):
    out = tmp_path / "exports"
    out.mkdir()
    environment = "environment-" + VALUE
    either.client.environment = {**either.client.environment, "HERE": environment}
    done = either(
        "FROM base\nRUN --mount=type=secret,id=token --mount=type=secret,id=env,env=TOKEN --mount=type=cache,target=/c "
        "cp /run/secrets/token /dev/shm/copy && sha256sum /run/secrets/token >/sum && echo ${#TOKEN} >>/c/length\n"
        "RUN --mount=type=secret,id=token,target=/made/up echo x >/x\n",
        secrets=[f"id=token,src={token}", "id=env,env=HERE"],
        outputs=[f"type=local,dest={out}/folder", f"type=oci,dest={out}/image.tar", f"type=tar,dest={out}/files.tar"],
        metadata=out / "metadata",
    )
    failed = either(
        "FROM base\nRUN --mount=type=secret,id=token --mount=type=secret,id=env,env=TOKEN exit 3\n",
        secrets=[f"id=token,src={token}", "id=env,env=HERE"],
        check=False,
    )
    assert failed.returncode != 0
    places = [out, daemon.root, tmp_path / "embedded"]
    pieces = [piece for place in places for piece in pieces_of(place)]
    pieces += [("the client's output", (d.stdout + d.stderr).encode()) for d in (done, failed)]
    assert len(pieces) > 20
    for form in [*forms_of(VALUE), *forms_of(environment)]:
        assert len(form) >= 24
        for where, data in pieces:
            assert form not in data, where


@pytest.mark.kiln_only
def test_a_killed_daemon_leaves_no_secret_once_it_is_back(build, daemon, token, listener):
    request = build.request(
        {
            "Dockerfile": "FROM base\nRUN --network=host --mount=type=secret,id=token"
            " --mount=type=secret,id=token,env=TOKEN"
            f" echo here | nc 127.0.0.1 {listener.getsockname()[1]}\n"
        },
        secrets=[f"id=token,src={token}"],
        allow=[HOST_NETWORK],
    )
    running = build.client.start(request)
    connection, _ = listener.accept()
    daemon.kill()
    running.communicate(timeout=20)
    daemon.start()
    connection.close()
    for form in forms_of(VALUE):
        for where, data in pieces_of(daemon.root):
            assert form not in data, where


# SSH.


@pytest.fixture(scope="session")
def ssh_layout(tmp_path_factory):
    """busybox with git and ssh of this machine."""
    programs = ["/usr/bin/git", "/usr/bin/ssh", "/usr/bin/ssh-add"]
    links = [(f"usr/lib/git-core/{name}", "/usr/bin/git") for name in ("git", "git-index-pack", "git-rev-list")]
    return hosttools.write_layout(tmp_path_factory.mktemp("ssh") / "layout", programs, links)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", folder]
    folder.mkdir()
    (folder / "hello").write_text("from the repository\n")
    for words in (["init", "-q", "-b", "main"], ["add", "hello"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


CLONE = """\
FROM tools
RUN --network=host --mount=type=ssh,required=true \\
    ssh-add -l >/keys && \\
    GIT_SSH_COMMAND="ssh -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null" git clone -q {url} /made
"""


@pytest.fixture
def hosted(tmp_path, repository):
    """A repository behind a server that lets one key in: (the server, the key, what to clone)."""
    key = ssh.make_key(tmp_path / "key")
    with ssh.Server(tmp_path / "sshd", [f"{key}.pub"]) as server:
        yield server, key, server.url(repository)


def test_git_clone_through_a_forwarded_agent(either, hosted, ssh_layout, tmp_path):
    server, key, url = hosted
    other = ssh.make_key(tmp_path / "other", "rsa", options=["-b", "2048"])
    with ssh.Agent(tmp_path, [other, key]) as agent:
        either.client.environment = {**either.client.environment, "SSH_AUTH_SOCK": str(agent.socket)}
        dockerfile = CLONE.format(url=url)
        either(dockerfile, ssh=["default"], contexts={"tools": ssh_layout}, allow=[HOST_NETWORK])
        assert either.read("made/hello") == "from the repository\n"
        assert len(either.read("keys").splitlines()) == 2
        either(
            dockerfile + "# again\n",
            ssh=[f"default={agent.socket}"],
            no_cache=True,
            contexts={"tools": ssh_layout},
            allow=[HOST_NETWORK],
        )
    assert not (either.out / "run").exists()


def test_git_clone_with_a_key_file(either, hosted, ssh_layout):
    server, key, url = hosted
    done = either(
        CLONE.format(url=url), ssh=[f"default={key}"], contexts={"tools": ssh_layout}, allow=[HOST_NETWORK], check=False
    )
    assert done.returncode == 0, done.stderr + (server.root / "log").read_text()
    assert either.read("made/hello") == "from the repository\n"


def test_agents_by_name_mode_and_owner(build, tmp_path, ssh_layout):
    one, two = ssh.make_key(tmp_path / "one"), ssh.make_key(tmp_path / "two")
    build(
        "FROM tools\nRUN --mount=type=ssh,id=one,target=/a/one.sock,mode=0640,uid=5,gid=6 --mount=type=ssh,id=two "
        "stat -c '%a %u:%g' /a/one.sock >/seen; SSH_AUTH_SOCK=/a/one.sock ssh-add -l >/one;"
        " SSH_AUTH_SOCK=/run/buildkit/ssh_agent.1 ssh-add -l >/two; echo $SSH_AUTH_SOCK >/default\n",
        ssh=[f"one={one}", f"two={two}"],
        contexts={"tools": ssh_layout},
    )
    fingerprint = [
        subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True).stdout.split()[1]
        for key in (one, two)
    ]
    assert build.read("seen") == "640 5:6\n"
    assert [build.read("one").split()[1], build.read("two").split()[1]] == fingerprint
    assert build.read("default") == "/a/one.sock\n"
    assert not (build.out / "a").exists()


MANY = """\
FROM tools
RUN --mount=type=ssh for i in $(seq 100); do ssh-add -l >/dev/null || exit 1; done; \\
    for i in $(seq 20); do ssh-add -l >/seen.$i & done; wait; cat /seen.* | wc -l >/seen
"""


def test_many_connections_to_one_agent(either, tmp_path, ssh_layout):
    """One after another, and several at a time."""
    key = ssh.make_key(tmp_path / "key")
    either(MANY, ssh=[f"default={key}"], contexts={"tools": ssh_layout})
    assert either.read("seen") == "20\n"


def test_a_step_cannot_change_an_agent(either, tmp_path, ssh_layout):
    key, other = ssh.make_key(tmp_path / "key"), ssh.make_key(tmp_path / "other")
    dockerfile = (
        "FROM tools\nCOPY other /\n"
        "RUN --mount=type=ssh chmod 600 /other; ssh-add -D; ssh-add -q /other; ssh-add -d -q; "
        "echo lock | ssh-add -x; ssh-add -l >/seen\n"
    )
    with ssh.Agent(tmp_path, [key]) as agent:
        for given in (key, agent.socket):
            files = {"Dockerfile": dockerfile, "other": other.read_bytes()}
            either(files, ssh=[f"default={given}"], contexts={"tools": ssh_layout}, no_cache=True)
            assert len(either.read("seen").splitlines()) == 1
            # buildctl serves a key file from an agent in its own memory, and lets the step change that one.
            own_of_buildctl = given == key and not isinstance(either.client, Kiln)
            assert fingerprint(other if own_of_buildctl else key) in either.read("seen")
        environment = {**os.environ, "SSH_AUTH_SOCK": str(agent.socket)}
        left = subprocess.run(["ssh-add", "-l"], env=environment, capture_output=True, text=True).stdout
        assert fingerprint(key) in left
        assert len(left.splitlines()) == 1


LIST = "FROM tools\nRUN --mount=type=ssh ssh-add -l >/seen\n"


def fingerprint(key):
    done = subprocess.run(["ssh-keygen", "-lf", f"{key}.pub"], capture_output=True, text=True, check=True)
    return done.stdout.split()[1]


def test_keys_of_all_kinds(either, tmp_path, ssh_layout):
    """Whoever may read them."""
    kinds = {"ed25519": (), "rsa": ("-b", "2048"), "ecdsa": ("-b", "521"), "pem": ("-m", "PEM")}
    keys = [
        ssh.make_key(tmp_path / name, "rsa" if name == "pem" else name, options=options)
        for name, options in kinds.items()
    ]
    for key in keys:
        key.chmod(0o644)
    either(LIST, ssh=[f"default={','.join(str(key) for key in keys)}"], contexts={"tools": ssh_layout})
    seen = either.read("seen")
    assert [fingerprint(key) in seen for key in keys] == [True] * 4


@pytest.fixture
def protected(tmp_path):
    return ssh.make_key(tmp_path / "protected", passphrase="open sesame")


def kiln_build(kiln_client, build, protected, ssh_layout):
    request = build.request({"Dockerfile": LIST}, ssh=[f"default={protected}"], contexts={"tools": ssh_layout})
    return kiln_client.words(request)


@pytest.fixture
def kiln_client(kiln, daemon):
    return Kiln(kiln, address=daemon.address)


def no_agents_of(key):
    """Nothing is left of the agent that was started for a key."""
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"kiln-ssh-" not in path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert not list(pathlib.Path(tempfile.gettempdir()).glob("kiln-ssh-*"))


@pytest.mark.kiln_only  # buildctl and buildx take no such keys
def test_a_protected_key_without_a_terminal(kiln_client, build, protected, ssh_layout):
    words = [str(word) for word in kiln_build(kiln_client, build, protected, ssh_layout)]
    done = subprocess.run(words, capture_output=True, text=True, start_new_session=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert f"{protected} is protected by a passphrase, and there is no terminal to ask for it" in done.stderr
    no_agents_of(protected)


@pytest.mark.kiln_only  # as above
def test_a_protected_key_with_askpass(kiln_client, build, protected, ssh_layout, tmp_path):
    words = [str(word) for word in kiln_build(kiln_client, build, protected, ssh_layout)]
    askpass = tmp_path / "askpass"
    askpass.write_text("#!/bin/sh\necho open sesame\n")
    askpass.chmod(0o755)

    def run():
        environment = {**kiln_client.environ(), "SSH_ASKPASS": str(askpass)}
        return subprocess.run(
            words, capture_output=True, text=True, start_new_session=True, stdin=subprocess.DEVNULL, env=environment
        )

    done = run()
    assert done.returncode == 0, done.stderr
    assert fingerprint(protected) in build.read("seen")
    no_agents_of(protected)
    askpass.write_text("#!/bin/sh\necho wrong\n")
    done = run()
    assert (done.returncode, "could not be unlocked" in done.stderr) == (1, True), done.stderr


@pytest.mark.kiln_only  # as above
def test_a_protected_key_at_a_terminal(kiln_client, build, protected, ssh_layout):
    words = [str(word) for word in kiln_build(kiln_client, build, protected, ssh_layout)]
    shown = at_a_terminal(words, kiln_client.environ(), b"Enter passphrase for ", b"open sesame\n")
    assert fingerprint(protected) in build.read("seen")
    assert b"open sesame" not in shown
    no_agents_of(protected)


def at_a_terminal(words, environment, wanted, answer):
    """Runs a program on a terminal of its own, gives the answer where it is asked for; what the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(words[0], words, environment)
    shown, asked = b"", False
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # it has ended
            break
        if not asked and wanted in shown:
            asked = True
            os.write(terminal, answer)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert asked, shown.decode(errors="replace")
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode(errors="replace")
    return shown


def test_agent_that_is_not_forwarded(either):
    either("FROM base\nRUN --mount=type=ssh [ ! -e /run/buildkit ] && echo none >/seen\n")
    assert either.read("seen") == "none\n"


def test_required_agent_that_is_not_forwarded(either):
    done = either("FROM base\nRUN --mount=type=ssh,required=true true\n", check=False)
    assert done.returncode != 0
    assert 'no SSH key "default" forwarded from the client' in done.stderr or "unset ssh forward key" in done.stderr


# tmpfs, caches, binds.


def test_tmpfs_with_a_size(build):
    build(
        "FROM base\nRUN --mount=type=tmpfs,target=/t,size=1m grep ' /t ' /proc/mounts >/seen;"
        " head -c 3000000 /dev/zero >/t/big 2>/error; wc -c </t/big >>/seen\n"
    )
    mount, written = build.read("seen").splitlines()
    assert mount.split()[2] == "tmpfs" and "size=1024k" in mount
    assert int(written) <= 1 << 20
    assert build.read("error") != ""
    assert not (build.out / "t").exists()


def test_tmpfs_hides_what_is_below_and_is_fresh_each_time(build):
    build(
        "FROM base\nRUN mkdir /t && echo below >/t/file\n"
        "RUN --mount=type=tmpfs,target=/t ls /t >/seen; touch /t/new\nRUN --mount=type=tmpfs,target=/t ls /t >>/seen\n"
    )
    assert build.read("seen") == ""
    assert [path.name for path in (build.out / "t").iterdir()] == ["file"]


def test_cache_from_another_stage(build):
    build(
        "FROM base AS filled\nRUN mkdir -p /start/sub && echo given >/start/file && echo deep >/start/sub/file\n"
        "FROM base\nRUN --mount=type=cache,target=/c,from=filled,source=/start"
        " cat /c/file /c/sub/file >/seen; echo changed >/c/file\n"
        "RUN --mount=type=cache,target=/c,from=filled,source=/start cat /c/file >>/seen\n"
        "RUN --mount=type=bind,target=/b,from=filled,source=/start cat /b/file >>/seen\n"
    )
    assert build.read("seen") == "given\ndeep\nchanged\ngiven\n"


@pytest.mark.parametrize("begins", ["", "mode=755", "uid=1000", "from=seed"])
def test_cache_that_a_build_without_cache_empties_once(build, begins):
    """Its steps share the mount, and find nothing of an earlier build."""
    mount = f"--mount=type=cache,target=/c,id=once{begins.replace('=', '')}" + (begins and f",{begins}")
    text = (
        "FROM scratch AS seed\nCOPY Dockerfile /d\n"
        f"FROM base\nRUN {mount} ls /c >/before; touch /c/x{{turn}}\nRUN {mount} ls /c >/after\n"
    )
    given = ["d"] if "from" in begins else []
    for turn in (1, 2):
        build(text.format(turn=turn), no_cache=True)
        assert build.read("before").split() == given
        assert build.read("after").split() == [*given, f"x{turn}"]
    if not given:  # else another result of that stage begins another mount
        build(text.format(turn=3))
        assert build.read("after").split() == ["x2", "x3"]


def test_cache_that_is_read_only(build):
    build(
        "FROM base\nRUN --mount=type=cache,id=r,target=/c echo kept >/c/file\n"
        "RUN --mount=type=cache,id=r,target=/c,ro cat /c/file >/seen; touch /c/new 2>/error || true\n"
    )
    assert build.read("seen") == "kept\n"
    assert "Read-only file system" in build.read("error")


def test_caches_are_told_apart_by_id(build):
    build(
        "FROM base\nRUN --mount=type=cache,id=a,target=/c touch /c/a\n"
        "RUN --mount=type=cache,id=b,target=/c touch /c/b\n"
        "RUN --mount=type=cache,id=a,target=/elsewhere ls /elsewhere >/seen\n"
        "RUN --mount=type=cache,target=/c ls /c >>/seen\n"
    )
    assert build.read("seen") == "a\n"


def test_bind_of_a_folder_and_of_a_file_of_another_image(build):
    build(
        "FROM base AS other\nRUN mkdir /data && echo one >/data/one && echo two >/two\n"
        "FROM base\nRUN --mount=type=bind,from=other,source=/data,target=/d"
        " --mount=type=bind,from=other,source=/two,target=/deep/in/two cat /d/one /deep/in/two >/seen\n"
    )
    assert build.read("seen") == "one\ntwo\n"
    assert not (build.out / "d").exists() and not (build.out / "deep").exists()


def test_bind_of_what_is_not_there(build):
    done = build("FROM base\nRUN --mount=type=bind,from=base,source=/no/such,target=/x true\n", check=False)
    assert done.returncode != 0
    assert "/no/such" in done.stderr
    assert "not found" in done.stderr or "no such file or directory" in done.stderr.lower()


def test_writable_bind_of_another_image_is_not_kept(build):
    build(
        "FROM base AS other\nRUN mkdir /data && echo one >/data/file\n"
        "FROM base\nRUN --mount=type=bind,from=other,source=/data,target=/d,rw"
        " echo more >>/d/file && touch /d/new && cat /d/file >/first\n"
        "RUN --mount=type=bind,from=other,source=/data,target=/d ls /d >/second && cat /d/file >>/second\n"
        "COPY --from=other /data /copied\n"
    )
    assert build.read("first") == "one\nmore\n"
    assert build.read("second") == "file\none\n"
    assert [path.name for path in (build.out / "copied").iterdir()] == ["file"]


def test_mounts_within_mounts(build, token):
    build(
        "FROM base AS other\nRUN mkdir -p /data/c /data/s && touch /data/s/token && echo one >/data/file\n"
        "FROM base\nRUN --mount=type=cache,target=/d/c --mount=type=secret,id=token,target=/d/s/token"
        " --mount=type=bind,from=other,source=/data,target=/d"
        " touch /d/c/x && wc -c </d/s/token >/seen && ls /d >>/seen\n",
        secrets=[f"id=token,src={token}"],
    )
    assert build.read("seen").split() == [str(len(VALUE)), "c", "file", "s"]
