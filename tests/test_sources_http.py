"""Files from web servers: what is asked for, what is kept, who is let in, and servers that mean no good."""

import gzip
import hashlib
import os
import re
import subprocess
import tarfile

import pytest
from kilntest import failure
from kilntest.request import Request, write_context
from kilntest.webserver import MODIFIED, Page, WebServer
from test_builds import CLIENTS, by

TEXT = b"what the server has\n"
SHA = "sha256:" + hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def web():
    with WebServer() as web:
        web.pages["/dir/file.txt"] = TEXT
        yield web


@by(CLIENTS)
def test_add_url(client, web, tmp_path):
    dockerfile = f"FROM scratch\nADD {web.url('/dir/file.txt?query=1')} /added/\n"
    context = write_context(tmp_path / "context", {"Dockerfile": dockerfile})
    for count in (1, 2):
        client.build(Request(context, outputs=[f"type=local,dest={tmp_path}/out{count}"]))
        made = tmp_path / f"out{count}/added/file.txt"
        assert made.read_bytes() == TEXT
        assert made.stat().st_mode & 0o7777 == 0o600
        assert made.stat().st_mtime == MODIFIED
        assert web.count("GET", "/dir/file.txt") == 1  # the second time it is not sent again


def test_what_changed_is_fetched_again(build, web):
    add = f"ADD --chmod=644 --chown=7:8 {web.url('/dir/file.txt')} /f"
    dockerfile = f"FROM base\n{add}\nRUN stat -c '%a %u %g' /f >/stat\n"
    build(dockerfile)
    web.pages["/dir/file.txt"] = b"new\n"
    build(dockerfile)
    assert build.read("f") == "new\n"
    assert build.read("stat") == "644 7 8\n"
    assert web.count("GET", "/dir/file.txt") == 2


def test_checksum(build, web):
    def add(digest):
        return f"FROM scratch\nADD --checksum={digest} {web.url('/dir/file.txt')} /f\n"

    wrong = "sha256:" + "f" * 64
    failure.check(build(add(wrong), check=False), f"digest mismatch {SHA}: {wrong}")
    build(add(SHA))
    assert build.read("f").encode() == TEXT
    count = len(web.requests)
    web.pages.clear()
    build(add(SHA))  # known by its digest
    assert len(web.requests) == count


@pytest.mark.kiln_only  # buildkitd calls a missing file with a checksum a digest mismatch
def test_hostile_servers(build, web, serves_on):
    def add(path, flag=""):
        return build(f"FROM scratch\nADD {flag} {web.url(path)} /f\n", check=False)

    failure.check(add("/nothing"), "invalid response status 404")
    failure.check(add("/nothing", f"--checksum={SHA}"), "invalid response status 404")
    web.pages["/short"] = Page(b"short", length=1000)
    failure.check(add("/short"), "/short", "transfer closed with 995 bytes remaining")
    assert web.count("GET", "/short") == 3
    web.pages["/round"] = Page(status=302, headers={"Location": "/round"})
    failure.check(add("/round"), "stopped after 10 redirects")
    web.pages["/away"] = Page(status=302, headers={"Location": "file:///etc/passwd"})
    failure.check(add("/away"), "scheme must be http or https")


def test_endless_answer_ends_with_the_client(buildctl, build, web, serves_on):
    web.pages["/endless"] = Page(endless=True, etag=False)
    request = build.request({"Dockerfile": f"FROM scratch\nADD {web.url('/endless')} /f\n"})
    process = buildctl.start(request)
    assert web.streaming.wait(30)
    process.terminate()
    process.communicate()
    assert web.broken.wait(30)


@pytest.mark.kiln_only  # buildkitd fills the disk to the last byte
def test_endless_answer_does_not_fill_the_disk(daemon_program, unchanged_host, tmp_path, clients, web):
    from kilntest.clients import Buildctl
    from kilntest.daemon import Daemon

    root = tmp_path / "small"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", root], check=True)
    try:
        with Daemon(daemon_program, root) as daemon:
            web.pages["/endless"] = Page(endless=True, etag=False)
            context = write_context(
                tmp_path / "context", {"Dockerfile": f"FROM scratch\nADD {web.url('/endless')} /f\n"}
            )
            done = Buildctl(clients / "buildctl", daemon.address).build(Request(context), check=False)
            failure.check(done, "the disk is nearly full")
            assert os.statvfs(root).f_bavail * os.statvfs(root).f_bsize > 60 << 20
    finally:
        subprocess.run(["umount", root], check=True)


