"""The daemon's sockets: TLS in all its ways, plain TCP, sockets that systemd passes, the unix socket's group, READY."""

import dataclasses
import grp
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest
from kilntest import wait
from kilntest.certificates import Authority
from kilntest.clients import Buildctl, Buildx, Kiln
from kilntest.daemon import Daemon
from kilntest.request import Request, write_context

NAMES = ["buildctl", "buildx", "kiln"]
ACTIVATE = pathlib.Path(__file__).parent / "kilntest" / "activate.py"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"  # and empty SETTINGS


@dataclasses.dataclass
class Pki:
    """An authority, the daemon's files, a client's, and an authority that nobody knows."""

    authority: Authority
    server: tuple
    client: tuple
    stranger: Authority

    def server_flags(self, mutual=True):
        flags = ["--tlscert", self.server[0], "--tlskey", self.server[1]]
        return flags + (["--tlscacert", self.authority.ca] if mutual else [])


@pytest.fixture
def pki(tmp_path):
    authority = Authority(tmp_path / "pki")
    server, client = authority.issue("server"), authority.issue("client", "clientAuth")
    return Pki(authority, server, client, Authority(tmp_path / "stranger", "a stranger"))


@pytest.fixture
def serve(new_daemon, tmp_path):
    """serve(flags) starts a daemon that listens on a port of the loopback as well; gives it and the port's address."""

    def start(flags=(), **options):
        unix = f"unix://{tmp_path}/daemon0/daemon.sock"
        arguments = ["--addr", unix, "--addr", "tcp://127.0.0.1:0", *flags]
        daemon = new_daemon(arguments=arguments, **options)
        where = re.compile(r"running server on (?:tcp://)?(127\.0\.0\.1:\d+)")
        wait.until(lambda: where.search(daemon.log.read_text()), "the daemon says where it listens")
        return daemon, f"tcp://{where.search(daemon.log.read_text())[1]}"

    return start


@pytest.fixture
def client_of(clients, kiln, tmp_path):
    """client_of(name, address, ca, pair) is a client; `pair`: certificate and key."""
    count = iter(range(100))

    def make(name, address, ca=None, pair=None, server_name=None):
        words = {"tlscacert": ca, "tlscert": pair and pair[0], "tlskey": pair and pair[1], "tlsservername": server_name}
        flags = [word for key, value in words.items() if value for word in (f"--{key}", value)]
        if name == "buildctl":
            return Buildctl(clients / "buildctl", address, flags)
        if name == "kiln":
            return Kiln(kiln, address=address, flags=flags)
        keys = {"tlscacert": "cacert", "tlscert": "cert", "tlskey": "key", "tlsservername": "servername"}
        options = [f"{keys[key]}={value}" for key, value in words.items() if value]
        return Buildx(clients / "buildx", address, tmp_path / f"buildx{next(count)}", options)

    return make


@pytest.fixture
def request_of(tmp_path):
    def make():
        files = {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "over the wire\n"}
        context = write_context(tmp_path / "context", files)
        return Request(context, outputs=[f"type=local,dest={tmp_path}/out"])

    return make


def builds(client, request, tmp_path):
    client.build(request)
    return (tmp_path / "out/a").read_text() == "over the wire\n"


