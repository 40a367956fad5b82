"""Peers that take a connection and then say nothing: given up after the time that the configuration names."""

import contextlib
import socket
import threading

import pytest
from kilntest import failure

pytestmark = pytest.mark.kiln_only  # buildkitd waits for as long as they like


@pytest.fixture
def daemon_top():
    return 'silenceTimeout = "1s"\n'


@pytest.fixture
def silent():
    """host:port of a server that reads what is sent and never answers."""

    def read(connection):
        with contextlib.suppress(OSError), connection:
            while connection.recv(65536):
                pass

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                threading.Thread(target=read, args=(connection,), daemon=True).start()

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=accept, daemon=True).start()
    yield f"127.0.0.1:{server.getsockname()[1]}"
    server.close()


def test_registry(build, silent, serves_on):
    done = build(f"FROM {silent}/x:1\nRUN true\n", check=False)
    failure.check(done, f"{silent}/x:1", "no data for 1000 ms")


def test_web_server(build, silent, serves_on):
    done = build(f"FROM scratch\nADD http://{silent}/file /f\n", check=False)
    failure.check(done, f"{silent}/file", "no data for 1000 ms")


@pytest.mark.parametrize("scheme", ["git", "http"])
def test_git_server(build, silent, serves_on, scheme):
    done = build(f"FROM scratch\nADD {scheme}://{silent}/repository.git /f\n", check=False)
    # git itself gives up what it gets by HTTP, and may be the first.
    failure.check(done, f"{scheme}://{silent}/repository.git", "no data from" if scheme == "git" else "git ls-remote")
