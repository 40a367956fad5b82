"""What tests of bad input have in common."""

import gzip
import io
import random
import signal
import tarfile

GOOD = "FROM base\nRUN echo fine >/fine\n"


def check(done, *said):
    """A client that failed, was not ended by a fault of its own, and said this."""
    assert done.returncode not in (0, -signal.SIGABRT, -signal.SIGSEGV), done.stderr
    for text in said:
        assert text in done.stderr, done.stderr


def tar_of(*members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def broken(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]


LAYER = tar_of((tarfile.TarInfo("f"), bytes(random.Random(1).randbytes(50_000))))
PACKED = gzip.compress(LAYER, mtime=0)
