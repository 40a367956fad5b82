"""A full disk, little memory, registries at their worst, a clock that jumps, files that go: the daemon lives, says what
happened, and the next build works."""

import datetime
import json
import os
import pathlib
import shutil
import time

import pytest
from kilntest import crash, failure, oci, wait
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon
from kilntest.disk import Disk
from kilntest.faultproxy import FaultProxy
from kilntest.marks import soak

pytestmark = pytest.mark.kiln_only


@pytest.fixture
def new_builder(clients, busybox_layout, tmp_path):
    return lambda daemon: Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path / "builder")


def fill(folder, leave):
    """Takes all of a file system's space but about so many bytes."""
    filler = folder / "filler"
    size = shutil.disk_usage(folder).free - leave
    if size > 0:
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    return filler


@pytest.mark.parametrize("count", [6, soak(100, seconds=1800)])
def test_full_disk(kilnd, kiln, new_builder, unchanged_host, dice, count, tmp_path):
    daemon = Daemon(kilnd, tmp_path / "daemon")
    root = daemon.root / "state"
    failed = 0
    with Disk(tmp_path / "disk.img", root, megabytes=64), daemon:
        builder = new_builder(daemon)
        crash.assert_right(builder, [0], cached=False)
        for n in range(count):
            filler = fill(root, dice.randrange(0, 3 << 20))
            mixed = crash.Mixed(dice.randrange(40))
            large = "RUN head -c 4000000 /dev/urandom >/random\n"
            files = {**mixed.files, "Dockerfile": mixed.files["Dockerfile"] + large}
            out = {"outputs": [f"type=oci,dest={tmp_path}/image.tar"]} if dice.random() < 0.5 else {}
            done = builder(files, args=mixed.args, no_cache=n % 2 == 0, check=False, **out)
            if done.returncode != 0:
                failed += 1
                # A step's own program puts it in its own words.
                said = ("no space left on device", "disk is full", "did not complete successfully")
                assert any(text in done.stderr.lower() for text in said), done.stderr
            # Space can be had while the disk is full.
            if n % 3 == 0:
                builder.client.run("prune", "--all")
            filler.unlink(missing_ok=True)
        assert failed
        crash.assert_right(builder, [1, 2], cached=False)
        crash.assert_clean(kiln, daemon)
        print(f"{failed} of {count} builds failed for want of space")


CGROUP = pathlib.Path("/sys/fs/cgroup/memory/kilntest-limit")


@pytest.fixture
def limited():
    """The words that run a program in a memory cgroup of 96 MiB."""
    if not CGROUP.parent.is_dir():  # one hierarchy for all
        folder = pathlib.Path("/sys/fs/cgroup/kilntest-limit")
        (folder.parent / "cgroup.subtree_control").write_text("+memory")
        limit = folder / "memory.max"
    else:
        folder, limit = CGROUP, CGROUP / "memory.limit_in_bytes"
    folder.mkdir(exist_ok=True)
    limit.write_text(str(96 << 20))
    yield ["sh", "-c", f'echo $$ >{folder}/cgroup.procs && exec "$@"', "sh"]
    wait.until(lambda: not (folder / "cgroup.procs").read_text(), "the daemon has left its cgroup")
    folder.rmdir()


def test_little_memory(limited, new_daemon, new_builder, tmp_path):
    """A layer, a context and a file in them that are larger than all its memory."""
    daemon = new_daemon(prefix=limited)
    builder = new_builder(daemon)
    request = builder.request(
        {"Dockerfile": "FROM base\nCOPY large /\nRUN head -c 150000000 /dev/zero >/zeros; cat /large >/copy\n"},
        outputs=[f"type=oci,compression=zstd,dest={tmp_path}/image.tar"],
    )
    with (request.context / "large").open("wb") as large:
        for _ in range(150):
            large.write(os.urandom(1000) * 1000)
    pid = daemon.pid
    builder.client.build(request)
    assert daemon.pid == pid and daemon.process.poll() is None
    crash.check_archive(tmp_path / "image.tar")


def faults(dice, chance):
    """What a registry does wrong to a request, now and then; twice in a row at most, as clients give up in the end."""
    seen = {}

    def fault(method, path):
        key = (method, path)
        if dice.random() > chance or seen.get(key, 0) >= 2:
            return None
        seen[key] = seen.get(key, 0) + 1
        kinds = ["drop", (500, {}), (503, {}), (429, {"Retry-After": "0"}), (502, {"Content-Type": "text/html"})]
        if method == "GET":
            kinds.append(("cut", dice.randrange(1, 4000)))
        return dice.choice(kinds)

    return fault


