"""`kiln fsck`: what is wrong with the files of a daemon that does not run, and builds after a repair."""

import os
import pathlib
import shutil
import sqlite3

import pytest
from kilntest import plain
from kilntest.clients import Kiln

pytestmark = pytest.mark.kiln_only
DOCKERFILE = "FROM base\nCOPY file /\nRUN --mount=type=cache,target=/c echo run >/made; echo once >>/c/log\n"


@pytest.fixture
def stopped(daemon, build, kiln, tmp_path):
    """The root of a daemon that has built and ended; stopped.fsck() looks at it."""

    class Root(type(pathlib.Path())):
        def fsck(self, *flags):
            done = Kiln(kiln).run("fsck", "--root", self, *flags, check=False)
            return done.returncode, done.stdout.splitlines()

        def query(self, sql):
            with sqlite3.connect(self / "store.db") as db:
                return db.execute(sql).fetchall()

    build({"Dockerfile": DOCKERFILE, "file": "f"}, outputs=[f"type=oci,dest={tmp_path}/image.tar"])
    daemon.stop()
    root = Root(daemon.root / "state")
    assert root.fsck() == (0, [])
    yield root
    code, found = root.fsck("--repair")
    assert code == 0
    assert found
    assert root.fsck() == (0, [])
    daemon.start()
    again = build({"Dockerfile": DOCKERFILE, "file": "f"}).stderr
    assert build.read("made") == "run\n"
    assert build.read("file") == "f"
    assert plain.steps(again)


def blob_of(stopped, which="min"):
    ((name,),) = stopped.query(f"SELECT {which}(lower(hex(digest))) FROM blobs")
    return stopped / "blobs/sha256" / name


def test_a_blob_with_other_bytes(stopped):
    path = blob_of(stopped)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    code, found = stopped.fsck()
    assert code == 1
    assert any(f"blob sha256:{path.name}: its file has the digest sha256:" in line for line in found)


def test_a_blob_cut_short_one_missing_and_one_too_many(stopped):
    short, missing = blob_of(stopped), blob_of(stopped, "max")
    os.truncate(short, 3)
    if missing != short:
        missing.unlink()
    (stopped / "blobs/sha256/stranger").write_text("x")
    code, found = stopped.fsck()
    assert code == 1
    assert any(f"blob sha256:{short.name}: its file has 3 bytes" in line for line in found)
    assert missing == short or f"blob sha256:{missing.name}: its file is missing" in found
    assert "blobs/sha256/stranger: no row knows it" in found


def test_layers_without_their_directories(stopped):
    for (num,) in stopped.query("SELECT num FROM records WHERE kind=0 AND local=1"):
        shutil.rmtree(stopped / f"snapshots/{num}")
    (stopped / "snapshots/4711/fs").mkdir(parents=True)
    code, found = stopped.fsck()
    assert code == 1
    assert any("is missing" in line and line.startswith("record ") for line in found)
    assert "snapshots/4711: no row knows it" in found


def test_a_record_without_its_parent_and_results_without_records(stopped):
    ((parent, record),) = stopped.query("SELECT parent, id FROM records WHERE parent IS NOT NULL ORDER BY num LIMIT 1")
    stopped.query(f"DELETE FROM records WHERE num={parent}")
    code, found = stopped.fsck()
    assert code == 1
    assert f"record {record}: its parent {parent} is not there" in found
    assert any(line.startswith("cache.db: the result ") and line.endswith("is not in the store") for line in found)


def test_what_a_dead_process_left(stopped):
    (stopped / "ingest/half").write_text("x")
    (stopped / "trash/old/fs").mkdir(parents=True)
    ((num, name),) = stopped.query("SELECT num, id FROM records WHERE kind=3 AND type='source.local' LIMIT 1")
    stopped.query(f"UPDATE records SET dirty=1 WHERE num={num}")
    indexes = list(stopped.glob("snapshots/*/index"))
    if indexes:
        indexes[0].write_bytes(b"kilnidx\x01 and then nothing of the kind")
    code, found = stopped.fsck()
    assert code == 1
    assert "ingest/half: left by a process that ended" in found
    assert "trash/old: left by a process that ended" in found
    assert any(line.startswith(f"directory {name}: ") and "was being written" in line for line in found)
    assert not indexes or any(line.startswith(f"snapshots/{indexes[0].parent.name}/index: ") for line in found)


@pytest.mark.parametrize("name", ["store.db", "cache.db"])
def test_a_damaged_database(stopped, name):
    path = stopped / name
    for suffix in ("-wal", "-shm"):
        pathlib.Path(f"{path}{suffix}").unlink(missing_ok=True)
    path.write_bytes(b"no database " * 4096)
    code, found = stopped.fsck()
    assert code == 1
    assert any(line.startswith(f"{name}: damaged: ") for line in found)


def test_a_running_daemon_and_a_place_without_a_store(daemon, kiln, tmp_path):
    done = Kiln(kiln).run("fsck", "--root", daemon.root / "state", check=False)
    assert done.returncode == 2
    assert "is in use by another process" in done.stderr
    done = Kiln(kiln).run("fsck", "--root", tmp_path / "nowhere", check=False)
    assert done.returncode == 2
    assert "no store is there" in done.stderr
