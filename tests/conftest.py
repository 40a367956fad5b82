"""Fixtures of the end-to-end tests; what they are made of stands in kilntest/."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from kilntest import busybox, hoststate, paths  # noqa: E402
from kilntest.registry import Registry  # noqa: E402


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
def unchanged_host():
    """Fails the test if mounts or cgroups of the host differ afterwards. Ask for it before the daemon's fixture: then
    it looks after the daemon has gone."""
    before = hoststate.HostState.take()
    yield
    left = hoststate.differences(before, hoststate.HostState.take())
    assert not left, "left behind:\n" + "\n".join(left)
