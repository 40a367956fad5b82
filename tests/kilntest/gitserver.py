"""Git repositories and the servers they are fetched from: git-daemon, git-http-backend behind a small web server, sshd
with an agent. All programs are real; all state lies in a folder of the test's own."""

import base64
import http.server
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile
import urllib.parse

from kilntest import wait
from kilntest.localserver import LocalServer

# 2020-09-13T12:26:40Z
COMMIT_TIME = 1600000000


class Repository:
    """A work tree at `folder`/work and a bare repository at `folder`/NAME.git that push() sends it to."""

    def __init__(self, folder, name="repo", *, object_format="sha1"):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.work = self.folder / f"{name}-work"
        self.bare = self.folder / f"{name}.git"
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["git", "init", "-q", "--bare", f"--object-format={object_format}", "-b", "main", self.bare], check=True
        )
        subprocess.run(["git", "init", "-q", f"--object-format={object_format}", "-b", "main", self.work], check=True)
        (self.bare / "git-daemon-export-ok").touch()
        self.git("remote", "add", "origin", self.bare)

    def git(self, *words):
        env = {
            "PATH": os.environ["PATH"],
            "HOME": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "Tester" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "tester@example.com" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_DATE": f"{COMMIT_TIME} +0000" for who in ("AUTHOR", "COMMITTER")},
        }
        words = ["git", "-c", "protocol.file.allow=always", *(str(word) for word in words)]
        return subprocess.run(words, cwd=self.work, env=env, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, files, message="change"):
        """Writes {name: text}, commits and pushes; the commit's id."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        self.push()
        return self.git("rev-parse", "HEAD")

    def push(self):
        self.git("push", "-q", "--force", "origin", "--all")
        self.git("push", "-q", "--force", "origin", "--tags")
        subprocess.run(["git", "update-server-info"], cwd=self.bare, check=True)

    def set(self, key, value):
        subprocess.run(["git", "config", key, value], cwd=self.bare, check=True)


class GitWeb(LocalServer):
    """git-http-backend: `with GitWeb(folder) as web:` serves folder/NAME.git at web.url("NAME.git"). `token`: the
    password that it insists on. `dumb`: files only, no protocol."""

    def __init__(self, folder, *, token=None, dumb=False):
        self.folder, self.token, self.dumb = pathlib.Path(folder), token, dumb
        self.requests = []

    def url(self, path):
        return f"http://{self.host}/{path}"

    def handler(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                web.answer(self)

            do_POST = do_GET

        return Handler

    def answer(self, handler):
        self.requests.append((handler.command, handler.path))
        if self.token:
            wanted = "basic " + base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
            if handler.headers.get("Authorization") != wanted:
                handler.send_response(401)
                handler.send_header("WWW-Authenticate", "Basic")
                handler.end_headers()
                return
        if self.dumb:
            self.file(handler)
        else:
            self.backend(handler)

    def file(self, handler):
        path = self.folder / urllib.parse.urlsplit(handler.path).path.lstrip("/")
        handler.send_response(200 if path.is_file() else 404)
        handler.end_headers()
        if path.is_file():
            handler.wfile.write(path.read_bytes())

    def backend(self, handler):
        url = urllib.parse.urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": handler.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        handler.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class GitDaemon:
    """git:// for the repositories of a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.port = free_port()
        program = f"{subprocess.check_output(['git', '--exec-path'], text=True).strip()}/git-daemon"
        words = [program, "--reuseaddr", "--listen=127.0.0.1", f"--port={self.port}", f"--base-path={self.folder}"]
        self._process = subprocess.Popen([*words, str(self.folder)], stdin=subprocess.DEVNULL)
        wait.until(lambda: listens(self.port), "git-daemon listens")
        return self

    def url(self, path):
        return f"git://127.0.0.1:{self.port}/{path}"

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()


class SshServer:
    """sshd on a port of its own, and an agent with the one key that it lets in. `ssh.url(path of a repository)`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self.port = free_port()
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name]
            subprocess.run(words, check=True)
        shutil.copy(self.folder / "user.pub", self.folder / "authorized_keys")
        self.user = pwd.getpwuid(os.getuid()).pw_name
        config = self.folder / "sshd_config"
        config.write_text(f"""\
ListenAddress 127.0.0.1:{self.port}
HostKey {self.folder}/host
PidFile none
AuthorizedKeysFile {self.folder}/authorized_keys
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
""")
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        log = (self.folder / "log").open("ab")
        self._server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", config], stderr=log)
        # Names of sockets may not be long.
        self.socket = pathlib.Path(tempfile.gettempdir(), f"kilntest-agent-{self.port}")
        self._agent = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket], stdout=subprocess.DEVNULL)
        wait.until(lambda: self.socket.exists() and listens(self.port), "sshd and ssh-agent listen")
        env = {**os.environ, "SSH_AUTH_SOCK": str(self.socket)}
        subprocess.run(["ssh-add", "-q", self.folder / "user"], env=env, check=True)
        return self

    def url(self, path):
        return f"ssh://{self.user}@127.0.0.1:{self.port}{path}"

    def known_hosts(self):
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        return f"[127.0.0.1]:{self.port} {key}\n"

    def __exit__(self, *_):
        for process in (self._agent, self._server):
            process.terminate()
            process.wait()
        self.socket.unlink(missing_ok=True)
