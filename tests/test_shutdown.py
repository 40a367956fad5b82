"""SIGTERM: running builds end first, new ones are refused; a second one ends everything at once."""

import signal
import socket
import subprocess

import pytest
from kilntest import failure, wait
from kilntest.build import Builder
from kilntest.clients import Buildctl, Kiln

pytestmark = pytest.mark.kiln_only

# Whatever is waited for takes moments, and builds have five minutes to end unless a test says otherwise: what comes
# within this time did not wait for those.
SECONDS = 60


class Running:
    """A build whose step waits for us."""

    def __init__(self, builder, listener):
        port = listener.getsockname()[1]
        files = {"Dockerfile": f"FROM base\nRUN nc 127.0.0.1 {port}; echo made >/made\n"}
        self.process = builder.client.start(builder.request(files))
        self.out = builder.out
        self._connection, _ = listener.accept()

    def go_on(self):
        self._connection.close()
        return self.process.communicate(timeout=SECONDS)[1]

    def has_ended(self):
        """Whether the step's process has."""
        self._connection.settimeout(SECONDS)
        return self._connection.recv(1) == b""


@pytest.fixture
def start(new_daemon, clients, busybox_layout, tmp_path, listener):
    def begin(**options):
        daemon = new_daemon(**options)
        builder = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
        return daemon, builder, Running(builder, listener)

    return begin


def terminate(daemon):
    daemon.process.send_signal(signal.SIGTERM)
    wait.until(lambda: "stops on signal 15" in daemon.log.read_text(), "the daemon has seen SIGTERM")


def test_running_builds_end_and_new_ones_are_refused(start, kiln):
    daemon, builder, running = start()
    terminate(daemon)
    said = builder.client.build(builder.request({"Dockerfile": failure.GOOD}), check=False)
    failure.check(said, "the build server is shutting down: no new builds")
    said = Kiln(kiln, address=daemon.address).build(builder.request({"Dockerfile": failure.GOOD}), check=False)
    failure.check(said, "the build server is shutting down: no new builds")
    assert daemon.process.poll() is None
    shown = running.go_on()
    assert running.process.returncode == 0, shown
    assert (running.out / "made").read_text() == "made\n"
    assert daemon.process.wait(SECONDS) == 0


@pytest.mark.parametrize("how", ["flag", "key"])
def test_what_takes_too_long_is_cancelled(start, how):
    options = {"arguments": ["--drain-timeout", "300ms"]} if how == "flag" else {"top": 'drainTimeout = "300ms"\n'}
    daemon, _, running = start(**options)
    terminate(daemon)
    assert running.has_ended()
    shown = running.process.communicate(timeout=SECONDS)[1]
    assert running.process.returncode != 0
    assert "the build server is shutting down" in shown
    assert daemon.process.wait(SECONDS) == 0


def test_a_second_signal_ends_it_at_once(start):
    daemon, _, running = start()
    terminate(daemon)
    daemon.process.send_signal(signal.SIGTERM)
    # Not 0, with which it ends once it has waited.
    assert daemon.process.wait(SECONDS) == 128 + signal.SIGTERM
    assert running.has_ended()
    assert running.process.wait(SECONDS) != 0
    running.process.communicate()
    daemon.start()  # takes away what the step left


def test_an_idle_daemon_ends_at_once_and_with_success(new_daemon):
    daemon = new_daemon()
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(SECONDS) == 0
    assert "0 builds are running, and have 300 s to end" in daemon.log.read_text()
    with socket.socket(socket.AF_UNIX) as connection, pytest.raises(OSError):
        connection.connect(str(daemon.root / "daemon.sock"))


@pytest.mark.parametrize("value", ["soon", "-1s"])
def test_a_drain_timeout_that_is_none(kilnd, tmp_path, value):
    command = [kilnd, "--root", tmp_path / "root", "--addr", f"unix://{tmp_path}/s", f"--drain-timeout={value}"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=10)
    failure.check(done, "--drain-timeout")
