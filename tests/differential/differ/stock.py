"""What there is to build from: images, web pages, a git repository."""

import gzip
import tarfile

from kilntest import busybox, oci
from kilntest.oci import Entry, directory, symlink
from kilntest.webserver import Page

from differ import images

ENV = [f"PATH={busybox.PATH}"]
TAR_GZIP = oci.LAYER_GZIP
TAR = "application/vnd.oci.image.layer.v1.tar"


def hard(path, target):
    return Entry(path, type=tarfile.LNKTYPE, link=target)


def special(path, kind, mode=0o644, device=(0, 0)):
    return Entry(path, type=kind, mode=mode, device=device)


def base(layout):
    """Busybox with some users."""
    return layout.image([images.base_entries()], config={"Env": ENV, "Cmd": ["sh"]})


def layered(layout):
    """Five layers that hide, replace and bring back what is below."""
    one = [directory("d"), Entry("d/a", b"1"), Entry("d/b", b"1"), directory("o"), Entry("o/x", b"1"), Entry("f", b"1")]
    two = [directory("d"), Entry("d/.wh.a"), Entry("d/c", b"22"), directory("o"), Entry("o/.wh..wh..opq"), Entry("o/y")]
    three = [Entry("d/a", b"back"), directory("f"), Entry("f/in", b"3"), Entry(".wh.o")]
    four = [Entry("f", b"file again", 0o600), directory("o"), Entry("o/z", b"4")]
    five = [Entry("d/c", b"5555", 0o4755, uid=1000, gid=50), Entry(".wh.nothing")]
    return layout.image([one, two, three, four, five], config={"Env": ["A=1"]})


def kinds(layout):
    """Every kind of entry, odd names, modes and owners."""
    entries = [
        directory("dir", 0o1777),
        directory("set", 0o2755),
        Entry("set/uid", b"x", 0o6755),
        Entry("owned", b"o", 0o600, uid=1000, gid=1001),
        Entry("large-id", b"", 0o644, uid=4_000_000_000 // 2, gid=3_000_000),
        Entry("with space", b"s"),
        Entry("ünï", "ü".encode()),
        Entry("x" * 150, b"long"),
        symlink("abs", "/etc/passwd"),
        symlink("dangling", "nowhere"),
        symlink("up", "../../../x"),
        hard("twin", "owned"),
        special("fifo", tarfile.FIFOTYPE, 0o622),
        special("null", tarfile.CHRTYPE, 0o666, (1, 3)),
        special("disk", tarfile.BLKTYPE, 0o660, (7, 0)),
        Entry("no/parents/at/all", b"n"),
        Entry("zero", b"", 0),
    ]
    return layout.image([entries])


def xattrs(layout):
    """Extended attributes: of users, of capabilities."""
    # cap_net_bind_service+ep, revision 2
    capability = b"\x01\x00\x00\x02\x00\x04" + bytes(14)
    entries = [
        Entry("noted", b"x", xattrs={"user.note": b"n"}),
        Entry("capable", b"x", 0o755, xattrs={"security.capability": capability}),
        Entry("plain", b"x"),
    ]
    return layout.image([entries])


def multi(layout):
    """An index with three platforms."""
    parts = []
    for architecture, more in (("amd64", {}), ("arm64", {}), ("arm", {"variant": "v7"})):
        one = layout.image([[Entry("arch", architecture.encode())]], architecture=architecture)
        parts.append({**one, "platform": {**one["platform"], **more}})
    return layout.index(parts)


def foreign(layout):
    """An index without our platform."""
    return layout.index([layout.image([[Entry("arch", b"s390x")]], architecture="s390x")])


def empty(layout):
    return layout.image([])


def uncompressed(layout):
    data = oci.layer_tar([Entry("plain", b"p")])
    return layout.image_of_blobs([layout.blob(data, TAR)], [oci.digest(data)])


def docker(layout):
    """Docker's media types."""
    data = oci.layer_tar([Entry("docker", b"d")])
    layer = layout.blob(gzip.compress(data, mtime=0), "application/vnd.docker.image.rootfs.diff.tar.gzip")
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["D=1"]},
        "rootfs": {"type": "layers", "diff_ids": [oci.digest(data)]},
        "history": [{"created": oci.EPOCH, "created_by": "one"}, {"created_by": "empty", "empty_layer": True}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": layout.json_blob(document, "application/vnd.docker.container.image.v1+json"),
        "layers": [layer],
    }
    return layout.json_blob(manifest, manifest["mediaType"])


