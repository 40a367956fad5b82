"""A real Docker engine (Debian's docker.io, 20.10) of the tests' own, without a network."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from kilntest import wait
from kilntest.hoststate import CGROUPS


class Dockerd:
    """`with Dockerd() as docker:`; its mounts are in a namespace of its own, its files in a short-named folder."""

    def __init__(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="kd-"))
        self.socket = self.root / "docker.sock"
        self.log = self.root / "log"
        self.environment = {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.root / "config")}
        self._process = None

    def __enter__(self):
        program = shutil.which("dockerd")
        assert program, "dockerd is not installed (packaging/install-deps test)"
        words = ["unshare", "--mount", program, "--host", f"unix://{self.socket}", "--data-root", self.root / "data"]
        words += ["--exec-root", self.root / "exec", "--pidfile", self.root / "pid", "--storage-driver=overlay2"]
        words += [f"--cgroup-parent=/{self.root.name}"]
        words += ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([str(word) for word in words], stdout=log, stderr=log)
        wait.until(self._ready, "dockerd listens", 30)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        try:
            self._process.wait(20)
        finally:
            shutil.rmtree(self.root, ignore_errors=True)
            for folder in [CGROUPS / self.root.name, *CGROUPS.glob(f"*/{self.root.name}")]:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def _ready(self):
        assert self._process.poll() is None, f"dockerd ended:\n{self.log.read_text()}"
        return self.socket.exists() and self.run("version", check=False).returncode == 0

    def run(self, *words, check=True, stdin=None):
        """The docker command: its stdout and stderr as text."""
        command = ["docker", *(str(word) for word in words)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=stdin, env={**os.environ, **self.environment}
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def inspect(self, name):
        return json.loads(self.run("image", "inspect", name).stdout)[0]

    def step(self, image, *words):
        """What a command says in a container of that image."""
        return self.run("run", "--rm", "--network=none", image, *words).stdout
