"""buildx as a user has it: with its defaults, and Bake."""

import json
import tarfile

import pytest
from kilntest import oci
from kilntest.clients import BUILDX_BUILDER, Buildx
from kilntest.request import write_context

DOCKERFILE = """\
FROM base AS app
ARG WORD=none
RUN echo "$WORD" >/made
FROM base AS test
RUN echo tested >/tested
"""

BAKE = """\
variable "WORD" { default = "default" }
group "default" { targets = ["app", "test"] }
target "common" {
  context = "."
  contexts = { base = "oci-layout://LAYOUT:latest" }
}
target "app" {
  inherits = ["common"]
  target = "app"
  args = { WORD = WORD }
  output = ["type=local,dest=OUT/app"]
}
target "test" {
  inherits = ["common"]
  target = "test"
  output = ["type=oci,dest=OUT/test.tar"]
}
target "linked" {
  context = "."
  contexts = { base = "target:app" }
  target = "test"
  output = ["type=local,dest=OUT/linked"]
}
"""


@pytest.fixture
def buildx(daemon, clients, tmp_path):
    """With the attestations that it asks for unless told not to."""
    client = Buildx(clients / "buildx", daemon.address, tmp_path / "buildx")
    del client.environment["BUILDX_NO_DEFAULT_ATTESTATIONS"]
    return client


@pytest.fixture
def words(tmp_path, busybox_layout):
    context = write_context(tmp_path / "context", {"Dockerfile": DOCKERFILE})
    base = ["--build-context", f"base=oci-layout://{busybox_layout}:latest"]
    return ["build", "--builder", BUILDX_BUILDER, "--progress=plain", *base, context]


@pytest.mark.kiln_only  # buildkitd adds provenance
def test_default_attestations_are_none(buildx, words, tmp_path, registry):
    """No attestation is announced, so none is asked for: what is made is an image and nothing else."""
    buildx.run(*words[:-1], "-o", f"type=oci,dest={tmp_path}/image.tar", words[-1])
    with tarfile.open(tmp_path / "image.tar") as archive:
        descriptor = oci.read_member(archive, "index.json")["manifests"][0]
    assert descriptor["mediaType"].endswith("image.manifest.v1+json")
    buildx.run(*words[:-1], "-t", f"{registry.host}/app:1", "--push", words[-1])
    assert registry.manifest("app", "1")[0]["layers"]


@pytest.mark.kiln_only  # buildkitd serves them
@pytest.mark.parametrize("flag", ["--provenance=mode=max", "--sbom=true"])
def test_attestations_are_refused(buildx, words, flag):
    done = buildx.run(*words[:-1], flag, words[-1], check=False)
    assert done.returncode == 1
    assert "Attestations are not supported" in done.stderr, done.stderr
    assert "RUN" not in done.stderr


def bake(buildx, tmp_path, layout, *arguments):
    folder = write_context(tmp_path / "baked", {"Dockerfile": DOCKERFILE})
    text = BAKE.replace("LAYOUT", str(layout)).replace("OUT", str(tmp_path / "out"))
    (tmp_path / "baked/docker-bake.hcl").write_text(text.replace('"."', json.dumps(str(folder))))
    files = ["--file", tmp_path / "baked/docker-bake.hcl", "--allow=fs=*"]
    return buildx.run("bake", "--builder", BUILDX_BUILDER, "--progress=plain", *files, *arguments)


def test_bake(buildx, tmp_path, busybox_layout):
    bake(buildx, tmp_path, busybox_layout, "--set", "app.args.WORD=baked")
    assert (tmp_path / "out/app/made").read_text() == "baked\n"
    assert (tmp_path / "out/test.tar").stat().st_size > 0


def test_bake_of_targets_that_build_upon_each_other(buildx, tmp_path, busybox_layout):
    bake(buildx, tmp_path, busybox_layout, "linked")
    assert (tmp_path / "out/linked/made").read_text() == "default\n"
    assert (tmp_path / "out/linked/tested").read_text() == "tested\n"


@pytest.mark.kiln_only  # buildkitd serves them
def test_remote_caches_are_warned_of(buildx, words, tmp_path):
    flags = ["--cache-from", "type=registry,ref=localhost:1/cache", "-o", tmp_path / "out"]
    done = buildx.run(*words[:-1], *flags, words[-1])
    assert "importing cache from registry localhost:1/cache" in done.stderr
    assert "remote caches are not supported by this build server" in done.stderr
    assert (tmp_path / "out/tested").exists()
    done = buildx.run(*words[:-1], "--cache-to", "type=inline", words[-1], check=False)
    assert done.returncode == 1
    assert 'exporting cache to "inline" is not supported by this build server' in done.stderr
