"""Images that come from registries and go to them: what is fetched, what is sent, what it costs, which bytes."""

import hashlib
import json
import pathlib
import subprocess
import tarfile

import pytest
from kilntest import busybox, oci, plain
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.registry import Registry, docker_config, write_users
from kilntest.request import Request, write_context

MIB = 1 << 20


@pytest.fixture
def base(registry, busybox_layout):
    """`base` in a registry of the test's own."""
    registry.push_layout(busybox_layout, "latest", "team/base:1")
    return f"{registry.host}/team/base:1"


@pytest.fixture
def blob_gets(registry):
    """Digests of blobs that were read from the registry since the last call."""
    seen = 0

    def take():
        nonlocal seen
        requests = registry.requests()
        new, seen = requests[seen:], len(requests)
        return [path.rpartition("/")[2] for method, path, status in new if method == "GET" and "/blobs/sha256:" in path]

    return take


def push(registry, name):
    return f"type=image,name={registry.host}/{name},push=true"


def test_lazy_base_is_not_fetched_for_a_push_to_where_it_is(build, registry, base, blob_gets):
    layer = registry.manifest("team/base", "1")[0]["layers"][0]["digest"]
    config = registry.manifest("team/base", "1")[0]["config"]["digest"]
    blob_gets()
    dockerfile = f"FROM {base}\nLABEL made=yes\nENV A=b\n"
    build(dockerfile, outputs=[push(registry, "team/made:1")])
    assert set(blob_gets()) <= {config}
    manifest, digest = registry.manifest("team/made", "1")
    assert [one["digest"] for one in manifest["layers"]] == [layer]
    blob_gets()
    again = build(dockerfile, outputs=[push(registry, "team/made:2")])
    assert blob_gets() == []
    assert registry.manifest("team/made", "2")[1] == digest
    assert "ERROR" not in again.stderr


def test_cached_build_on_a_base_makes_no_blob_get(build, registry, base, blob_gets):
    dockerfile = f"FROM {base}\nRUN echo made >/made\nRUN cat /made >/again\n"
    build(dockerfile, outputs=[push(registry, "team/made:1")])
    digests = blob_gets()
    assert len(digests) == len(set(digests)) == 2  # config and layer, once each
    digest = registry.manifest("team/made", "1")[1]
    done = build(dockerfile, outputs=[push(registry, "other/made:1")])
    assert all(plain.steps(done.stderr).values())
    assert blob_gets() == []
    assert registry.manifest("other/made", "1")[1] == digest


@pytest.mark.kiln_only
def test_base_layers_are_mounted_not_sent(build, registry, base):
    layer = registry.manifest("team/base", "1")[0]["layers"][0]["digest"]
    build(f"FROM {base}\nRUN echo made >/made\n", outputs=[push(registry, "elsewhere/made:1")])
    posts = [path for method, path, _ in registry.requests() if method == "POST" and "/elsewhere/made/" in path]
    assert any(f"mount={layer.replace(':', '%3A')}" in path or f"mount={layer}" in path for path in posts), posts
    puts = [path for method, path, _ in registry.requests() if method == "PUT" and "/elsewhere/made/blobs" in path]
    assert len(puts) == 2  # the new layer and the configuration


def test_pushed_again_sends_nothing(build, registry, base):
    dockerfile = f"FROM {base}\nRUN echo made >/made\n"
    build(dockerfile, outputs=[push(registry, "team/made:1")])
    before = len(registry.requests())
    build(dockerfile, outputs=[push(registry, "team/made:2")])
    assert not [path for method, path, _ in registry.requests()[before:] if method == "PUT" and "/blobs/" in path]


def test_platform_of_an_index_is_chosen(build, registry, tmp_path):
    layout = oci.Layout(tmp_path / "two")
    images = [layout.image([[oci.Entry("arch", name.encode())]], architecture=name) for name in ("arm64", "amd64")]
    layout.tag(layout.index(images), "both")
    registry.push_layout(layout.path, "both", "two:1")
    build(f"FROM {registry.host}/two:1\n")
    assert build.read("arch") == "amd64"
    build(f"FROM --platform=linux/arm64 {registry.host}/two:1\n")
    assert build.read("arch") == "arm64"


