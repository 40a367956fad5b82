"""Registries as they are out there: logins, tokens, certificates, mirrors, faults."""

import contextlib
import dataclasses
import gzip
import json
import re

import pytest
from kilntest import fakeregistry, oci
from kilntest.build import Builder
from kilntest.certificates import Authority
from kilntest.clients import Buildctl
from kilntest.fakeregistry import FakeRegistry
from kilntest.faultproxy import FaultProxy
from kilntest.registry import Registry, docker_config, write_docker_config, write_users
from kilntest.tokenserver import REFRESH_TOKEN, TokenServer

CLIENTS = ["buildctl", "buildx", "kiln", "kiln embedded"]
# Those whose logins are served by code of ours, and one that is not.
FEW = ["buildctl", "kiln"]
MADE = "FROM base\nRUN echo made >/made\n"
PASSWORDS_TO_DAEMON = {"BUILDKIT_NO_CLIENT_TOKEN": "1"}

every_client = pytest.mark.parametrize("client", CLIENTS, indirect=True)
few_clients = pytest.mark.parametrize("client", FEW, indirect=True)
one_client = pytest.mark.parametrize("client", ["buildctl"], indirect=True)


NOBODY = "127.0.0.1:1"


@dataclasses.dataclass
class World:
    """Registries that outlive a test; each test has repositories of its own."""

    tokens: TokenServer
    token: Registry  # sends its clients to `tokens`
    tls: Registry  # with a certificate of `authority`
    mutual: Registry  # the same, for clients with one
    unsigned: Registry  # with a certificate nobody knows
    mirror: Registry
    origin: Registry  # `mirror`, with a path, is its mirror
    authority: Authority
    client_certificate: tuple

    @property
    def local_origin(self):
        """`origin` by another name; nobody answers at its mirror."""
        return self.origin.host.replace("127.0.0.1", "localhost")

    def config(self):
        """What a daemon must be told."""
        certificate, key = self.client_certificate
        return f"""
[registry."docker.io"]
mirrors = ["{self.mirror.host}/hub"]
[registry."{self.origin.host}"]
mirrors = ["{self.mirror.host}/some/path"]
[registry."{NOBODY}"]
mirrors = ["{self.mirror.host}/some/path"]
[registry."{self.local_origin}"]
mirrors = ["{NOBODY}"]
[registry."{self.tls.host}"]
http = false
ca = ["{self.authority.ca}"]
[registry."{self.mutual.host}"]
http = false
ca = ["{self.authority.ca}"]
[[registry."{self.mutual.host}".keypair]]
cert = "{certificate}"
key = "{key}"
[registry."{self.unsigned.host}"]
http = false
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory, busybox_layout):
    folder = tmp_path_factory.mktemp("world")
    authority, unknown = Authority(folder / "authority"), Authority(folder / "unknown", "unknown authority")
    served = authority.issue("registry")
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        tokens = start(TokenServer(folder / "tokens"))
        world = World(
            tokens=tokens,
            token=start(Registry(folder / "token", tokens.registry_config())),
            tls=start(Registry(folder / "tls", tls=served)),
            mutual=start(Registry(folder / "mutual", tls=served, client_ca=authority.ca)),
            unsigned=start(Registry(folder / "unsigned", tls=unknown.issue("unsigned"))),
            mirror=start(Registry(folder / "mirror")),
            origin=start(Registry(folder / "origin")),
            authority=authority,
            client_certificate=authority.issue("client", "clientAuth"),
        )
        world.mirror.push_layout(busybox_layout, "latest", "hub/library/busybox:1")
        world.mirror.push_layout(busybox_layout, "latest", "some/path/app:1")
        world.origin.push_layout(busybox_layout, "latest", "app:2")
        yield world


@pytest.fixture
def daemon_config(world):
    world.tokens.asked.clear()
    world.tokens.faults.clear()
    world.tokens.methods = {"GET", "POST"}
    return world.config()


@pytest.fixture
def builds(client, busybox_layout, tmp_path):
    """As `build`, for the test's client."""
    return Builder(client, busybox_layout, tmp_path)


