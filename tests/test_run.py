"""What a step of RUN sees, and what it leaves behind."""

import pathlib
import re
import subprocess

import pytest
from kilntest import busybox, llb, oci, plain
from kilntest.build import Builder
from kilntest.clients import Buildctl

CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8,
    "NET_BIND_SERVICE": 10, "NET_RAW": 13, "SYS_CHROOT": 18, "MKNOD": 27, "AUDIT_WRITE": 29, "SETFCAP": 31,
}  # fmt: skip
GIVEN = sum(1 << number for number in CAPABILITIES.values())


@pytest.fixture
def inside(build):
    """inside(command) runs shell commands in a step on busybox; returns what they print. `before` is more of the
    Dockerfile, `flags` more of RUN."""

    def run(command, before="", flags=""):
        script = f"#!/bin/sh\n{command}\n"
        files = {
            "Dockerfile": f"FROM base AS s\nCOPY --chmod=755 script /bin/script\n{before}\n"
            f"RUN {flags} --mount=type=bind,from=base,target=/unused script >/tmp/out 2>&1; echo $? >/tmp/code\n"
            "FROM scratch\nCOPY --from=s /tmp/out /tmp/code /\n",
            "script": script,
        }
        if "--mount=" in flags or not flags:
            files["Dockerfile"] = files["Dockerfile"].replace("--mount=type=bind,from=base,target=/unused ", "")
        build(files)
        return build.read("out")

    return run


def fields(text):
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.M))


def test_capabilities_seccomp_and_privileges(inside):
    status = fields(inside("cat /proc/self/status"))
    for which in ("CapBnd", "CapPrm", "CapEff"):
        assert int(status[which], 16) == GIVEN, which
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "0"


def test_a_user_has_no_effective_capabilities(inside):
    status = fields(inside("cat /proc/self/status", before="USER nobody\nENV HOME=/tmp\nRUN mkdir -p /tmp"))
    assert int(status["CapEff"], 16) == 0
    assert int(status["CapBnd"], 16) == GIVEN


@pytest.mark.parametrize(
    "command",
    ["mount -t tmpfs none /mnt", "unshare -m true", "unshare -U true", "sysctl -w kernel.hostname=x", "swapoff -a",
     "insmod /bin/busybox", "adjtimex -t 10001", "mknod /tmp/d b 7 0 && cat /tmp/d", "dmesg", "chroot / reboot -f"],
)  # fmt: skip
def test_what_a_step_may_not_do(inside, build, command):
    inside(f"mkdir -p /mnt; {command}")
    assert build.read("code") != "0\n"


def test_masked_and_read_only_paths(inside):
    said = inside(
        "for f in acpi asound kcore keys latency_stats timer_list timer_stats sched_debug scsi; do\n"
        "  [ -e /proc/$f ] || continue\n"
        "  if [ -d /proc/$f ]; then ls -A /proc/$f; else head -c 1 /proc/$f; fi\n"
        "done\n"
        "ls -A /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v :\n"
        "echo end\n"
        'for d in bus fs irq sys sysrq-trigger; do grep -o " /proc/$d [^ ]*" /proc/mounts; done\n'
    )
    hidden, shown = said.split("end\n")
    assert hidden.strip() == ""
    lines = shown.split("\n")
    for name in ("bus", "fs", "irq", "sys", "sysrq-trigger"):
        if not pathlib.Path("/proc", name).exists():
            continue
        assert any(line.startswith(f" /proc/{name} proc") for line in lines), shown


