"""A web server that counts requests, honours validators, and lies when a test tells it to."""

import dataclasses
import email.utils
import hashlib
import http.server
import threading

from kilntest.localserver import LocalServer

MODIFIED = 1445412480  # Wed, 21 Oct 2015 07:28:00 GMT


@dataclasses.dataclass
class Page:
    """`body` with its ETag and date (`modified`, or None); more `headers`; `length` to claim;
    `authorization` that is asked for; `endless` goes on."""

    body: bytes = b""
    status: int = 200
    headers: dict = dataclasses.field(default_factory=dict)
    etag: bool = True
    modified: int = MODIFIED
    length: int = None
    authorization: str = None
    endless: bool = False


@dataclasses.dataclass
class Seen:
    method: str
    path: str
    status: int
    headers: dict


class WebServer(LocalServer):
    """`pages`: {path: bytes or Page}. `with WebServer() as web:`; `web.url("/path")`; all else is 404."""

    def __init__(self):
        self.pages = {}
        self.not_modified = {}  # {path: the ETag that a 304 to any condition names}
        self.requests = []
        self.streaming = threading.Event()  # an endless answer has begun
        self.broken = threading.Event()  # … and its reader has gone

    def handler(self):
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                web.answer(self)

            do_HEAD = do_GET

        return Handler

    def url(self, path):
        return f"http://{self.host}{path}"

    def count(self, method, path):
        return sum(one.method == method and one.path == path for one in self.requests)

    def answer(self, handler):
        path = handler.path.partition("?")[0]
        page = self.pages.get(path, Page(status=404))
        page = page if isinstance(page, Page) else Page(page)
        etag = f'"{hashlib.sha256(page.body).hexdigest()[:16]}"'
        status = page.status
        if page.authorization and handler.headers.get("Authorization") != page.authorization:
            status = 401
        elif status == 200 and page.etag and etag in handler.headers.get("If-None-Match", ""):
            status = 304
        if path in self.not_modified and "If-None-Match" in handler.headers:
            page = Page(status=304, headers={"ETag": self.not_modified[path]}, etag=False)
            status = 304
        self.requests.append(Seen(handler.command, path, status, dict(handler.headers)))
        body = page.body if status == 200 else b""
        handler.send_response(status)
        if status in (200, 304):
            if page.modified is not None:
                handler.send_header("Last-Modified", email.utils.formatdate(page.modified, usegmt=True))
            if page.etag:
                handler.send_header("ETag", etag)
        for name, value in page.headers.items():
            handler.send_header(name, value)
        if not page.endless:
            handler.send_header("Content-Length", str(page.length or len(body)))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        if handler.command == "HEAD":
            return
        handler.wfile.write(body)
        try:
            while page.endless:
                handler.wfile.write(b"x" * 65536)
                self.streaming.set()
        except OSError:
            self.broken.set()
