"""A real registry (Debian's docker-registry) on a free loopback port."""

import base64
import json
import pathlib
import re
import shutil
import subprocess
import urllib.request

from kilntest import oci, wait

CONFIG = """\
version: 0.1
log: {{level: info, formatter: json, accesslog: {{disabled: false}}}}
storage:
  filesystem: {{rootdirectory: {root}/data}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:0"{tls}}}
{extra}
"""
USERS = "user:$2b$04$XsgQSNLnUs99Lbhe.Z1uoOmPunY1P8dbrbUO2l03LywGGoh81K8Qy\n"  # password: secret
MANIFEST_TYPES = (
    oci.MANIFEST,
    oci.INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
LISTENING = re.compile(r"listening on (127\.0\.0\.1:\d+)")
REQUEST = re.compile(r'"(GET|HEAD|PUT|POST|PATCH|DELETE) (\S+) HTTP/[\d.]+" (\d+)')


class Registry:
    """`with Registry(folder) as registry:`; `extra` is more of its YAML configuration. With `tls`, its (certificate,
    key), it speaks HTTPS, with `client_ca` only to those whose certificate that authority signed."""

    def __init__(self, root, extra="", tls=None, client_ca=None):
        self.root = pathlib.Path(root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.log = self.root / "log"
        self._config = self.root / "config.yml"
        encryption = f", tls: {{certificate: {tls[0]}, key: {tls[1]}" if tls else ""
        encryption += f", clientcas: [{client_ca}]" if client_ca else ""
        encryption += "}" if tls else ""
        self._config.write_text(CONFIG.format(root=self.root, extra=extra, tls=encryption))
        self._process = None
        self.host = None  # "127.0.0.1:PORT"

    def __enter__(self):
        program = shutil.which("docker-registry")
        assert program, "docker-registry is not installed (packaging/install-deps test)"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen([program, "serve", self._config], stdout=log, stderr=log)
        self.host = wait.until(self._listening, "docker-registry listens").group(1)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(10)

    def _listening(self):
        assert self._process.poll() is None, f"docker-registry ended:\n{self.log.read_text()}"
        return LISTENING.search(self.log.read_text())

    def requests(self):
        """The (method, path, status) of every request so far."""
        return [(m, path, int(status)) for m, path, status in REQUEST.findall(self.log.read_text())]

    def push_layout(self, layout, tag, name, login=None):
        """Pushes the image that a layout folder calls `tag` as `name` ("busybox:1"), as "user:password" `login`."""
        command = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--dest-tls-verify=false"]
        command += ["--dest-creds", login] if login else []
        subprocess.run([*command, f"oci:{layout}:{tag}", f"docker://{self.host}/{name}"], check=True)

    def manifest(self, repository, reference):
        """(document, digest) of a manifest or index."""
        url = f"http://{self.host}/v2/{repository}/manifests/{reference}"
        request = urllib.request.Request(url, headers={"Accept": ", ".join(MANIFEST_TYPES)})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply), reply.headers["Docker-Content-Digest"]

    def stored(self, repository, tag):
        """The digest behind a tag as it lies on disk, whoever may ask for it; None if there is none."""
        path = f"data/docker/registry/v2/repositories/{repository}/_manifests/tags/{tag}/current/link"
        return (self.root / path).read_text() if (self.root / path).exists() else None

    def blob(self, repository, digest):
        with urllib.request.urlopen(f"http://{self.host}/v2/{repository}/blobs/{digest}", timeout=10) as reply:
            return reply.read()


def write_users(path):
    """A password file for `auth: {htpasswd: …}`, with "user" whose password is "secret"."""
    pathlib.Path(path).write_text(USERS)
    return path


def docker_config(folder, host, password):
    """Writes a DOCKER_CONFIG folder by which a client is "user" at that host."""
    return write_docker_config(folder, auths={host: {"auth": base64.b64encode(f"user:{password}".encode()).decode()}})


def write_docker_config(folder, **content):
    """A DOCKER_CONFIG folder with that in its config.json."""
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content))
    return folder
