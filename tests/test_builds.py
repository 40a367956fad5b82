"""The same builds by every client: what comes out, and what is cached the second time."""

import json
import tarfile

import pytest
from kilntest import llb, oci, plain
from kilntest.request import Request, write_context

CLIENTS = ["buildctl", "buildx", "kiln", "embedded"]
THROUGH_DAEMON = CLIENTS[:3]

MULTI_STAGE = """\
ARG GREETING=hello
FROM base AS tools
RUN mkdir /tools && printf '#!/bin/sh\\ntr a-z A-Z\\n' >/tools/upper && chmod 755 /tools/upper

FROM base AS build
ARG GREETING
ARG NAME=nobody
ENV WHO=${NAME:-somebody}
WORKDIR /work
COPY --from=tools /tools/upper /usr/bin/
COPY src/ ./
RUN --mount=type=cache,target=/cache echo once >>/cache/log; \\
    { echo "$GREETING $WHO"; cat [ab].txt; } | upper >out.txt

FROM base AS test
COPY --from=build /work/out.txt /
RUN grep -q ALPHA /out.txt && echo checked >/checked

FROM scratch
LABEL who=me
COPY --from=build /work/out.txt /result/
ENTRYPOINT ["/bin/true"]
"""
FILES = {
    "Dockerfile": MULTI_STAGE,
    ".dockerignore": "**/*.tmp\nsecret\n",
    "src/a.txt": "alpha\n",
    "src/b.txt": "beta\n",
    "src/c.tmp": "ignored\n",
    "secret": "x",
}


def by(names):
    """Runs a test once for each client. Kiln's own need no proof on buildkitd."""
    marks = [pytest.param(n, marks=[] if n.startswith("build") else [pytest.mark.kiln_only]) for n in names]
    return pytest.mark.parametrize("client", marks, indirect=True)


@pytest.fixture
def request_of(busybox_layout, tmp_path):
    context = write_context(tmp_path / "context", FILES)

    def make(**options):
        options.setdefault("outputs", [f"type=local,dest={tmp_path}/out"])
        return Request(context, contexts={"base": busybox_layout}, **options)

    return make


@by(CLIENTS)
def test_multi_stage_build_to_a_folder(client, request_of, tmp_path):
    client.build(request_of(args={"NAME": "you"}))
    assert (tmp_path / "out/result/out.txt").read_text() == "HELLO YOU\nALPHA\nBETA\n"
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["out.txt", "result"]


@by(CLIENTS)
def test_context_whose_name_no_header_can_carry(client, busybox_layout, tmp_path):
    """The folder's name is part of what the client calls its folders by."""
    context = write_context(tmp_path / "früh 早 100%2B", {"Dockerfile": "FROM scratch\nCOPY a /\n", "a": "text"})
    for count in (1, 2):
        client.build(Request(context, outputs=[f"type=local,dest={tmp_path}/out{count}"]))
        assert (tmp_path / f"out{count}/a").read_text() == "text"


@by(CLIENTS)
def test_second_build_is_cached(client, request_of):
    assert not any(plain.steps(client.build(request_of(target="tools")).stderr).values())
    client.build(request_of())
    plain.assert_cached(client.build(request_of()).stderr, 6)


@by(CLIENTS)
def test_no_cache_runs_again(client, request_of):
    client.build(request_of())
    again = client.build(request_of(no_cache=True)).stderr
    assert len(plain.steps(again)) == 6
    # What WORKDIR makes depends on nothing: that it takes from the cache, as buildkitd does.
    assert [name for name, cached in plain.steps(again).items() if cached] == ["[build 1/5] WORKDIR /work"], again


@by(CLIENTS)
def test_target_builds_that_stage_only(client, request_of, tmp_path):
    done = client.build(request_of(target="tools"))
    assert (tmp_path / "out/tools/upper").exists()
    assert "/work" not in done.stderr


@by(CLIENTS)
def test_unknown_target_is_refused_by_name(client, request_of):
    done = client.build(request_of(target="nowhere"), check=False)
    assert done.returncode != 0
    assert 'target stage "nowhere" could not be found' in done.stderr


