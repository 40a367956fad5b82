"""What builds leave: `du`, `prune` with filters and limits, and the policies of buildkitd.toml."""

import json
import os

import pytest
from kilntest import wait

BUILD = """\
FROM base AS one
RUN head -c 3000000 /dev/urandom >/one
FROM one AS two
RUN head -c 3000000 /dev/urandom >/two
FROM base AS three
RUN --mount=type=cache,target=/c head -c 2000000 /dev/urandom >/c/cached; head -c 3000000 /dev/urandom >/three
FROM base
COPY --from=two /two /
COPY --from=three /three /
COPY file /
"""


@pytest.fixture
def built(build, tmp_path):
    """Something to collect: layers of 3 MB, a cache mount of 2 MB, a context, the blobs of an image."""
    build({"Dockerfile": BUILD, "file": "f"}, outputs=[f"type=oci,dest={tmp_path}/image.tar"])


def sizes(buildctl):
    """{id: bytes} of what du lists."""
    return {record["id"]: record["size"] for record in buildctl.records()}


def on_disk(root):
    """Bytes of layers and blobs, each inode once."""
    seen = {}
    for folder in ("snapshots", "blobs"):
        for path, _, names in os.walk(root / "state" / folder):
            for one in [path, *(os.path.join(path, name) for name in names)]:
                info = os.lstat(one)
                seen[info.st_ino] = info.st_blocks * 512
    return sum(seen.values())


@pytest.mark.kiln_only  # the folders are kilnd's
def test_du_adds_up_to_what_prune_frees(built, daemon, buildctl):
    before, listed = on_disk(daemon.root), sum(sizes(buildctl).values())
    buildctl.run("prune", "--all")
    assert sizes(buildctl) == {}
    freed = wait.until(lambda: before - on_disk(daemon.root) > 10_000_000 and before - on_disk(daemon.root), "space")
    assert abs(freed - listed) < 0.03 * listed, (freed, listed)


def test_prune_lists_what_it_removed(built, buildctl):
    before = sizes(buildctl)
    lines = buildctl.run("prune", "--all", "--format", "{{json .}}").stdout.splitlines()
    pruned = [json.loads(line) for line in lines]
    assert {record["id"]: record["size"] for record in pruned} == before


@pytest.mark.parametrize(
    "text, kind", [("type==exec.cachemount", "exec.cachemount"), ("type==source.local", "source.local")]
)
def test_prune_with_a_filter_takes_only_that(built, buildctl, text, kind):
    before = {record["id"]: record["recordType"] for record in buildctl.records()}
    assert kind in before.values()
    assert all(record["recordType"] == kind for record in buildctl.records("--filter", text))
    buildctl.run("prune", "--filter", text)
    after = {record["id"] for record in buildctl.records()}
    assert after == {name for name, its in before.items() if its != kind}


def test_filters_that_are_none(built, buildctl):
    assert buildctl.records("--filter", "mutable,type==regular") == []
    done = buildctl.run("prune", "--filter", "type=x", check=False)
    assert done.returncode != 0


def test_a_limit_takes_no_more_than_it_must(built, buildctl):
    before = sizes(buildctl)
    buildctl.run("prune", "--all", "--keep-storage", "6")
    left = sizes(buildctl)
    assert sum(left.values()) < 6_000_000
    gone = [size for name, size in before.items() if name not in left]
    assert sum(left.values()) + max(gone) >= 6_000_000 - 3_100_000


def test_what_was_used_lately_is_kept(built, buildctl):
    before = sizes(buildctl)
    buildctl.run("prune", "--all", "--keep-duration", "1h")
    assert sizes(buildctl) == before


def test_reserved_space_is_kept(built, buildctl):
    before = sizes(buildctl)
    buildctl.run("prune", "--all", "--keep-storage", "1", "--keep-storage-min", "1000")
    assert sizes(buildctl) == before


POLICY = """gc = true
[[worker.oci.gcpolicy]]
filters = ["type==exec.cachemount"]
maxUsedSpace = "1MB"
[[worker.oci.gcpolicy]]
all = true
keepDuration = "1h"
maxUsedSpace = "1MB"
"""


def test_policies_of_the_configuration(built, daemon, buildctl):
    before = {record["id"]: record["recordType"] for record in buildctl.records()}
    assert "exec.cachemount" in before.values()
    daemon.stop()
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("gc = false\n", POLICY))
    daemon.start()
    kept = {name for name, kind in before.items() if kind != "exec.cachemount"}
    wait.until(lambda: set(sizes(buildctl)) == kept, "the cache mount goes, and nothing used within the hour")
    policy = json.loads(buildctl.run("debug", "workers", "--format", "{{json .}}").stdout)[0]["gcPolicy"]
    assert [rule.get("filter") for rule in policy] == [["type==exec.cachemount"], None]
    assert [rule["maxUsedSpace"] for rule in policy] == [1 << 20, 1 << 20]
    daemon.stop()
    daemon.config.write_text(text.replace("gc = false\n", "gc = true\n"))
    daemon.start()
    policy = json.loads(buildctl.run("debug", "workers", "--format", "{{json .}}").stdout)[0]["gcPolicy"]
    assert [bool(rule.get("all")) for rule in policy] == [False, False, False, True]
    assert policy[0]["filter"] == ["type==source.local", "type==exec.cachemount", "type==source.git.checkout"]
    assert policy[0]["maxUsedSpace"] == 512_000_000
