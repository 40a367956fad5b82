"""The sides that are compared, and how one build is measured."""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from kilntest import hoststate, paths
from kilntest.clients import Buildctl, Kiln
from kilntest.daemon import Daemon
from kilntest.request import Request

BUILDKITD = "buildkitd"
KILND = "kilnd"
EMBEDDED = "kiln build"
SIDES = (BUILDKITD, KILND, EMBEDDED)


@dataclasses.dataclass
class Measured:
    seconds: float
    cpu_seconds: float  # of the client, the daemon and what it started
    peak_bytes: int  # memory of the daemon, or of `kiln build`
    failure: str = None  # its last words, if it failed


class Side:
    """buildkitd or kilnd through buildctl, or `kiln build` with its engine inside; each with a state of its own."""

    def __init__(self, name, folder):
        self.name = name
        self.folder = pathlib.Path(folder)
        self.daemon = None
        if name == EMBEDDED:
            self.client = Kiln(paths.kiln(), root=self.folder / "state")
            return
        program = paths.kilnd() if name == KILND else paths.clients() / "buildkitd"
        self.daemon = Daemon(program, self.folder)
        self.daemon.start()
        self.client = Buildctl(paths.clients() / "buildctl", self.daemon.address)

    def build(self, request: Request, *, check=True):
        """Builds, and measures from the client's start to its end."""
        words = [str(word) for word in self.client.words(request)]
        if self.daemon:
            self.daemon.reset_peak_memory()
        cpu_before = self._cpu_seconds()
        with tempfile.TemporaryFile() as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.client.environ()
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            failure = None
            if process.returncode != 0:
                output.seek(max(0, output.seek(0, os.SEEK_END) - 4000))
                failure = output.read().decode(errors="replace").strip()
                if check:
                    raise AssertionError(f"{self.name}: {' '.join(words)}\n{failure}")
        peak = self.daemon.memory("VmHWM") if self.daemon else usage.ru_maxrss * 1024
        cpu = usage.ru_utime + usage.ru_stime + self._cpu_seconds() - cpu_before
        return Measured(seconds, cpu, peak, failure and failure.splitlines()[-1])

    def _pids(self):
        return [self.daemon.pid] + [int(line.split()[0]) for line in hoststate.children(self.daemon.pid)]

    def _cpu_seconds(self):
        """Of the daemon, its living children, and whatever they have waited for."""
        return sum(_cpu_seconds(pid) for pid in self._pids()) if self.daemon else 0

    def resident_bytes(self, field="VmRSS"):
        """Of the daemon and its children; RssAnon: without pages of files, which they share with the page cache."""
        return sum(_resident(pid, field) for pid in self._pids())

    def close(self):
        if self.daemon:
            self.daemon.stop(60)


def _resident(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid):
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it ended meanwhile, and its parent has its time
        return 0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


class Lab:
    """A folder for everything, and the sides in turn: who goes first changes with every use."""

    def __init__(self, folder, names=SIDES, quick=False):
        self.folder = pathlib.Path(folder)
        self.names = names
        self.quick = quick
        self.nonce = f"{time.time_ns():x}"
        self._count = itertools.count()
        self._turn = 0

    def path(self, name):
        """A path that is not in use yet."""
        return self.folder / f"{name}{next(self._count)}"

    @contextlib.contextmanager
    def corner(self):
        """What gets a path in here is removed at the end: for cases whose large files would fill the disk."""
        outer, self.folder = self.folder, self.path("corner")
        self.folder.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self.folder)
            self.folder = outer

    def in_turn(self, sides):
        self._turn += 1
        return list(sides) if self._turn % 2 else list(reversed(list(sides)))

    def unique(self):
        """A word that no build had before."""
        return f"{self.nonce}-{next(self._count)}"

    @contextlib.contextmanager
    def sides(self, *names):
        """Fresh sides with no state (all, or those named), ended afterwards."""
        with contextlib.ExitStack() as stack:
            sides = []
            for name in self.names:
                if not names or name in names:
                    sides.append(Side(name, self.path(name.replace(" ", "-"))))
                    stack.callback(sides[-1].close)
            yield sides


def settle():
    """What was written before does not hold up what is measured next."""
    os.sync()