@pytest.fixture
def repository(request):
    """A name that no other test uses."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")


def push(host, name):
    return f"type=image,name={host}/{name},push=true"


def log_in(client, folder, **environment):
    client.environment = {**client.environment, "DOCKER_CONFIG": str(folder), **environment}


def push_and_pull(builds, registry, repository):
    builds(MADE, outputs=[push(registry.host, f"{repository}:1")])
    assert registry.stored(repository, "1")
    builds(f"FROM {registry.host}/{repository}:1\nRUN echo more >/more\n")
    assert builds.read("made") == "made\n" and builds.read("more") == "more\n"


def refused(builds, registry, repository, *said):
    """Neither pull nor push, both with a message that names the place."""
    for files, outputs in (
        (f"FROM {registry.host}/{repository}:1\nRUN true\n", []),
        (MADE, [push(registry.host, f"{repository}:2")]),
    ):
        done = builds(files, outputs=outputs, check=False)
        assert done.returncode != 0
        for text in (registry.host, *said):
            assert text in done.stderr, done.stderr
        assert "guess" not in done.stderr and "secret" not in done.stderr
    assert not registry.stored(repository, "2")


# Logins.


@every_client
def test_password(builds, client, tmp_path, repository, daemon):
    users = write_users(tmp_path / "users")
    with Registry(tmp_path / "private", extra=f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}") as private:
        log_in(client, docker_config(tmp_path / "right", private.host, "secret"))
        push_and_pull(builds, private, repository)
        log_in(client, docker_config(tmp_path / "wrong", private.host, "guess"))
        refused(builds, private, repository, "authorization failed")
        log_in(client, write_docker_config(tmp_path / "none"))
        refused(builds, private, repository, "no basic auth credentials")
    assert "guess" not in daemon.log.read_text() and "secret" not in daemon.log.read_text()


@every_client
def test_tokens(builds, client, world, tmp_path, repository, daemon):
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"))
    push_and_pull(builds, world.token, repository)
    scopes = {scope for asked in world.tokens.asked for scope in asked.scopes}
    assert scopes == {f"repository:{repository}:pull,push", f"repository:{repository}:pull"}
    assert {asked.account for asked in world.tokens.asked} == {"user"}
    log_in(client, docker_config(tmp_path / "wrong", world.token.host, "guess"))
    refused(builds, world.token, repository, "401")
    assert "guess" not in daemon.log.read_text() and "secret" not in daemon.log.read_text()


@few_clients
def test_one_token_serves_a_whole_build(builds, client, world, tmp_path, repository):
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"))
    builds(MADE, outputs=[push(world.token.host, f"{repository}:1")])
    assert len(world.tokens.asked) == 1
    builds(f"FROM {world.token.host}/{repository}:1\nRUN echo more >/more\n")
    assert len(world.tokens.asked) == 2


@few_clients
def test_the_daemon_fetches_tokens_where_the_client_does_not(builds, client, world, tmp_path, repository, is_kilnd):
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"), **PASSWORDS_TO_DAEMON)
    push_and_pull(builds, world.token, repository)
    assert {asked.account for asked in world.tokens.asked} == {"user"}
    if is_kilnd:
        assert {asked.agent for asked in world.tokens.asked} == {"buildkit/v0.34 kiln/0.1.0"}


@few_clients
@pytest.mark.parametrize("environment", [{}, PASSWORDS_TO_DAEMON], ids=["client", "daemon"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_token_server_with_one_method(builds, client, world, tmp_path, repository, environment, method):
    world.tokens.methods = {method}
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"), **environment)
    builds(MADE, outputs=[push(world.token.host, f"{repository}:1")])
    assert world.token.stored(repository, "1")
    assert world.tokens.asked[-1].method == method


@few_clients
@pytest.mark.parametrize("environment", [{}, PASSWORDS_TO_DAEMON], ids=["client", "daemon"])
def test_identity_token(builds, client, world, tmp_path, repository, environment):
    auths = {world.token.host: {"auth": "PHRva2VuPjo=", "identitytoken": REFRESH_TOKEN}}
    log_in(client, write_docker_config(tmp_path / "identity", auths=auths), **environment)
    push_and_pull(builds, world.token, repository)
    assert {(asked.method, asked.account) for asked in world.tokens.asked} == {("POST", "user")}


@every_client
def test_anonymous_tokens(builds, client, world, tmp_path, repository):
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"))
    builds(MADE, outputs=[push(world.token.host, f"{repository}:1")])
    world.tokens.asked.clear()
    world.tokens.public.add(repository)
    log_in(client, write_docker_config(tmp_path / "none"))
    builds(f"FROM {world.token.host}/{repository}:1\nRUN echo more >/more\n")
    assert builds.read("made") == "made\n"
    assert {asked.account for asked in world.tokens.asked} == {""}
    done = builds(MADE, outputs=[push(world.token.host, f"{repository}:2")], check=False)
    assert done.returncode != 0 and "insufficient_scope" in done.stderr, done.stderr


def test_what_one_user_got_another_does_not(clients, busybox_layout, daemon, world, tmp_path, repository):
    """The layers are in the daemon's store, the token in its memory: neither is for those who may not pull."""
    first = Buildctl(clients / "buildctl", daemon.address)
    log_in(first, docker_config(tmp_path / "right", world.token.host, "secret"))
    builds = Builder(first, busybox_layout, tmp_path)
    push_and_pull(builds, world.token, repository)
    log_in(first, docker_config(tmp_path / "wrong", world.token.host, "guess"))
    done = builds(f"FROM {world.token.host}/{repository}:1\nRUN echo more >/more\n", check=False)
    assert done.returncode != 0 and "401" in done.stderr


