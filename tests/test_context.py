"""Sending the context: only what changed, counted on the wire by a peer that is written for it (clients/peer)."""

import dataclasses
import json
import os
import pathlib
import subprocess

import pytest
from kilntest.build import Builder
from kilntest.request import write_context

FILES = 50_000
FOLDERS = 250


@pytest.fixture(scope="session")
def big_context(tmp_path_factory):
    """50,000 small files in 250 folders."""
    folder = tmp_path_factory.mktemp("big")
    for number in range(FOLDERS):
        inner = folder / f"folder{number % 16:02d}" / f"{number:04d}"
        inner.mkdir(parents=True)
        for file in range(FILES // FOLDERS):
            (inner / f"file{file:03d}").write_bytes(b"%d %d\n" % (number, file))
    return folder


@pytest.fixture
def sync(peer, daemon):
    def run(folder):
        done = subprocess.run(
            [peer, "-addr", daemon.address, "sync", folder], capture_output=True, text=True, timeout=110
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def requests(seen):
    return seen["Received"].get("PACKET_REQ", 0)


@pytest.mark.timeout(240)
def test_context_of_50_000_files(sync, big_context):
    first = sync(big_context)
    assert first["Sent"]["PACKET_STAT"] == FILES + FOLDERS + 16 + 1  # files, folders, the end of the listing
    assert requests(first) == FILES
    unchanged = sync(big_context)
    assert unchanged["Sent"]["PACKET_STAT"] == first["Sent"]["PACKET_STAT"]
    assert (requests(unchanged), unchanged["Bytes"]) == (0, 0)
    changed = big_context / "folder03/0003/file007"
    changed.write_bytes(b"different\n")
    one = sync(big_context)
    assert (requests(one), one["Bytes"]) == (1, len(b"different\n"))
    changed.unlink()
    assert requests(sync(big_context)) == 0
    changed.write_bytes(b"3 7\n")
    assert requests(sync(big_context)) == 1


def test_what_counts_as_a_change(sync, tmp_path):
    context = tmp_path / "context"
    (context / "sub").mkdir(parents=True)
    for name in ("a", "b", "sub/c"):
        (context / name).write_text(name)
    (context / "link").symlink_to("a")
    assert requests(sync(context)) == 3
    assert requests(sync(context)) == 0
    (context / "a").chmod(0o600)  # metadata counts, and brings the content again
    assert requests(sync(context)) == 1
    (context / "b").write_text("B")  # same size, other time
    os.utime(context / "b", ns=(1, 1))
    assert requests(sync(context)) == 1
    (context / "link").unlink()
    (context / "link").symlink_to("b")
    assert requests(sync(context)) == 0
    (context / "sub").rename(context / "sub2")
    assert requests(sync(context)) == 1
    (context / "a").unlink()
    (context / "a").mkdir()
    assert requests(sync(context)) == 0


def test_a_client_that_shares_the_dockerfile_alone(buildctl, tmp_path):
    """What needs no context works; what needs one names it."""
    text = "FROM scratch AS plain\nENV a=b\nFROM scratch AS needs\nCOPY a /\n"
    folder = write_context(tmp_path / "own", {"Dockerfile": text})

    def run(*words):
        shared = ["--progress=plain", "--frontend=dockerfile.v0", f"--local=dockerfile={folder}"]
        return buildctl.run("build", *shared, *words, check=False)

    done = run("--opt=target=plain", f"--output=type=oci,dest={tmp_path}/x.tar")
    assert done.returncode == 0, done.stderr
    done = run("--opt=target=needs")
    assert done.returncode != 0
    assert 'no access allowed to dir "context"' in done.stderr
    for name, said in {"outline": "needs", "targets": "plain", "lint": ""}.items():
        done = run(f"--opt=requestid=frontend.{name}")
        assert (done.returncode, said in done.stdout + done.stderr) == (0, True), done.stderr


def statuses(raw, vertex):
    """The statuses of a vertex in what --progress=rawjson showed, by id."""
    name, found = {}, {}
    for line in raw.splitlines():
        message = json.loads(line)
        name.update({shown["digest"]: shown["name"] for shown in message.get("vertexes") or []})
        for status in message.get("statuses") or []:
            if name.get(status["vertex"]) == vertex:
                found[status["id"]] = status
    return found


@pytest.mark.parametrize("target", ["copied", "through_a_stage"])
def test_a_named_context_sends_what_is_used_of_it(buildctl, tmp_path, target):
    text = (
        "FROM scratch AS copied\nCOPY --from=extra a /\n"
        "FROM extra AS stage\nFROM scratch AS through_a_stage\nCOPY --from=stage a /\n"
    )
    folder = write_context(tmp_path / "own", {"Dockerfile": text})
    extra = write_context(tmp_path / "extra", {"a": "small", "big": os.urandom(1_000_000), "sub/b": "b"})
    words = ["--frontend=dockerfile.v0", f"--local=dockerfile={folder}", f"--local=context={folder}"]
    words += ["--opt=context:extra=local:extra", f"--local=extra={extra}", f"--opt=target={target}"]
    done = buildctl.run("build", "--progress=rawjson", *words, f"--output=type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/a").read_text() == "small"
    [(key, status)] = statuses(done.stderr, "[context extra] load from client").items()
    assert (key, status["name"]) == ("transferring extra:", "transferring")
    assert status["current"] < 1000
    assert statuses(done.stderr, "[internal] load build definition from Dockerfile").keys() == {
        "transferring dockerfile:"
    }


@pytest.mark.kiln_only  # kiln's own client tells its daemon of them
@pytest.mark.parametrize("client", ["kiln", "kiln embedded"], indirect=True)
def test_a_change_behind_the_same_size_and_times(client, busybox_layout, tmp_path):
    """Written over in place, and another file moved over it: both keep the size and the time of modification."""
    build = Builder(client, busybox_layout, tmp_path)
    context = write_context(tmp_path / "own", {"Dockerfile": "FROM base\nCOPY a b /\nRUN cat a b >/seen\n"})

    def built(a, b):
        for name, text in (("a", a), ("b", b)):
            if (context / name).exists() and (context / name).read_text() == text:
                continue
            other = context / "a" if name == "a" else tmp_path / "other"
            other.write_text(text)
            os.utime(other, ns=(10**18, 10**18))
            if name == "b":
                other.rename(context / "b")
        request = build.request({"Dockerfile": ""})
        client.build(dataclasses.replace(request, context=context))
        return build.read("seen")

    assert built("one\n", "two\n") == "one\ntwo\n"
    assert built("eno\n", "two\n") == "eno\ntwo\n"
    assert built("eno\n", "owt\n") == "eno\nowt\n"


def test_changes_of_the_context_reach_the_build(build):
    files = {"Dockerfile": "FROM scratch\nCOPY in /\n", "in/a": "1", "in/b": "2", "in/sub/c": "3"}
    request = build.request(files)
    inside = pathlib.Path(request.context / "in")

    def result():
        build.client.build(request)
        return {str(p.relative_to(build.out)): p.read_text() for p in build.out.rglob("*") if p.is_file()}

    assert result() == {"a": "1", "b": "2", "sub/c": "3"}
    (inside / "a").write_text("changed")
    (inside / "b").unlink()
    (inside / "sub").rename(inside / "moved")
    request.outputs = [f"type=local,dest={build.folder}/second"]
    build.out = build.folder / "second"
    assert result() == {"a": "changed", "moved/c": "3"}
    (inside / "a").unlink()
    (inside / "a").mkdir()
    (inside / "a/now").write_text("a folder")
    request.outputs = [f"type=local,dest={build.folder}/third"]
    build.out = build.folder / "third"
    assert result() == {"a/now": "a folder", "moved/c": "3"}


def test_files_of_odd_names_and_kinds(build):
    names = ["ü€.txt", "with space", "new\nline", "-dash", "..dots", "*star"]
    odd = {f"in/{name}": name for name in names}
    request = build.request({"Dockerfile": "FROM scratch\nCOPY in /\n", **odd})
    (request.context / "in/empty").write_text("")
    os.mkfifo(request.context / "in/pipe")
    (request.context / "in/dangling").symlink_to("nowhere")
    (request.context / "in/large").write_bytes(b"0123456789abcdef" * 200_000)
    no_utf8 = os.fsdecode(b"no\xffutf8")
    (request.context / "in" / no_utf8).write_text("any bytes")
    (request.context / "in/link").symlink_to(no_utf8)
    build.client.build(request)
    for name, text in odd.items():
        assert build.read(name.removeprefix("in/")) == text
    assert build.read("empty") == ""
    assert os.fsencode((build.out / "link").readlink()) == b"no\xffutf8"
    assert build.read("link") == "any bytes"
    assert (build.out / "pipe").is_fifo()
    assert str((build.out / "dangling").readlink()) == "nowhere"
    assert (build.out / "large").read_bytes() == (request.context / "in/large").read_bytes()
