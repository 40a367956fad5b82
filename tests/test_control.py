"""What the control socket says of results, records and blobs: builds whose result the test makes itself."""

import json
import subprocess
import time

import pytest
from kilntest import wait

PLATFORMS = "refs.platforms"
CONFIG = "containerimage.config"
BOTH = "linux/amd64,linux/arm64"


def platforms(*ids, **changed):
    """The metadata that names a result's platforms: each by its id, unless `changed` has another platform for it."""
    listed = []
    for id in ids:
        os, arch = id.split("/") if "/" in id else ("linux", "amd64")
        listed.append({"ID": id, "Platform": changed.get(id, {"os": os, "architecture": arch})})
    return {PLATFORMS: json.dumps({"Platforms": listed})}


def of(*refs, asked=None, **request):
    """A build that returns these references of a map, or one reference."""
    return {"Refs": refs, "Ref": not refs, "Opts": {"platform": asked} if asked else {}, **request}


IMAGE = {"Exporter": "image", "Attrs": {}}
# What is returned → the error's end, or the warnings.
RETURNS = {
    "one of one": (of("linux/amd64", Metadata=platforms("linux/amd64")), []),
    "one, which is another one": (
        of(asked="linux/arm64"),
        ['Requested platform "linux/arm64" does not match result platform "linux/amd64"'],
    ),
    "several, as asked": (of("linux/amd64", "linux/arm64", asked=BOTH, Metadata=platforms(*BOTH.split(","))), []),
    "one where several were asked": (
        of(asked=BOTH),
        ["Multiple platforms requested but result is not multi-platform"],
    ),
    "a map of one where several were asked": (
        of("linux/amd64", asked=BOTH, Metadata=platforms("linux/amd64")),
        [f"Requested platforms {BOTH} do not match result platforms linux/amd64"],
    ),
    "other ones than asked": (
        of("linux/amd64", "linux/s390x", asked=BOTH, Metadata=platforms("linux/amd64", "linux/s390x"), **IMAGE),
        [f"Requested platforms {BOTH} do not match result platforms linux/amd64,linux/s390x"],
    ),
    "a map that names no platforms": (
        of("linux/amd64", "linux/arm64"),
        "build result contains multiple refs without platforms mapping",
    ),
    "a map of one that names no platform": (
        of("linux/amd64", **IMAGE),
        "build result contains multiple refs without platforms mapping",
    ),
    "an empty list of platforms": (
        of("a", "b", Metadata={PLATFORMS: "{}"}),
        "invalid empty platforms index for exporter",
    ),
    "no list of platforms": (of("a", "b", Metadata={PLATFORMS: ""}), "invalid empty platforms index for exporter"),
    "a platform without an id": (
        of("a", Metadata={PLATFORMS: '{"Platforms":[{"ID":"","Platform":{"os":"linux","architecture":"amd64"}}]}'}),
        "invalid empty platform key for exporter",
    ),
    "a platform that is none": (
        of("a", Metadata=platforms("a", a={"os": "linux"})),
        "invalid platform value { linux  [] } for exporter",
    ),
    "a platform without a reference": (
        of("linux/amd64", "linux/arm64", Metadata=platforms("linux/amd64", "linux/386"), **IMAGE),
        "failed to find ref for ID linux/386",
    ),
    "several platforms of one reference": (
        of(Metadata=platforms("linux/amd64", "linux/arm64"), **IMAGE),
        "cannot export multiple platforms without multi-platform enabled",
    ),
    "a config of null": (of(Metadata={CONFIG: "null"}, **IMAGE), "invalid null image config for export"),
    "a config with half a platform": (
        of(Metadata={CONFIG: '{"os":"linux"}'}, **IMAGE),
        "invalid image config: os and architecture must be specified together",
    ),
    "a config without a platform": (
        of(Metadata={CONFIG: "{}"}, **IMAGE),
        "invalid image config for export: missing os",
    ),
    "zstd in the oldest version": (
        of(Exporter="image", Attrs={"compression": "zstd"}, Compatibility=10),
        "unsupported compatibility-version 10 feature image exporter compression=zstd",
    ),
    "zstd in an older version": (of(Exporter="image", Attrs={"compression": "zstd"}, Compatibility=20), []),
    "a version that there is not": (of(Compatibility=99), "unsupported compatibility-version 99"),
    "a rule that selects nothing": (of(BarePolicy=True), "invalid nil selector in policy"),
}


