"""Sources: images in a client's layout, blobs, folders of the client, web pages, git repositories."""

import json

from kilntest import llb
from kilntest.llb import message

from differ import ops
from differ.case import Case, each
from differ.trees import File, Folder, Link

PROJECT = {
    "a": "a",
    "b.txt": File("b", 0o755),
    "c.txt": File("c", 0o600, time=1_234_567_890),
    "dir/x": "x",
    "dir/y.txt": "y",
    "dir/deep/z": "z",
    "empty": Folder(0o700),
    "link": Link("dir/x"),
    "to-dir": Link("dir"),
    "to-link": Link("link"),
    "broken": Link("nowhere"),
    "climbs": Link("../../outside"),
    "twin": Link("a", hard=True),
    "setuid": File("s", 0o4755),
    "ü ü": "odd",
}


def image(name, **attributes):
    return lambda room: room.image(name, **attributes)


def patterns(**attributes):
    """A local source; lists are written as JSON."""
    attributes = {key: json.dumps(one) if isinstance(one, list) else one for key, one in attributes.items()}
    return lambda room: ops.local("project", **attributes)


def arm(name, architecture, variant=None):
    return lambda room: room.image(name, platform=message(f1=architecture, f2="linux", f3=variant))


def web(path, host=None, **attributes):
    attributes = {f"http.{key}": value for key, value in attributes.items()}
    return lambda room: ops.source(f"http://{host or room.web.host}{path}", attributes, platform=None)


def git(fragment="", **attributes):
    attributes = {f"git.{key}": value for key, value in attributes.items()}

    def graph(room):
        ref = fragment.format(**room.commits)
        more = {key: value.format(**room.commits) for key, value in attributes.items()}
        url = room.git.url("repo.git")
        return ops.source(f"git://{room.git.host}/repo.git{ref}", {"git.fullurl": url, **more}, platform=None)

    return graph


def blob(name, **attributes):
    def graph(room):
        return ops.source(f"oci-layout+blob://stock/{name}@{room.digest(name)}", {"oci.store": "stock", **attributes})

    return graph


CHECKSUM = llb.digest(b"plain text")
READ = "cat /arch; cat /d/a /f/in 2>/dev/null; true"