@pytest.mark.parametrize("name", NAMES)
def test_mutual_tls(serve, client_of, request_of, pki, tmp_path, name):
    _, address = serve(pki.server_flags())
    assert builds(client_of(name, address, pki.authority.ca, pki.client), request_of(), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_tls_of_the_server_alone(serve, client_of, request_of, pki, tmp_path, name):
    _, address = serve(pki.server_flags(mutual=False))
    assert builds(client_of(name, address, pki.authority.ca), request_of(), tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_plain_tcp(serve, client_of, request_of, tmp_path, name):
    daemon, address = serve()
    assert builds(client_of(name, address), request_of(), tmp_path)
    assert "TLS is not enabled for" in daemon.log.read_text()


def refused(name, done, why):
    assert done.returncode != 0
    # buildx tries for twenty seconds, and does not tell why it failed.
    assert re.search("waiting for connection" if name == "buildx" else why, done.stderr), done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_server_of_another_authority_is_not_trusted(serve, client_of, request_of, pki, name):
    _, address = serve(pki.server_flags())
    done = client_of(name, address, pki.stranger.ca, pki.client).build(request_of(), check=False)
    refused(name, done, "unknown authority|the server's certificate: (unable to get|self-signed)")


@pytest.mark.parametrize("name", NAMES)
def test_clients_without_a_certificate_are_refused(serve, client_of, request_of, pki, name):
    _, address = serve(pki.server_flags())
    done = client_of(name, address, pki.authority.ca).build(request_of(), check=False)
    refused(name, done, "certificate required")


def test_clients_of_another_authority_are_refused(serve, client_of, request_of, pki):
    _, address = serve(pki.server_flags())
    foreign = pki.stranger.issue("client", "clientAuth")
    for name in ("buildctl", "kiln"):
        done = client_of(name, address, pki.authority.ca, foreign).build(request_of(), check=False)
        refused(name, done, "(unknown|bad) certificate|unknown ca|certificate required")


@pytest.mark.kiln_only  # its command line
def test_flags_of_the_client(serve, client_of, request_of, pki, kiln, tmp_path):
    daemon, address = serve(pki.server_flags())
    folder = tmp_path / "tls"
    folder.mkdir()
    for name, file in {"ca.pem": pki.authority.ca, "tls.crt": pki.client[0], "key.pem": pki.client[1]}.items():
        (folder / name).symlink_to(file)
    by_folder = Kiln(kiln, address=address, flags=["--tlsdir", folder])
    assert builds(by_folder, request_of(), tmp_path)
    for command in (["du"], ["ls"], ["prune", "--force"]):
        by_folder.run(*command, "--addr", address, "--tlsdir", folder)
    (folder / "key.pem").unlink()
    refusals = [
        (["--tlsdir", folder], "neither key.pem nor tls.key is there"),
        (["--tlsdir", folder, "--tlscert", pki.client[0]], "not both"),
        (["--tlscacert", pki.authority.ca, "--tlscert", pki.client[0]], "both a certificate and its key"),
        (["--tlscacert", pki.authority.ca, "--tlsservername", "other"], "hostname mismatch"),
        (["--tlscacert", tmp_path / "none"], f"{tmp_path}/none"),
    ]
    for flags, said in refusals:
        done = by_folder.run("du", "--addr", address, *flags, check=False)
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    done = by_folder.run("du", "--addr", daemon.address, "--tlscacert", pki.authority.ca, check=False)
    assert "TLS is for daemons at tcp addresses" in done.stderr
    done = by_folder.run("du", "--root", tmp_path / "root", "--tlscacert", pki.authority.ca, check=False)
    assert "name it with --addr" in done.stderr


def s_client(address, pki, *flags, pair=True):
    """What openssl says of a connection on which HTTP/2 is begun, after the server's first words."""
    words = ["openssl", "s_client", "-connect", address.removeprefix("tcp://"), "-CAfile", pki.authority.ca]
    words += ["-alpn", "h2", "-ign_eof", "-nocommands", *flags]
    words += ["-cert", pki.client[0], "-key", pki.client[1]] if pair else []
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    process.stdin.write(PREFACE)
    process.stdin.flush()
    said = b""
    # The server's SETTINGS come behind all that openssl tells of the handshake and its tickets.
    while chunk := process.stdout.read1(65536):
        said += chunk
        if b"\0\0\0\4\1\0\0\0\0" in said:  # our SETTINGS are acknowledged
            process.terminate()
    process.wait(20)
    process.stdin.close()
    process.stdout.close()
    return said.decode(errors="replace")


@pytest.mark.kiln_only  # Go's TLS does what it does
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(serve, pki, tmp_path, version):
    _, address = serve(pki.server_flags())
    session = tmp_path / "session"
    first = s_client(address, pki, version, "-sess_out", session)
    assert "New, TLSv1" in first
    second = s_client(address, pki, version, "-sess_in", session)
    assert "Reused, TLSv1" in second
    assert "alert" not in second


@pytest.mark.kiln_only  # buildkitd reads them once
def test_renewed_certificates_are_used(serve, client_of, request_of, pki, tmp_path):
    daemon, address = serve(pki.server_flags())
    session = tmp_path / "session"
    assert "CN = server" in s_client(address, pki, "-tls1_3", "-sess_out", session)
    certificate, key = pki.authority.issue("renewed")
    certificate.replace(pki.server[0])
    key.replace(pki.server[1])
    renewed = s_client(address, pki, "-tls1_3", "-sess_in", session)
    assert "CN = renewed" in renewed
    assert "New, TLSv1.3" in renewed  # what was begun under the old settings is not gone on with
    # What is no certificate changes nothing but the log.
    pki.server[0].write_text("none")
    assert builds(client_of("buildctl", address, pki.authority.ca, pki.client), request_of(), tmp_path)
    assert "the old ones stay in use" in daemon.log.read_text()
    # Whose clients are let in is read again too.
    certificate, key = pki.authority.issue("third")
    certificate.replace(pki.server[0])
    key.replace(pki.server[1])
    pki.stranger.ca.replace(pki.authority.ca)
    assert "alert" in s_client(address, pki, "-tls1_3")


def answers_in_the_clear(port):
    """What comes back to HTTP/2 without TLS."""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(PREFACE)
        try:
            return connection.recv(9)
        except ConnectionResetError:
            return b""


@pytest.fixture
def activated(new_daemon, tmp_path):
    """activated(sockets, flags): a daemon to which sockets are passed; gives it, and where each listens."""

    def start(sockets, flags=()):
        places = tmp_path / "places"
        prefix = [sys.executable, ACTIVATE, places, *sockets, "--"]
        daemon = new_daemon(prefix=prefix, arguments=["--addr", f"unix://{tmp_path}/daemon0/daemon.sock", *flags])
        return daemon, places.read_text().split()

    return start


def test_a_passed_tcp_socket_speaks_tls(activated, client_of, request_of, pki, tmp_path):
    _, [port] = activated(["tcp"], ["--addr", "fd://", *pki.server_flags()])
    assert answers_in_the_clear(int(port))[3:4] != b"\4"  # no SETTINGS
    address = f"tcp://127.0.0.1:{port}"
    done = client_of("buildctl", address, pki.authority.ca).build(request_of(), check=False)
    assert done.returncode != 0
    for name in NAMES:
        assert builds(client_of(name, address, pki.authority.ca, pki.client), request_of(), tmp_path)


def test_a_passed_tcp_socket_without_tls(activated, client_of, request_of, is_kilnd, tmp_path):
    daemon, [port] = activated(["tcp"], ["--addr", "fd://"])
    assert builds(client_of("buildctl", f"tcp://127.0.0.1:{port}"), request_of(), tmp_path)
    if is_kilnd:
        assert "TLS is not enabled for fd://" in daemon.log.read_text()


@pytest.mark.kiln_only  # buildkitd takes the first socket and knows no names
def test_several_passed_sockets(activated, client_of, request_of, pki, tmp_path):
    path = tmp_path / "passed.sock"
    daemon, [one, _, two] = activated(
        ["net=tcp", f"local=unix:{path}", "net=tcp"], ["--addr", "fd://", *pki.server_flags()]
    )
    for port in (one, two):
        assert answers_in_the_clear(int(port))[3:4] != b"\4"
        client = client_of("buildctl", f"tcp://127.0.0.1:{port}", pki.authority.ca, pki.client)
        assert builds(client, request_of(), tmp_path)
    assert builds(client_of("buildctl", f"unix://{path}"), request_of(), tmp_path)
    assert "TLS is not used for the unix socket that systemd passed" in daemon.log.read_text()


@pytest.mark.kiln_only  # as above
def test_passed_sockets_by_name(activated, client_of, request_of, tmp_path):
    _, [_, port] = activated(["other=tcp", "builds=tcp"], ["--addr", "fd://builds"])
    assert builds(client_of("buildctl", f"tcp://127.0.0.1:{port}"), request_of(), tmp_path)


@pytest.mark.kiln_only  # its texts
def test_passed_sockets_that_are_none(daemon_program, tmp_path):
    def said(flags, prefix=()):
        words = [*prefix, daemon_program, "--root", tmp_path / "root", *flags]
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        return done.stderr

    assert "no sockets were passed by systemd" in said(["--addr", "fd://"])
    prefix = [sys.executable, ACTIVATE, tmp_path / "places", "a=tcp", "--"]
    assert "no socket named 'b'" in said(["--addr", "fd://b"], prefix).replace('"', "'")
    assert "needs both a certificate and its key" in said(["--addr", "fd://", "--tlscacert", "x"], prefix)


def test_group_of_the_unix_socket(new_daemon, buildctl_at):
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, os.getgid()))
    daemon = new_daemon(arguments=["--group", group.gr_name])
    info = (daemon.root / "daemon.sock").stat()
    assert (info.st_gid, info.st_mode & 0o777) == (group.gr_gid, 0o660)
    assert "ID" in buildctl_at(daemon).run("debug", "workers").stdout