@pytest.mark.parametrize("count", [3, soak(100, seconds=3600)])
def test_registry_at_its_worst(new_daemon, new_builder, registry, busybox_layout, dice, count):
    registry.push_layout(busybox_layout, "latest", "busybox:1")
    with FaultProxy(registry.host) as proxy:
        daemon = new_daemon(registries=[proxy.host])
        builder = new_builder(daemon)
        proxy.fault = faults(dice, 0.3)
        went_well = 0
        for n in range(count):
            name = f"{proxy.host}/made:{n}"
            text = f"FROM {proxy.host}/busybox:1\nRUN echo {n} >/n; head -c 200000 /dev/urandom >/random\n"
            done = builder(text, outputs=[f"type=image,name={name},push=true"], check=False)
            if done.returncode == 0:
                went_well += 1
                document, _ = registry.manifest("made", str(n))
                for one in [document["config"], *document["layers"]]:
                    assert oci.digest(registry.blob("made", one["digest"])) == one["digest"]
            else:
                assert proxy.host in done.stderr, done.stderr
            builder.client.run("prune", "--all")
            if n % 3 == 0:
                proxy.fault = faults(dice, 0.3)
        print(f"{went_well} of {count} builds went well, {len(proxy.requests)} requests")
        assert went_well
        proxy.fault = lambda method, path: None
        builder(f"FROM {proxy.host}/busybox:1\nRUN echo fine >/fine\n")
        assert builder.read("fine") == "fine\n"
        assert daemon.ingests() == []


YEAR = 365 * 24 * 3600
CLOCKS = [10 * YEAR, -int(time.time()) + YEAR, 0]  # in ten years, in 1971, now


def test_clock_that_jumps(new_daemon, new_builder, kilnd, tmp_path):
    """Ten years ahead, then before there was anything, and home: no build fails, none waits, nothing is lost."""
    path = tmp_path / "clock"
    path.write_bytes(bytes(8))
    program = kilnd.parent / "jumping_clock/kilnd"  # of the target kiln_jumping_clock
    daemon = new_daemon(program=program, prefix=["env", f"KILNTEST_CLOCK={path}"])
    builder = new_builder(daemon)
    crash.assert_right(builder, [0], cached=False)
    with path.open("r+b", buffering=0) as clock:
        for n, seconds in enumerate(CLOCKS):
            clock.seek(0)
            clock.write((seconds * 10**9).to_bytes(8, "little", signed=True))
            crash.assert_right(builder, [0], cached=True)
            crash.assert_right(builder, [n + 1], cached=False)
            builder.client.run("prune", "--keep-duration", "1h")
            made = [at - time.time() - seconds for at in created(builder)]
            assert min(abs(late) for late in made) < 100
            failure.check(builder("FROM base\nRUN false\n", check=False), "exit code: 1")
    crash.assert_right(builder, [0], cached=False)


def created(builder):
    """When the daemon believes that its records were made."""
    records = json.loads(builder.client.run("du", "--format", "{{json .}}").stdout)
    return [datetime.datetime.fromisoformat(one["createdAt"][:19] + "+00:00").timestamp() for one in records]


def test_files_that_go_while_the_daemon_runs(new_daemon, new_builder, kiln, tmp_path):
    """Blobs are made or fetched anew; a build says so if a layer itself is gone, and works after `fsck --repair`."""
    daemon = new_daemon()
    root = daemon.root / "state"
    builder = new_builder(daemon)
    mixed = crash.Mixed(3)
    archive = tmp_path / "image.tar"
    for _ in range(3):
        for kind in ("gzip", "zstd"):
            output = f"type=oci,compression={kind},force-compression=true,dest={archive}"
            builder(mixed.files, args=mixed.args, outputs=[output])
            crash.check_archive(archive)
        blobs = list((root / "blobs/sha256").iterdir())
        assert blobs
        for path in blobs:
            path.unlink()
    crash.assert_right(builder, [3, 4], cached=False)
    daemon.stop()
    found = crash.Kiln(kiln).run("fsck", "--root", root, "--repair", check=False)
    assert found.returncode == 0
    daemon.start()
    crash.assert_right(builder, [3], cached=True)
    crash.assert_clean(kiln, daemon)
