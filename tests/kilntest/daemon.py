"""A build daemon of the test's own: kilnd, or the real buildkitd for comparison. Both take the same command line."""

import pathlib
import signal
import socket
import subprocess

from kilntest import hoststate, reports, wait

CONFIG = """\
root = "{root}/state"
[grpc]
address = ["{address}"]
[worker.containerd]
enabled = false
[worker.oci]
enabled = true
defaultCgroupParent = "/{cgroups}"
gc = false
"""
PLAIN_HTTP = """\
[registry."{host}"]
http = true
insecure = true
"""


class Daemon:
    """`with Daemon(program, folder, registries=[registry.host]) as daemon:`; `config` is more TOML (`top`: before any
    table), `arguments` more of the command line, `prefix` what comes before it (a program that runs it). Afterwards the
    daemon has ended by itself on SIGTERM without a sanitizer's report or a broken invariant, or the test fails."""

    def __init__(self, program, root, *, registries=(), top="", config="", arguments=(), prefix=()):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.address = f"unix://{self.root}/daemon.sock"
        self.log = self.root / "log"
        self.config = self.root / "daemon.toml"
        text = top + CONFIG.format(root=self.root, address=self.address, cgroups=hoststate.CGROUP_PARENT)
        text += "".join(PLAIN_HTTP.format(host=host) for host in registries)
        self.config.write_text(text + config)
        self._command = [*prefix, program, "--config", self.config, *arguments]
        self._process = None

    @property
    def process(self):
        return self._process

    @property
    def pid(self):
        return self._process.pid

    def __enter__(self):
        self.start()
        return self

    def start(self):
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait.until(self._ready, f"{self._command[0]} listens")

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
        finally:
            reports.check(self._command[0], self.log.read_text(errors="replace"))

    def kill(self):
        """As when the machine's OOM killer takes it."""
        self._process.kill()
        self._process.wait()

    def _ready(self):
        assert self._process.poll() is None, f"{self._command[0]} ended:\n{self.log.read_text()}"
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(self.root / "daemon.sock"))
        except OSError:
            return False
        return True

    def state(self):
        return hoststate.DaemonState.take(self.pid, self.root / "state/executor/runtime")

    def memory(self, field="VmRSS"):
        """Bytes, as /proc/PID/status has them: VmRSS now, VmHWM at most so far."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no {field} of {self.pid}")

    def reset_peak_memory(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def ingests(self):
        """Writes of kilnd that are not finished."""
        folder = self.root / "state/ingest"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
