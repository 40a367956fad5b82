"""RUN --device: devices of the Container Device Interface, who may have them, and what they change in a step."""

import json
import os
import stat

import pytest
from kilntest import llb, plain
from kilntest.build import Builder
from kilntest.clients import Buildctl

CLIENTS = ["buildctl", "buildx", "kiln", "embedded"]
THING = "kiln.test/thing"
SPEC = """\
cdiVersion: "0.6.0"
kind: kiln.test/thing
containerEdits:
  env: [COMMON=1]
devices:
- name: full
  containerEdits:
    env: [FULL=1, "GREETING=from the device"]
    deviceNodes:
    - {path: /dev/kiln-null, hostPath: /dev/null, permissions: rw, fileMode: 0622, gid: 7}
    - {path: /dev/zero}
    mounts:
    - {hostPath: "{folder}/shared", containerPath: /from/host, options: [rbind, ro]}
- name: fast1
  annotations: {org.mobyproject.buildkit.device.class: fast}
  containerEdits: {env: [FAST1=1]}
- name: fast2
  annotations: {org.mobyproject.buildkit.device.class: fast}
  containerEdits: {env: [FAST2=1]}
- name: free
  annotations: {org.mobyproject.buildkit.device.autoallow: true}
  containerEdits: {env: [FREE=1]}
- name: elsewhere
  containerEdits: {deviceNodes: [{path: /opt/dev/zero, hostPath: /dev/zero, fileMode: 0640, uid: 3}]}
- name: gone
  containerEdits: {deviceNodes: [{path: /dev/kiln-gone}]}
"""
AUTO = {
    "cdiVersion": "0.6.0",
    "kind": "kiln.test/auto",
    "devices": [{"name": name, "containerEdits": {"env": [f"AUTO={name}"]}} for name in ("one", "two")],
}
SHOW = """\
FROM base AS s
RUN {flags} env | grep -E '^(COMMON|FULL|FAST|FREE|AUTO)' | sort >/out
FROM scratch
COPY --from=s /out /
"""


@pytest.fixture
def specs(tmp_path):
    """The folder of the daemon's specifications."""
    folder = tmp_path / "cdi"
    (folder / "shared").mkdir(parents=True)
    (folder / "shared/file").write_text("shared\n")
    (folder / "thing.yaml").write_text(SPEC.replace("{folder}", str(folder)))
    (folder / "auto.json").write_text(json.dumps(AUTO))
    return folder


@pytest.fixture
def daemon_config(specs):
    return f'[cdi]\nspecDirs = ["{specs}"]\nautoAllowed = ["kiln.test/auto"]\n'


@pytest.fixture
def shown(build):
    """shown("--device=…", allow=[…]) is which of the variables a step sees."""

    def run(flags, **options):
        build(SHOW.replace("{flags}", flags), **options)
        return build.read("out").split()

    return run


@pytest.mark.parametrize("client", CLIENTS, indirect=True)
def test_a_device_changes_the_container(client, busybox_layout, tmp_path):
    build = Builder(client, busybox_layout, tmp_path)
    script = """#!/bin/sh -ex
cd /out
echo $COMMON $FULL "$GREETING" >env
stat -c '%t:%T %a %u %g' /dev/kiln-null >node
echo nothing >/dev/kiln-null
head -c 3 /dev/zero | wc -c >zero
cat /from/host/file >shared
! touch /from/host/new
"""
    dockerfile = f"""
FROM base AS s
COPY --chmod=755 script /bin/script
WORKDIR /out
ENV GREETING=none
RUN --device={THING}=full,required script
RUN test -z "$FULL$COMMON" && test ! -e /dev/kiln-null && echo "$GREETING" >after
FROM scratch
COPY --from=s /out /
"""
    build({"Dockerfile": dockerfile, "script": script}, allow=[f"device={THING}=full"])
    assert build.read("env") == "1 1 from the device\n"
    assert build.read("node") == "1:3 622 0 7\n"
    assert build.read("zero") == "3\n"
    assert build.read("shared") == "shared\n"
    assert build.read("after") == "none\n"


def test_mount_points_of_devices_are_no_part_of_the_layer(build):
    dockerfile = f"FROM base AS s\nRUN --device={THING}=full ls /from/host\nFROM scratch\nCOPY --from=s / /\n"
    build(dockerfile, allow=["device"])
    assert not (build.out / "from/host/file").exists()


def test_nodes_and_mount_points_outside_of_dev_stay_empty_in_the_layer(build):
    show = "stat -c '%F %t:%T %a %u %g' /opt/dev/zero && head -c 2 /opt/dev/zero | wc -c && ls /from/host"
    run = f"RUN --device={THING}=elsewhere --device={THING}=full ({show}) >/out"
    dockerfile = f"FROM base AS s\n{run}\nFROM scratch\nCOPY --from=s /out /\nCOPY --from=s /opt /opt\n"
    build(dockerfile, allow=["device"])
    assert build.read("out") == "character special file 1:5 640 3 0\n2\nfile\n"
    node = (build.out / "opt/dev/zero").lstat()
    assert stat.S_ISCHR(node.st_mode)
    assert (os.major(node.st_rdev), os.minor(node.st_rdev)) == (1, 5)


