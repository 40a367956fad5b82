"""A proxy before a real registry that drops, delays, refuses and redirects as a test asks."""

import http.client
import http.server
import socket
import struct

from kilntest.localserver import LocalServer


class FaultProxy(LocalServer):
    """`with FaultProxy(registry.host) as proxy:`, then proxy.host. `fault(method, path)` is asked for every request:
    None lets it pass, (status, headers) answers so, ("cut", n) ends the connection after n bytes of the answer's
    body, "drop" before any. `requests` are (method, path, headers)."""

    def __init__(self, target):
        self._target = target
        self.requests = []
        self.fault = lambda method, path: None

    def handler(self):
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self):
                proxy.requests.append((self.command, self.path, dict(self.headers)))
                action = proxy.fault(self.command, self.path)
                if action == "drop":
                    self.reset()
                    return
                length = int(self.headers.get("Content-Length", 0))
                if isinstance(action, tuple) and action[0] != "cut":
                    self.refuse(*action)
                    return
                body = self.rfile.read(length) if length else None
                target = http.client.HTTPConnection(proxy._target)
                target.request(self.command, self.path, body, dict(self.headers))
                self.relay(target.getresponse(), action[1] if action else None)
                target.close()

            def refuse(self, status, headers):
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.close_connection = True
                # What is still coming would have the client's kernel drop the answer.
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                while self.rfile.read1(1 << 16):
                    pass

            def relay(self, answer, cut):
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name not in ("Date", "Connection", "Transfer-Encoding"):
                        self.send_header(name, value)
                self.end_headers()
                body = answer.read() if self.command != "HEAD" else b""
                if cut is None:
                    self.wfile.write(body)
                    return
                self.wfile.write(body[:cut])
                self.wfile.flush()
                self.close_connection = True

            def reset(self):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one

        return Handler

    def ranges(self):
        """The Range headers of all requests that had one."""
        return [headers["Range"] for _, _, headers in self.requests if "Range" in headers]