def test_image_by_digest(build, registry, base):
    digest = registry.manifest("team/base", "1")[1]
    build(f"FROM {registry.host}/team/base@{digest}\nRUN echo made >/made\n")
    assert build.read("made") == "made\n"


def test_layers_apply_whiteouts_and_replacements(build, registry, tmp_path):
    layers = [
        [oci.directory("d"), oci.Entry("d/old", b"1"), oci.Entry("d/kept", b"2"), oci.Entry("f", b"file"),
         oci.directory("o"), oci.Entry("o/under", b"3"), oci.symlink("l", "d"), oci.Entry("gone", b"4")],
        [oci.Entry("d/.wh.old"), oci.Entry(".wh.gone"), oci.directory("f"), oci.Entry("f/in", b"5"),
         oci.directory("o"), oci.Entry("o/.wh..wh..opq"), oci.Entry("o/over", b"6"), oci.Entry("l", b"now a file")],
    ]  # fmt: skip
    layout = oci.Layout(tmp_path / "layers")
    layout.tag(layout.image(layers), "latest")
    build("FROM odd\n", contexts={"odd": layout.path})
    found = {str(p.relative_to(build.out)): p.read_text() for p in build.out.rglob("*") if p.is_file()}
    assert found == {"d/kept": "2", "f/in": "5", "o/over": "6", "l": "now a file"}


@pytest.mark.kiln_only  # containerd unpacks a layer that is stacked without looking at those below
def test_layers_link_to_files_of_those_below(build, tmp_path):
    def link(path, target):
        return oci.Entry(path, type=tarfile.LNKTYPE, link=target)

    layers = [
        [*busybox.entries(), oci.directory("d", 0o750), oci.Entry("d/f", b"text"), oci.Entry("d/gone", b"still here"),
         oci.symlink("s", "d")],
        [link("one", "d/f"), link("deep/two", "s/f"), link("kept", "d/gone"), oci.Entry("d/.wh.gone")],
        [link("three", "one")],
    ]  # fmt: skip
    layout = oci.Layout(tmp_path / "linked")
    layout.tag(layout.image(layers), "latest")
    look = "stat -c %h /d/f /one /deep/two /three /kept >/counts && stat -c %a /d >>/counts && cat /three /kept >/read"
    build(f"FROM linked\nRUN {look} && ! test -e /d/gone\n", contexts={"linked": layout.path})
    # Each union has its own idea of how many names a file has that was copied up twice.
    counts = build.read("counts").split()
    assert (counts[1], counts[4], counts[5]) == (counts[3], "1", "750")
    assert build.read("read") == "textstill here"


@pytest.mark.timeout(300)
def test_push_of_a_gibibyte_keeps_memory(build, registry, daemon, is_kilnd):
    random = "dd if=/dev/urandom of=/tmp/some bs=1M count=32 2>/dev/null"
    dockerfile = f"FROM base\nRUN {random}; for i in $(seq 32); do cat /tmp/some; done >/large; rm /tmp/some\n"
    build(dockerfile, outputs=[])
    before = daemon.memory("VmRSS")
    daemon.reset_peak_memory()
    build(dockerfile, outputs=[push(registry, "large:1")])
    rise = (daemon.memory("VmHWM") - before) // MIB
    size = registry.manifest("large", "1")[0]["layers"][1]["size"]
    print(f"pushing 1 GiB ({size // MIB} MiB compressed) took {rise} MiB of memory")
    if is_kilnd:
        assert rise <= 64


# The same bytes every time.

EXPORTS = [
    "type=tar,dest={}",
    # buildkitd writes the time of the export into these.
    pytest.param("type=oci,dest={}", marks=pytest.mark.kiln_only),
    pytest.param("type=docker,name=made:1,dest={}", marks=pytest.mark.kiln_only),
    pytest.param("type=oci,compression=zstd,dest={}", marks=pytest.mark.kiln_only),
]
DOCKERFILE = "FROM base AS one\nRUN mkdir /m && echo made >/m/a && ln /m/a /m/b && ln -s a /m/c\nCOPY in /in\n"
CONTEXT = {"Dockerfile": DOCKERFILE, "in/x": "x" * 100_000, "in/y": "y"}


