"""Fixtures of the end-to-end tests; what they are made of stands in kilntest/."""

import collections
import contextlib
import dataclasses
import os
import pathlib
import random
import socket
import sys
import zlib

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from kilntest import busybox, failure, hoststate, paths  # noqa: E402
from kilntest.build import Builder  # noqa: E402
from kilntest.clients import Buildctl, Buildx, Kiln  # noqa: E402
from kilntest.daemon import Daemon  # noqa: E402
from kilntest.registry import Registry  # noqa: E402

SEED = int(os.environ.get("KILN_TEST_SEED") or random.SystemRandom().randrange(1 << 32))

DAEMONS = {"daemon", "new_daemon", "daemon_program"}  # fixtures
# About time and memory, which a sanitizer changes, or about how the shipped program is linked.
NOT_SANITIZED = ("test_endurance.py", "test_faults.py", "test_shutdown.py", "test_static.py")


def pytest_addoption(parser):
    parser.addoption(
        "--daemon",
        choices=("kilnd", "buildkitd"),
        default=os.environ.get("KILN_TEST_DAEMON", "kilnd"),
        help="run the tests against kilnd, or the real buildkitd: what fails there is the test's fault",
    )
    parser.addoption("--share", metavar="N/OF", help="about every OF-th test (by a hash of its name), beginning with N")
    parser.addoption("--accept-golden", action="store_true", help="write the golden files anew, from what is seen now")


def pytest_configure(config):
    config.addinivalue_line("markers", "heavy: takes minutes, and the package registries; make soak runs it")
    config.addinivalue_line("markers", "kiln_only: about what buildkitd does otherwise, or not at all")


def shared_name(item):
    """Tests with the same one are in the same share: cases of a group run on one daemon, where who made a layer first
    has named it."""
    test, _, case = item.nodeid.partition("[")
    return f"{test}[{case.partition('/')[0]}" if item.path.parent.name == "differential" else item.nodeid


