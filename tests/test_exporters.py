"""Every output and attribute: what becomes of a result's bytes, media types, annotations, names and times."""

import concurrent.futures
import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import os
import pathlib
import shutil
import stat
import subprocess
import tarfile

import pytest
from kilntest import failure, oci, plain
from kilntest.dockerd import Dockerd
from kilntest.request import write_context

CLIENTS = ["buildctl", "buildx", "kiln", "embedded"]
DOCKERFILE = """\
FROM base AS one
RUN mkdir -p /m/d && echo made >/m/a && ln /m/a /m/b && ln -s a /m/c && \\
    chmod 4755 /m/a && chown 5:6 /m/d && touch -d @1000000000 /m/d
RUN rm /etc/group && mkfifo /m/p
COPY in /in
CMD ["cat", "/m/a"]
"""
FILES = {"Dockerfile": DOCKERFILE, "in/x": "x" * 200_000, "in/\u00fc": "y"}
OCI_LAYER, DOCKER_LAYER = "application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar"
SUFFIX = {"gzip": "gzip", "zstd": "zstd", "uncompressed": ""}


def by(names):
    marks = [pytest.param(n, marks=[] if n.startswith("build") else [pytest.mark.kiln_only]) for n in names]
    return pytest.mark.parametrize("client", marks, indirect=True)


@pytest.fixture
def build_by(build, client):
    """The `build` fixture with the test's client in place of buildctl."""
    build.client = client
    return build


@pytest.fixture
def full(tmp_path):
    """A folder on a disk that takes next to nothing."""
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def readonly(tmp_path):
    """A folder on a disk that takes nothing."""
    folder = tmp_path / "readonly"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


@by(["buildctl", "buildx", "kiln", "embedded"])
def test_a_destination_that_cannot_be_written(build_by, full, readonly):
    """What the client says of it is what the user is told."""
    files = {"Dockerfile": "FROM scratch\nCOPY big /\n", "big": os.urandom(300_000)}
    for output, said in {
        f"type=local,dest={full}": "no space left on device",
        f"type=tar,dest={full}/x.tar": "no space left on device",
        f"type=oci,dest={full}/x.tar": "no space left on device",
        f"type=oci,dest={full}/layout,tar=false": "no space left on device",
        f"type=local,dest={readonly}": "read-only file system",
        f"type=local,dest={readonly}/new": "read-only file system",
        f"type=tar,dest={readonly}/x.tar": "read-only file system",
        f"type=oci,dest={readonly}/layout,tar=false": "read-only file system",
    }.items():
        done = build_by(files, outputs=[output], check=False)
        assert done.returncode != 0, output
        last = [line.lower() for line in done.stderr.splitlines() if "error: " in line.lower()][-1]
        assert said in last, f"{output}: {done.stderr}"
        for path in full.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def docker():
    with Dockerd() as docker:
        yield docker


def tree_of_tar(archive):
    """{path: (mode, owner, size or link)} of a tar of files."""
    found, inodes = {}, {}
    for member in archive.getmembers():
        if member.islnk():
            found[member.name] = inodes[member.linkname]
            continue
        what = member.linkname if member.issym() else member.size if member.isreg() else member.type
        found[member.name] = inodes[member.name] = (member.mode & 0o7777, member.uid, member.gid, what)
    return found


