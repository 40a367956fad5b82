"""One daemon for all cases, and a few builds at once; a case runs when a test that wants it is chosen."""

import concurrent.futures
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from differ import case  # noqa: E402
from differ.room import Room  # noqa: E402
from kilntest import hoststate  # noqa: E402
from kilntest.daemon import Daemon  # noqa: E402

AT_ONCE = 3
# How a layer is compressed depends on who exported it first: these go one after the other, as for the record, behind
# all others, and all of them where one is wanted.
IN_ORDER = "outputs/"


def in_order(one):
    return one.id.startswith(IN_ORDER)


@pytest.fixture(scope="package")
def room(tmp_path_factory, daemon_program, clients):
    """The room, with a daemon in it. Afterwards the host is as it was."""
    folder = tmp_path_factory.mktemp("differential")
    before = hoststate.HostState.take()
    with Room(folder / "room") as room:  # noqa: SIM117
        with Daemon(daemon_program, folder / "daemon", config=room.daemon_config(), **room.daemon_options()) as daemon:
            yield room.attach(clients / "buildctl", daemon.address)
    left = hoststate.lasting_additions(before, hoststate.HostState.take)
    assert not left, "left behind:\n" + "\n".join(left)


@pytest.fixture(scope="package")
def observed(request, room, pytestconfig):
    """observed(case) is what it did. All cases of the chosen tests are begun at once, a few of them run."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    chosen = [call.params["case"] for call in calls if call and "case" in call.params]
    real = pytestconfig.getoption("--daemon") == "buildkitd"
    if not real and any(in_order(one) for one in chosen):
        chosen = [one for one in chosen if not in_order(one)]
        chosen += [one for group in case.groups().values() for one in group if in_order(one)]
    with (
        concurrent.futures.ThreadPoolExecutor(1) as ordered,
        concurrent.futures.ThreadPoolExecutor(AT_ONCE) as free,
    ):
        running = {one.id: free.submit(room.observe, one) for one in chosen if not real and not in_order(one)}
        ordered.submit(concurrent.futures.wait, list(running.values()))
        running |= {one.id: ordered.submit(room.observe, one) for one in chosen if real or in_order(one)}
        yield lambda one: running[one.id].result()
        for future in running.values():
            future.cancel()
