"""A network of its own with a name server, a web server and the machine's name files replaced: what a program finds
there shows how it looks names up."""

import http.server
import os
import pathlib
import socket
import socketserver
import struct
import subprocess
import sys
import threading

from kilntest import paths

A, AAAA = 1, 28
NO_SUCH_NAME = 3
PORT = 8080


class NameWorld:
    """`with NameWorld(folder, files, records) as world:`. `files`: {"/etc/hosts": text}; `records`: {name: (addresses)}
    that the name server on 127.0.0.1 knows. Programs go there with `world.prefix`. The web server on PORT answers any
    path with the address that asked; `world.asked()` has the names that the name server was asked for."""

    def __init__(self, folder, files, records):
        self._folder = pathlib.Path(folder)
        self._folder.mkdir()
        self._files, self._records = files, records

    def __enter__(self):
        arguments = []
        for number, (path, text) in enumerate(self._files.items()):
            own = self._folder / f"file{number}"
            own.write_text(text)
            arguments.append(f"{own}={path}")
        arguments += [f"{name}={','.join(addresses)}" for name, addresses in self._records.items()]
        self._process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m", "kilntest.nameworld",
             self._folder / "asked", *arguments],
            cwd=paths.ROOT / "tests", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    @property
    def prefix(self):
        places = f"/proc/{self._process.pid}/ns"
        return ["nsenter", f"--net={places}/net", f"--mount={places}/mnt", "--"]

    def asked(self):
        return set((self._folder / "asked").read_text().split())


def _name_of(question):
    """The name in a DNS question, and where its type stands."""
    labels, at = [], 0
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += 1 + question[at]
    return ".".join(labels).lower(), at + 1


def _answer(query, records):
    """A DNS answer to a query with one question (RFC 1035, 4.1)."""
    name, at = _name_of(query[12:])
    (kind,) = struct.unpack(">H", query[12 + at : 14 + at])
    question = query[12 : 16 + at]
    family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
    wanted = [one for one in records.get(name, ()) if family and (":" in one) == (kind == AAAA)]
    found = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(raw)) + raw
             for raw in (socket.inet_pton(family, one) for one in wanted)]  # fmt: skip
    status = 0x8180 | (0 if name in records else NO_SUCH_NAME)
    return name, query[:2] + struct.pack(">HHHHH", status, 1, len(found), 0, 0) + question + b"".join(found)


class _Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.client_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class _WebServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4, as mapped addresses


def main(log, *arguments):
    records = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key.startswith("/"):
            subprocess.run(["mount", "--bind", key, value], check=True)
        else:
            records[key] = value.split(",")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Names(socketserver.BaseRequestHandler):
        def handle(self):
            query, server = self.request
            name, answer = _answer(query, records)
            os.write(descriptor, f"{name}\n".encode())
            server.sendto(answer, self.client_address)

    servers = [socketserver.ThreadingUDPServer(("127.0.0.1", 53), Names), _WebServer(("::", PORT), _Web)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