HELPER = """\
#!/bin/sh
echo "$0 $1" >>"$HELPER_LOG"
read -r server
case "$server" in
  {host}) printf '{{"ServerURL":"%s","Username":"user","Secret":"secret"}}' "$server" ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@every_client
@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_credential_helper(builds, client, world, tmp_path, monkeypatch, repository, key):
    helper = tmp_path / "bin/docker-credential-kilntest"
    helper.parent.mkdir()
    helper.write_text(HELPER.format(host=world.token.host))
    helper.chmod(0o755)
    log = tmp_path / "helper.log"
    monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
    monkeypatch.setenv("HELPER_LOG", str(log))
    value = "kilntest" if key == "credsStore" else {world.token.host: "kilntest"}
    log_in(client, write_docker_config(tmp_path / "helped", **{key: value}))
    push_and_pull(builds, world.token, repository)
    assert {asked.account for asked in world.tokens.asked} == {"user"}
    assert set(log.read_text().split("\n")) == {f"{helper} get", ""}


@few_clients
def test_credential_helper_that_is_not_there(builds, client, world, tmp_path, repository):
    log_in(client, write_docker_config(tmp_path / "helped", credsStore="nowhere"))
    refused(builds, world.token, repository, "docker-credential-nowhere")


# Certificates.


@every_client
def test_own_authority(builds, client, world, repository):
    push_and_pull(builds, world.tls, repository)


@every_client
def test_client_certificate(builds, client, world, repository):
    push_and_pull(builds, world.mutual, repository)


@few_clients
def test_unknown_authority(builds, client, world, repository):
    refused(builds, world.unsigned, repository, "certificate")


@every_client
def test_insecure_push(builds, client, world, repository):
    builds(MADE, outputs=[push(world.unsigned.host, f"{repository}:1") + ",registry.insecure=true"])
    assert world.unsigned.stored(repository, "1")


# Mirrors.


@every_client
def test_mirror_of_the_hub(builds, client, world):
    builds("FROM busybox:1\nRUN echo made >/made\n")
    assert builds.read("made") == "made\n"


@one_client
def test_mirror_then_origin(builds, client, world, repository):
    before = len(world.origin.requests())
    builds(f"FROM {world.origin.host}/app:1\nRUN echo made >/made\n")
    assert len(world.origin.requests()) == before
    builds(f"FROM {world.origin.host}/app:2\nRUN echo made >/made\n")
    assert ("HEAD", "/v2/some/path/app/manifests/2", 404) in [
        (method, path.partition("?")[0], status) for method, path, status in world.mirror.requests()
    ]
    done = builds(f"FROM {world.origin.host}/app:3\nRUN true\n", outputs=[], check=False)
    assert f"{world.origin.host}/app:3: not found" in done.stderr, done.stderr
    builds(MADE, outputs=[push(world.origin.host, f"{repository}:1")])
    assert world.origin.stored(repository, "1")


@one_client
def test_not_found_says_more_than_no_answer(builds, client, world):
    """A mirror that does not have it, before a registry that nobody can reach, and the other way round."""
    for host in (NOBODY, world.local_origin):
        done = builds(f"FROM {host}/none:1\nRUN true\n", outputs=[], check=False)
        assert f"{host}/none:1: not found" in done.stderr, done.stderr


# Faults.


@pytest.fixture
def proxy(registry, busybox_layout):
    """Before a registry of the test's own, with `base:1`."""
    registry.push_layout(busybox_layout, "latest", "base:1")
    with FaultProxy(registry.host) as proxy:
        yield proxy


def each_once(condition, answers):
    """A fault: those requests get these answers, one after the other, and are served then."""
    left = list(answers)
    return lambda method, path: left.pop(0) if left and condition(method, path) else None


