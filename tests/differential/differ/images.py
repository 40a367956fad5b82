"""The images that cases build on, and how exported ones are read."""

import gzip
import io
import json
import re
import subprocess
import tarfile

from kilntest import busybox, oci

from differ import trees

KINDS = {
    tarfile.REGTYPE: "f",
    tarfile.AREGTYPE: "f",
    tarfile.LNKTYPE: "h",
    tarfile.SYMTYPE: "l",
    tarfile.CHRTYPE: "c",
    tarfile.BLKTYPE: "b",
    tarfile.DIRTYPE: "d",
    tarfile.FIFOTYPE: "p",
}
CREATED = re.compile('"created":"([^"]*)"')
PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "bob:x:1000:1000:bob:/home/bob:/bin/sh\n"
    "alice:x:1001:100:alice:/:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/:/bin/false\n"
)
GROUP = "root:x:0:\nusers:x:100:bob\nbob:x:1000:\nstaff:x:50:bob,alice\nnogroup:x:65534:\n"


def base_entries():
    kept = [one for one in busybox.entries() if one.path not in ("etc/passwd", "etc/group")]
    return [*kept, oci.Entry("etc/passwd", PASSWD.encode()), oci.Entry("etc/group", GROUP.encode())]


def describe(tar):
    """The members of an open tar in order, one line each."""
    lines = []
    for member in tar:
        line = f"{KINDS.get(member.type, '?')} {member.mode:o} {member.uid}:{member.gid}"
        line += f" {trees.shown_time(member.mtime)} {member.name}"
        if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            line += f" -> {member.linkname}"
        elif member.type in (tarfile.CHRTYPE, tarfile.BLKTYPE):
            line += f" {member.devmajor},{member.devminor}"
        elif member.isreg():
            data = tar.extractfile(member).read()
            line += f" {len(data)} {trees.shown_data(data, oci.digest(data))}"
        for key, value in sorted(member.pax_headers.items()):
            if key.startswith("SCHILY.xattr."):
                line += f" {key.removeprefix('SCHILY.xattr.')}={value.encode('utf-8', 'surrogateescape').hex()}"
        lines.append(line)
    return lines


def over_base(lines, base):
    """Of a tree, what the base does not have, and what of the base is not there. That a folder of the base was touched
    is no difference."""
    known, plain = {_untimed(line) for line in base}, [_untimed(line) for line in lines]
    if not any(line.split(" ")[-1] == "busybox" for line in plain):
        return lines  # of something else
    missing = [f"- {line}" for line in sorted(known - set(plain))]
    return [line for line, short in zip(lines, plain, strict=True) if short not in known] + missing


def _untimed(line):
    if not line.startswith("d "):
        return line
    kind, mode, owner, _, path = line.split(" ", 4)
    return f"{kind} {mode} {owner} {path.rstrip('/')}"


def describe_bytes(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return describe(tar)


def unpack(blob):
    """(kind of compression, uncompressed bytes)."""
    if blob[:2] == b"\x1f\x8b":
        return "gzip", gzip.decompress(blob)
    if blob[:4] == b"\x28\xb5\x2f\xfd":
        done = subprocess.run(["zstd", "-dc"], input=blob, capture_output=True, check=True)
        return "zstd", done.stdout
    return "plain", blob


class Archive:
    """An OCI or Docker archive that was exported."""

    def __init__(self, path, known):
        """`known`: {digest of a layer of a base: its name}; these are not unpacked."""
        self.known = known
        with tarfile.open(path) as tar:
            self.members = [
                f"{KINDS[one.type]} {one.mode:o} {one.uid}:{one.gid} {trees.shown_time(one.mtime)} {one.name}"
                for one in tar
            ]
            self.blobs = {one.name: tar.extractfile(one).read() for one in tar if one.isreg()}

    def json(self, name):
        return json.loads(self.blobs[name])

    def blob(self, descriptor):
        return self.blobs["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]

    def describe(self):
        """What the archive says and holds, as plain values."""
        index = self.json("index.json")
        found = {"index": [self.descriptor(one) for one in index["manifests"]]}
        roots = {one["digest"]: one for one in index["manifests"]}
        found["images"] = [self.image(one) for one in roots.values()]
        if "manifest.json" in self.blobs:
            (entry,) = self.json("manifest.json")
            found["manifest.json"] = {"RepoTags": entry["RepoTags"], "Layers": len(entry["Layers"])}
        return found

    def configurations(self):
        """The configurations of the images as they are, byte for byte, but for what the run's time is in."""
        return {"configurations": [text for one in self.json("index.json")["manifests"] for text in self.raw(one)]}

    def raw(self, descriptor):
        document = json.loads(self.blob(descriptor))
        if "manifests" in document:
            return [text for one in document["manifests"] for text in self.raw(one)]
        text = self.blob(document["config"]).decode()
        for layer in self.image(descriptor)["layers"]:
            if "is" not in layer and "diff" not in layer:
                text = text.replace(oci.digest(unpack(self.blob(document["layers"].pop(0)))[1]), "sha256:*")
            else:
                document["layers"].pop(0)
        return [CREATED.sub(lambda found: f'"created":"{shown_created(found[1])}"', text)]

    def descriptor(self, value):
        kept = {key: value[key] for key in value if key not in ("digest", "size")}
        if "org.opencontainers.image.created" in kept.get("annotations", {}):
            created = shown_created(kept["annotations"]["org.opencontainers.image.created"])
            kept["annotations"] = {**kept["annotations"], "org.opencontainers.image.created": created}
        return kept

    def image(self, descriptor):
        document = json.loads(self.blob(descriptor))
        if "manifests" in document:
            parts = [{**self.descriptor(one), **self.image(one)} for one in document.pop("manifests")]
            return {"index": document, "manifests": parts}
        layers = document.pop("layers") or []
        config = json.loads(self.blob(document["config"]))
        document["config"] = self.descriptor(document["config"])
        diff_ids = config.get("rootfs", {}).pop("diff_ids", None) or []
        return {
            "manifest": document,
            "config": timeless(config),
            "layers": [self.layer(one, diff_id) for one, diff_id in zip(layers, diff_ids, strict=True)],
        }

    def layer(self, descriptor, diff_id):
        shown = self.descriptor(descriptor)
        if descriptor["digest"] in self.known:
            return {**shown, "is": self.known[descriptor["digest"]]}
        kind, data = unpack(self.blob(descriptor))
        if oci.digest(data) != diff_id:
            return {**shown, "wrong diff id": True}
        entries = describe_bytes(data)
        # Where nothing has the time of the run, the bytes are the same everywhere.
        fixed = {} if any(" now " in line for line in entries) else {"diff": diff_id}
        return {**shown, "packed": kind, **fixed, "entries": entries}


class Layout(Archive):
    """The same as a folder."""

    def __init__(self, path, known):
        self.known = known
        self.blobs = {str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()}


def shown_created(text):
    return "now" if text >= "2023-11-15" else text


def timeless(value):
    if isinstance(value, dict):
        return {
            key: shown_created(one) if key == "created" and isinstance(one, str) else timeless(one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [timeless(one) for one in value]
    return value