def tree_of_folder(folder):
    found = {}
    for path in sorted(pathlib.Path(folder).rglob("*")):
        info = path.lstat()
        kinds = {stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
        what = str(path.readlink()) if path.is_symlink() else kinds.get(stat.S_IFMT(info.st_mode), info.st_size)
        found[str(path.relative_to(folder))] = (info.st_mode & 0o7777, info.st_uid, info.st_gid, what)
    return found


def unpack(image, folder):
    """The root file system of an image, by umoci; `image` in skopeo's words."""
    command = ["skopeo", "copy", "--quiet", "--dest-compress-format=gzip"]  # umoci knows no zstd
    subprocess.run([*command, image, f"oci:{folder}/l:x"], check=True)
    command = ["umoci", "--log=error", "raw", "unpack", "--image", f"{folder}/l:x", f"{folder}/root"]
    subprocess.run(command, check=True)
    return folder / "root"


def image_of(registry, name, tag="1"):
    """(manifest, config) in a registry."""
    manifest = registry.manifest(name, tag)[0]
    return manifest, json.loads(registry.blob(name, manifest["config"]["digest"]))


def plain_layer(data, compression):
    if compression == "zstd":
        return subprocess.run(["zstd", "-d", "-c"], input=data, check=True, capture_output=True).stdout
    return gzip.decompress(data) if compression == "gzip" else data


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


@by(CLIENTS)
def test_every_output_has_the_same_tree(build_by, tmp_path):
    paths = {name: tmp_path / name for name in ("folder", "files.tar", "oci.tar", "docker.tar")}
    outputs = [f"type=local,dest={paths['folder']}", f"type=tar,dest={paths['files.tar']}"]
    outputs += [f"type=oci,dest={paths['oci.tar']}", f"type=docker,name=made:1,dest={paths['docker.tar']}"]
    build_by(FILES, outputs=outputs)
    with tarfile.open(paths["files.tar"]) as archive:
        tree = tree_of_tar(archive)
        times = {m.name: m.mtime for m in archive.getmembers()}
    assert tree["m/a"] == (0o4755, 0, 0, 5) == tree["m/b"] and tree["m/d"][1:3] == (5, 6) and tree["m/c"][3] == "a"
    assert "in/\u00fc" in tree and "etc/group" not in tree and times["m/d"] == 1_000_000_000
    mine = (os.getuid(), os.getgid())
    assert {p: (m, *mine, w) for p, (m, _, _, w) in tree.items()} == tree_of_folder(paths["folder"])
    for form in ("oci", "docker"):
        (tmp_path / f"by-{form}").mkdir()
        root = unpack(f"{form}-archive:{paths[form + '.tar']}", tmp_path / f"by-{form}")
        assert tree_of_folder(root) == tree


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_archive_says_what_it_holds(build, tmp_path, kind):
    metadata = tmp_path / "metadata"
    output = f"type={kind},name=me/a:1,dest={tmp_path}/i.tar,annotation-manifest-descriptor.k=v"
    build({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f"}, outputs=[output], metadata=metadata)
    with tarfile.open(tmp_path / "i.tar") as archive:
        [entry] = oci.read_member(archive, "index.json")["manifests"]
        modes = {m.name: (m.mode, m.mtime, m.uname) for m in archive.getmembers() if "/" not in m.name}
    names = {"blobs": 0o755, "index.json": 0o644, "oci-layout": 0o444}
    names |= {"manifest.json": 0o644} if kind == "docker" else {}
    assert modes == {name: (mode, 0, "") for name, mode in names.items()}
    created = entry["annotations"].pop("org.opencontainers.image.created")
    assert len(created) == len("2026-01-01T00:00:00Z")
    known = {"io.containerd.image.name": "docker.io/me/a:1", "org.opencontainers.image.ref.name": "1"}
    assert entry["annotations"] == {**known, "k": "v"} and entry["platform"]["os"] == "linux"
    found = json.loads(metadata.read_text())["containerimage.descriptor"]
    assert found == {**entry, "annotations": {"k": "v", "org.opencontainers.image.created": created}}


@by(["buildx", "kiln"])
def test_an_image_without_push_stays_here(build_by, tmp_path):
    metadata = tmp_path / "metadata"
    build_by(FILES, outputs=["type=image,name=me/made:1"], metadata=metadata)
    found = json.loads(metadata.read_text())
    assert found["image.name"] == "me/made:1"
    assert found["containerimage.descriptor"]["digest"] == found["containerimage.digest"]
    assert found["containerimage.descriptor"]["mediaType"] == oci.MANIFEST
    assert found["containerimage.config.digest"].startswith("sha256:")


@pytest.mark.kiln_only  # upstream's OCI worker ignores them
def test_a_kept_image_is_fetched_and_unpacked_if_asked(build, registry, busybox_layout, tmp_path):
    registry.push_layout(busybox_layout, "latest", "base:1")
    files = f"FROM {registry.host}/base:1\nENV a=b\n"
    layer = registry.manifest("base", "1")[0]["layers"][0]["digest"]

    def fetched():
        return any(method == "GET" and layer in path for method, path, _ in registry.requests())

    build(files, outputs=["type=image,name=x"])
    assert not fetched()
    build(files, outputs=["type=image,name=x,store=true"])
    assert fetched()
    done = build(files, outputs=["type=image,name=x,unpack=true"])
    assert "unpacking layers" in done.stderr


@pytest.mark.parametrize("oci_types", [True, False], ids=["oci", "docker"])
@pytest.mark.parametrize("compression", SUFFIX)
def test_layers_as_asked_for(build, registry, compression, oci_types, is_kilnd):
    name = f"{registry.host}/made:1"
    output = f"type=image,name={name},push=true,compression={compression},force-compression=true"
    build(FILES, outputs=[output + ("" if oci_types else ",oci-mediatypes=false")])
    manifest, config = image_of(registry, "made")
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"]) == 4
    stem, mark = (OCI_LAYER, "+") if oci_types else (DOCKER_LAYER, ".")
    wanted = stem + (mark + SUFFIX[compression] if SUFFIX[compression] else "")
    assert {layer["mediaType"] for layer in manifest["layers"]} == {wanted}
    family = "application/vnd.oci.image." if oci_types else "application/vnd.docker."
    assert manifest["mediaType"].startswith(family) and manifest["config"]["mediaType"].startswith(family)
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = registry.blob("made", layer["digest"])
        assert sha256(plain_layer(data, compression)) == diff_id and len(data) == layer["size"]


@pytest.mark.parametrize("compression", SUFFIX)
def test_skopeo_and_umoci_read_every_compression(build, compression, tmp_path, registry):
    outputs = [f"type=oci,dest={tmp_path}/i.tar,compression={compression},force-compression=true"]
    build(FILES, outputs=outputs)
    archive, copy = f"oci-archive:{tmp_path}/i.tar", f"{registry.host}/copied:1"
    subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", archive, f"docker://{copy}"], check=True)
    assert (unpack(archive, tmp_path) / "m/b").read_text() == "made\n"
    build(f"FROM {copy}\n")
    assert build.read("m/b") == "made\n"


def test_level_decides_size(build, registry):
    sizes = {}
    context = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": pathlib.Path("/bin/busybox").read_bytes()}
    for level in (1, 19):
        context["f"] += b"."  # a layer keeps the blob it has
        name = f"{registry.host}/made:{level}"
        outputs = [f"type=image,name={name},push=true,compression=zstd,compression-level={level}"]
        build(context, outputs=outputs)
        sizes[level] = registry.manifest("made", str(level))[0]["layers"][0]["size"]
    assert sizes[19] < sizes[1] * 0.95


def test_layers_keep_the_compression_they_have(build, registry):
    for number, compression in enumerate(("gzip", "zstd")):
        name = f"{registry.host}/made:{number}"
        build(FILES, outputs=[f"type=image,name={name},push=true,compression={compression}"])
    assert registry.manifest("made", "0")[1] == registry.manifest("made", "1")[1]
    name = f"{registry.host}/made:2"
    build(FILES, outputs=[f"type=image,name={name},push=true,compression=zstd,force-compression=true"])
    types = {layer["mediaType"] for layer in image_of(registry, "made", "2")[0]["layers"]}
    assert types == {OCI_LAYER + "+zstd"}


@pytest.mark.kiln_only  # concurrent exports of buildkitd differ in their times
def test_outputs_at_once_share_layers(build, registry, tmp_path):
    common = f"name={registry.host}/made:1,compression=zstd"
    outputs = [f"type=image,{common},push=true", f"type=oci,{common},dest={tmp_path}/a.tar"]
    build(FILES, outputs=[*outputs, f"type=docker,{common},dest={tmp_path}/b.tar"])
    digest = registry.manifest("made", "1")[1]
    for name in ("a.tar", "b.tar"):
        with tarfile.open(tmp_path / name) as archive:
            assert oci.read_member(archive, "index.json")["manifests"][0]["digest"] == digest


ANNOTATED = ["manifest", "manifest-descriptor", "index", "index-descriptor"]


@by(CLIENTS[:3])
def test_annotations(build_by, client, registry, tmp_path):
    keys = {kind: f"org.example.{kind}" for kind in ANNOTATED}
    name, metadata = f"{registry.host}/made:1", tmp_path / "metadata"
    output = f"type=image,name={name},push=true"
    options = {"platform": "linux/amd64,linux/arm64", "metadata": metadata}
    if client.name == "buildctl":
        output += "".join(f",annotation-{kind}.{key}=of {kind}" for kind, key in keys.items())
        output += ",annotation.plain=a,annotation-manifest[linux/arm64].only=arm"
    else:
        texts = [f"{kind}:{key}=of {kind}" for kind, key in keys.items()]
        flags = [f"--annotation={text}" for text in [*texts, "plain=a", "manifest[linux/arm64]:only=arm"]]
        options |= {"flags": flags, "tags": [name]}
    build_by({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f"}, outputs=[output], **options)
    index = registry.manifest("made", "1")[0]
    assert index["annotations"] == {keys["index"]: "of index"}
    assert len(index["manifests"]) == 2
    for entry in index["manifests"]:
        assert entry["annotations"] == {keys["manifest-descriptor"]: "of manifest-descriptor"}
        manifest = registry.manifest("made", entry["digest"])[0]
        only = {"only": "arm"} if entry["platform"]["architecture"] == "arm64" else {}
        assert manifest["annotations"] == {keys["manifest"]: "of manifest", "plain": "a", **only}
    root = json.loads(metadata.read_text())["containerimage.descriptor"]
    assert root["annotations"] == {keys["index-descriptor"]: "of index-descriptor"}


@pytest.mark.parametrize(
    ("attribute", "why"),
    [
        ("annotation-index.a=b", "index annotations not supported for single platform export"),
        ("annotation-bad.a=b", "unrecognized annotation type bad"),
        ("oci-mediatypes=false,annotation-index.a=b", "oci-mediatypes=false"),
        ("compression=lzma", "unsupported compression type"),
        pytest.param("compression=estargz", "estargz is not served", marks=pytest.mark.kiln_only),
        pytest.param("compression=zstd,compression-level=40", "compression-level", marks=pytest.mark.kiln_only),
        ("push=perhaps", "non-bool value"),
        ("name=me/x:1,push=true,push-by-digest=true", "can't push tagged ref"),
        ("source-date-epoch=soon", "epoch"),
        ("oci-artifact=true,oci-mediatypes=false", "conflicts with"),
    ],
)
def test_what_cannot_be_is_refused(build, attribute, why):
    done = build("FROM scratch\nENV a=b\n", outputs=[f"type=image,{attribute}"], check=False)
    assert done.returncode != 0
    assert why in done.stderr


def test_annotations_of_other_platforms(build, registry):
    """One platform built of those that a command line speaks of is no fault; none of them in an index is."""
    files = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f"}
    output = f"type=image,name={registry.host}/made:1,push=true,annotation-manifest[linux/s390x].a=b"
    build(files, outputs=[output])
    assert "annotations" not in registry.manifest("made", "1")[0]
    done = build(files, outputs=[output], platform="linux/amd64,linux/arm64", check=False)
    assert done.returncode != 0 and "no platform linux/s390x found in source" in done.stderr


EPOCH = 1_234_567_890


def times_of(registry, name, tag="1"):
    """{path: mtime} of every layer, bottom first."""
    found = []
    for layer in image_of(registry, name, tag)[0]["layers"]:
        kind = layer["mediaType"].partition("+")[2] or "uncompressed"
        data = plain_layer(registry.blob(name, layer["digest"]), kind)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found.append({member.name: member.mtime for member in archive.getmembers()})
    return found


@by(["buildctl", "embedded"])
def test_rewritten_times_make_the_same_image(build_by, registry, busybox_layout):
    registry.push_layout(busybox_layout, "latest", "base:1")
    files = {**FILES, "Dockerfile": DOCKERFILE.replace("FROM base", f"FROM {registry.host}/base:1")}
    digests = []
    for tag in (1, 2):
        output = f"type=image,name={registry.host}/made:{tag},push=true,rewrite-timestamp=true"
        build_by(files, outputs=[output], args={"SOURCE_DATE_EPOCH": str(EPOCH)}, no_cache=tag == 2)
        digests.append(registry.manifest("made", str(tag))[1])
    assert digests[0] == digests[1]
    manifest, config = image_of(registry, "made")
    assert manifest["layers"][0]["digest"] == registry.manifest("base", "1")[0]["layers"][0]["digest"]
    marks = [layer.get("annotations", {}).get("buildkit/rewritten-timestamp") for layer in manifest["layers"]]
    assert marks == [None, *[str(EPOCH)] * 3]
    layers = times_of(registry, "made")
    assert all(time <= EPOCH for layer in layers for time in layer.values())
    assert layers[1]["m/d"] == 1_000_000_000 and layers[1]["m/a"] == EPOCH
    assert config["created"] == "2009-02-13T23:31:30Z"
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        assert sha256(plain_layer(registry.blob("made", layer["digest"]), "gzip")) == diff_id


def test_without_rewriting_only_the_image_has_the_epoch(build, registry, tmp_path):
    outputs = [f"type=image,name={registry.host}/made:1,push=true", f"type=local,dest={tmp_path}/out"]
    build(FILES, outputs=[*outputs, f"type=tar,dest={tmp_path}/out.tar"], args={"SOURCE_DATE_EPOCH": str(EPOCH)})
    assert max(times_of(registry, "made")[-1].values()) > EPOCH
    assert image_of(registry, "made")[1]["created"] == "2009-02-13T23:31:30Z"
    assert (tmp_path / "out/m/a").stat().st_mtime == EPOCH
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert {member.mtime for member in archive.getmembers()} == {EPOCH}


@by(CLIENTS[:3])
def test_several_platforms_are_an_index(build_by, registry, tmp_path):
    files = {"Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /f\n", "amd64": "1", "arm64": "22"}
    outputs = [f"type=image,name={registry.host}/made:1,push=true", f"type=local,dest={tmp_path}/out"]
    outputs += [f"type=oci,dest={tmp_path}/i.tar", f"type=tar,dest={tmp_path}/files.tar"]
    metadata = tmp_path / "metadata"
    build_by(files, outputs=outputs, platform="linux/amd64,linux/arm64", metadata=metadata)
    index, digest = registry.manifest("made", "1")
    assert [m["platform"]["architecture"] for m in index["manifests"]] == ["amd64", "arm64"]
    found = json.loads(metadata.read_text())
    assert found["containerimage.digest"] == digest and "containerimage.config.digest" not in found
    assert found["containerimage.descriptor"]["mediaType"] == oci.INDEX
    assert (tmp_path / "out/linux_amd64/f").read_text() == "1"
    assert (tmp_path / "out/linux_arm64/f").read_text() == "22"
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getmember("linux_arm64/f").size == 2
    command = ["skopeo", "inspect", "--override-arch=arm64", f"oci-archive:{tmp_path}/i.tar"]
    assert json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["Architecture"] == "arm64"


@by(["buildctl", "kiln"])
def test_platforms_in_one_tree(build_by, tmp_path):
    files = {"Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /d/$TARGETARCH\n"}
    files |= {"amd64": "1", "arm64": "22"}
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").write_text("goes")
    outputs = [f"type=local,platform-split=false,mode=delete,dest={tmp_path}/out"]
    outputs += [f"type=tar,platform-split=false,dest={tmp_path}/files.tar"]
    build_by(files, outputs=outputs, platform="linux/amd64,linux/arm64")
    assert sorted(tree_of_folder(tmp_path / "out")) == ["d", "d/amd64", "d/arm64"]
    with tarfile.open(tmp_path / "files.tar") as archive:
        assert archive.getmember("linux_arm64/d/arm64").size == 2  # in folders all the same
    files["Dockerfile"] = "FROM scratch\nARG TARGETARCH\nCOPY $TARGETARCH /same\n"
    done = build_by(files, outputs=outputs[:1], platform="linux/amd64,linux/arm64", check=False)
    assert done.returncode != 0 and "cannot overwrite same from linux/amd64 with linux/arm64" in done.stderr


@by(["buildctl", "kiln"])
def test_exports_into_one_place_at_the_same_time(build_by, tmp_path):
    files = {f"in/{number}": f"{number}" * 100_000 for number in range(40)}
    request = build_by.request({"Dockerfile": "FROM scratch\nCOPY in /\n", **files})
    folder = build_by.out
    request.outputs = [f"type=local,dest={folder}", f"type=tar,dest={tmp_path}/one.tar"]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            list(pool.map(build_by.client.build, [request] * 4))
    assert {path.name for path in folder.iterdir()} == {str(number) for number in range(40)}
    assert {path.stat().st_size for path in folder.iterdir()} == {100_000, 200_000}
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert len(archive.getnames()) == 40
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("one.tar.")]


@by(["kiln"])  # buildctl's own writers are in each other's way
def test_images_into_one_layout_at_the_same_time(build_by, tmp_path):
    request = build_by.request({"Dockerfile": "FROM scratch\nCOPY in /\n", "in": "x"})
    names = [f"example.com/made:{number}" for number in range(8)]
    outputs = [f"type=oci,tar=false,name={name},dest={tmp_path}/layout" for name in names]
    requests = [dataclasses.replace(request, outputs=[output]) for output in outputs]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(build_by.client.build, requests))
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert sorted(entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]) == names


@by(["buildctl", "kiln"])
def test_a_folder_of_the_result_alone(build_by, tmp_path):
    text = "FROM base\nRUN mkdir -p /d/sub /e && echo a >/d/a && echo b >/d/sub/b && ln -s /d/../../d/sub /e/link\n"

    def built(kind, source, **options):
        dest = tmp_path / f"{kind}{len(list(tmp_path.iterdir()))}"
        done = build_by({"Dockerfile": text}, outputs=[f"type={kind},dest={dest},src={source}"], **options)
        return (dest, done)

    for source, names in {"/d": ["a", "sub", "sub/b"], "d/sub/": ["b"], "/e/link": ["b"], "../d/./sub": ["b"]}.items():
        folder, _ = built("local", source)
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == names, source
        archive, _ = built("tar", source)
        with tarfile.open(archive) as tar:
            assert sorted(tar.getnames()) == names, source
    for source, said in {
        "/none": "no such file or directory",
        "/d/a": "not a directory",
        "": "empty value for src; omit it to export the entire filesystem",
    }.items():
        _, done = built("local", source, check=False)
        failure.check(done, said)


@by(["buildctl"])
def test_push_by_digest(build_by, registry, tmp_path):
    metadata = tmp_path / "metadata"
    build_by(FILES, outputs=[f"type=image,name={registry.host}/made,push=true,push-by-digest=true"], metadata=metadata)
    digest = json.loads(metadata.read_text())["containerimage.digest"]
    assert registry.manifest("made", digest)[1] == digest
    assert not [path for method, path, _ in registry.requests() if method == "PUT" and path.endswith("/latest")]


def test_names_without_an_image(build, registry, tmp_path):
    metadata = tmp_path / "metadata"
    output = f"type=image,push=true,dangling-name-prefix={registry.host}/dangling,name-canonical=true"
    build(FILES, outputs=[output], metadata=metadata)
    found = json.loads(metadata.read_text())
    assert found["image.name"] == f"{registry.host}/dangling@{found['containerimage.digest']}"
    assert registry.manifest("dangling", found["containerimage.digest"])


@by(["buildctl", "kiln"])
def test_several_names_are_pushed(build_by, registry):
    names = f"{registry.host}/a:1,{registry.host}/b:2"
    build_by(FILES, outputs=[f'"type=image","name={names}","push=true"'])
    assert registry.manifest("a", "1")[1] == registry.manifest("b", "2")[1]


@by(CLIENTS)
def test_a_layout_in_a_folder(build_by, tmp_path):
    for name in ("me/made:1", "me/made:2", "me/made:1"):
        context = {"Dockerfile": "FROM scratch\nCOPY f /\n", "f": name}
        build_by(context, outputs=[f"type=oci,tar=false,name={name},dest={tmp_path}/layout"])
    index = json.loads((tmp_path / "layout/index.json").read_text())
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert sorted(names) == ["docker.io/me/made:1", "docker.io/me/made:2"]
    for tag in ("1", "2"):
        root = tmp_path / tag
        root.mkdir()
        assert (unpack(f"oci:{tmp_path}/layout:{tag}", root) / "f").read_text() == f"me/made:{tag}"


@pytest.mark.kiln_only
def test_more_layers_than_docker_loads(build, tmp_path):
    """They are made, with a warning."""
    layers = "".join(f"COPY f /{number}\n" for number in range(126))
    outputs = [f"type=oci,dest={tmp_path}/image.tar"]
    done = build({"Dockerfile": f"FROM scratch\n{layers}", "f": ""}, outputs=outputs)
    assert "the image has 126 layers: Docker loads no image with more than 125" in done.stderr
    fewer = layers.removesuffix("COPY f /125\n")
    done = build({"Dockerfile": f"FROM scratch\n{fewer}", "f": ""}, outputs=outputs)
    assert "Docker loads no image" not in done.stderr


@by(CLIENTS[:3])
def test_archives_on_standard_output(client, build, tmp_path):
    build.client = client
    for kind in ("tar", "oci", "docker"):
        request = build.request({"Dockerfile": "FROM scratch\nCOPY f /\n", "f": "f"}, outputs=[f"type={kind},dest=-"])
        words = [str(word) for word in client.words(request)]
        done = subprocess.run(words, capture_output=True, check=True, env=client.environ())
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            assert ("f" if kind == "tar" else "index.json") in archive.getnames()


# A real Docker engine.


@by(["buildctl", "buildx"])
@pytest.mark.parametrize("attribute", ["", ",oci-mediatypes=false"], ids=["oci", "docker"])
def test_docker_loads_and_runs(build_by, docker, tmp_path, attribute):
    if attribute and build_by.client.name != "buildctl":
        attribute += ",compression=uncompressed,force-compression=true"
    image = tmp_path / "image.tar"
    build_by(FILES, outputs=[f"type=docker,name=me/made:1,dest={image}{attribute}"], metadata=tmp_path / "metadata")
    said = docker.run("load", "--input", image).stdout
    assert "Loaded image: me/made:1" in said
    found = docker.inspect("me/made:1")
    assert found["Id"] == json.loads((tmp_path / "metadata").read_text())["containerimage.config.digest"]
    assert found["Config"]["Cmd"] == ["cat", "/m/a"]
    assert docker.step("me/made:1") == "made\n"
    assert docker.step("me/made:1", "stat", "-c", "%a %u:%g", "/m/a", "/m/d").split() == ["4755", "0:0", "755", "5:6"]
    docker.run("image", "rm", "me/made:1")


@pytest.mark.kiln_only
@pytest.mark.parametrize("client", ["kiln", "embedded"], indirect=True)
def test_load_needs_no_docker_command(build_by, client, docker, tmp_path):
    client.environment = {**client.environment, **docker.environment}
    build_by(FILES, outputs=[], tags=["me/loaded:1"], flags=["--load", f"--iidfile={tmp_path}/id"])
    assert docker.inspect("me/loaded:1")["Id"] == (tmp_path / "id").read_text()
    assert docker.step("me/loaded:1") == "made\n"
    docker.run("image", "rm", "me/loaded:1")


@pytest.mark.kiln_only
@pytest.mark.parametrize("client", ["kiln"], indirect=True)
def test_load_says_what_is_wrong(build_by, client, docker, tmp_path):
    client.environment = {**client.environment, "DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
    done = build_by(FILES, outputs=[], tags=["x"], flags=["--load"], check=False)
    assert done.returncode == 1 and "no Docker engine at unix://" in done.stderr and not plain.steps(done.stderr)
    client.environment["DOCKER_HOST"] = "ssh://there"
    assert "ssh://there" in build_by(FILES, outputs=[], flags=["--load"], check=False).stderr
    client.environment["DOCKER_HOST"] = docker.environment["DOCKER_HOST"]
    done = build_by(FILES, outputs=[], flags=["--load", "--platform=linux/amd64,linux/arm64"], check=False)
    assert "does not currently support exporting manifest lists" in done.stderr


@pytest.mark.kiln_only
@pytest.mark.parametrize("client", ["kiln"], indirect=True)
def test_load_and_push_beside_a_folder(build_by, client, docker, registry):
    client.environment = {**client.environment, "DOCKER_CONFIG": str(docker.root / "context")}
    folder = docker.root / "context/contexts/meta" / hashlib.sha256(b"mine").hexdigest()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps({"Endpoints": {"docker": {"Host": f"unix://{docker.socket}"}}}))
    write_context(docker.root / "context", {"config.json": json.dumps({"currentContext": "mine"})})
    name = f"{registry.host}/made:1"
    build_by(FILES, tags=[name], flags=["--load", "--push"])
    assert build_by.read("m/a") == "made\n"
    assert docker.inspect(name)["Id"] == registry.manifest("made", "1")[0]["config"]["digest"]
    docker.run("image", "rm", name)