def return_all(peer, daemon, requests):
    lines = "".join(json.dumps(one) + "\n" for one in requests)
    done = subprocess.run([peer, "-addr", daemon.address, "return"], input=lines, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_results_are_checked_as_upstream(peer, daemon):
    outcomes = return_all(peer, daemon, [request for request, _ in RETURNS.values()])
    wrong = []
    for (name, (_, want)), got in zip(RETURNS.items(), outcomes, strict=True):
        right = got["Warnings"] == want and not got["Error"] if isinstance(want, list) else want in got["Error"]
        if not right:
            wrong.append(f"{name}: {got['Error'] or got['Warnings']}, not {want}")
    assert not wrong, "\n".join(wrong)


def histories(buildctl, *refs):
    """The records of these builds, in this order."""
    lines = buildctl.run("debug", "histories", "--format", "{{json .}}").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    known = {event["record"]["Ref"]: event["record"] for event in events if isinstance(event, dict)}
    return [known[ref] for ref in refs]


def blobs(peer, daemon, *filters):
    done = subprocess.run([peer, "-addr", daemon.address, "content", *filters], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {one["digest"]: one["size"] for one in map(json.loads, done.stdout.splitlines())}


def test_older_versions_have_dockers_media_types(peer, daemon, buildctl):
    old, new = return_all(peer, daemon, [of(Compatibility=20, **IMAGE), of(**IMAGE)])
    assert old["Response"]["containerimage.digest"] != new["Response"]["containerimage.digest"]
    types = [record["Result"]["Results"]["0"]["media_type"] for record in histories(buildctl, old["Ref"], new["Ref"])]
    assert types == [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    ]


def test_a_record_names_what_was_exported(peer, daemon, buildctl):
    two = {"Refs": ["linux/amd64", "linux/arm64"], "Opts": {"platform": BOTH}}
    metadata = {**platforms(*BOTH.split(",")), "note": "kept"}
    requests = [of(**IMAGE), {**two, **IMAGE, "Metadata": metadata}, of()]
    single, index, nothing = return_all(peer, daemon, requests)
    records = histories(buildctl, single["Ref"], index["Ref"], nothing["Ref"])
    for outcome, record in zip((single, index), records, strict=False):
        result = record["Result"]
        root = result["ResultDeprecated"]
        assert result["Results"] == {"0": root}
        assert root["digest"] == outcome["Response"]["containerimage.digest"]
        document = buildctl.run("debug", "get", root["digest"]).stdout
        assert len(document) == root["size"]
        manifest = json.loads(document)
        assert manifest["mediaType"] == root["media_type"]
        children = manifest.get("manifests") or [manifest["config"]]
        for child in children:
            assert len(buildctl.run("debug", "get", child["digest"]).stdout) == child["size"]
    assert "Results" not in records[2].get("Result", {})
    # The result's metadata, not what the exporters answered.
    assert records[1]["ExporterResponse"]["note"] == "kept"
    assert PLATFORMS in records[1]["ExporterResponse"]
    assert "containerimage.digest" not in records[1]["ExporterResponse"]


def test_blobs_are_listed_and_go(peer, daemon, buildctl):
    (built,) = return_all(peer, daemon, [of(**IMAGE)])
    root = built["Response"]["containerimage.digest"]
    listed = blobs(peer, daemon)
    assert root in listed
    (record,) = histories(buildctl, built["Ref"])
    assert listed[record["logs"]["digest"]] == int(record["logs"]["size"])
    assert blobs(peer, daemon, f"digest=={root}") == {root: listed[root]}
    assert blobs(peer, daemon, "digest==sha256:none") == {}
    buildctl.run("prune-histories")
    buildctl.run("prune", "--all")
    wait.until(lambda: blobs(peer, daemon) == {}, "nothing is left")


def test_clients_resolve_images(peer, new_daemon, shared_registry):
    daemon = new_daemon(registries=[shared_registry.host])
    image = f"{shared_registry.host}/library/busybox:latest"
    done = subprocess.run([peer, "-addr", daemon.address, "meta", image], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["Digest"].startswith("sha256:")
    assert said["Digest"] == said["OldDigest"]
    assert json.loads(said["Config"])["os"] == "linux"
    assert said["Config"] == said["OldConfig"]
    assert said["Modes"] == dict.fromkeys(("default", "pull", "local"), said["Digest"])


@pytest.mark.kiln_only  # buildkitd takes 5 s for some
@pytest.mark.parametrize(
    "output", ["type=docker,name=UPPER,dest=x", "type=image,name=a..b", "type=image,name=a,compression=none-such"]
)
def test_a_refusal_is_heard_at_once(daemon, buildctl, tmp_path, output):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    began = time.monotonic()
    words = ["build", "--frontend=dockerfile.v0", f"--local=context={tmp_path}", f"--local=dockerfile={tmp_path}"]
    done = buildctl.run(*words, f"--output={output}".replace("dest=x", f"dest={tmp_path}/x"), check=False)
    assert done.returncode != 0
    assert time.monotonic() - began < 2


@pytest.mark.kiln_only
def test_a_step_that_says_much_costs_little_memory(daemon, build):
    build({"Dockerfile": "FROM base\nRUN echo hello\n"})
    before = daemon.memory()
    daemon.reset_peak_memory()
    # One write a line, to both streams in turn.
    loop = "i=0; while [ $i -lt 100000 ]; do echo x; echo y >&2; i=$((i+1)); done"
    build({"Dockerfile": f"FROM base\nRUN {loop}\n"})
    assert daemon.memory("VmHWM") - before < 24 << 20
