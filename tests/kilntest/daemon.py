"""A build daemon of the test's own: kilnd, or the real buildkitd for comparison. Both take the same command line."""

import pathlib
import signal
import subprocess

from kilntest import hoststate, wait

CONFIG = """\
root = "{root}/state"
[grpc]
address = ["{address}"]
[worker.containerd]
enabled = false
[worker.oci]
enabled = true
gc = false
"""
PLAIN_HTTP = """\
[registry."{host}"]
http = true
insecure = true
"""


class Daemon:
    """`with Daemon(program, folder, registries=[registry.host]) as daemon:`; `config` is more TOML, `arguments` more
    of the command line. Afterwards the daemon has ended by itself on SIGTERM, or the test fails."""

    def __init__(self, program, root, *, registries=(), config="", arguments=()):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.address = f"unix://{self.root}/daemon.sock"
        self.log = self.root / "log"
        self.config = self.root / "daemon.toml"
        text = CONFIG.format(root=self.root, address=self.address)
        text += "".join(PLAIN_HTTP.format(host=host) for host in registries)
        self.config.write_text(text + config)
        self._command = [program, "--config", self.config, *arguments]
        self._process = None

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait.until(self._ready, f"{self._command[0]} listens")
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, seconds=20):
        """Asks it to end, and insists that it does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def kill(self):
        """As when the machine's OOM killer takes it."""
        self._process.kill()
        self._process.wait()

    def _ready(self):
        assert self._process.poll() is None, f"{self._command[0]} ended:\n{self.log.read_text()}"
        return (self.root / "daemon.sock").is_socket()

    def state(self):
        return hoststate.DaemonState.take(self.pid)