def mismatched(layout):
    """One layer in the manifest, two in the configuration."""
    data = oci.layer_tar([Entry("f", b"f")])
    return layout.image_of_blobs([layout.blob(gzip.compress(data, mtime=0), TAR_GZIP)], [oci.digest(data)] * 2)


def twice(layout):
    """The same layer two times, around another."""
    same, other = [Entry("same", b"s")], [Entry(".wh.same"), Entry("other", b"o")]
    return layout.image([same, other, same])


def climbing(layout):
    """Entries that would like to be elsewhere."""
    entries = [
        symlink("link", "/etc"),
        Entry("link/through", b"t"),
        Entry("/absolute", b"a"),
        Entry("./dotted/./file", b"d"),
        Entry("a/../b", b"b"),
    ]
    return layout.image([[directory("etc"), directory("a")], entries])


def configured(layout):
    """Everything that a configuration may say."""
    config = {
        "Env": [*ENV, "FROM_BASE=1"],
        "Cmd": ["run", "me"],
        "Entrypoint": ["/bin/sh", "-c"],
        "WorkingDir": "/work",
        "User": "bob:staff",
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/data": {}},
        "Labels": {"base": "yes"},
        "StopSignal": "SIGINT",
        "OnBuild": ["ENV TRIGGERED=1"],
        "Shell": ["/bin/ash", "-c"],
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000},
    }
    return layout.image([images.base_entries()], config=config)


IMAGES = {
    made.__name__: made
    for made in (
        *(base, layered, kinds, xattrs, multi, foreign, empty, uncompressed, docker, mismatched, twice, climbing),
        configured,
    )
}


def fill_web(web):
    archive = gzip.compress(oci.layer_tar([directory("in"), Entry("in/file", b"archived", uid=1000)]), mtime=0)
    web.pages.update(
        {
            "/plain": b"plain text",
            "/folder/name.txt": b"named",
            "/archive.tar.gz": archive,
            "/disposed": Page(b"disposed", headers={"Content-Disposition": 'attachment; filename="given.bin"'}),
            "/climbing": Page(b"c", headers={"Content-Disposition": 'attachment; filename="../../etc/x"'}),
            "/unmodified": Page(b"u", etag=False),
            "/gone": Page(status=404),
            "/broken": Page(status=500),
            "/": b"root",
            "/private": Page(b"secret", authorization="Bearer token"),
        }
    )


def fill_repository(repository):
    """{name: commit}: a first one with tag v1, one on a branch, and the head of main."""
    commits = {"first": repository.commit({"README": "one\n", "sub/file": "s\n", "sub/deep/x": "x\n"}, "first")}
    repository.git("tag", "v1")
    repository.git("tag", "-a", "v1-annotated", "-m", "annotated")
    commits["main"] = repository.commit({"README": "two\n", "new": "n\n"}, "second")
    repository.git("checkout", "-q", "-b", "side", commits["first"])
    commits["side"] = repository.commit({"side": "s\n"}, "side")
    repository.git("checkout", "-q", "main")
    return commits