@pytest.fixture
def buildctl_at(clients):
    return lambda daemon: Buildctl(clients / "buildctl", daemon.address)


@pytest.mark.kiln_only  # its texts
def test_an_unknown_group(kilnd, tmp_path):
    words = [kilnd, "--root", tmp_path / "root", "--group", "nobody-has-this-one"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "unknown group" in done.stderr) == (1, True), done.stderr


def test_readiness_is_told(daemon_program, unchanged_host, tmp_path, is_kilnd):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(path))
        notified.settimeout(20)
        with Daemon(daemon_program, tmp_path / "daemon", prefix=["env", f"NOTIFY_SOCKET={path}"]) as daemon:
            assert notified.recv(100) == b"READY=1"
            daemon.process.send_signal(signal.SIGTERM)
            assert notified.recv(100) == b"STOPPING=1"


@pytest.mark.kiln_only  # buildkitd has no such limit of its own
def test_out_of_descriptors(serve, client_of, request_of, tmp_path):
    """Connections wait until there are descriptors again; meanwhile the daemon rests, and says so once in a while."""
    daemon, address = serve(prefix=["prlimit", "--nofile=200:200"])
    port = int(address.rpartition(":")[2])
    taken = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(250)]
    wait.until(lambda: "taking a connection: " in daemon.log.read_text(), "the daemon says that it has none left")
    before, log = processor_time(daemon.pid), daemon.log.stat().st_size
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.process.wait(2)
    assert processor_time(daemon.pid) - before < 0.6
    assert daemon.log.stat().st_size - log < 2000
    for connection in taken:
        connection.close()
    assert builds(client_of("buildctl", address), request_of(), tmp_path)


def processor_time(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
