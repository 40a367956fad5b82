"""Bad input: clients that vanish, peers that lie, and what an administrator may write wrongly."""

import signal
import socket
import subprocess

import pytest
from kilntest import failure
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon

FAULTS = [
    "path-climbs", "path-climbs-inside", "path-absolute", "path-empty", "path-dot", "path-unclean", "path-nul",
    "name-too-long", "order-wrong", "order-twice", "parent-missing", "parent-is-file", "parent-is-symlink",
    "hardlink-to-nothing", "hardlink-climbs", "hardlink-to-later", "hardlink-to-folder", "content-too-short",
    "content-too-long", "size-negative", "data-never-asked-for", "data-of-unknown-file", "error-from-sender",
    "ends-in-listing", "ends-in-content", "malformed", "unknown-packet",
]  # fmt: skip


@pytest.mark.kiln_only  # buildkitd takes some of these
def test_streams_of_files(peer, daemon, serves_on):
    wrong = []
    for fault in FAULTS:
        done = subprocess.run(
            [peer, "-addr", daemon.address, "fault", fault], capture_output=True, text=True, timeout=60
        )
        if done.returncode == 0 or "Internal" in done.stderr or "no fault" in done.stderr:
            wrong.append(f"{fault}: {done.returncode} {done.stderr}")
    assert not wrong, "\n".join(wrong)
    listed = subprocess.run([peer, "-addr", daemon.address, "faults"], capture_output=True, text=True).stdout.split()
    assert sorted(listed) == sorted(FAULTS)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_client_that_vanishes_in_a_step(build, daemon, serves_on, how):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        process = build.client.start(build.request({"Dockerfile": f"FROM base\nRUN nc 127.0.0.1 {port}; sleep 600\n"}))
        connection, _ = server.accept()
        process.send_signal(how)
        process.communicate(timeout=20)
        assert process.returncode != 0
        connection.settimeout(20)
        connection.recv(10)  # the end of the step's process closes it, or the test times out
        connection.close()


def test_client_that_vanishes_while_it_sends(build, daemon, serves_on):
    request = build.request({"Dockerfile": "FROM scratch\nCOPY . /\n"})
    with (request.context / "large").open("wb") as large:
        large.truncate(4 << 30)
    process = build.client.start(request)
    for line in process.stderr:
        if "transferring context" in line:
            break
    process.kill()
    process.communicate()


def test_step_that_fills_its_log(build, serves_on):
    done = build("FROM base\nRUN head -c 8000000 /dev/zero | tr '\\0' x | fold -w 1000; false\n", check=False)
    failure.check(done, "exit code: 1")


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 5000, b""],
    ids=["HTTP/1", "zeros", "HTTP/2 and then noise", "nothing"],
)
def test_noise_on_the_socket(daemon, serves_on, data):
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(daemon.root / "daemon.sock"))
            connection.sendall(data)


TOMLS = {
    "not TOML": ("this is = = not\n", ""),
    "unknown key": ("[worker.oci]\nnonsense = 1\n", "nonsense"),
    "unknown table": ("[nonsense]\na = 1\n", "nonsense"),
    "wrong type": ("[grpc]\naddress = 7\n", "address"),
    "bad address": ('[grpc]\naddress = ["gopher://x"]\n', "gopher"),
    "bad platform": ('[worker.oci]\nplatforms = ["a/b/c/d"]\n', "a/b/c/d"),
    "bad duration": ('[worker.oci]\n[[worker.oci.gcpolicy]]\nkeepDuration = "soon"\n', "soon"),
    "bad entitlement": ('insecure-entitlements = ["everything"]\n', "everything"),
}


@pytest.mark.kiln_only  # buildkitd ignores most of these
@pytest.mark.parametrize("name", TOMLS)
def test_configuration(kilnd, tmp_path, name):
    text, said = TOMLS[name]
    (tmp_path / "bad.toml").write_text(text)
    command = [kilnd, "--config", tmp_path / "bad.toml", "--root", tmp_path / "root"]
    command += [] if "address" in text else ["--addr", f"unix://{tmp_path}/s"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    failure.check(done, said, "address" if "address" in text else "bad.toml")
    assert not (tmp_path / "s").exists()


ARGUMENTS = {
    "unknown flag": (["--nonsense"], "nonsense"),
    "missing file": (["--config", "/nonexistent/kilnd.toml"], "/nonexistent/kilnd.toml"),
    "bad address": (["--addr", "nonsense"], "nonsense"),
    "root that is a file": (["--root", "/etc/passwd"], "/etc/passwd"),
    "bad entitlement": (["--allow-insecure-entitlement", "everything"], "everything"),
}


@pytest.mark.kiln_only
@pytest.mark.parametrize("name", ARGUMENTS)
def test_command_line(kilnd, tmp_path, name):
    words, said = ARGUMENTS[name]
    defaults = {"--addr": f"unix://{tmp_path}/s", "--root": tmp_path / "root"}
    for flag, value in defaults.items():
        words = words if flag in words else [*words, flag, value]
    done = subprocess.run([kilnd, *map(str, words)], capture_output=True, text=True, timeout=10)
    failure.check(done, said)


@pytest.mark.kiln_only
def test_second_daemon_on_one_root(daemon, kilnd, tmp_path):
    command = [kilnd, "--root", daemon.root / "state", "--addr", f"unix://{tmp_path}/second"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    failure.check(done, str(daemon.root / "state"))


def test_client_without_a_daemon(clients, tmp_path):
    done = Buildctl(clients / "buildctl", f"unix://{tmp_path}/none").run("debug", "workers", check=False)
    assert done.returncode != 0


@pytest.mark.kiln_only
def test_damaged_cache_is_moved_aside(kilnd, clients, busybox_layout, tmp_path):
    with Daemon(kilnd, tmp_path / "daemon") as daemon:
        build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
        build(failure.GOOD)
        daemon.stop()
        (daemon.root / "state/cache.db").write_bytes(b"no database" * 1000)
        for more in ("-wal", "-shm"):
            (daemon.root / f"state/cache.db{more}").unlink(missing_ok=True)
        daemon.start()
        build(failure.GOOD)
        assert build.read("fine") == "fine\n"