def test_mounts(inside):
    table = [line.split() for line in inside("cat /proc/mounts").splitlines()]
    mounts = {line[1]: (line[2], set(line[3].split(","))) for line in table}
    want = {
        "/proc": ("proc", {"nosuid", "noexec", "nodev"}),
        "/dev": ("tmpfs", {"nosuid", "mode=755", "size=65536k"}),
        "/dev/pts": ("devpts", {"nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"}),
        "/dev/shm": ("tmpfs", {"nosuid", "noexec", "nodev", "size=65536k"}),
        "/dev/mqueue": ("mqueue", {"nosuid", "noexec", "nodev"}),
        "/sys": ("sysfs", {"nosuid", "noexec", "nodev", "ro"}),
    }
    for path, (kind, options) in want.items():
        assert mounts[path][0] == kind, path
        assert options <= mounts[path][1], (path, mounts[path])
    for path in ("/etc/hosts", "/etc/resolv.conf"):
        assert {"ro", "nosuid", "noexec", "nodev"} <= mounts[path][1], path
    assert "/run" not in mounts
    groups = {path: options for path, (kind, options) in mounts.items() if kind.startswith("cgroup")}
    assert all("ro" in options for options in groups.values()), groups


def test_devices(inside):
    said = inside("ls /dev; for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done")
    names = set(said.split())
    assert "no" not in names
    assert {"null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "ptmx"} <= names
    assert not names & {"kmsg", "mem", "loop0", "vda", "fuse", "kvm"}


def test_hostname_hosts_and_resolv_conf(inside):
    said = inside("hostname; cat /etc/hosts; echo ---; cat /etc/resolv.conf; echo x >>/etc/hosts || echo read-only")
    hosts, resolv = said.split("---\n")
    assert hosts == (
        "buildkitsandbox\n127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    )
    assert "read-only" in resolv
    lines = pathlib.Path("/etc/resolv.conf").read_text().splitlines()
    servers = [line.split()[1] for line in lines if line.startswith("nameserver")]
    assert re.findall(r"^nameserver (\S+)", resolv, re.M) == servers


def test_hosts_and_resolv_conf_are_not_in_the_layer(build):
    build("FROM base\nRUN cat /etc/hosts >/dev/null\n")
    assert sorted(path.name for path in (build.out / "etc").iterdir()) == ["group", "passwd"]


def test_environment_is_what_the_dockerfile_says(inside):
    environment = dict(
        line.split("=", 1)
        for line in inside("env", before="ARG A=arg\nENV B=env C=a\\ b").splitlines()
        if not line.startswith(("OTEL_", "TRACE"))
    )
    for name in ("SHLVL", "_", "PWD", "OLDPWD"):
        environment.pop(name, None)
    assert environment == {"PATH": busybox.PATH, "A": "arg", "B": "env", "C": "a b", "HOME": "/root"}


def test_default_path(build, tmp_path):
    layout = oci.Layout(tmp_path / "bare")
    layout.tag(layout.image([busybox.entries()]), "latest")
    build("FROM bare\nRUN echo $PATH >/path\n", contexts={"bare": layout.path})
    assert build.read("path") == busybox.PATH + "\n"


def test_working_folder_is_made(inside):
    said = inside("pwd; stat -c %a:%u:%g /new /new/deep", before="WORKDIR /new/deep")
    assert said == "/new/deep\n755:0:0\n755:0:0\n"


USERS = {
    "Dockerfile": "FROM base AS s\nCOPY passwd group /etc/\nARG WHO\nUSER $WHO\nRUN id >/tmp/id; echo $HOME >>/tmp/id\n"
    "FROM scratch\nCOPY --from=s /tmp/id /\n",
    "passwd": "root:x:0:0::/root:/bin/sh\nwww:x:1000:1001::/home/www:/bin/sh\n",
    "group": "root:x:0:\nweb:x:1001:\nextra:x:2000:www,other\nadm:x:3000:www\n",
}


@pytest.mark.parametrize(
    "who, shown, home",
    [
        ("www", "uid=1000(www) gid=1001(web) groups=1001(web),2000(extra),3000(adm)", "/home/www"),
        ("1000", "uid=1000(www) gid=1001(web) groups=1001(web),2000(extra),3000(adm)", "/home/www"),
        ("www:extra", "uid=1000(www) gid=2000(extra) groups=2000(extra)", "/home/www"),
        ("1000:4000", "uid=1000(www) gid=4000 groups=4000", "/home/www"),
        ("4321", "uid=4321 gid=0(root) groups=0(root)", "/"),
        ("root", "uid=0(root) gid=0(root) groups=0(root)", "/root"),
    ],
)
def test_user(build, who, shown, home):
    build(USERS, args={"WHO": who})
    assert build.read("id").splitlines() == [shown, home]


@pytest.mark.parametrize("who, named", [("stranger", "user stranger"), ("www:strangers", "group strangers")])
def test_unknown_user_is_an_error_that_names_it(build, who, named):
    done = build(USERS, args={"WHO": who}, check=False)
    assert done.returncode != 0
    assert f"unable to find {named}: no matching entries in" in done.stderr


def test_network_none(inside, build, listener):
    port = listener.getsockname()[1]
    said = inside(f"ip -o link | wc -l; nc -w 2 127.0.0.1 {port} </dev/null", flags="--network=none")
    assert said.startswith("1\n")
    assert build.read("code") != "0\n"


def test_network_host_needs_the_entitlement(build):
    done = build("FROM base\nRUN --network=host true\n", check=False)
    assert done.returncode != 0
    assert "network.host is not allowed" in done.stderr


def test_network_host(new_daemon, clients, busybox_layout, tmp_path, listener):
    daemon = new_daemon(arguments=["--allow-insecure-entitlement", "network.host"])
    build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
    port = listener.getsockname()[1]
    dockerfile = f"FROM base\nRUN --network=host echo hello | nc -w 2 127.0.0.1 {port}; hostname >/name\n"
    words = [*build.client.words(build.request({"Dockerfile": dockerfile})), "--allow=network.host"]
    with subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE) as running:
        connection, _ = listener.accept()
        assert connection.recv(100) == b"hello\n"
        connection.close()
        running.communicate()
        assert running.returncode == 0
    assert build.read("name") == "buildkitsandbox\n"


def test_insecure_step_needs_the_entitlement(build):
    done = build("FROM base\nRUN --security=insecure true\n", check=False)
    assert done.returncode != 0
    assert "security.insecure is not allowed" in done.stderr


def test_insecure_step(new_daemon, clients, busybox_layout, tmp_path):
    daemon = new_daemon(arguments=["--allow-insecure-entitlement", "security.insecure"])
    build = Builder(Buildctl(clients / "buildctl", daemon.address), busybox_layout, tmp_path)
    dockerfile = """
FROM base
RUN grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status >/sandbox
RUN --security=insecure grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status >/insecure \\
  && mkdir /mnt && mount -t tmpfs tmpfs /mnt && echo hidden >/mnt/file && test -w /proc/sys/kernel/hostname
RUN --security=sandbox ! mount -t tmpfs tmpfs /mnt
"""
    build(dockerfile, allow=["security.insecure"])
    sandbox, insecure = (dict(re.findall(r"(\w+):\t(.*)", build.read(name))) for name in ("sandbox", "insecure"))
    own = dict(re.findall(r"(\w+):\t(.*)", pathlib.Path(f"/proc/{daemon.pid}/status").read_text()))
    assert (sandbox["CapEff"], sandbox["Seccomp"]) == ("00000000a80425fb", "2")
    assert (insecure["CapEff"], insecure["Seccomp"]) == (own["CapEff"], "0")
    assert list((build.out / "mnt").iterdir()) == []


def test_exit_code_and_output_are_shown(build):
    done = build("FROM base\nRUN echo to-out; echo to-err >&2; exit 7\n", check=False)
    assert done.returncode != 0
    assert "to-out" in done.stderr and "to-err" in done.stderr
    assert 'process "/bin/sh -c echo to-out; echo to-err >&2; exit 7" did not complete successfully: exit code: 7' in (
        done.stderr
    )
    assert "Dockerfile:2" in done.stderr
    assert ">>> RUN echo to-out" in done.stderr


def test_missing_program(build):
    done = build('FROM base\nRUN ["/no/such/program"]\n', check=False)
    assert done.returncode != 0
    assert "/no/such/program" in done.stderr
    assert "no such file or directory" in done.stderr


def test_no_shell_in_scratch(build):
    done = build("FROM scratch\nRUN true\n", check=False)
    assert done.returncode != 0
    assert "/bin/sh" in done.stderr


def test_long_output_is_complete(build):
    # Below the limit on a step's log, which clips.
    done = build("FROM base\nRUN seq 1 20000\n")
    shown = re.findall(r"^#\d+ \d+\.\d+ (\d+)$", done.stderr, re.M)
    assert shown == [str(number) for number in range(1, 20001)]


def test_endless_output_is_clipped(build):
    done = build("FROM base\nRUN seq 10000000; echo the reason >&2; exit 1\n", check=False)
    shown = re.findall(r"^#\d+ \d+\.\d+ (.*)$", done.stderr, re.M)
    notices = [line for line in shown if line.startswith("[output clipped, log limit ")]
    assert notices and notices[0] == "[output clipped, log limit 200KiB/s reached]"
    assert "the reason" in shown
    assert shown[0] == "1"
    # Of what was clipped, the end is shown because the step failed.
    assert "10000000" in shown
    assert len(done.stderr) < 16 << 20


def test_mount_targets_are_not_in_the_layer(build):
    build(
        "FROM base\nRUN --mount=type=cache,target=/a/cache --mount=type=bind,from=base,target=/b/bind"
        " --mount=type=tmpfs,target=/t touch /a/cache/x /t/x\n"
    )
    assert not any((build.out / name).exists() for name in ("a", "b", "t"))


def test_bind_mount_writes_are_dropped(build):
    build(
        {
            "Dockerfile": "FROM base\nRUN --mount=type=bind,target=/context,rw echo more >>/context/file;"
            " cp /context/file /copy\nRUN --mount=type=bind,target=/context cp /context/file /original\n",
            "file": "text\n",
        }
    )
    assert build.read("copy") == "text\nmore\n"
    assert build.read("original") == "text\n"


def test_bind_mount_is_read_only(build):
    done = build({"Dockerfile": "FROM base\nRUN --mount=type=bind,target=/c echo >/c/file\n", "file": ""}, check=False)
    assert done.returncode != 0
    assert "Read-only file system" in done.stderr


def test_definition_with_a_refused_mode(buildctl, shared_registry):
    image = llb.image(f"{shared_registry.host}/library/busybox:latest")
    done = buildctl.run("build", stdin=llb.definition(llb.run(image, ["true"], security=1)), check=False)
    assert done.returncode != 0
    assert "security.insecure is not allowed" in done.stderr


def cache_step(sharing, command):
    return f"RUN --mount=type=cache,id=c,target=/c,sharing={sharing} {command}\n"


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
def test_cache_mount_is_kept(build, sharing):
    build("FROM base\nARG N\n" + cache_step(sharing, "echo $N >>/c/log; cp /c/log /log"), args={"N": "1"})
    build("FROM base\nARG N\n" + cache_step(sharing, "echo $N >>/c/log; cp /c/log /log"), args={"N": "2"})
    assert build.read("log") == "1\n2\n"


def test_cache_mount_goes_with_prune(build, buildctl):
    dockerfile = "FROM base\nARG N\n" + cache_step("shared", "echo $N >>/c/log; cp /c/log /log")
    build(dockerfile, args={"N": "1"})
    buildctl.run("prune", "--all")
    build(dockerfile, args={"N": "2"})
    assert build.read("log") == "2\n"


def test_cache_mount_has_mode_and_owner(build):
    build("FROM base\nRUN --mount=type=cache,target=/c,uid=12,gid=34,mode=0711 stat -c %a:%u:%g /c >/seen\n")
    assert build.read("seen") == "711:12:34\n"


class Meeting:
    """Steps connect to it with nc and wait for an answer: the test knows that they run, and when they end."""

    def __init__(self, server):
        self.server = server
        self.port = server.getsockname()[1]

    def step(self, name):
        return f"echo {name} | nc 127.0.0.1 {self.port}"

    def arrive(self):
        """(name, connection) of the next step; closing the connection lets it go on."""
        connection, _ = self.server.accept()
        connection.settimeout(20)
        return connection.recv(100).decode().strip(), connection


@pytest.fixture
def meeting(listener):
    return Meeting(listener)


def start_two(build, meeting, sharing):
    requests = []
    for name in ("one", "two"):
        command = f"touch /c/{name}; {meeting.step(name)} ; ls /c >/seen"
        requests.append((build.request({"Dockerfile": "FROM base\n" + cache_step(sharing, command)}), build.out))
    return [(build.client.start(request), out) for request, out in requests]


def finish(running):
    for process, _ in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    return sorted((out / "seen").read_text().split() for _, out in running)


def test_shared_cache_mount_serves_two_steps_at_once(build, meeting):
    running = start_two(build, meeting, "shared")
    first, second = meeting.arrive(), meeting.arrive()
    assert sorted([first[0], second[0]]) == ["one", "two"]
    first[1].close()
    second[1].close()
    assert finish(running) == [["one", "two"], ["one", "two"]]


def test_private_cache_mount_gives_each_step_its_own(build, meeting):
    running = start_two(build, meeting, "private")
    first, second = meeting.arrive(), meeting.arrive()
    first[1].close()
    second[1].close()
    assert finish(running) == [["one"], ["two"]]


def test_locked_cache_mount_lets_one_step_in_after_the_other(build, meeting):
    running = start_two(build, meeting, "locked")
    first = meeting.arrive()
    meeting.server.settimeout(0.4)
    with pytest.raises(TimeoutError):
        meeting.arrive()
    meeting.server.settimeout(20)
    first[1].close()
    meeting.arrive()[1].close()
    assert sorted(map(len, finish(running))) == [1, 2]


# Two builds, one slow step.


def start_sharing(build, meeting):
    dockerfile = f"FROM base\nRUN echo hear me; {meeting.step('step')}; echo done-$((6*7)) >/made; cat /made\n"
    running = []
    for _ in range(2):
        request = build.request({"Dockerfile": dockerfile})
        running.append((build.client.start(request), build.out))
    return running


def read_until(stream, text):
    """What a stream shows up to the line that contains text."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line and "RUN" not in line:
            return lines
    raise AssertionError(f"{text!r} not in:\n" + "".join(lines))


def test_two_builds_share_a_running_step(build, meeting):
    running = start_sharing(build, meeting)
    _, connection = meeting.arrive()
    for process, _ in running:
        read_until(process.stderr, "hear me")
    connection.close()
    for process, out in running:
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 0, said
        assert "done-42" in said
        assert (out / "made").read_text() == "done-42\n"
    meeting.server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        meeting.arrive()  # the step ran once


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_a_shared_step_survives_one_build(build, meeting, which, how):
    running = start_sharing(build, meeting)
    _, connection = meeting.arrive()
    for process, _ in running:
        read_until(process.stderr, "hear me")
    gone, _ = running[which]
    gone.send_signal(2 if how == "interrupted" else 9)
    gone.communicate(timeout=20)
    assert gone.returncode != 0
    connection.close()
    process, out = running[1 - which]
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert (out / "made").read_text() == "done-42\n"
    meeting.server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        meeting.arrive()


def test_a_cancelled_step_ends_and_can_be_built_again(build, daemon, meeting):
    files = {"Dockerfile": f"FROM base\nRUN {meeting.step('step')}; echo made >/made\n"}
    process = build.client.start(build.request(files))
    _, connection = meeting.arrive()
    process.send_signal(2)
    process.communicate(timeout=20)
    connection.settimeout(20)
    assert connection.recv(100) == b""  # the step's process is gone: its socket is closed
    connection.close()
    process = build.client.start(build.request(files))
    meeting.arrive()[1].close()
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 0, said
    assert build.read("made") == "made\n"
    assert list(plain.steps(said).values()) == [False]
