"""OCI image layouts (image-spec v1.1) written by plain Python, the same bytes every time."""

import dataclasses
import gzip
import hashlib
import io
import json
import pathlib
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
EPOCH = "1970-01-01T00:00:00Z"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclasses.dataclass(frozen=True)
class Entry:
    """One member of a layer."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    type: bytes = tarfile.REGTYPE
    link: str = ""
    uid: int = 0
    gid: int = 0
    device: tuple = (0, 0)
    xattrs: dict = dataclasses.field(default_factory=dict)  # {name: bytes}


def directory(path, mode=0o755):
    return Entry(path, mode=mode, type=tarfile.DIRTYPE)


def symlink(path, target):
    return Entry(path, mode=0o777, type=tarfile.SYMTYPE, link=target)


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer_tar(entries):
    """An uncompressed layer; every time stamp is the epoch."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mode, info.type, info.linkname = entry.mode, entry.type, entry.link
            info.uid, info.gid, info.size = entry.uid, entry.gid, len(entry.data)
            info.devmajor, info.devminor = entry.device
            info.pax_headers = {
                f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in entry.xattrs.items()
            }
            tar.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


class Layout:
    """An image layout folder under construction."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self._manifests = []
        self._write_index()

    def blob(self, data, media_type):
        """Stores bytes; returns their descriptor."""
        name = digest(data)
        self.blob_path(name).write_bytes(data)
        return {"mediaType": media_type, "digest": name, "size": len(data)}

    def blob_path(self, name):
        return self.path / "blobs/sha256" / name.removeprefix("sha256:")

    def json_blob(self, value, media_type):
        return self.blob(json.dumps(value, sort_keys=True, separators=(",", ":")).encode(), media_type)

    def image(self, layers, *, architecture="amd64", config=None):
        """One image of layers (lists of Entry); returns its manifest's descriptor, not yet named in the index."""
        tars = [layer_tar(layer) for layer in layers]
        blobs = [self.blob(gzip.compress(tar, mtime=0), LAYER_GZIP) for tar in tars]
        return self.image_of_blobs(blobs, [digest(tar) for tar in tars], architecture=architecture, config=config)

    def image_of_blobs(self, blobs, diff_ids, *, architecture="amd64", config=None):
        """The same, of layers that are stored already: their descriptors and the digests of their tars."""
        document = {
            "architecture": architecture,
            "os": "linux",
            "created": EPOCH,
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created": EPOCH, "created_by": "kilntest"} for _ in blobs],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.json_blob(document, CONFIG),
            "layers": blobs,
        }
        return {**self.json_blob(manifest, MANIFEST), "platform": {"architecture": architecture, "os": "linux"}}

    def index(self, manifests):
        """An image index over manifest descriptors (a multi-platform image)."""
        return self.json_blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)

    def tag(self, descriptor, name):
        """Names a manifest or index in index.json."""
        self._manifests.append({**descriptor, "annotations": {REF_NAME: name}})
        self._write_index()

    def _write_index(self):
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self._manifests}
        (self.path / "index.json").write_text(json.dumps(document))


def read_json(layout, descriptor):
    """The JSON document that a descriptor of a layout folder points to."""
    name = descriptor["digest"].removeprefix("sha256:")
    return json.loads((pathlib.Path(layout) / "blobs/sha256" / name).read_text())


def read_member(archive, name):
    """A JSON document in an open tar."""
    return json.load(archive.extractfile(name))


def read_archived(archive, descriptor):
    """What a descriptor points to, in an OCI archive that is open as a tar."""
    return read_member(archive, "blobs/sha256/" + descriptor["digest"].removeprefix("sha256:"))
