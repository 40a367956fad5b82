"""The daemon's command line and configuration: what is said takes effect, or the daemon says that it does not."""

import json
import pathlib
import platform
import subprocess

import pytest
from kilntest import wait
from kilntest.build import Builder
from kilntest.clients import Buildctl
from kilntest.registry import Registry, write_docker_config, write_users


def workers(clients, daemon):
    buildctl = Buildctl(clients / "buildctl", daemon.address)
    return json.loads(buildctl.run("debug", "workers", "--format={{json .}}").stdout)


def platforms_of(worker):
    parts = ("os", "architecture", "variant")
    return ["/".join(one[part] for part in parts if one.get(part)) for one in worker["platforms"]]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="variants are of this architecture")
def test_the_worker_names_all_that_its_processor_runs(clients, new_daemon):
    (worker,) = workers(clients, new_daemon())
    found = platforms_of(worker)
    flags = set(pathlib.Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split())
    levels = {"v2": {"sse4_2", "popcnt", "ssse3"}, "v3": {"avx2", "bmi2", "fma", "movbe"}}
    want = ["linux/amd64"] + [f"linux/amd64/{level}" for level, needs in levels.items() if needs <= flags]
    assert found[: len(want)] == want
    assert "linux/386" in found


def test_versions_that_are_served(clients, new_daemon):
    """Those of the release whose protocol and Dockerfile frontend are spoken: clients look at both."""
    daemon = new_daemon()
    (worker,) = workers(clients, daemon)
    info = Buildctl(clients / "buildctl", daemon.address).run("debug", "info").stdout
    version = worker["buildkitVersion"]
    assert version["version"].removeprefix("v").startswith("0.34.")
    assert version["dockerfileVersion"] == "1.28.0"
    assert version["version"] in info


def test_platforms_may_be_said(clients, new_daemon):
    arguments = [f"--oci-worker-platform={one}" for one in ("linux/arm64", "linux/amd64")]
    (worker,) = workers(clients, new_daemon(arguments=arguments))
    assert platforms_of(worker)[:2] == ["linux/arm64", "linux/amd64"]  # buildkitd adds variants


def test_the_log_may_be_json(new_daemon):
    daemon = new_daemon(arguments=["--log-format=json"])
    wait.until(lambda: "running server" in daemon.log.read_text(), "it says so")
    for line in daemon.log.read_text().splitlines():
        assert {"level", "msg", "time"} <= set(json.loads(line))


def test_the_configuration_may_be_named_by_the_environment(daemon_program, tmp_path, monkeypatch):
    config = tmp_path / "daemon.toml"
    config.write_text('[log]\nformat = "none-such"\n')
    monkeypatch.setenv("BUILDKITD_CONFIG", str(config))
    done = subprocess.run([daemon_program, "--root", tmp_path / "root"], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert 'unsupported log type "none-such"' in done.stderr


@pytest.mark.kiln_only
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--save-cache-debug", "this flag of buildkitd is not served"),
        ("--containerd-worker-hyperv-isolation", "this flag of buildkitd is not served"),
        ("--oci-worker=false", "there is no other worker"),
        ("--containerd-worker=true", "there is no worker but the oci worker"),
        ("--containerd-worker=maybe", "maybe is neither true nor false nor auto"),
        ("--log-format=xml", 'unsupported log type "xml"'),
        ("--oci-worker-platform=a/b/c/d", "--oci-worker-platform"),
    ],
)
def test_what_is_not_served_is_refused(kilnd, tmp_path, flag, said):
    words = [kilnd, "--root", tmp_path / "root", "--addr", f"unix://{tmp_path}/s", flag]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert said in done.stderr


def test_what_says_nothing_new_is_fine(new_daemon, clients):
    arguments = ["--oci-worker=true", "--containerd-worker=false", "--log-format=text", "--trace"]
    arguments.append("--containerd-worker-hyperv-isolation=false")
    config = '[log]\nformat = "text"\n[frontend."gateway.v0"]\nenabled = true\n'
    daemon = new_daemon(arguments=arguments, config=config)
    assert len(workers(clients, daemon)) == 1


def test_nothing_is_recorded_where_nothing_shall_be(new_daemon, clients, busybox_layout, tmp_path):
    daemon = new_daemon(config="[history]\nmaxEntries = 0\n")
    buildctl = Buildctl(clients / "buildctl", daemon.address)
    Builder(buildctl, busybox_layout, tmp_path / "build")({"Dockerfile": "FROM base\nRUN echo hello >/x\n"})
    assert buildctl.run("debug", "histories", "--format={{json .}}").stdout.strip() in ("", "null")


@pytest.mark.parametrize(("seconds", "enough"), [(1, False), (60, True)])
def test_clients_have_a_time_to_answer(new_daemon, clients, busybox_layout, tmp_path, monkeypatch, seconds, enough):
    """The client's helper for credentials takes a while to say that it has none: somebody has to unlock it, say."""
    helper = tmp_path / "bin/docker-credential-slow"
    helper.parent.mkdir()
    helper.write_text('#!/bin/sh\nsleep 3\necho "credentials not found in native keychain"\nexit 1\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(helper.parent), prepend=":")
    users = write_users(tmp_path / "users")
    with Registry(tmp_path / "private", extra=f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}") as private:
        daemon = new_daemon(registries=[private.host], config=f'[system]\nsessionAuthTimeout = "{seconds}s"\n')
        buildctl = Buildctl(clients / "buildctl", daemon.address)
        config = write_docker_config(tmp_path / "docker", credsStore="slow")
        buildctl.environment = {**buildctl.environment, "DOCKER_CONFIG": str(config)}
        done = Builder(buildctl, busybox_layout, tmp_path / "build")(f"FROM {private.host}/x\n", check=False)
        assert done.returncode != 0
        assert ("deadline exceeded" in done.stderr) != enough, done.stderr