# Specifications of devices, by folder and name of the file; {room} is filled in.
DEVICES = {
    "low/things.yaml": """\
cdiVersion: "0.6.0"
kind: diff.test/thing
containerEdits: {env: [D_COMMON=1]}
devices:
- {name: one, containerEdits: {env: [D_ONE=1]}}
- name: q1
  annotations: {org.mobyproject.buildkit.device.class: quick}
  containerEdits: {env: [D_Q1=1]}
- name: q2
  annotations: {org.mobyproject.buildkit.device.class: quick}
  containerEdits: {env: [D_Q2=1]}
- name: z
  annotations: {org.mobyproject.buildkit.device.class: diff.test/odd=class}
  containerEdits: {env: [D_Z=1]}
""",
    "low/free.yaml": """\
cdiVersion: "0.6.0"
kind: diff.test/free
annotations: {org.mobyproject.buildkit.device.autoallow: true}
devices: [{name: it, containerEdits: {env: [D_FREE=1]}}]
""",
    "low/auto.yaml": "{cdiVersion: 0.3.0, kind: diff.test/auto, devices: [{name: it, containerEdits: {env: [D_AUTO=1]}}]}",
    "low/over.yaml": "{cdiVersion: 0.3.0, kind: diff.test/over, devices: [{name: it, containerEdits: {env: [D_OVER=low]}}]}",
    "high/over.yaml": "{cdiVersion: 0.3.0, kind: diff.test/over, devices: [{name: it, containerEdits: {env: [D_OVER=high]}}]}",
    "low/json.json": """\
{"cdiVersion": "0.3.0", "kind": "diff.test/json", "devices": [
\t{"name": "it", "containerEdits": {"env": ["D_JSON=\\u00e9"]}}]}
""",
    "low/env.yaml": """\
{cdiVersion: 0.3.0, kind: diff.test/env, devices: [{name: it, containerEdits: {env: [D_SET=device, D_NEW=1, D_NEW=2]}}]}
""",
    "low/node.yaml": """\
cdiVersion: "0.5.0"
kind: diff.test/node
devices:
- {name: host, containerEdits: {deviceNodes: [{path: /dev/d-host, hostPath: /dev/zero}]}}
- name: told
  containerEdits:
    deviceNodes: [{path: /dev/d-told, type: c, major: 1, minor: 7, fileMode: 0604, uid: 3, gid: 4}]
- {name: read, containerEdits: {deviceNodes: [{path: /dev/d-read, hostPath: /dev/urandom, permissions: r}]}}
- {name: gone, containerEdits: {deviceNodes: [{path: /dev/d-gone}]}}
- {name: type, containerEdits: {deviceNodes: [{path: /dev/d-type, hostPath: /dev/zero, type: b}]}}
- {name: file, containerEdits: {deviceNodes: [{path: /dev/d-file, hostPath: /etc/passwd}]}}
- {name: pipe, containerEdits: {deviceNodes: [{path: /dev/d-pipe, type: p, fileMode: 0600}]}}
""",
    "low/mount.yaml": """\
cdiVersion: "0.4.0"
kind: diff.test/mount
devices:
- name: file
  containerEdits: {mounts: [{hostPath: "{room}/cdi/file", containerPath: /etc/d-file, options: [bind, ro]}]}
- name: shm
  containerEdits: {mounts: [{hostPath: "{room}/cdi/folder", containerPath: /dev/shm, options: [rbind]}]}
- name: deep
  containerEdits: {mounts: [{hostPath: "{room}/cdi/folder", containerPath: /m/deep, options: [rbind]}]}
- name: gone
  containerEdits: {mounts: [{hostPath: "{room}/cdi/gone", containerPath: /gone, options: [bind]}]}
""",
    "low/groups.yaml": """\
{cdiVersion: 0.7.0, kind: diff.test/groups, devices: [{name: it, containerEdits: {additionalGids: [0, 77, 78, 77]}}]}
""",
}


def fill_devices(folder):
    """Writes them, and what they refer to; returns the folders that have them."""
    for name, text in {**DEVICES, "file": "of the host\n", "folder/inside": "inside\n"}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{room}", str(folder.parent)))
    return [folder / "low", folder / "high"]
