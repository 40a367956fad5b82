"""Bad input: manifests, configurations and answers of registries."""

import json
import socket

import pytest
from kilntest import failure, oci
from kilntest.fakeregistry import FakeRegistry

CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()


@pytest.fixture
def fake():
    with FakeRegistry() as registry:
        yield registry


def manifest(config, layers=()):
    return {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": {"mediaType": oci.CONFIG, **config},
        "layers": [{"mediaType": oci.LAYER_GZIP, **layer} for layer in layers],
    }


MANIFESTS = {
    "not JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "no config": {"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": []},
    "config of a wrong type": {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": 7, "layers": []},
    "layers of a wrong type": {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": {}, "layers": {}},
    "digest that is none": manifest({"digest": "sha256:../../etc/passwd", "size": 2}),
    "digest of an unknown kind": manifest({"digest": "md5:d41d8cd98f00b204e9800998ecf8427e", "size": 2}),
    "negative size": manifest({"digest": oci.digest(CONFIG), "size": -1}),
    "absurd size": manifest({"digest": oci.digest(CONFIG), "size": 1 << 62}),
    "schema 1": {"schemaVersion": 1, "name": "x", "tag": "1", "fsLayers": []},
    "nesting without end": b'{"config":' * 100_000,
    "index without a match": {
        "schemaVersion": 2,
        "mediaType": oci.INDEX,
        "manifests": [{"mediaType": oci.MANIFEST, "digest": oci.digest(b""), "size": 0,
                       "platform": {"architecture": "s390x", "os": "plan9"}}],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(build, fake, serves_on, name):
    body = MANIFESTS[name]
    media_type = body.get("mediaType", oci.MANIFEST) if isinstance(body, dict) else oci.MANIFEST
    fake.blob("x", CONFIG)
    fake.manifest("x", body, media_type)
    done = build(f"FROM {fake.host}/x:1\nRUN true\n", check=False)
    failure.check(done, f"{fake.host}/x:1")


def test_manifest_of_five_megabytes(build, fake, serves_on):
    fake.manifest("x", b" " * (5 << 20) + b"{}")
    failure.check(build(f"FROM {fake.host}/x:1\n", check=False), fake.host)


def test_index_that_holds_itself(build, fake, serves_on):
    """By its tag only: a digest cannot be its own. A chain of a thousand indexes stands for it."""
    inner = json.dumps(manifest({"digest": oci.digest(CONFIG), "size": len(CONFIG)})).encode()
    media_type = oci.MANIFEST
    fake.blob("x", CONFIG)
    for _ in range(100):
        descriptor = {"mediaType": media_type, "digest": oci.digest(inner), "size": len(inner)}
        fake.manifest("x", inner, media_type)
        inner = json.dumps({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": [descriptor]}).encode()
        media_type = oci.INDEX
    fake.manifest("x", inner, media_type)
    build(f"FROM {fake.host}/x:1\nRUN true\n", check=False)  # either way: it ends


def config_document(**fields):
    rootfs = {"type": "layers", "diff_ids": fields.pop("diff_ids", [oci.digest(failure.LAYER)])}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs, **fields}).encode()


CONFIGS = {
    "not JSON": b"{{",
    "a number": b"7",
    "more layers than the manifest": config_document(diff_ids=[oci.digest(failure.LAYER)] * 3),
    "diff_ids that are none": config_document(diff_ids=["../x"]),
    "environment of a wrong type": config_document(config={"Env": 7}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_image_config(build, fake, serves_on, name):
    config = fake.blob("x", CONFIGS[name])
    fake.manifest("x", manifest(config, [fake.blob("x", failure.PACKED)]))
    failure.check(build(f"FROM {fake.host}/x:1\nRUN true\n", check=False), "error:")


@pytest.mark.parametrize("which", ["config", "layer", "manifest"])
def test_content_with_a_wrong_digest(build, fake, serves_on, which):
    config = config_document()
    swapped = {"served": config.replace(b"linux", b"Linux")} if which == "config" else {}
    described = fake.blob("x", config, **swapped)
    swapped = {"served": failure.broken(failure.PACKED)} if which == "layer" else {}
    layer = fake.blob("x", failure.PACKED, **swapped)
    document = manifest(described, [layer])
    fake.manifest("x", document, digest=oci.digest(b"another") if which == "manifest" else None)
    name = f"{fake.host}/x:1"
    if which == "manifest":
        name = f"{fake.host}/x@{oci.digest(b'another')}"
    done = build(f"FROM {name}\nCOPY Dockerfile /\n", check=False)
    failure.check(done, fake.host if which == "manifest" else {"config": described, "layer": layer}[which]["digest"])


LOST_REALM = {"WWW-Authenticate": 'Bearer realm="http://127.0.0.1:1/"'}
ANSWERS = {
    "500": ((500, {}, b"oops"), "500"),
    "403": ((403, {}, b'{"errors":[{"code":"DENIED","message":"go away"}]}'), "go away"),
    "404": ((404, {}, b""), "not found"),
    "418 with a page": ((418, {"Content-Type": "text/html"}, b"<html>" + b"x" * 100_000), "418"),
    "401 without a challenge": ((401, {}, b""), "authorization failed"),
    "401 with a broken challenge": ((401, {"WWW-Authenticate": 'Bearer realm="'}, b""), ""),
    "401 with an unreachable realm": ((401, LOST_REALM, b""), "127.0.0.1:1"),
    "401 with a realm of another kind": ((401, {"WWW-Authenticate": 'Bearer realm="file:///etc/passwd"'}, b""), ""),
    "redirect to itself": ((307, {"Location": "/v2/x/manifests/1"}, b""), ""),
    "redirect to a file": ((307, {"Location": "file:///etc/passwd"}, b""), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.kiln_only  # buildkitd retries some for a minute
def test_answer_of_a_registry(build, fake, serves_on, name):
    answer, said = ANSWERS[name]
    fake.answers["/v2/x/manifests/1"] = answer
    failure.check(build(f"FROM {fake.host}/x:1\nRUN true\n", check=False), f"{fake.host}/x:1", said)


def test_registry_that_is_not_there(build, serves_on):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    name = f"127.0.0.1:{port}/x:1"
    failure.check(build(f"FROM {name}\n", check=False), name, "connect")
    done = build(failure.GOOD, outputs=[f"type=image,name={name},push=true"], check=False)
    failure.check(done, f"127.0.0.1:{port}", "connect")


HELM = "application/vnd.cncf.helm.config.v1+json"
NO_IMAGES = {
    "artifact": (HELM, b'{"name":"x","version":"1"}', HELM),
    "configuration that lists no layer": (oci.CONFIG, b'{"architecture":"amd64","os":"linux"}', oci.LAYER_GZIP),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGES)
@pytest.mark.kiln_only  # buildkitd takes the second for an image without files
def test_what_is_no_image(build, fake, serves_on, name):
    """It is not built upon as if it were empty; the error names its type."""
    media_type, text, said = NO_IMAGES[name]
    document = manifest({**fake.blob("x", text), "mediaType": media_type}, [fake.blob("x", failure.PACKED)])
    fake.manifest("x", document)
    failure.check(build(f"FROM {fake.host}/x:1\nCOPY Dockerfile /\n", check=False), f"{fake.host}/x:1", said)