IMAGES = {
    "image": image("layered"),
    "image of all kinds": (image("kinds"), {"outputs": ("type=oci", "type=tar")}),
    "image with layers that hide": (image("layered"), {"outputs": ("type=tar",)}),
    "image, first layers": (image("layered", oci_layerlimit="2"), {"outputs": ("type=oci", "type=tar")}),
    "image, too many layers": image("layered", oci_layerlimit="6"),
    "image, no layers at all": image("layered", oci_layerlimit="0"),
    "image, bad limit": image("layered", oci_layerlimit="x"),
    "image, limit below zero": image("layered", oci_layerlimit="-1"),
    "image of many platforms": image("multi"),
    "image of another platform": arm("multi", "arm64"),
    "image of another platform's variant": arm("multi", "arm", "v7"),
    "image of an older variant": arm("multi", "arm", "v6"),
    "image of another architecture": arm("multi", "riscv64"),
    "image without our platform": image("foreign"),
    "image of one other platform": arm("base", "arm64"),
    "image without layers": image("empty"),
    "image without layers, built on": lambda room: ops.files(
        room.image("empty"), ops.mkfile("/on-empty", b"x", time=ops.THEN)
    ),
    "image not compressed": image("uncompressed"),
    "image of Docker's types": image("docker"),
    "image that does not add up": lambda room: ops.files(room.image("mismatched"), ops.mkfile("/x", b"")),
    "image with a layer twice": (image("twice"), {"outputs": ("type=oci", "type=tar")}),
    "image that climbs": (image("climbing"), {"outputs": ("type=tar",)}),
    "image with attributes": (image("xattrs"), {"outputs": ("type=oci", "type=tar")}),
    "image with attributes, changed": lambda room: ops.files(
        room.image("xattrs"),
        ops.mkfile("/noted", b"changed", time=ops.THEN),
        ops.copy(room.image("xattrs"), "/capable", "/c"),
    ),
    "image without a digest": lambda room: ops.source("oci-layout://stock/base:latest", {"oci.store": "stock"}),
    "image of no store": lambda room: ops.source(f"oci-layout://stock/base@{room.digest('base')}"),
    "image of a missing store": lambda room: ops.source(
        f"oci-layout://stock/base@{room.digest('base')}", {"oci.store": "other"}
    ),
    "image missing": lambda room: ops.source(f"oci-layout://stock/base@{llb.digest(b'x')}", {"oci.store": "stock"}),
    "image with a bad name": lambda room: ops.source("oci-layout://UPPER//x", {"oci.store": "stock"}),
    "image with an unknown attribute": image("layered", oci_nothing="x"),
    "image with the right checksum": lambda room: room.image("layered", image_checksum=room.digest("layered")),
    "image, record type": image("layered", image_recordtype="internal"),
    "registry": lambda room: ops.files(
        ops.source(f"docker-image://{room.registry.host}/library/base:latest"), ops.mkfile("/on", b"x", time=ops.THEN)
    ),
    "registry by digest": lambda room: ops.source(
        f"docker-image://{room.registry.host}/library/base:latest@{room.digest('base')}"
    ),
    "registry with a checksum": lambda room: ops.source(
        f"docker-image://{room.registry.host}/library/base:latest", {"image.checksum": room.digest("base")}
    ),
    "registry with a wrong checksum": lambda room: ops.source(
        f"docker-image://{room.registry.host}/library/base:latest", {"image.checksum": llb.digest(b"x")}
    ),
    "registry, missing tag": lambda room: ops.source(f"docker-image://{room.registry.host}/library/base:nothing"),
    "registry, missing repository": lambda room: ops.source(f"docker-image://{room.registry.host}/no/thing:latest"),
    "registry, pulling": lambda room: ops.source(
        f"docker-image://{room.registry.host}/library/base:latest", {"image.resolvemode": "pull"}
    ),
    "registry, bad mode": lambda room: ops.source(
        f"docker-image://{room.registry.host}/library/base:latest", {"image.resolvemode": "sometimes"}
    ),
    "registry without a host": lambda room: ops.source("docker-image://"),
    "registry with a bad name": lambda room: ops.source("docker-image://UPPER/../x"),
    "blob": blob("base"),
    "blob with a name": blob(
        "base", **{"http.filename": "named", "http.perm": "0640", "http.uid": "5", "http.gid": "6"}
    ),
    "blob without a digest": lambda room: ops.source("oci-layout+blob://stock/base:latest", {"oci.store": "stock"}),
    "blob of a registry": lambda room: ops.source(
        f"docker-image+blob://{room.registry.host}/library/base@{room.digest('base')}"
    ),
}

