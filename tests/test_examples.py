"""The services of examples/services, as people build them: on a real Debian, with packages from the real registries."""

import os
import pathlib
import shutil
import subprocess

import pytest
from kilntest import debian, paths, plain
from kilntest.clients import Buildctl, Buildx, Kiln
from kilntest.daemon import Daemon
from kilntest.request import Request

SERVICES = paths.ROOT / "examples/services"
LIGHT = ["static-site"]
# Each: a command inside the result, and what it prints.
RUNS = {
    "c-scratch": (["/program"], "hello from C"),
    "cpp-service": (["/usr/local/bin/service"], "hello from C++"),
    "go-monorepo": (["/worker"], "worker dev"),
    "go-service": (["/service", "-check"], "/check"),
    "java-service": (["/opt/java/bin/java", "-jar", "/app/service.jar", "check"], "kcehc/"),
    "nginx-proxy": (["/usr/sbin/nginx", "-t"], ""),
    "node-service": (["/usr/bin/node", "/app/server.js", "--check"], ""),
    "php-site": (["/usr/bin/php", "/site/index.php"], "<h1>A page</h1>"),
    "python-service": (["/venv/bin/python", "-c", "import six; print(six.__version__)"], "1.16.0"),
    "rust-service": (["/usr/local/bin/service", "21"], "42"),
    "static-site": (None, "about.html"),
    "typescript-site": (None, "main.js"),
}
# What changes in a source file, and the steps that must run again for it; all others come from the cache.
CHANGES = {
    "c-scratch": ("main.c", "hello from C", "hello from C again", {"COPY main.c", "gcc", "COPY --from=build"}),
    "go-service": ("main.go", "// A service", "// This service", {"COPY *.go", "go vet", "COPY --from=build"}),
    "node-service": ("server.js", '"not a number"', '"no number"', {"COPY server.js", "--check", "COPY --from=build"}),
    "python-service": (
        "service.py",
        '"""Answers',
        '"""Replies',
        {"COPY service.py", "WORKDIR /app", "unittest"},
    ),
}


def heavy(names):
    return [name if name in LIGHT else pytest.param(name, marks=pytest.mark.heavy) for name in sorted(names)]


@pytest.fixture(scope="module")
def services_daemon(daemon_program, tmp_path_factory):
    """One for all examples, so that packages are downloaded once, into the cache mounts."""
    with Daemon(daemon_program, tmp_path_factory.mktemp("services")) as daemon:
        yield daemon


@pytest.fixture
def context(request, tmp_path, busybox_layout):
    """A copy of the example, and the bases that it names."""
    name = request.param
    folder = shutil.copytree(SERVICES / name, tmp_path / name)
    bases = {"base": busybox_layout} if name in LIGHT else {"debian": debian.layout()}
    bundle = os.environ.get("SSL_CERT_FILE")
    return Request(folder, contexts=bases, secrets=[f"id=ca,src={bundle}"] if bundle else [])


def to_folder(request, folder):
    request.outputs = [f"type=local,dest={folder}"]
    return folder


def assert_works(name, root):
    command, expected = RUNS[name]
    if command is None:
        assert (root / expected).is_file()
        return
    (root / "proc").mkdir(exist_ok=True)
    script = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
    words = ["unshare", "--mount", "sh", "-c", script, root, *command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_all_examples_are_tested():
    assert {path.name for path in SERVICES.iterdir() if path.is_dir()} == set(RUNS)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("context", heavy(RUNS), indirect=True)
def test_every_client_builds_it(context, services_daemon, clients, kiln, tmp_path, is_kilnd):
    address = services_daemon.address
    asked = [Buildctl(clients / "buildctl", address), Buildx(clients / "buildx", address, tmp_path / "buildx")]
    asked += [Kiln(kiln, address=address)] if is_kilnd else []
    for turn, client in enumerate(asked):
        root = to_folder(context, tmp_path / client.name)
        done = client.build(context)
        if turn > 0:
            steps = plain.steps(done.stderr)
            assert all(steps.values()), f"{client.name} ran steps again: {steps}"
        assert_works(pathlib.Path(context.context).name, root)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("context", heavy(CHANGES), indirect=True)
def test_a_changed_line_is_built_unplugged(context, daemon_program, clients, tmp_path):
    folder = pathlib.Path(context.context)
    file, old, new, again = CHANGES[folder.name]
    to_folder(context, tmp_path / "first")
    with Daemon(daemon_program, tmp_path / "daemon") as daemon:
        Buildctl(clients / "buildctl", daemon.address).build(context)
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    root = to_folder(context, tmp_path / "second")
    with Daemon(daemon_program, tmp_path / "daemon", prefix=["unshare", "--net"]) as daemon:
        done = Buildctl(clients / "buildctl", daemon.address).build(context)
    ran = [step for step, cached in plain.steps(done.stderr).items() if not cached]
    assert all(any(part in step for part in again) for step in ran), ran
    assert all(any(part in step for step in ran) for part in again), ran
    assert_works(folder.name, root)