@pytest.mark.parametrize(
    "flags, allow, seen",
    [
        (f"--device={THING}", f"device={THING}", "COMMON=1"),  # the first by name
        (f"--device={THING}=fast2", f"device={THING}=*", "COMMON=1 FAST2=1"),
        ("--device=fast", "device=fast", "COMMON=1 FAST1=1 FAST2=1"),
        (f"--device=fast --device={THING}=free", "device", "COMMON=1 FAST1=1 FAST2=1 FREE=1"),
        (f"--device={THING}=free", None, "COMMON=1 FREE=1"),
        ("--device=kiln.test/auto=*", None, "AUTO=two"),
        ("--device=mine", f"device={THING}=fast1,alias=mine", "COMMON=1 FAST1=1"),
        (f"--device=kiln.test/none --device={THING}=free", None, "COMMON=1 FREE=1"),
    ],
)
def test_names_and_permissions(shown, flags, allow, seen):
    assert shown(flags, allow=[allow] if allow else []) == seen.split()


@pytest.mark.parametrize(
    "flags, allow, error",
    [
        (f"--device={THING}=full", None, f"device {THING}=full is requested by the build but not allowed"),
        (
            "--device=fast",
            f"device={THING}=full",
            f"devices {THING}=fast1, {THING}=fast2 are requested by the build but not allowed",
        ),
        ("--device=kiln.test/none,required", None, 'required device "kiln.test/none" is not registered'),
        (f"--device={THING}=x,required", "device", f'required device "{THING}=x" is not registered'),
        (
            f"--device={THING}=gone",
            "device",
            'CDI device injection failed: failed to inject devices: failed to stat CDI host device "/dev/kiln-gone":',
        ),
        (f"--device={THING}=free", "device=a,b=c", 'unknown device config key "b"'),
    ],
)
def test_refusals(build, flags, allow, error):
    done = build(SHOW.replace("{flags}", flags), allow=[allow] if allow else [], check=False)
    assert done.returncode != 0
    assert error in done.stderr


def test_devices_are_part_of_the_key(build):
    """Once by name and once by class, it is the same step; with another device it is not."""

    def cached(flags):
        dockerfile = f"FROM base\nRUN {flags} true\n"
        done = build(dockerfile, allow=[f"device={THING}=*"], outputs=[])
        return [name for name, cached in plain.steps(done.stderr).items() if cached]

    assert cached("--device=fast") == []
    assert len(cached(f"--device={THING}=fast1 --device={THING}=fast2")) == 1
    assert cached(f"--device={THING}=fast2") == []
    assert len(cached(f"--device={THING}=fast2 --device=kiln.test/none")) == 1


def test_files_are_read_anew(shown, specs):
    assert shown("--device=kiln.test/auto=one") == ["AUTO=one"]
    changed = json.dumps(AUTO).replace("AUTO=one", "AUTO=changed")
    (specs / "auto.json").write_text(changed)
    (specs / "more.json").write_text(json.dumps({**AUTO, "kind": "kiln.test/more"}))
    assert shown("--device=kiln.test/auto=one --mount=type=tmpfs,target=/t") == ["AUTO=changed"]
    assert shown("--device=kiln.test/more", allow=["device"]) == ["AUTO=one"]


def test_workers_list_devices(buildctl):
    said = buildctl.run("debug", "workers", "-v").stdout
    assert f"Name:\t\t{THING}=full\n\tAutoAllow:\tfalse\n" in said.replace(" ", "").replace("\t\t\t", "\t\t")
    said = json.loads(buildctl.run("debug", "workers", "--format={{json .}}").stdout)
    devices = {device["name"]: device for worker in said for device in worker["cdiDevices"]}
    assert len(devices) == 8
    assert devices[f"{THING}=free"]["autoAllow"]
    assert devices["kiln.test/auto=one"]["autoAllow"]
    assert devices[f"{THING}=fast1"]["annotations"] == {"org.mobyproject.buildkit.device.class": "fast"}


def test_disabled(new_daemon, clients, busybox_layout, tmp_path, specs):
    daemon = new_daemon(arguments=["--cdi-disabled", f"--cdi-spec-dir={specs}"])
    build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
    done = build("FROM base\nRUN true\n", allow=["device"], check=False)
    assert "granting entitlement device is not allowed by build daemon configuration" in done.stderr


@pytest.mark.kiln_only  # buildkitd does not start
def test_bad_files_are_left_out(new_daemon, clients, busybox_layout, tmp_path, specs):
    (specs / "bad.yaml").write_text("cdiVersion: 0.6.0\nkind: [")
    daemon = new_daemon(arguments=[f"--cdi-spec-dir={specs}"])
    build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
    build(SHOW.replace("{flags}", f"--device={THING}=fast1"), allow=[f"device={THING}=fast1"])
    assert build.read("out") == "COMMON=1\nFAST1=1\n"
    assert "bad.yaml: line " in daemon.log.read_text()


def test_a_step_with_a_device_where_devices_are_disabled(new_daemon, clients, busybox_layout, tmp_path, specs):
    daemon = new_daemon(arguments=["--cdi-disabled", f"--cdi-spec-dir={specs}"])
    build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
    build(f"FROM base\nRUN --device={THING}=full test -z $FULL\n")
    step = f"RUN --device={THING}=full,required true"
    done = build(f"FROM base\n{step}\n", check=False)
    said = f'CDI device "{THING}=full" is required by step "[1/2] {step}", but CDI device support is disabled'
    assert f"failed to load LLB: {said}" in done.stderr
    # A step without a name is called by its arguments.
    devices = llb.message(f1=f"{THING}=full")
    root = llb.message(f1=0, f3="/", f4=0)
    meta = llb.message(f1=["true", "x"], f3="/")
    bare = llb.vertex(2, llb.message(f1=meta, f2=[root]) + llb.field(6, devices), [llb.mkfile(None, "/f", b"")])
    done = Buildctl(clients / "buildctl", daemon.address).run("build", stdin=llb.definition(bare), check=False)
    assert f'CDI device "{THING}=full" is required by step "true x", but' in done.stderr