@one_client
@pytest.mark.kiln_only  # buildkitd does not heed Retry-After
def test_retries_as_late_as_the_registry_says(builds, client, proxy, registry):
    manifest = registry.manifest("base", "1")[0]
    config, layer = manifest["config"]["digest"], manifest["layers"][0]["digest"]
    answers = [(429, {"Retry-After": "1"}), (503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]
    of_config = each_once(lambda method, path: config in path, [(429, {"Retry-After": "0"})])
    of_layer = each_once(lambda method, path: layer in path, answers)
    proxy.fault = lambda method, path: of_config(method, path) or of_layer(method, path)
    done = builds(f"FROM {proxy.host}/base:1\nRUN echo made >/made\n")
    for blob, pause in ((config, "0s"), (layer, "1s")):
        assert re.search(rf"{blob}: 429 Too Many Requests\n.* retrying in {pause}", done.stderr), done.stderr


@one_client
@pytest.mark.kiln_only
def test_token_server_that_is_busy(builds, client, world, tmp_path, repository):
    world.tokens.faults += [(503, {"Retry-After": "0"}), (429, {"Retry-After": "0"})]
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"), **PASSWORDS_TO_DAEMON)
    builds(MADE, outputs=[push(world.token.host, f"{repository}:1")])
    assert world.token.stored(repository, "1")


@every_client
def test_broken_download_goes_on(builds, client, proxy, registry):
    layer = registry.manifest("base", "1")[0]["layers"][0]
    cuts = [("cut", layer["size"] // 4), ("cut", layer["size"] // 4), ("cut", 1)]
    proxy.fault = each_once(lambda method, path: layer["digest"] in path and method == "GET", cuts)
    builds(f"FROM {proxy.host}/base:1\nRUN echo made >/made\n")
    starts = [int(one.removeprefix("bytes=").rstrip("-")) for one in proxy.ranges()]
    assert len(starts) == 3 and starts == sorted(starts) and starts[0] > 0, starts


@one_client
@pytest.mark.kiln_only  # buildkitd waits a second
def test_broken_upload_is_sent_again(builds, client, proxy, registry):
    proxy.fault = each_once(
        lambda method, path: method == "PUT" and "/uploads/" in path, [(503, {"Retry-After": "0"})] * 2
    )
    builds(MADE, outputs=[push(proxy.host, "made:1")])
    assert registry.stored("made", "1")


@one_client
@pytest.mark.kiln_only  # buildkitd gives up
def test_registry_that_takes_only_chunks(builds, client, proxy, registry):
    def fault(method, path):
        whole = method == "PUT" and "/uploads/" in path and int(proxy.requests[-1][2].get("Content-Length", 0)) > 0
        return (413, {}) if whole else None

    proxy.fault = fault
    dockerfile = "FROM base\nRUN dd if=/dev/urandom of=/large bs=1M count=3\n"
    builds(dockerfile, outputs=[push(proxy.host, "made:1")])
    assert registry.stored("made", "1")
    assert max(int(h["Content-Length"]) for m, _, h in proxy.requests if m == "PATCH") == 1 << 20
    builds(f"FROM {registry.host}/made:1\n")
    assert (builds.out / "large").stat().st_size == 3 << 20


@one_client
def test_redirects_get_no_credentials(builds, client, tmp_path, registry, repository):
    """Blobs lie elsewhere, as with registries that keep them in object stores."""
    users = write_users(tmp_path / "users")
    registry.push_layout(builds.layout, "latest", "base:1")
    with (
        Registry(tmp_path / "private", extra=f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}") as private,
        FaultProxy(private.host) as proxy,
        FaultProxy(registry.host) as elsewhere,
    ):
        log_in(client, docker_config(tmp_path / "login", proxy.host, "secret"))
        private.push_layout(builds.layout, "latest", "base:1", login="user:secret")

        def fault(method, path):
            away = method == "GET" and "/blobs/" in path and "Authorization" in proxy.requests[-1][2]
            return (307, {"Location": f"http://{elsewhere.host}{path}"}) if away else None

        proxy.fault = fault
        builds(f"FROM {proxy.host}/base:1\nRUN echo made >/made\n")
        assert any("Authorization" in headers for _, _, headers in proxy.requests)
        assert elsewhere.requests
        assert not any("Authorization" in headers for _, _, headers in elsewhere.requests)


@one_client
def test_mount_asks_for_both_repositories(builds, client, world, tmp_path, repository):
    log_in(client, docker_config(tmp_path / "right", world.token.host, "secret"))
    builds(MADE, outputs=[push(world.token.host, f"{repository}/one:1")])
    world.tokens.asked.clear()
    dockerfile = f"FROM {world.token.host}/{repository}/one:1\nRUN echo more >/more\n"
    builds(dockerfile, outputs=[push(world.token.host, f"{repository}/two:1")])
    assert [f"repository:{repository}/one:pull", f"repository:{repository}/two:pull,push"] in [
        sorted(asked.scopes) for asked in world.tokens.asked
    ]
    mounts = [(path, status) for method, path, status in world.token.requests() if "mount=" in path]
    assert any(f"{repository}/two/" in path and status == 201 for path, status in mounts), mounts


# Lies.


@pytest.fixture
def fake():
    with FakeRegistry() as registry:
        yield registry


LAYER = b"a layer" * 100
CONFIG = json.dumps(
    {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [oci.digest(LAYER)]}}
).encode()
LIES = {
    "shorter": lambda good: good[:-1],
    "longer": lambda good: good + b"x",
    "other bytes": lambda good: b"x" * len(good),
}


def serve_image(fake, **served):
    """`x:1`, whose configuration and layer are served as given."""
    config = {"mediaType": oci.CONFIG, **fake.blob("x", CONFIG, served=served.get("config"))}
    layer = {"mediaType": oci.LAYER_GZIP, **fake.blob("x", LAYER, served=served.get("layer"))}
    fake.manifest("x", {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": config, "layers": [layer]})


@one_client
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("which", ["config", "layer"])
@pytest.mark.kiln_only  # buildkitd tries a short body again for seconds, and does not name the place
def test_lie_about_content_names_it(builds, client, fake, which, lie):
    good = CONFIG if which == "config" else LAYER
    serve_image(fake, **{which: LIES[lie](good)})
    done = builds(f"FROM {fake.host}/x:1\nCOPY Dockerfile /\n", check=False)
    assert done.returncode != 0
    for text in (f"{fake.host}/x", oci.digest(good), "unexpected co"):
        assert text in done.stderr, done.stderr


@one_client
@pytest.mark.parametrize("which", ["manifest", "config", "layer", "error"])
@pytest.mark.kiln_only
def test_body_without_end(builds, client, fake, which):
    """An answer that never ends is hung up on, and said to be what it is."""
    serve_image(fake, **({which: fakeregistry.ENDLESS} if which in ("config", "layer") else {}))
    if which == "manifest":
        fake.answers["/v2/x/manifests/1"] = fakeregistry.ENDLESS
    if which == "error":
        fake.answers["/v2/x/manifests/1"] = (418, {}, fakeregistry.ENDLESS)
    done = builds(f"FROM {fake.host}/x:1\nCOPY Dockerfile /\n", check=False)
    assert done.returncode != 0
    said = {"manifest": "longer than", "config": "longer than", "layer": "unexpected commit size", "error": "418"}
    assert f"{fake.host}/" in done.stderr and said[which] in done.stderr, done.stderr


@one_client
def test_push_of_an_image_that_is_not_here(builds, client):
    """Each of its layers is pulled from the registry that it is pushed to, because that mounts nothing."""
    layers = [gzip.compress(oci.layer_tar([oci.Entry(f"file{i}", bytes([i]) * 1000)]), mtime=0) for i in range(6)]
    config = {"os": "linux", "architecture": "amd64"}
    config["rootfs"] = {"type": "layers", "diff_ids": [oci.digest(gzip.decompress(layer)) for layer in layers]}
    with FakeRegistry(takes_uploads=True) as fake:
        described = {"mediaType": oci.CONFIG, **fake.blob("x", json.dumps(config).encode())}
        blobs = [{"mediaType": oci.LAYER_GZIP, **fake.blob("x", layer)} for layer in layers]
        fake.manifest("x", {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": described, "layers": blobs})
        builds(f"FROM {fake.host}/x:1\nLABEL a=b\n", outputs=[push(fake.host, "y:1")])
        pushed = json.loads(fake.answers["/v2/y/manifests/1"][2])
        assert [layer["digest"] for layer in pushed["layers"]] == [blob["digest"] for blob in blobs]
        assert all(f"/v2/y/blobs/{blob['digest']}" in fake.answers for blob in blobs)
        assert any("mount=" in path for _, path in fake.requests)


@one_client
def test_host_that_looks_like_a_number(builds, client, registry):
    """It is the name of a host, and not another way to write 127.0.0.1."""
    port = registry.host.rpartition(":")[2]
    for host in ("127.1", "2130706433", "0x7f.1"):
        done = builds(f"FROM {host}:{port}/x:1\n", check=False)
        assert done.returncode != 0 and "no such host" in done.stderr, done.stderr
