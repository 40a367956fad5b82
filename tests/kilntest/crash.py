"""Builds whose results are known beforehand, run one after the other until their daemon is no more; and what must hold
of the daemon's files afterwards."""

import contextlib
import dataclasses
import hashlib
import pathlib
import random
import sqlite3
import tarfile
import threading

from kilntest import plain, wait
from kilntest.clients import Kiln

# Layers on layers, a stage copied from, a cache mount, a bind mount, an inline COPY; some of it shared by all builds.
DOCKERFILE = """\
FROM base AS common
RUN echo shared >/shared; seq 1 2000 >/numbers
FROM common AS made
ARG N
RUN --mount=type=cache,target=/c echo $N >>/c/log; echo made $N >/made; head -c 300000 /dev/zero | tr '\\0' $N >/large
RUN --mount=type=bind,target=/context cat /made /context/text >/both; rm /numbers
FROM common
COPY . /in
COPY --from=made /both /made /large /
RUN mkdir /d; for i in $(seq 1 40); do echo $i >/d/$i; done; chmod 700 /d
"""


@dataclasses.dataclass
class Mixed:
    """Build number `n` of the kind: some are new, some share all but their end with those before."""

    n: int

    @property
    def files(self):
        return {"Dockerfile": DOCKERFILE, "text": f"text {self.n % 5}\n", "more/same": "x" * 5000}

    @property
    def args(self):
        return {"N": str(self.n % 8)}

    def check(self, out):
        """What a build wrote is what it must be."""
        digit = str(self.n % 8)
        want = {
            "shared": "shared\n",
            "numbers": "".join(f"{i}\n" for i in range(1, 2001)),
            "made": f"made {digit}\n",
            "both": f"made {digit}\ntext {self.n % 5}\n",
            "large": digit * 300000,
            "in/text": f"text {self.n % 5}\n",
            "in/more/same": "x" * 5000,
            **{f"d/{i}": f"{i}\n" for i in range(1, 41)},
        }
        for name, text in want.items():
            seen = (pathlib.Path(out) / name).read_text()
            assert seen == text, f"{name} of build {self.n}: {seen[:60]!r}, {len(seen)} bytes"


class Workers:
    """`with Workers(builder, folder) as workers:` runs mixed builds, a few at a time, until the end; those that fail
    after `stop()` do not count. `done` are the numbers of those whose client was told that they succeeded."""

    def __init__(self, builders, folder, seed):
        self.done, self.failures = [], []
        self._stopped = threading.Event()
        self._folder, self._seed = pathlib.Path(folder), seed
        self._threads = [threading.Thread(target=self._run, args=(i, one)) for i, one in enumerate(builders)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self):
        self._stopped.set()

    def _run(self, index, builder):
        dice = random.Random(f"{self._seed} {index}")
        while not self._stopped.is_set():
            mixed = Mixed(dice.randrange(40))
            archive = self._folder / f"{index}.tar"
            kinds = ("type=local", f"type=oci,dest={archive}", f"type=oci,compression=zstd,dest={archive}")
            kind = dice.choice(kinds)
            outputs = {} if kind == "type=local" else {"outputs": [kind]}
            finished = builder(mixed.files, args=mixed.args, check=False, **outputs)
            if finished.returncode == 0:
                self.done.append(mixed.n)
                if kind == "type=local":
                    mixed.check(builder.out)
                else:
                    check_archive(archive)
            elif not self._stopped.is_set():
                self.failures.append(finished.stderr)
                return


def check_archive(path):
    """Every blob of an OCI archive has the digest it is named by."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.startswith("blobs/sha256/") and member.isfile():
                data = archive.extractfile(member).read()
                assert hashlib.sha256(data).hexdigest() == pathlib.Path(member.name).name, member.name


def assert_clean(kiln, daemon):
    """Stops the daemon when it has deleted what it will; then `kiln fsck` finds nothing, and no file of a process is
    left."""
    root = daemon.root / "state"
    swept = lambda: not any(any((root / name).iterdir()) for name in ("ingest", "trash"))  # noqa: E731
    wait.until(swept, "ingests and trash are gone")
    daemon.stop()
    done = Kiln(kiln).run("fsck", "--root", root, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
    left = [path for name in ("sockets", "executor/containers", "executor/runtime", "ingest", "trash")
            if (root / name).is_dir() for path in (root / name).iterdir()]  # fmt: skip
    left += [path for path in root.glob("snapshots/*/*") if not is_kept(path.name)]
    left += [path for path in root.iterdir() if path.name.startswith("workerid.")]
    assert left == []


def is_kept(name):
    return name in ("fs", "index", "links") or (name.startswith("flat-") and len(name) == 21)


def assert_right(builder, numbers, cached):
    """These builds give what they must; with `cached` without running anything."""
    for n in numbers:
        mixed = Mixed(n)
        said = builder(mixed.files, args=mixed.args).stderr
        mixed.check(builder.out)
        if cached:
            assert all(plain.steps(said).values()), said


def rows(root, sql):
    """What a query finds in a store's database, which is copied first: looking must not change it."""
    copy = pathlib.Path(root).parent / "looked-at.db"
    for suffix in ("-wal", "-shm", ""):
        pathlib.Path(f"{copy}{suffix}").unlink(missing_ok=True)
        source = pathlib.Path(f"{root}/store.db{suffix}")
        if suffix != "-shm" and source.exists():
            pathlib.Path(f"{copy}{suffix}").write_bytes(source.read_bytes())
    with contextlib.closing(sqlite3.connect(copy)) as database:
        return database.execute(sql).fetchall()