@by(CLIENTS)
def test_oci_archive(client, request_of, tmp_path):
    client.build(request_of(outputs=[f"type=oci,dest={tmp_path}/image.tar"], metadata=tmp_path / "metadata"))
    with tarfile.open(tmp_path / "image.tar") as archive:
        described = oci.read_member(archive, "index.json")["manifests"][0]
        manifest = oci.read_archived(archive, described)
        config = oci.read_archived(archive, manifest["config"])
    assert described["digest"] == json.loads((tmp_path / "metadata").read_text())["containerimage.digest"]
    assert config["config"]["Entrypoint"] == ["/bin/true"]
    assert config["config"]["Labels"] == {"who": "me"}
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 1
    assert [step["created_by"] for step in config["history"]] == [
        "LABEL who=me",
        "COPY /work/out.txt /result/ # buildkit",
        'ENTRYPOINT ["/bin/true"]',
    ]


@by(CLIENTS)
def test_two_outputs_at_once(client, request_of, tmp_path):
    outputs = [f"type=local,dest={tmp_path}/out", f"type=oci,dest={tmp_path}/image.tar"]
    client.build(request_of(outputs=outputs))
    assert (tmp_path / "out/result/out.txt").exists()
    assert tarfile.is_tarfile(tmp_path / "image.tar")


@by(CLIENTS)
def test_pushed_image_runs_as_a_base(client, request_of, registry, tmp_path, busybox_layout):
    name = f"{registry.host}/made:1"
    output = f"type=image,name={name},push=true,registry.insecure=true"
    client.build(request_of(target="build", outputs=[output], metadata=tmp_path / "metadata"))
    manifest, digest = registry.manifest("made", "1")
    assert digest == json.loads((tmp_path / "metadata").read_text())["containerimage.digest"]
    assert len(manifest["layers"]) == 5
    context = write_context(tmp_path / "next", {"Dockerfile": f"FROM {name}\nRUN cat out.txt >/seen\n"})
    client.build(Request(context, outputs=[f"type=local,dest={tmp_path}/next-out"]))
    assert (tmp_path / "next-out/seen").read_text() == "HELLO NOBODY\nALPHA\nBETA\n"


@by(THROUGH_DAEMON)
def test_layout_and_image_of_a_registry_have_one_cache(client, shared_registry, tmp_path):
    context = write_context(
        tmp_path / "c", {"Dockerfile": f"FROM {shared_registry.host}/library/busybox\nRUN echo hi >/hi\n"}
    )
    client.build(Request(context))
    assert "CACHED" in client.build(Request(context)).stderr


def test_definition_on_standard_input(buildctl, shared_registry, tmp_path):
    image = llb.image(f"{shared_registry.host}/library/busybox:latest")
    step = llb.run(image, ["/bin/sh", "-c", "echo $WHAT >/made"], env=["WHAT=llb"])
    made = llb.mkfile(step, "/also", b"a file\n")
    buildctl.run(*("build", "--progress=plain", f"--output=type=local,dest={tmp_path}/out"), stdin=llb.definition(made))
    assert (tmp_path / "out/made").read_text() == "llb\n"
    assert (tmp_path / "out/also").read_text() == "a file\n"


def test_definition_with_every_file_action(buildctl, tmp_path):
    files = llb.mkfile(None, "/a/b", b"x", make_parents="/a")
    copied = llb.copy(files, "/a", "/c")
    removed = llb.remove(copied, "/a/b")
    buildctl.run("build", f"--output=type=local,dest={tmp_path}/out", stdin=llb.definition(removed))
    assert sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*")) == ["a", "c", "c/b"]


def test_workers_info_du_and_prune(buildctl, build):
    workers = buildctl.run("debug", "workers", "--verbose").stdout
    assert "linux/amd64" in workers
    assert "v0.34.2" in buildctl.run("debug", "info").stdout
    build("FROM base\nRUN echo something >/made\n")
    shown = buildctl.run("du", "--verbose").stdout
    assert "echo something >/made" in shown
    assert "Total:" in shown
    assert len(buildctl.records()) >= 2
    pruned = buildctl.run("prune", "--all").stdout
    assert "Total:" in pruned
    assert buildctl.records() == []
    done = build("FROM base\nRUN echo something >/made\n")
    assert list(plain.steps(done.stderr).values()) == [False]
