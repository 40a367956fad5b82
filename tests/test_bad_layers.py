"""Bad input: layers that climb, escape, are damaged, or never end."""

import gzip
import pathlib
import tarfile

import pytest
from kilntest import busybox, failure, oci


def entry(path, **fields):
    """A member as hostile as tarfile can write it."""
    info = tarfile.TarInfo(path)
    for name, value in fields.items():
        setattr(info, name, value)
    return info


def link(path, target, kind=tarfile.SYMTYPE):
    return entry(path, type=kind, linkname=target)


def written(path):
    return entry(path), b"escaped"


def image_of(folder, *tars, claimed=None, packed=None):
    """An image layout with layers given as tar bytes."""
    layout = oci.Layout(folder)
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": claimed or [oci.digest(tar) for tar in tars]},
    }
    layers = [layout.blob(gzip.compress(tar, 1, mtime=0), oci.LAYER_GZIP) for tar in tars]
    for descriptor in packed or []:
        layers.append(descriptor)
    manifest = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": layout.json_blob(document, oci.CONFIG)}
    layout.tag(layout.json_blob({**manifest, "layers": layers}, oci.MANIFEST), "latest")
    return layout.path


TARGET = "/kilntest-escaped"
ESCAPES = {
    "path that climbs": [written(f"../../../../../../../..{TARGET}")],
    "path that climbs inside": [entry("a", type=tarfile.DIRTYPE), written(f"a/../../../../../../..{TARGET}")],
    "absolute path": [written(TARGET)],
    "symlink to the host's root": [link("l", "/"), written(f"l{TARGET}")],
    "symlink that climbs": [link("l", "../../../../../../.."), written(f"l{TARGET}")],
    "symlink chain": [link("a", "b"), link("b", "/"), written(f"a{TARGET}")],
    "hard link to the host": [link("h", "/etc/hostname", tarfile.LNKTYPE), written("h")],
    "hard link that climbs": [link("h", "../../../../../../../etc/hostname", tarfile.LNKTYPE)],
    "hard link through a symlink": [link("l", "/etc"), link("h", "l/hostname", tarfile.LNKTYPE)],
    "hard link to nothing": [link("h", "missing", tarfile.LNKTYPE)],
    "hard link to a folder": [entry("d", type=tarfile.DIRTYPE), link("h", "d", tarfile.LNKTYPE)],
    "whiteout that climbs": [entry(f"../../../../../../.wh.{TARGET[1:]}")],
    "whiteout of the parent": [entry(".wh...")],
    "whiteout without a name": [entry(".wh.")],
    "whiteout through a symlink": [link("l", "/"), entry(f"l/.wh.{TARGET[1:]}")],
    "file below a file": [written("f"), written("f/g")],
    "empty name": [written("")],
    "the root as a file": [written(".")],
    "name of 5000 bytes": [written("x" * 5000)],
    "path of 100,000 bytes": [written("x/" * 50_000 + "y")],
}


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.kiln_only  # buildkitd may die or write where it should not: not here
def test_layer_that_escapes(build, tmp_path, name):
    """Refused, or confined to the image: never beyond it."""
    pathlib.Path(TARGET).unlink(missing_ok=True)
    hostname = pathlib.Path("/etc/hostname").read_bytes()
    layout = image_of(tmp_path / "bad", failure.tar_of(*ESCAPES[name]))
    try:
        done = build("FROM bad\n", contexts={"bad": layout}, check=False)
        assert not pathlib.Path(TARGET).exists()
        assert pathlib.Path("/etc/hostname").read_bytes() == hostname
        assert pathlib.Path("/etc/hostname").stat().st_nlink == 1
        if done.returncode != 0:
            failure.check(done, "error:")
            assert "bad" in done.stderr
        else:
            assert all(path.is_symlink() or path.resolve().is_relative_to(build.out) for path in build.out.rglob("*"))
    finally:
        pathlib.Path(TARGET).unlink(missing_ok=True)
    build(failure.GOOD)