def hash_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize("output", EXPORTS)
def test_a_cached_result_exports_the_same_bytes(build, daemon, tmp_path, output):
    request = build.request(CONTEXT, outputs=[output.format(tmp_path / "first")])
    build.client.build(request)
    request.outputs = [output.format(tmp_path / "second")]
    build.client.build(request)
    daemon.stop()
    daemon.start()
    request.outputs = [output.format(tmp_path / "third")]
    done = build.client.build(request)
    plain.assert_cached(done.stderr, 2)
    assert len({hash_of(tmp_path / name) for name in ("first", "second", "third")}) == 1


def test_a_restarted_daemon_pushes_the_same_digest(build, daemon, registry):
    request = build.request(CONTEXT, outputs=[push(registry, "made:1")])
    build.client.build(request)
    daemon.stop()
    daemon.start()
    request.outputs = [push(registry, "made:2")]
    build.client.build(request)
    assert registry.manifest("made", "1")[1] == registry.manifest("made", "2")[1]


def test_state_survives_a_killed_daemon(build, daemon):
    request = build.request(CONTEXT)
    build.client.build(request)
    daemon.kill()
    daemon.start()
    plain.assert_cached(build.client.build(request).stderr, 2)


def test_docker_archive_has_what_docker_load_reads(build, tmp_path):
    build(CONTEXT, outputs=[f"type=docker,name=docker.io/library/made:1,dest={tmp_path}/image.tar"])
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        assert manifest["RepoTags"] == ["made:1"]
        assert all(archive.getmember(name).isfile() for name in [manifest["Config"], *manifest["Layers"]])


def test_skopeo_reads_the_archive(build, tmp_path, registry):
    build(CONTEXT, outputs=[f"type=oci,dest={tmp_path}/image.tar"])
    command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci-archive:{tmp_path}/image.tar"]
    subprocess.run([*command, f"docker://{registry.host}/copied:1"], check=True)
    build(f"FROM {registry.host}/copied:1\n")
    assert build.read("m/b") == "made\n"


def test_credentials_of_the_client_are_used(clients, busybox_layout, daemon, tmp_path):
    users = write_users(tmp_path / "users")
    with Registry(tmp_path / "private", extra=f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}") as private:
        buildctl = Buildctl(clients / "buildctl", daemon.address)
        buildctl.environment = {"DOCKER_CONFIG": str(docker_config(tmp_path / "right", private.host, "secret"))}
        build = Builder(buildctl, busybox_layout, tmp_path)
        build(CONTEXT, outputs=[push(private, "made:1")])
        build(f"FROM {private.host}/made:1\n")
        assert build.read("m/a") == "made\n"
        buildctl.environment = {"DOCKER_CONFIG": str(docker_config(tmp_path / "wrong", private.host, "guess"))}
        for files, outputs in ((f"FROM {private.host}/made:1\nRUN true\n", []), (CONTEXT, [push(private, "made:2")])):
            done = build(files, outputs=outputs, check=False)
            assert done.returncode != 0
            assert "401" in done.stderr or "authorization failed" in done.stderr, done.stderr
            assert private.host in done.stderr
            assert "guess" not in done.stderr
    assert "guess" not in daemon.log.read_text() and "secret" not in daemon.log.read_text()


def test_request_without_outputs_only_builds(build):
    request = build.request(CONTEXT, outputs=[])
    build.client.build(request)
    plain.assert_cached(build.client.build(request).stderr, 2)


def test_named_context_of_files(build, tmp_path):
    write_context(tmp_path / "named", {"f": "named\n"})
    request = Request(
        write_context(tmp_path / "c", {"Dockerfile": "FROM scratch\nCOPY --from=more /f /\n"}),
        contexts={"more": tmp_path / "named"},
        outputs=[f"type=local,dest={tmp_path}/out"],
    )
    build.client.build(request)
    assert (tmp_path / "out/f").read_text() == "named\n"
