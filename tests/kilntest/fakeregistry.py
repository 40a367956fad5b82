"""A registry that answers what a test tells it to: documents that no real registry would give."""

import contextlib
import http.server
import json

from kilntest import oci
from kilntest.localserver import LocalServer

# A body that goes on until the client hangs up.
ENDLESS = object()


class FakeRegistry(LocalServer):
    """`answers`: {path: bytes (or ENDLESS), or (status, headers, bytes)}; all else is 404.
    With `takes_uploads` it takes what is pushed, and mounts nothing from other repositories.
    `with FakeRegistry() as registry:`"""

    def __init__(self, takes_uploads=False):
        self.answers = {"/v2/": b"{}"}
        self.takes_uploads = takes_uploads
        self.requests = []

    def handler(self):
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                fake.requests.append((self.command, self.path))
                if self.command in ("POST", "PUT") and fake.takes_uploads:
                    self.take_upload()
                    return
                answer = fake.answers.get(self.path, (404, {}, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'))
                status, headers, body = answer if isinstance(answer, tuple) else (200, {}, answer)
                self.send_response(status)
                length = {} if body is ENDLESS else {"Content-Length": str(len(body))}
                for name, value in {**length, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.close_connection = True
                if self.command == "GET" and body is ENDLESS:
                    self.go_on()
                elif self.command == "GET":
                    self.wfile.write(body)

            def take_upload(self):
                path = self.path.partition("?")[0]
                length = int(self.headers.get("Content-Length", 0))
                status, headers, body = 201, {}, self.rfile.read(length)
                if self.command == "POST":  # also of one that asks for a mount
                    status, headers = 202, {"Location": f"{path}1"}
                elif "/uploads/" in path:
                    name = path.partition("/uploads/")[0]
                    fake.answers[f"{name}/{oci.digest(body)}"] = body
                else:
                    kind = {"Content-Type": self.headers["Content-Type"], "Docker-Content-Digest": oci.digest(body)}
                    fake.answers[path] = (200, kind, body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def go_on(self):
                with contextlib.suppress(OSError):
                    while True:
                        self.wfile.write(b"x" * 65536)

            do_HEAD = do_GET
            do_POST = do_GET
            do_PUT = do_GET

        return Handler

    def manifest(self, name, body, media_type=oci.MANIFEST, digest=None):
        """Answers for repository `name`, tag 1, by tag and by digest."""
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        digest = digest or oci.digest(body)
        answer = (200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, body)
        self.answers[f"/v2/{name}/manifests/1"] = answer
        self.answers[f"/v2/{name}/manifests/{digest}"] = answer

    def blob(self, name, body, *, served=None):
        """Its descriptor; `served` is what is sent instead."""
        self.answers[f"/v2/{name}/blobs/{oci.digest(body)}"] = body if served is None else served
        return {"digest": oci.digest(body), "size": len(body)}
