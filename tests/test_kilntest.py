"""The building blocks themselves, against the real programs they stand for."""

import json
import os
import subprocess

from kilntest import busybox, hoststate, oci


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


def test_real_clients_are_the_pinned_versions(clients):
    for name, version in (("buildctl", "v0.34.2"), ("buildkitd", "v0.34.2"), ("buildx", "v0.38.2")):
        command = [clients / name, "version" if name == "buildx" else "--version"]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert version in said