LOCALS = {
    "local": patterns(),
    "local with a copy": lambda room: ops.files(None, ops.copy(ops.local("project"), "/", "/n", contents=1)),
    "local in a step": lambda room: ops.sh(
        room.base,
        "ls -ln /m | tail -n +2 | cut -c1-10; cat /m/dir/x",
        mounts=[ops.Mount("/m", ops.local("project"), readonly=1)],
    ),
    "local include": patterns(local_includepattern=["*.txt"]),
    "local include of a folder": patterns(local_includepattern=["dir"]),
    "local include deep": patterns(local_includepattern=["**/z"]),
    "local include of nothing": patterns(local_includepattern=["nothing"]),
    "local include of one file": patterns(local_includepattern=["dir/deep/z"]),
    "local exclude": patterns(local_excludepatterns=["*.txt"]),
    "local exclude deep": patterns(local_excludepatterns=["**/*.txt", "empty"]),
    "local exclude but one": patterns(local_excludepatterns=["*", "!dir/y.txt"]),
    "local exclude of a folder but one": patterns(local_excludepatterns=["dir", "!dir/deep"]),
    "local include and exclude": patterns(local_includepattern=["dir"], local_excludepatterns=["dir/deep"]),
    "local follow": patterns(local_followpaths=["link"]),
    "local follow of two": patterns(local_followpaths=["to-link", "to-dir/y.txt"]),
    "local follow wildcard": patterns(local_followpaths=["*link"]),
    "local follow broken": patterns(local_followpaths=["broken"]),
    "local follow climbing": patterns(local_followpaths=["climbs"]),
    "local follow everything": patterns(local_followpaths=["."]),
    "local bad pattern": patterns(local_includepattern=["[a"]),
    "local bad list": patterns(local_includepattern="not JSON"),
    "local shared key": patterns(local_sharedkeyhint="hint"),
    "local without comparison": patterns(local_differ="none"),
    "local bad comparison": patterns(local_differ="sometimes"),
    "local unique": patterns(local_unique="u"),
    "local names only": patterns(local_metadatatransfer="true"),
    "local names only but": patterns(local_metadatatransfer="true", local_metadatatransferexclude=["*.txt"]),
    "local missing": lambda room: ops.local("nothing"),
    "local missing session": patterns(local_session="gone"),
}

WEB = {
    "web": web("/plain"),
    "web, name of the address": web("/folder/name.txt"),
    "web, name given": web("/plain", filename="own.name"),
    "web, name by the server": web("/disposed"),
    "web, name that climbs": web("/climbing"),
    "web, name of nothing": web("/"),
    "web, climbing name given": web("/plain", filename="../../x"),
    "web, mode and owner": web("/plain", perm="0755", uid="1000", gid="50"),
    "web, decimal mode": web("/plain", perm="420"),
    "web, bad mode": web("/plain", perm="rw"),
    "web, checksum": web("/plain", checksum=CHECKSUM, filename="checked"),
    "web, wrong checksum": web("/plain", checksum=llb.digest(b"x"), filename="wrong"),
    "web, bad checksum": web("/plain", checksum="sha256:zz"),
    "web, missing": web("/gone"),
    "web, broken": web("/broken"),
    "web, without validators": web("/unmodified"),
    "web, private": web("/private"),
    "web, secret missing": web("/private", authheadersecret="nothing"),
    "web, with a query": web("/plain?a=b"),
    "web, nobody there": web("/plain", host="127.0.0.1:1"),
}
PRIVATE = {
    "web, secret": (
        web("/private", authheadersecret="header"),
        {"words": ["--secret=id=header,src={space}/secrets/header"], "locals": {"secrets": {"header": "Bearer token"}}},
    ),
}

GIT = {
    "git": git(),
    "git, tag": git("#v1"),
    "git, annotated tag": git("#v1-annotated"),
    "git, branch": git("#side"),
    "git, full name": git("#refs/heads/side"),
    "git, commit": git("#{first}"),
    "git, folder": git("#main:sub"),
    "git, folder below": git("#:sub/deep"),
    "git, missing folder": git("#main:nothing"),
    "git, folder that is a file": git("#main:README"),
    "git, missing branch": git("#nothing"),
    "git, missing commit": git("#" + "1" * 40),
    "git, checksum": git("#main", checksum="{main}"),
    "git, wrong checksum": git("#main", checksum="{first}"),
    "git, bad checksum": git("#main", checksum="zz"),
    "git, times of the commit": git("#v1", mtime="commit"),
    "git, bad times": git("#v1", mtime="sometimes"),
    "git, name like a flag": git("#--upload-pack=x"),
}

CASES = [
    *each("sources", IMAGES),
    *each("sources", LOCALS, locals={"project": PROJECT}),
    *each("sources", WEB | PRIVATE),
    *each("sources", GIT, logs=False),
    Case("sources/image read", lambda room: ops.sh(room.base, READ, mounts=[ops.Mount("/m", room.image("layered"))])),
]