@pytest.mark.kiln_only
def test_layer_with_devices(build, tmp_path):
    """They belong to the image, and a step cannot use them."""
    devices = [
        entry("disk", type=tarfile.BLKTYPE, devmajor=7, devminor=0, mode=0o666),
        entry("mem", type=tarfile.CHRTYPE, devmajor=1, devminor=1, mode=0o666),
        entry("pipe", type=tarfile.FIFOTYPE),
    ]
    base = oci.layer_tar(busybox.entries())
    layout = image_of(tmp_path / "devices", base, failure.tar_of(*devices))
    build("FROM devices\nRUN (head -c1 /mem; echo $?; head -c1 /disk; echo $?) >/seen 2>&1; rm /mem /disk\n",
          contexts={"devices": layout})  # fmt: skip
    assert "not permitted" in build.read("seen")


PAYLOADS = {
    "cut short": failure.PACKED[:-100],
    "damaged": failure.broken(failure.PACKED),
    "not gzip": b"this is no gzip stream at all, however long one looks at it" * 20,
    "empty": b"",
    "half a tar": gzip.compress(failure.LAYER[: 512 * 20 + 100], mtime=0),
    "no tar": gzip.compress(b"no tar" * 1000, mtime=0),
    "bad checksum of a header": gzip.compress(failure.LAYER[:150] + b"X" + failure.LAYER[151:], mtime=0),
    "huge size in a header": gzip.compress(failure.LAYER[:124] + b"\x80" + b"\x7f" * 11 + failure.LAYER[136:], mtime=0),
    "bytes after the end": failure.PACKED + b"more that is no gzip",
}  # fmt: skip


@pytest.mark.parametrize("name", PAYLOADS)
def test_layer_that_is_damaged(build, tmp_path, serves_on, name):
    data = PAYLOADS[name]
    layout = oci.Layout(tmp_path / "bad")
    rootfs = {"type": "layers", "diff_ids": [oci.digest(failure.LAYER)]}
    document = {"architecture": "amd64", "os": "linux", "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": layout.json_blob(document, oci.CONFIG),
        "layers": [layout.blob(data, oci.LAYER_GZIP)],
    }
    layout.tag(layout.json_blob(manifest, oci.MANIFEST), "latest")
    failure.check(build("FROM bad\n", contexts={"bad": layout.path}, check=False), "error:")


def test_layer_with_another_diff_id(build, tmp_path, serves_on):
    layout = image_of(tmp_path / "bad", failure.LAYER, claimed=[oci.digest(b"other")])
    failure.check(build("FROM bad\n", contexts={"bad": layout}, check=False), oci.digest(b"other"))


@pytest.mark.kiln_only  # fills buildkitd's disk
def test_layer_that_is_a_bomb(build, tmp_path, daemon, serves_on):
    """A hundred gigabytes in one sparse header, a thousand times its packed size: stopped, and not stored."""
    bomb = tmp_path / "bomb"
    with gzip.open(bomb, "wb", 9) as packed:
        header = tarfile.TarInfo("zeros")
        header.size = 1 << 40
        packed.write(header.tobuf(tarfile.GNU_FORMAT))
        block = bytes(1 << 20)
        for _ in range(512):
            packed.write(block)
    layout = oci.Layout(tmp_path / "bad")
    document = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [oci.digest(b"b")]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": layout.json_blob(document, oci.CONFIG),
        "layers": [layout.blob(bomb.read_bytes(), oci.LAYER_GZIP)],
    }
    layout.tag(layout.json_blob(manifest, oci.MANIFEST), "latest")
    failure.check(build("FROM bad\n", contexts={"bad": layout.path}, check=False), "error:")
    assert sum(path.stat().st_blocks for path in (daemon.root / "state").rglob("*") if path.is_file()) * 512 < 64 << 20
