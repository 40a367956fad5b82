"""Exporters: attributes, archives, configurations, history, replies."""

import base64

from kilntest import llb

from differ import ops
from differ.case import Case, each
from differ.ops import THEN, mkdir, mkfile

STATE = ops.files(ops.tree({"/a": "a", "/d/b": ("b", 0o4755)}), ops.symlink("a", "/l", time=THEN))
TWO = ops.files(STATE, mkfile("/second", b"2", time=THEN))
OLD, NEW = "915148800", "1600000000"  # before and after what is in STATE


def built(room):
    return TWO


def on_base(room):
    return ops.files(room.image("layered"), mkfile("/on", b"x", time=THEN))


def stepped(room):
    return ops.sh(room.base, "echo stepped >/s; mkdir /s.d; ln /s /s.d/hard")


def oci(name, *attributes, graph=built, **more):
    """A case whose outputs have these attributes."""
    return Case(f"outputs/{name}", graph, outputs=(",".join(["type=oci", *attributes]),), **more)


def docker(name, *attributes, graph=built, **more):
    return Case(f"outputs/{name}", graph, outputs=(",".join(["type=docker", *attributes]),), **more)


def image(name, *attributes, graph=built, **more):
    return Case(f"outputs/{name}", graph, outputs=(",".join(["type=image", *attributes]),), **more)


def pushed(name, *attributes, graph=built, tag="pushed"):
    """To the registry, and read from there by a build on top."""
    return Case(
        f"outputs/{name}",
        graph,
        outputs=(),
        words=lambda room: [",".join([f"--output=type=image,push=true,name={room.registry.host}/{tag}", *attributes])],
    )


def spaces(room):
    """A thing of every kind in one layer."""
    return ops.files(room.image("kinds"), ops.copy(room.image("kinds"), "/", "/copied", contents=1))


ANNOTATED = ["annotation.one=1", "annotation-manifest-descriptor.two=2"]

