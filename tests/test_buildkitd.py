"""The real buildkitd through the same helpers: a failing end-to-end test is then kiln's fault, not the harness's."""

import pytest
from kilntest.clients import Buildctl
from kilntest.daemon import Daemon
from kilntest.request import Request, write_context


@pytest.fixture
def buildkitd(clients, tmp_path, shared_registry):
    with Daemon(clients / "buildkitd", tmp_path / "buildkitd", registries=[shared_registry.host]) as daemon:
        yield daemon


def test_builds_and_exports_a_dockerfile(buildkitd, clients, shared_registry, tmp_path):
    dockerfile = (
        f"FROM {shared_registry.host}/library/busybox AS build\nCOPY input /\nRUN tr a-z A-Z </input >/output\n"
        "FROM scratch\nCOPY --from=build /output /\n"
    )
    context = write_context(tmp_path / "context", {"input": "from the context\n", "Dockerfile": dockerfile})
    request = Request(context, outputs=[f"type=local,dest={tmp_path}/out"])
    buildctl = Buildctl(clients / "buildctl", buildkitd.address)
    buildctl.build(request)
    assert (tmp_path / "out/output").read_text() == "FROM THE CONTEXT\n"
    assert "CACHED" in buildctl.build(request).stderr
    assert buildkitd.state().children == []
