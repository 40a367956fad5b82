"""Contexts that are no folder of the client's: git remotes, web servers, standard input."""

import bz2
import gzip
import io
import lzma
import struct
import subprocess
import tarfile

import pytest
from kilntest import failure
from kilntest.gitserver import GitWeb, Repository
from kilntest.request import Request
from kilntest.webserver import WebServer
from test_builds import CLIENTS, THROUGH_DAEMON, by

DOCKERFILE = "FROM scratch\nCOPY . /copied/\n"
DOCKER_CLIENTS = CLIENTS[1:]


def tarball(files):
    def member(name, text):
        return tarfile.TarInfo(name), text.encode()

    return failure.tar_of(*(member(name, text) for name, text in files.items()))


TAR = tarball({"Dockerfile": DOCKERFILE, "a.txt": "one\n", "other/Dockerfile.b": "FROM scratch\nCOPY a.txt /b\n"})


@pytest.fixture
def web():
    with WebServer() as web:
        yield web


@pytest.fixture
def repository(tmp_path):
    repository = Repository(tmp_path / "git")
    repository.commit({"Dockerfile": DOCKERFILE, "a.txt": "one\n", ".dockerignore": "a.txt\n"})
    repository.git("checkout", "-q", "-b", "next")
    repository.commit({"sub/Dockerfile": "FROM scratch\nCOPY b.txt /\n", "sub/b.txt": "two\n"})
    return repository


@pytest.fixture
def remote(repository):
    with GitWeb(repository.folder) as web:
        yield web.url("repo.git")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def request(context, out, **options):
    return Request(context, outputs=[f"type=local,dest={out}"], **options)


