"""OpenSSH of this machine: keys, an agent, a server that lets a key in."""

import getpass
import os
import pathlib
import socket
import subprocess
import threading

SSHD = "/usr/sbin/sshd"
CONFIG = """\
HostKey {root}/host
AuthorizedKeysFile {root}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel ERROR
"""


def make_key(path, kind="ed25519", passphrase="", options=()):
    """Writes a key pair; returns the private key's path."""
    words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", f"test {kind}", "-f", path, *options]
    subprocess.run(words, check=True, capture_output=True)
    return pathlib.Path(path)


class Agent:
    """`with Agent(folder, keys) as agent:` runs an ssh-agent that holds the keys; its socket is agent.socket."""

    def __init__(self, folder, keys):
        self.socket = pathlib.Path(folder) / "agent.sock"
        self._keys = keys
        self._process = None

    def __enter__(self):
        self._process = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket], stdout=subprocess.PIPE)
        self._process.stdout.readline()  # it says where it listens once it does
        environment = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        subprocess.run(["ssh-add", "-q", *self._keys], env=environment, check=True, capture_output=True)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


class Server:
    """`with Server(folder, [public key files]) as server:` lets those keys in on a free port of the loopback; it starts
    one sshd for each connection, as inetd does."""

    def __init__(self, root, keys):
        self.root = pathlib.Path(root)
        self.root.mkdir()
        make_key(self.root / "host")
        (self.root / "config").write_text(CONFIG.format(root=self.root))
        (self.root / "authorized").write_text("".join(pathlib.Path(key).read_text() for key in keys))
        self.user = getpass.getuser()
        self._listener = None

    def __enter__(self):
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)  # what sshd wants for privilege separation
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._processes = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, (self.root / "log").open("ab") as log:
                words = [SSHD, "-i", "-e", "-f", self.root / "config"]
                self._processes.append(subprocess.Popen(words, stdin=connection, stdout=connection, stderr=log))

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for process in self._processes:
            process.wait(20)

    def url(self, path):
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"