CASES = [
    oci("archive", archive=True),
    oci("archive of two names", '"name=one,example.com/two:tag"'),
    oci("archive with a digest for a name", "name=one@" + llb.digest(b"x")),
    oci("archive with a bad name", "name=UPPER:::x"),
    oci("archive of any name", "name=*"),
    oci("compression gzip", "compression=gzip"),
    oci("compression zstd", "compression=zstd"),
    oci("compression none", "compression=uncompressed"),
    oci("compression unknown", "compression=lz5"),
    oci("compression level", "compression=gzip,compression-level=9"),
    oci("compression level bad", "compression=gzip,compression-level=x"),
    oci("compression of new layers only", "compression=zstd", graph=on_base),
    oci("compression of all layers", "compression=zstd,force-compression=true", graph=on_base),
    oci("compression undone", "compression=uncompressed,force-compression=true", graph=on_base),
    oci("compression bare flag", "compression=zstd,force-compression", graph=on_base),
    oci("compression forced, bad", "force-compression=perhaps"),
    oci("media types of Docker", "oci-mediatypes=false", graph=on_base),
    oci("media types of Docker and zstd", "oci-mediatypes=false,compression=zstd"),
    oci("media types bad", "oci-mediatypes=perhaps"),
    oci("media types of OCI for Docker's", graph=lambda room: ops.files(room.image("docker"), mkdir("/n", time=THEN))),
    docker("Docker's types kept", graph=lambda room: ops.files(room.image("docker"), mkdir("/n", time=THEN))),
    oci("annotations", *ANNOTATED),
    oci("annotations of an index", "annotation-index.x=1"),
    oci("annotations of a platform", "annotation[linux/amd64].x=1"),
    oci("annotations of another platform", "annotation[linux/arm64].x=1"),
    oci("annotations of nothing", "annotation-nothing.x=1"),
    oci("annotations with Docker's types", "oci-mediatypes=false,annotation.x=1"),
    oci("annotations on a descriptor, Docker's types", "oci-mediatypes=false,annotation-manifest-descriptor.x=1"),
    oci("epoch", f"source-date-epoch={OLD}"),
    oci("epoch later", f"source-date-epoch={NEW}"),
    oci("epoch empty", "source-date-epoch="),
    oci("epoch bad", "source-date-epoch=yesterday"),
    oci("epoch below zero", "source-date-epoch=-5"),
    oci("epoch of layers", f"source-date-epoch={OLD},rewrite-timestamp=true"),
    oci("epoch of layers, later", f"source-date-epoch={NEW},rewrite-timestamp=true", graph=stepped),
    oci("epoch of layers on a base", f"source-date-epoch={OLD},rewrite-timestamp=true", graph=on_base),
    oci("epoch of layers without one", "rewrite-timestamp=true"),
    oci("unknown attribute", "nothing=x"),
    oci("configuration given", "containerimage.config=" + base64.b64encode(b"{}").decode()),
    oci("layout", "tar=false"),
    oci("tar bad", "tar=perhaps"),
    oci("layers of a step", graph=stepped),
    oci("layers that are empty", graph=lambda room: ops.sh(room.base, "true # empty layer")),
    oci("layers of scratch", graph=lambda room: llb.merge(ops.files(None, mkdir("/only", time=THEN)))),
    oci("nothing", graph=lambda room: llb.diff(None, None)),
    oci("nothing, zstd", "compression=zstd", graph=lambda room: llb.diff(None, None)),
    oci("all kinds", graph=spaces),
    oci("history of a chain", graph=lambda room: ops.files(stepped(room), mkdir("/h", time=THEN), ops.rm("/s"))),
    docker("docker", archive=True),
    docker("docker with names", '"name=one,two:tag"'),
    docker("docker, zstd", "compression=zstd"),
    docker("docker, OCI types", "oci-mediatypes=true"),
    docker("docker, a bad name", "name=a:b:c"),
    docker("docker, base layers", graph=on_base),
    image("image", "name=example.com/kept:1"),
    image("image without a name"),
    image("image, push without a name", "push=true"),
    image("image, push by digest with a tag", "name=example.com/x:tag,push=true,push-by-digest=true"),
    image("image, bad flag", "push=perhaps"),
    image("image, unpacked", "name=example.com/unpacked,unpack=true"),
    image("image, unpacked and rewritten", f"unpack=true,rewrite-timestamp=true,source-date-epoch={OLD}"),
    image("image, dangling", "dangling-name-prefix=example.com/dangling"),
    image("image, canonical", "name=example.com/canonical,name-canonical=true"),
    image("image, not stored", "name=example.com/x,store=false"),
    image("image, store bad", "store=perhaps"),
    image("image, nobody to push to", "name=127.0.0.1:1/x:y,push=true"),
    pushed("pushed"),
    pushed(
        "pushed on a base", graph=lambda room: ops.files(room.base, mkfile("/pushed", b"x", time=THEN)), tag="on-base"
    ),
    pushed("pushed by digest", "push-by-digest=true", tag="by-digest"),
    pushed("pushed as Docker's", "oci-mediatypes=false", tag="docker"),
    *each(
        "outputs",
        {
            "tar": (built, {"outputs": ("type=tar",)}),
            "tar of all kinds": (spaces, {"outputs": ("type=tar",)}),
            "tar with an epoch": (built, {"outputs": (f"type=tar,source-date-epoch={OLD}",)}),
            "tar of nothing": (lambda room: llb.diff(None, None), {"outputs": ("type=tar",)}),
            "tar of a step": (stepped, {"outputs": ("type=tar",)}),
            "tar of the base, changed": (
                lambda room: ops.files(room.base, ops.rm("/etc/group"), mkfile("/etc/passwd", b"", time=THEN)),
                {"outputs": ("type=tar",)},
            ),
            "tar bad flag": (built, {"outputs": ("type=tar,platform-split=perhaps",)}),
            "tar bad epoch": (built, {"outputs": ("type=tar,source-date-epoch=x",)}),
            "tar split": (built, {"outputs": ("type=tar,platform-split=true",)}),
            "folder": (built, {"outputs": ("type=local",)}),
            "folder of links": (lambda room: llb.diff(room.base, stepped(room)), {"outputs": ("type=local",)}),
            "folder with an epoch": (built, {"outputs": (f"type=local,source-date-epoch={OLD}",)}),
            "folder of nothing": (lambda room: llb.diff(None, None), {"outputs": ("type=local",)}),
            "folder split": (built, {"outputs": ("type=local,platform-split=true",)}),
            "folder in a bad mode": (built, {"outputs": ("type=local,mode=sometimes",)}),
            "folder, bad epoch": (built, {"outputs": ("type=local,source-date-epoch=x",)}),
            "several": (built, {"outputs": ("type=oci", "type=tar", "type=local", "type=docker")}),
            "several, one fails": (built, {"outputs": ("type=tar", "type=oci,compression=lz5")}),
            "unknown": (built, {"outputs": ("type=nothing",)}),
            "none": (built, {"outputs": ()}),
            "none of a failure": (lambda room: ops.sh(room.base, "exit 9"), {"outputs": ()}),
        },
    ),
]
