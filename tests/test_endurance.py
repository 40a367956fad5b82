"""Many builds, one after the other and at once: the daemon afterwards is as large, and holds as much, as before."""

import concurrent.futures
import random
import signal
import time

import pytest
from kilntest import crash, wait
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.marks import soak

pytestmark = pytest.mark.kiln_only
GROWTH = 8 << 20
WARM_UP = 20


@pytest.fixture
def daemon_config():
    """So that no build of the test is in the list of late ones only at first."""
    return "[history]\nmaxEntries = 10\nmaxAge = 1\n"


@pytest.fixture
def new_builder(daemon, clients, busybox_layout, tmp_path):
    client = Buildctl(clients / "buildctl", daemon.address)
    return lambda name: Builder(client, busybox_layout, tmp_path / f"builder-{name}")


def build_one(builder, n):
    """Of ten, two are new; the others are cached in all, in part, or fail."""
    mixed = crash.Mixed(n if n % 5 == 0 else n % 7)
    files = dict(mixed.files)
    if n % 10 == 3:
        files["Dockerfile"] += f"RUN echo {n}; exit 3\n"
    elif n % 5 == 0:
        files["text"] = f"text {n}\n"
    done = builder(files, args=mixed.args, check=False, outputs=[])
    assert (done.returncode != 0) == (n % 10 == 3), done.stderr


def resident(daemon):
    """When nothing of the builds lingers any more."""
    wait.until(lambda: daemon.ingests() == [] and daemon.state().children == daemon.idle.children, "it is idle", 20)
    return daemon.memory()


@pytest.mark.parametrize("count", [60, soak(1000, seconds=3600)])
def test_builds_in_a_row(daemon, new_builder, count):
    daemon.idle = daemon.state()
    builder = new_builder("one")
    for n in range(WARM_UP):
        build_one(builder, n)
    before = resident(daemon)
    for n in range(WARM_UP, count):
        build_one(builder, n)
    after = wait_for_memory(daemon, before)
    print(f"{count} builds: {before >> 10} KiB resident after {WARM_UP}, {after >> 10} KiB after all")
    assert after - before < GROWTH, (before, after)


def wait_for_memory(daemon, before):
    """What is kept for ten seconds after a build (its progress) goes first."""
    end = time.monotonic() + 15
    while resident(daemon) - before >= GROWTH and time.monotonic() < end:
        wait.pause(0.5)
    return daemon.memory()


@pytest.mark.parametrize("clients_at_once, seconds", [(8, 4), soak(50, 600, seconds=3600)])
def test_clients_at_once(daemon, new_builder, clients_at_once, seconds):
    daemon.idle = daemon.state()
    builder = new_builder("warm")
    with concurrent.futures.ThreadPoolExecutor(clients_at_once) as pool:
        # The same load first: what as many at once need, threads and all, is there when it is measured.
        list(pool.map(lambda i: build_one(new_builder(f"w{i}"), i), range(max(WARM_UP, clients_at_once))))
        build_one(builder, 0)
        before = resident(daemon)
        end = time.monotonic() + seconds

        def client(index):
            dice, mine, done = random.Random(index), new_builder(index), 0
            while time.monotonic() < end:
                build_one(mine, dice.randrange(1000))
                done += 1
            return done

        count = sum(pool.map(client, range(clients_at_once)))
    after = wait_for_memory(daemon, before)
    print(f"{clients_at_once} clients, {count} builds: {before >> 10} KiB resident before, {after >> 10} KiB after")
    assert after - before < GROWTH, (before, after)


@pytest.mark.parametrize("count", [24, soak(220, seconds=1800)])
def test_builds_started_and_cancelled(daemon, new_builder, count):
    """Broken off anywhere, by signals of every kind; the daemon's fixture compares mounts, processes and files."""
    dice = random.Random(count)
    builder = new_builder("one")
    build_one(builder, 0)
    daemon.idle = daemon.state()
    before = None
    running = []
    for n in range(count):
        if n == min(WARM_UP, count // 2):
            while running:
                end_one(running.pop(), dice)
            before = resident(daemon)
        mixed = crash.Mixed(n)
        request = builder.request({**mixed.files, "text": f"cancelled {n}\n"}, args=mixed.args)
        running.append(builder.client.start(request))
        wait.pause(dice.uniform(0, 0.15))
        if len(running) > 4:
            end_one(running.pop(dice.randrange(len(running))), dice)
    for process in running:
        end_one(process, dice)
    after = wait_for_memory(daemon, before)
    print(f"{count} builds cancelled: {before >> 10} KiB resident before, {after >> 10} KiB after")
    assert after - before < GROWTH, (before, after)
    crash.assert_right(builder, [1, 2], cached=False)


def end_one(process, dice):
    process.send_signal(dice.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL]))
    process.communicate(timeout=30)