def test_redirects_are_followed_without_secrets(build, web, tmp_path):
    (tmp_path / "token").write_text("s3cret\n")
    with WebServer() as other:
        other.pages["/real"] = TEXT
        web.pages["/moved"] = Page(status=302, headers={"Location": other.url("/real")})
        secrets = [f"id=HTTP_AUTH_TOKEN_127.0.0.1,src={tmp_path}/token"]
        build(f"FROM scratch\nADD {web.url('/moved')} /f\n", secrets=secrets)
        assert build.read("f").encode() == TEXT
        assert web.requests[0].headers["Authorization"] == "Bearer s3cret"
        assert "Authorization" not in other.requests[0].headers


def test_host_that_looks_like_a_number(build, web):
    """It is the name of a host, and not another way to write 127.0.0.1; in a redirect too."""
    for host in ("127.1", "2130706433", "0x7f000001"):
        other = web.url("/dir/file.txt").replace("127.0.0.1", host)
        web.pages[f"/to/{host}"] = Page(b"", status=302, headers={"Location": other})
        for url in (other, web.url(f"/to/{host}")):
            failure.check(build(f"FROM scratch\nADD {url} /f\n", check=False), "no such host", host)
    assert not web.count("GET", "/dir/file.txt")


def test_secrets_of_a_host(build, web, tmp_path):
    web.pages["/private"] = Page(TEXT, authorization="Basic xyz")
    dockerfile = f"FROM scratch\nADD {web.url('/private')} /f\n"
    failure.check(build(dockerfile, check=False), "invalid response status 401")
    (tmp_path / "header").write_text("Basic xyz")
    build(dockerfile, secrets=[f"id=HTTP_AUTH_HEADER_127.0.0.1,src={tmp_path}/header"])
    assert build.read("f").encode() == TEXT
    # What was fetched with the secret is not for those without it.
    failure.check(build(dockerfile, check=False), "invalid response status 401")


def test_unpack(build, web, tmp_path):
    packed = gzip.compress(failure.tar_of((tarfile.TarInfo("inside"), b"text\n")), mtime=0)
    web.pages["/a.tgz"] = packed
    (tmp_path / "a.tgz").write_bytes(packed)
    url = web.url("/a.tgz")
    dockerfile = f"""\
FROM scratch
ADD {url} /kept/
ADD --unpack {url} /remote/
ADD --unpack=false a.tgz /local/kept/
ADD a.tgz /local/unpacked/
"""
    build({"Dockerfile": dockerfile, "a.tgz": packed})
    assert (build.out / "kept/a.tgz").read_bytes() == packed
    assert build.read("remote/inside") == "text\n"
    assert (build.out / "local/kept/a.tgz").read_bytes() == packed
    assert build.read("local/unpacked/inside") == "text\n"
    assert not (build.out / "local/unpacked/a.tgz").exists()


def test_content_encoding_is_undone(build, web):
    """A server may pack what it sends, whatever it was asked for; the file and its digest are those of the content."""
    web.pages["/packed"] = Page(gzip.compress(TEXT), headers={"Content-Encoding": "gzip"})
    for flag in ("", f"--checksum={SHA}"):
        build(f"FROM scratch\nADD {flag} {web.url('/packed')} /f\n")
        assert build.read("f").encode() == TEXT
    assert all(seen.headers["Accept-Encoding"] == "gzip" for seen in web.requests)


@pytest.mark.kiln_only  # buildkitd fails
def test_unchanged_by_another_tag(build, web):
    """Some servers have a tag for each form of a file, and mix them up: then it is fetched without conditions."""
    web.pages["/f"] = Page(TEXT, headers={"ETag": '"one-gzip"'}, etag=False)
    dockerfile = f"FROM scratch\nADD {web.url('/f')} /f\n"
    build(dockerfile)
    web.not_modified["/f"] = '"one"'
    build(dockerfile)
    assert build.read("f").encode() == TEXT
    assert web.count("GET", "/f") == 3


def test_who_asks(build, web, is_kilnd):
    """The User-Agent that servers know: the version of BuildKit that is served, then ours."""
    build(f"FROM scratch\nADD {web.url('/dir/file.txt')} /f\n")
    agent = web.requests[0].headers["User-Agent"]
    ours = r" kiln/\d+\.\d+\.\d+" if is_kilnd else r".*"
    assert re.fullmatch(r"buildkit/v\d+\.\d+" + ours, agent), agent
