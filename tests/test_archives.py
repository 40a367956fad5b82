"""ADD of archives: what links and names mean in them, times, and what becomes of damaged ones."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile

import pytest
from kilntest import failure


def archive(*members, format=tarfile.PAX_FORMAT):
    """Members: (path, type or None, link or content, PAX headers…)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for path, kind, text, *headers in members:
            info = tarfile.TarInfo(path)
            info.type = kind or tarfile.REGTYPE
            info.mode = 0o755
            info.pax_headers = headers[0] if headers else {}
            if kind:
                info.linkname = text
            else:
                info.size = len(text)
            tar.addfile(info, io.BytesIO(b"" if kind else text.encode()))
    return buffer.getvalue()


def added(build, data, then="find /to -xdev ! -type d | sort", check=True):
    """What a step prints after the archive was added to /to/, and the build."""
    done = build({"Dockerfile": f"FROM base\nADD a.tar /to/\nRUN ({then}) >/seen\n", "a.tar": data}, check=check)
    return build.read("seen").split() if done.returncode == 0 else done


@pytest.mark.parametrize("target", ("/usr/lib", "../../../usr/lib"))
def test_links_mean_the_destination(build, target):
    data = archive(
        ("usr/lib", tarfile.DIRTYPE, ""), ("lib", tarfile.SYMTYPE, target), ("lib/x.so", None, "x")
    )  # fmt: skip
    assert added(build, data) == ["/to/lib", "/to/usr/lib/x.so"]


@pytest.mark.parametrize(
    "members",
    (
        [("../up", None, "x"), ("f", None, "x")],
        [("f", None, "x"), ("../../up", None, "x")],
        [("f", None, "x"), ("up", tarfile.LNKTYPE, "../f")],
    ),
)
def test_names_stay_in_the_destination(build, members):
    assert added(build, archive(*members)) == ["/to/f", "/to/up"]


PACKERS = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: subprocess.run(["zstd", "-qc"], input=data, capture_output=True, check=True).stdout,
}


@pytest.mark.parametrize("packer", PACKERS)
def test_compressions(build, packer):
    small = archive(("f", None, "content"))
    assert added(build, PACKERS[packer](small)) == ["/to/f"]


def test_lzma_alone_is_no_archive(build):
    """Nobody else unpacks it, and it begins like many another file."""
    data = lzma.compress(archive(("f", None, "content")), format=lzma.FORMAT_ALONE)
    assert added(build, data) == ["/to/a.tar"]


def test_what_is_no_archive_stays_a_file(build):
    for data in (b"", b"text", gzip.compress(b"text", mtime=0), bz2.compress(b"x" * 5000)):
        assert added(build, data) == ["/to/a.tar"]


def broken(data, at):
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at:][1:]


SMALL = archive(("f", None, "content"))
BIG = archive(("f", None, os.urandom(1 << 20).hex()), ("g", None, "x"))
DAMAGED = {
    "gzip, small, checksum": broken(PACKERS["gzip"](SMALL), -6),
    "gzip, big, checksum": broken(PACKERS["gzip"](BIG), -6),
    "gzip, small, cut": PACKERS["gzip"](SMALL)[:-9],
    "gzip, big, cut": PACKERS["gzip"](BIG)[:-9],
    "bzip2, small, checksum": broken(PACKERS["bzip2"](SMALL), -2),
    "bzip2, big, cut": PACKERS["bzip2"](BIG)[:-20],
    "xz, small, checksum": broken(PACKERS["xz"](SMALL), -20),
    "xz, small, cut": PACKERS["xz"](SMALL)[:-20],
    "zstd, small, cut": PACKERS["zstd"](SMALL)[:-3],
    "plain, a header": broken(SMALL, 3),
    "plain, cut": BIG[:5000],
}


@pytest.mark.kiln_only  # buildkitd copies some of them as files, and reads others no further than it needs
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_archives_fail(build, name):
    done = added(build, DAMAGED[name], check=False)
    assert not isinstance(done, list), done
    failure.check(done, "unpacking")


def test_times(build):
    """What is before 1970, or later than nanoseconds in 64 bits can say, is 1970."""
    times = {
        "a": "1.5", "b": "-0.5", "c": "-1.25", "d": "-1", "e": "9223372036", "f": "9223372037", "g": "0.25",
    }  # fmt: skip
    data = archive(*((name, None, "x", {"mtime": time}) for name, time in times.items()))
    seen = added(build, data, then="cd /to && stat -c '%n:%Y' *")
    assert seen == ["a:1", "b:0", "c:0", "d:0", "e:9223372036", "f:0", "g:0"]


def test_sockets_are_copied_as_empty_files(build):
    socket = "mkdir /s && touch /s/f && ln -s /s/log /dev/log && syslogd && until [ -S /s/log ]; do sleep 0.1; done"
    build(f"FROM base AS a\nRUN {socket}\nFROM base\nCOPY --from=a /s /s\nRUN stat -c '%n:%s:%F' /s/* >/seen\n")
    assert build.read("seen") == "/s/f:0:regular empty file\n/s/log:0:regular empty file\n"


def test_hosts_that_is_a_link(build):
    data = archive(("hosts", tarfile.SYMTYPE, "../run/hosts"))
    steps = ["grep -q localhost /etc/hosts && echo there >/seen", "readlink /etc/hosts >>/seen"]
    text = "\n".join(["FROM base", "ADD a.tar /etc/", *(f"RUN {step}" for step in steps)])
    build({"Dockerfile": text, "a.tar": data})
    assert build.read("seen").split() == ["there", "../run/hosts"]
    assert not (build.out / "run/hosts").exists()


@pytest.mark.kiln_only  # there no step runs on such an image
def test_hosts_that_is_a_folder(build):
    data = archive(("hosts/own", None, "x"))
    build({"Dockerfile": "FROM base\nADD a.tar /etc/\nRUN ls /etc/hosts >/seen\n", "a.tar": data})
    assert build.read("seen").split() == ["own"]


@pytest.mark.kiln_only  # buildkitd pushes an image that has others removed
def test_files_named_as_whiteouts(build, tmp_path):
    text = "FROM base\nRUN mkdir /a && touch /a/.wh.f && ls -A /a >/seen\n"
    build(text)
    assert build.read("seen").split() == [".wh.f"]
    done = build(text, outputs=[f"type=oci,dest={tmp_path}/image.tar"], check=False)
    failure.check(done, "/a/.wh.f: a name that begins with .wh. says in an image's layer")
