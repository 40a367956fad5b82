"""The real buildkitd through the same helpers: a failing end-to-end test is then kiln's fault, not the harness's."""

import pytest
from kilntest.buildctl import Buildctl
from kilntest.daemon import Daemon


@pytest.fixture
def buildkitd(clients, tmp_path, shared_registry):
    with Daemon(clients / "buildkitd", tmp_path / "buildkitd", registries=[shared_registry.host]) as daemon:
        yield daemon


def test_builds_and_exports_a_dockerfile(buildkitd, clients, shared_registry, tmp_path):
    context = tmp_path / "context"
    context.mkdir()
    (context / "input").write_text("from the context\n")
    (context / "Dockerfile").write_text(
        f"FROM {shared_registry.host}/library/busybox AS build\nCOPY input /\nRUN tr a-z A-Z </input >/output\n"
        "FROM scratch\nCOPY --from=build /output /\n"
    )
    buildctl = Buildctl(clients / "buildctl", buildkitd.address)
    buildctl.build(context, output=f"type=local,dest={tmp_path}/out")
    assert (tmp_path / "out/output").read_text() == "FROM THE CONTEXT\n"
    again = buildctl.build(context, output=f"type=local,dest={tmp_path}/out")
    assert "CACHED" in again.stderr
    assert buildkitd.state().children == []