@by(CLIENTS)
def test_git_context(client, remote, out, tmp_path):
    client.build(request(remote, out))
    # Nothing is left out: .dockerignore is for folders of the client's.
    assert sorted(path.name for path in (out / "copied").iterdir()) == [".dockerignore", "Dockerfile", "a.txt"]
    client.build(request(f"{remote}#next:sub", tmp_path / "next"))
    assert (tmp_path / "next/b.txt").read_text() == "two\n"
    client.build(request(remote, tmp_path / "kept", args={"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}))
    assert (tmp_path / "kept/copied/.git/HEAD").exists()


def zstd(data):
    return subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout


# zstd takes a frame of what is none of its business for granted, in front and anywhere.
SKIPPED = struct.pack("<II", 0x184D2A50, 5) + b"words"
PACKERS = {
    "tar": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zst-skipped": lambda data: SKIPPED + zstd(data),
}


@by(CLIENTS)
def test_context_in_an_archive(client, web, out, tmp_path):
    for name, pack in PACKERS.items():
        web.pages[f"/{name}"] = pack(TAR)
        client.build(request(web.url(f"/{name}"), tmp_path / name))
        assert (tmp_path / name / "copied/a.txt").read_text() == "one\n"
    client.build(request(web.url("/gz"), out, dockerfile="other/Dockerfile.b"))
    assert (out / "b").read_text() == "one\n"


def test_contexts_of_zstd_are_announced(buildctl, web, out):
    """By a capability that a client may insist on."""
    web.pages["/zst"] = zstd(TAR)
    words = buildctl.words(request(web.url("/zst"), out))
    cap = "moby.buildkit.frontend.contexts"
    buildctl.execute([*words, f"--opt=frontend.caps={cap}.zstd"])
    assert (out / "copied/a.txt").read_text() == "one\n"
    done = buildctl.execute([*words, f"--opt=frontend.caps={cap}.none-such"], check=False)
    failure.check(done, f"unsupported frontend capability {cap}.none-such")


@by(THROUGH_DAEMON)
def test_dockerfile_at_a_url(client, web, out):
    web.pages["/Dockerfile.web"] = DOCKERFILE.encode()
    client.build(request(web.url("/Dockerfile.web"), out))
    assert (out / "copied/context").read_text() == DOCKERFILE


def test_missing_context(build, buildctl, web, out, serves_on):
    done = buildctl.build(request(web.url("/none"), out), check=False)
    failure.check(done, "invalid response status 404")


@by(THROUGH_DAEMON)
def test_named_contexts(client, web, remote, out, tmp_path):
    web.pages["/file"] = b"text\n"
    dockerfile = "FROM scratch\nCOPY --from=files /context /f\nCOPY --from=repo /b.txt /\nCOPY --from=git a.txt /\n"
    (tmp_path / "context").mkdir()
    (tmp_path / "context/Dockerfile").write_text(dockerfile)
    contexts = {"files": web.url("/file"), "repo": f"{remote}#next:sub", "git": remote}
    client.build(request(tmp_path / "context", out, contexts=contexts))
    assert [(out / name).read_text() for name in ("f", "b.txt", "a.txt")] == ["text\n", "two\n", "one\n"]


def with_words(client, request, *, context, file=None):
    """The client's command line with another context and --file, as only a shell's user writes them."""
    words = client.words(request)[:-1]
    at = words.index("--file")
    words[at : at + 2] = ["--file", file] if file else []
    return [*words, context]


@by(DOCKER_CLIENTS)
def test_standard_input(client, out, tmp_path, remote):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("local\n")

    def run(stdin, name, **options):
        words = with_words(client, request(tmp_path / "empty", tmp_path / name), **options)
        client.execute(words, stdin=stdin)
        return tmp_path / name

    assert (run(TAR, "tar", context="-") / "copied/a.txt").read_text() == "one\n"
    assert (run(zstd(TAR), "zstd", context="-") / "copied/a.txt").read_text() == "one\n"
    made = run(gzip.compress(TAR), "file", context="-", file="other/Dockerfile.b")
    assert (made / "b").read_text() == "one\n"
    made = run(b"FROM scratch\nWORKDIR /made\nCOPY . /copied/\n", "text", context="-")
    assert (made / "made").is_dir() and not list((made / "copied").glob("*"))
    made = run(DOCKERFILE.encode(), "dockerfile", context=tmp_path / "empty", file="-")
    assert (made / "copied/a.txt").read_text() == "local\n"
    made = run(b"FROM scratch\nCOPY a.txt /\n", "both", context=remote, file="-")
    assert (made / "a.txt").read_text() == "one\n"


@by(DOCKER_CLIENTS)
def test_file_at_a_url(client, web, remote, out, tmp_path):
    web.pages["/Dockerfile.web"] = b"FROM scratch\nCOPY a.txt /\n"
    (tmp_path / "local").mkdir()
    (tmp_path / "local/a.txt").write_text("local\n")
    for context, text in ((tmp_path / "local", "local\n"), (remote, "one\n")):
        plain = request(tmp_path / "local", out)
        client.execute(with_words(client, plain, context=context, file=web.url("/Dockerfile.web")))
        assert (out / "a.txt").read_text() == text


@by(DOCKER_CLIENTS)
def test_standard_input_is_one_thing(client, out, tmp_path):
    (tmp_path / "empty").mkdir()
    words = with_words(client, request(tmp_path / "empty", out), context="-", file="-")
    assert client.execute(words, stdin=b"FROM scratch\n", check=False).returncode != 0
    words = with_words(client, request(tmp_path / "empty", out), context="-", file="other")
    assert client.execute(words, stdin=b"FROM scratch\n", check=False).returncode != 0


@pytest.mark.kiln_only
def test_a_large_archive_on_standard_input(kiln, tmp_path):
    """More than fits into one message or pipe, and the second time nothing is built again."""
    from kilntest.clients import Kiln

    client = Kiln(kiln, root=tmp_path / "root")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in {"Dockerfile": b"FROM scratch\nCOPY big /\n", "big": bytes(range(256)) * 20_000}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (tmp_path / "empty").mkdir()
    words = with_words(client, request(tmp_path / "empty", tmp_path / "out"), context="-")
    client.execute(words, stdin=buffer.getvalue())
    assert (tmp_path / "out/big").stat().st_size == 256 * 20_000
    assert "CACHED" in client.execute(words, stdin=buffer.getvalue()).stderr
