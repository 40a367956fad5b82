"""Answers with the length of the path."""

import http.server

import six


def answer(path):
    return six.ensure_binary(f"{len(path)}\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer(self.path))


if __name__ == "__main__":
    http.server.HTTPServer(("", 8000), Handler).serve_forever()
