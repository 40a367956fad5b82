"""Nothing is lost: the daemon is killed, or the machine's power goes, at any moment of any build."""

import os

import pytest
from kilntest import crash, hoststate, wait
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon
from kilntest.disk import CopyingDisk, Disk
from kilntest.marks import soak

pytestmark = pytest.mark.kiln_only


@pytest.fixture
def builders(clients, busybox_layout, tmp_path):
    """builders(daemon, count): each with a folder of its own."""
    made = []

    def make(daemon, count):
        made.extend(range(count))
        client = Buildctl(clients / "buildctl", daemon.address)
        return [Builder(client, busybox_layout, tmp_path / f"builder{len(made)}.{i}") for i in range(count)]

    return make


def records(root):
    return {name for (name,) in crash.rows(root, "SELECT id FROM records WHERE kind<>3")}


@pytest.mark.parametrize("kills", [5, soak(200, seconds=3600)])
def test_killed_at_any_moment(new_daemon, kiln, builders, unchanged_host, dice, kills, tmp_path):
    daemon = new_daemon()
    idle = hoststate.HostState.take()
    root = daemon.root / "state"
    done = {0}
    crash.assert_right(builders(daemon, 1)[0], done, cached=False)
    for round_number in range(kills):
        with crash.Workers(builders(daemon, 2), tmp_path, dice.random()) as workers:
            wait.pause(dice.uniform(0.02, 1.5))
            workers.stop()
            daemon.kill()
        assert workers.failures == [], f"kill {round_number}"
        done |= set(workers.done)
        committed = records(root)
        daemon.start()
        assert hoststate.lasting_additions(idle, hoststate.HostState.take) == []
        assert committed <= records(root)
        (one,) = builders(daemon, 1)
        crash.assert_right(one, dice.sample(sorted(done), min(2, len(done))), cached=True)
        crash.assert_clean(kiln, daemon)
        daemon.start()
    print(f"{kills} kills, {len(done)} builds were known")
    (one,) = builders(daemon, 1)
    crash.assert_right(one, done, cached=True)
    listed = sum(record["size"] for record in one.client.records())
    one.client.run("prune", "--all")
    assert one.client.records() == []
    crash.assert_clean(kiln, daemon)
    assert listed > 1_000_000
    assert list((root / "snapshots").iterdir()) == []
    # The documents of images are kept for a while.
    pinned = {name for (name,) in crash.rows(root, "SELECT lower(hex(digest)) FROM pins")}
    assert {path.name for path in (root / "blobs/sha256").iterdir()} <= pinned


# The daemon that comes after the loss of power finds that the machine was started anew.
REBOOTED = """\
mount --make-rprivate /
mount --bind {boot_id} /proc/sys/kernel/random/boot_id
exec "$@"
"""


def rebooted(kilnd, folder, number):
    folder.mkdir()
    boot_id = folder / "boot_id"
    boot_id.write_text(f"00000000-0000-0000-0000-{number:012}\n")
    return Daemon(kilnd, folder, prefix=["unshare", "-m", "sh", "-c", REBOOTED.format(boot_id=boot_id), "sh"])


UNSYNCED = "WHERE seq>(SELECT CAST(value AS INTEGER) FROM meta WHERE key='synced')"


def write_back(root, dice):
    """The kernel may write any file to the disk at any time, in any order; what is new is often what it has not."""
    for path in [root / "store.db-wal", root / "cache.db-wal", *dice.sample(sorted(root.glob("snapshots/*/fs/*")), 1)]:
        if dice.random() < 0.5 and path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


@pytest.mark.parametrize("losses", [3, soak(50, seconds=3600)])
def test_power_lost_at_any_moment(kilnd, kiln, builders, unchanged_host, dice, losses, tmp_path):
    with CopyingDisk(tmp_path / "disks.img", tmp_path / "disks") as disks:
        images = [disks.folder / f"lost{number}.img" for number in range(losses)]
        daemon = Daemon(kilnd, tmp_path / "daemon")
        root = daemon.root / "state"
        with (
            Disk(disks.folder / "disk.img", root, megabytes=512) as disk,
            daemon,
            crash.Workers(builders(daemon, 2), tmp_path, dice.random()) as workers,
        ):
            for image in images:
                wait.pause(dice.uniform(0.1, 2.5))
                write_back(root, dice)
                disk.copy_as_it_is(image)
            workers.stop()
        assert workers.failures == []
        kept = [after_power_loss(kilnd, kiln, builders, dice, tmp_path / f"after{i}", i, image)
                for i, image in enumerate(images)]  # fmt: skip
        print(f"{losses} losses of power during {len(workers.done)} builds; records kept and dropped: {kept}")


def after_power_loss(kilnd, kiln, builders, dice, folder, number, image):
    daemon = rebooted(kilnd, folder, number)
    root = folder / "state"
    with Disk(image, root):
        has_store = crash.rows(root, "SELECT 1 FROM sqlite_master WHERE name='records'") != []
        before = records(root) if has_store else set()
        risky = dict(crash.rows(root, f"SELECT id, local OR kind=3 FROM records {UNSYNCED}")) if has_store else {}
        blobs = set(crash.rows(root, f"SELECT digest FROM blobs {UNSYNCED}")) if has_store else set()
        with daemon:
            now = dict(crash.rows(root, "SELECT id, local OR kind=3 FROM records"))
            assert not [name for name, local in risky.items() if local and now.get(name)]
            assert not blobs & set(crash.rows(root, "SELECT digest FROM blobs"))
            (one,) = builders(daemon, 1)
            crash.assert_right(one, dice.sample(range(40), 4), cached=False)
            crash.assert_clean(kiln, daemon)
        return len(before & set(now)), len(before - set(now))