def pytest_collection_modifyitems(config, items):
    wanted = []
    if config.getoption("--daemon") != "kilnd":
        wanted.append(lambda item: not item.get_closest_marker("kiln_only"))
    if paths.is_sanitized():
        wanted.append(lambda item: DAEMONS & set(item.fixturenames) and item.path.name not in NOT_SANITIZED)
    if config.getoption("--share"):
        number, _, of = config.getoption("--share").partition("/")
        wanted.append(lambda item: zlib.crc32(shared_name(item).encode()) % int(of) == int(number))
    left_out = [item for item in items if not all(wants(item) for wants in wanted)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture(scope="session", autouse=True)
def own_traces(tmp_path_factory):
    """What a test looks at on the host is what this run of the tests left there; at its end its cgroups go."""
    hoststate.watch(tmp_path_factory.getbasetemp())
    yield
    hoststate.remove_cgroups()


@pytest.fixture(scope="session")
def is_kilnd(pytestconfig):
    return pytestconfig.getoption("--daemon") == "kilnd"


@pytest.fixture(scope="session")
def kiln():
    """The path of the built `kiln`."""
    return paths.kiln()


@pytest.fixture(scope="session")
def kilnd():
    return paths.kilnd()


@pytest.fixture(scope="session")
def clients():
    """The folder with the real buildctl, buildx and buildkitd."""
    return paths.clients()


@pytest.fixture(scope="session")
def peer():
    return paths.peer()


@pytest.fixture(scope="session")
def busybox_layout(tmp_path_factory):
    """The folder of an OCI layout with a busybox image, tagged `latest`."""
    return busybox.write_layout(tmp_path_factory.mktemp("busybox") / "layout").path


@pytest.fixture(scope="session")
def shared_registry(tmp_path_factory, busybox_layout):
    """One registry for all tests that only read, with `library/busybox:latest`."""
    with Registry(tmp_path_factory.mktemp("registry")) as registry:
        registry.push_layout(busybox_layout, "latest", "library/busybox:latest")
        yield registry


@pytest.fixture
def registry(tmp_path):
    """An empty registry of the test's own."""
    with Registry(tmp_path / "registry") as registry:
        yield registry


@pytest.fixture
def dice():
    """Chance, another one in each run unless KILN_TEST_SEED says which."""
    print(f"KILN_TEST_SEED={SEED}")  # shown when the test fails
    return random.Random(SEED)


@pytest.fixture
def unchanged_host():
    """Fails the test if mounts, cgroups or containers of the host differ afterwards. Ask for it before the daemon's
    fixture: then it looks after the daemon has gone."""
    before = hoststate.HostState.take()
    yield
    left = hoststate.lasting_additions(before, hoststate.HostState.take)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def daemon_program(is_kilnd, kilnd, clients):
    return kilnd if is_kilnd else clients / "buildkitd"


@pytest.fixture
def new_daemon(daemon_program, unchanged_host, tmp_path):
    """new_daemon(config="", arguments=()) starts a daemon (another `program` if told); all are stopped at the end."""
    running = []

    def start(program=daemon_program, **options):
        daemon = Daemon(program, tmp_path / f"daemon{len(running)}", **options)
        daemon.start()
        running.append(daemon)
        return daemon

    yield start
    with contextlib.ExitStack() as stop_all:
        for daemon in running:
            stop_all.callback(daemon.stop)


@pytest.fixture
def daemon_arguments():
    """More of the daemon's command line; a test file may have its own."""
    return []


@pytest.fixture
def daemon_config():
    """More of the daemon's configuration, and that of an engine embedded in kiln; a test file may have its own."""
    return ""


@pytest.fixture
def daemon_top():
    """Keys of the daemon's configuration that stand before any table; a test file may have its own."""
    return ""


@pytest.fixture
def daemon(new_daemon, is_kilnd, clients, daemon_arguments, daemon_config, daemon_top):
    """A daemon with no state. After the test it still answers, and is as idle as it was before."""
    daemon = new_daemon(arguments=daemon_arguments, config=daemon_config, top=daemon_top)
    Buildctl(clients / "buildctl", daemon.address).run("debug", "workers")
    before = daemon.state()
    pid = daemon.pid
    yield daemon
    assert "ID" in Buildctl(clients / "buildctl", daemon.address).run("debug", "workers").stdout
    if daemon.pid != pid:
        return  # the test started it again
    if is_kilnd:
        left = hoststate.lasting_differences(before, lambda: only_new_files(before, daemon.state()))
        assert not left, "left in the daemon:\n" + "\n".join(left)
        assert daemon.ingests() == []
    else:
        assert daemon.state().children == []


@pytest.fixture
def listener():
    """A TCP port on the host's loopback, for steps to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


@pytest.fixture
def serves_on(build):
    """After the test, a build works."""
    yield
    build(failure.GOOD)
    assert build.read("fine") == "fine\n"


# As many may stay open in the pool of the HTTP client; each has a pair of sockets that wakes whoever waits for it, also
# when the server has closed the connection.
IDLE_CONNECTIONS = 32
IDLE_SOCKETS = {"socket tcp out": IDLE_CONNECTIONS, "socket unix pair": 2 * IDLE_CONNECTIONS}


def only_new_files(before, after):
    """`after` without descriptors that are of no interest: the database's files, which it opens when it likes, and idle
    connections to registries. Those that were there before and are no more are of no interest either."""
    kept = [name for name in after.open_files if ".db" not in pathlib.Path(name).name]
    kept = [name for name in kept if "/state/snapshots/" not in name]
    known = collections.Counter(before.open_files)
    for name, limit in IDLE_SOCKETS.items():
        new = kept.count(name) - known[name]
        if 0 < new <= limit:
            kept = [other for other in kept if other != name]  # and those of before with them
    gone = list((known - collections.Counter(kept)).elements())
    return dataclasses.replace(after, open_files=sorted(kept + gone))


@pytest.fixture
def buildctl(clients, daemon):
    return Buildctl(clients / "buildctl", daemon.address)


@pytest.fixture
def client(request, clients, daemon, daemon_config, tmp_path, kiln):
    """Whoever the test's parameter names: `@pytest.mark.parametrize("client", CLIENTS, indirect=True)`."""
    if request.param == "buildctl":
        return Buildctl(clients / "buildctl", daemon.address)
    if request.param == "buildx":
        return Buildx(clients / "buildx", daemon.address, tmp_path / "buildx")
    if request.param == "kiln":
        return Kiln(kiln, address=daemon.address)
    config = tmp_path / "kiln.toml"
    config.write_text(daemon_config)
    return Kiln(kiln, root=tmp_path / "embedded", config=config if daemon_config else None)


@pytest.fixture
def build(buildctl, busybox_layout, tmp_path):
    """build({file: text, "Dockerfile": …}, …) builds with buildctl; `base` is busybox. More arguments are Request's.
    With `out` (the default) what was made is in the folder build.out, else give `outputs`."""
    return Builder(buildctl, busybox_layout, tmp_path)
