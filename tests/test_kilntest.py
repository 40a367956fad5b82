"""The building blocks themselves, against the real programs they stand for."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile

import pytest
from kilntest import busybox, hoststate, oci, reports


def test_layout_is_the_same_bytes_every_time(tmp_path, busybox_layout):
    again = busybox.write_layout(tmp_path / "layout").path
    assert (again / "index.json").read_bytes() == (busybox_layout / "index.json").read_bytes()


def test_layout_unpacks_and_runs(tmp_path, busybox_layout):
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{busybox_layout}:latest", bundle], check=True, capture_output=True)
    said = subprocess.run(
        [bundle / "rootfs/bin/busybox", "sh", "-c", "echo hello"], check=True, capture_output=True, text=True
    )
    assert said.stdout == "hello\n"
    assert str((bundle / "rootfs/bin/sh").readlink()) == "busybox"


def test_registry_keeps_what_is_pushed(registry, busybox_layout):
    registry.push_layout(busybox_layout, "latest", "library/busybox:1")
    manifest, digest = registry.manifest("library/busybox", "1")
    index = json.loads((busybox_layout / "index.json").read_text())
    assert digest == index["manifests"][0]["digest"]
    layer = manifest["layers"][0]
    assert oci.digest(registry.blob("library/busybox", layer["digest"])) == layer["digest"]


def test_registry_log_shows_requests(registry, busybox_layout):
    registry.push_layout(busybox_layout, "latest", "library/busybox:1")
    assert ("PUT", "/v2/library/busybox/manifests/1", 201) in registry.requests()


def test_index_of_two_platforms_keeps_its_digest(registry, tmp_path):
    layout = oci.Layout(tmp_path / "layout")
    images = [layout.image([[oci.Entry("arch", name.encode())]], architecture=name) for name in ("amd64", "arm64")]
    index = layout.index(images)
    layout.tag(index, "both")
    registry.push_layout(layout.path, "both", "two:1")
    document, digest = registry.manifest("two", "1")
    assert digest == index["digest"]
    assert [m["platform"]["architecture"] for m in document["manifests"]] == ["amd64", "arm64"]


def test_host_state_sees_mounts_children_and_files(tmp_path):
    host = hoststate.HostState.take()
    daemon = hoststate.DaemonState.take(os.getpid())
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        with (tmp_path / "file").open("w"):
            seen = hoststate.differences(daemon, hoststate.DaemonState.take(os.getpid()))
        assert f"mounts: + {tmp_path}" in hoststate.differences(host, hoststate.HostState.take())
        assert f"mounts: + {tmp_path}" in seen
        assert f"children: + {child.pid} cat" in seen
        assert f"open_files: + {tmp_path}/file" in seen
        assert "open_files: + pipe" in seen
    finally:
        child.stdin.close()
        child.wait()
        subprocess.run(["umount", tmp_path], check=True)
    assert not hoststate.differences(host, hoststate.HostState.take())


def test_mounts_of_other_programs_do_not_count():
    host = hoststate.HostState.take()
    daemon = hoststate.DaemonState.take(os.getpid())
    with tempfile.TemporaryDirectory(prefix="another-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
        try:
            assert not hoststate.differences(host, hoststate.HostState.take())
            assert not [line for line in hoststate.differences(daemon, hoststate.DaemonState.take(os.getpid()))
                        if line.startswith("mounts")]  # fmt: skip
        finally:
            subprocess.run(["umount", folder], check=True)


@contextlib.contextmanager
def cgroup(parent):
    """A new cgroup in some hierarchy; what it is called."""
    top = hoststate.CGROUPS / "pids" if (hoststate.CGROUPS / "pids").is_dir() else hoststate.CGROUPS
    folder = top / parent / f"test-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        for path in (folder, *folder.parents):
            if path == top:
                break
            with contextlib.suppress(OSError):  # there are others in it
                path.rmdir()


@contextlib.contextmanager
def process_in(folder):
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        (folder / "cgroup.procs").write_text(str(process.pid))
        yield
        process.stdin.close()


def test_cgroups_of_other_programs_do_not_count(tmp_path):
    with cgroup(f"{hoststate.CGROUP_PARENT}/kiln") as folder:
        assert str(folder) in hoststate.cgroups()
    with cgroup("kiln") as folder:
        assert str(folder) in hoststate.cgroups()
        with process_in(folder):
            assert str(folder) not in hoststate.cgroups()
            subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True)
            try:
                assert str(folder) not in hoststate.cgroups()
            finally:
                subprocess.run(["umount", tmp_path], check=True)
    assert str(folder) not in hoststate.cgroups()


def test_containers_of_other_programs_do_not_count(tmp_path, monkeypatch):
    monkeypatch.setattr(hoststate, "RUNTIMES", (tmp_path / "runc",))
    for name, bundle in (("ours", tmp_path / "bundle"), ("another", "/var/lib/another/bundle")):
        (tmp_path / "runc" / name).mkdir(parents=True)
        (tmp_path / "runc" / name / "state.json").write_text(json.dumps({"bundle": str(bundle)}))
    assert hoststate.containers() == [str(tmp_path / "runc/ours")]


def test_sockets_are_told_apart(tmp_path):
    before = hoststate.DaemonState.take(os.getpid())
    path = tmp_path / "socket"
    with contextlib.ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        opened.enter_context(socket.create_connection(listener.getsockname()))
        opened.enter_context(listener.accept()[0])
        for one in socket.socketpair():
            opened.enter_context(one)
        unix = opened.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(path))
        opened.callback(os.close, os.eventfd(0))
        seen = hoststate.differences(before, hoststate.DaemonState.take(os.getpid()))
    new = [line.removeprefix("open_files: + ") for line in seen]
    assert sorted(new) == [
        *("anon_inode:[eventfd]", "socket tcp in", "socket tcp listening", "socket tcp out"),
        *(f"socket unix {path}", "socket unix pair", "socket unix pair"),
    ]


def test_a_report_in_a_log_fails_the_test(tmp_path):
    reports.check("kilnd", "all is well\n")
    with pytest.raises(AssertionError, match="broken invariant: a == b"):
        reports.check("kilnd", "starts\nsrc/x.cc:1: broken invariant: a == b \n")


def test_real_clients_are_the_pinned_versions(clients):
    for name, version in (("buildctl", "v0.34.2"), ("buildkitd", "v0.34.2"), ("buildx", "v0.38.2")):
        command = [clients / name, "version" if name == "buildx" else "--version"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert version in said
