"""Steps: what a process sees, and what its container leaves behind."""

from kilntest import llb

from differ import ops
from differ.case import Case, each
from differ.ops import Mount, cache, secret, tmpfs

OTHER = ops.tree({"/one": "1\n", "/dir/two": "2\n", "/dir/deep/three": "3\n"})
SECRETS = ["--secret=id=one,src={space}/secrets/one", "--secret=id=empty,src={space}/secrets/empty"]
WITH_SECRETS = {"words": SECRETS, "locals": {"secrets": {"one": "first secret", "empty": ""}}}
HOST = {"words": ["--allow=network.host"]}
INSECURE = {"words": ["--allow=security.insecure"]}
NOBODY = 65534


def sh(command, **options):
    """A step on the base; its last output is not looked at but what it prints is."""
    return lambda room: ops.sh(room.base, command, **options)


def args(*words, **options):
    return lambda room: ops.run(room.base, words, **options)


def with_mounts(command, *mounts, **options):
    return lambda room: ops.sh(room.base, command, mounts=mounts, **options)


def output(command, *mounts, index):
    return lambda room: ops.sh(room.base, command, mounts=mounts).output(index)


def twice(first, second, *mounts, **more):
    """Two steps with the same mounts, one after the other."""
    return lambda room: ops.sh(ops.sh(room.base, first, mounts=mounts), second, mounts=mounts, **more)


SHOW = "cat /proc/self/status | grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:)'; umask"

PROCESS = {
    "prints": sh("echo out; echo err >&2"),
    "environment": sh("env | grep -v -e ^OTEL -e ^TRACE | sort", env=["B=2", "A=1"]),
    "environment without path": lambda room: ops.run(
        room.base, ["/bin/sh", "-c", "echo $PATH; env | grep -v -e ^OTEL -e ^TRACE | sort"]
    ),
    "environment given twice": sh("env | grep -v -e ^OTEL -e ^TRACE | sort # twice", env=["A=1", "A=2", "PATH=/bin"]),
    "environment of odd entries": sh(
        "env | grep -v -e ^OTEL -e ^TRACE | sort # odd", env=["A=", "=x", "B", "C=a=b", "D= sp ace "]
    ),
    "proxies": sh(
        "env | grep -v -e ^OTEL -e ^TRACE | sort # proxies",
        proxy={"f1": "http://h", "f2": "s", "f3": "f", "f4": "n", "f5": "a"},
    ),
    "proxies are no part of the key": lambda room: ops.sh(
        ops.sh(room.base, "env >/dev/null # key", proxy={"f1": "http://h"}), "true # after proxies"
    ),
    "working directory": sh("pwd", cwd="/usr/bin"),
    "working directory that is made": sh("pwd; stat -c '%a %u %g' /made /made/here", cwd="/made/here", user="bob"),
    "working directory relative": sh("pwd # relative", cwd="usr"),
    "working directory empty": sh("pwd # empty", cwd=""),
    "working directory through a link": lambda room: ops.sh(
        ops.files(room.base, ops.symlink("/var", "/linked")), "pwd; pwd -P; echo x >here", cwd="/linked/below"
    ),
    "working directory that is a file": sh("pwd # file", cwd="/etc/passwd"),
    "no shell": args("/bin/echo", "a b", "$HOME", "'"),
    "program by path": args("echo", "found"),
    "program missing": args("nothing-like-it"),
    "program no executable": args("/etc/passwd"),
    "program a folder": args("/etc"),
    "exit code": sh("echo before; exit 42"),
    "exit by signal": sh("kill -9 $$"),
    "exit by term": sh("kill -15 $$"),
    "valid exit code": sh("echo kept >/kept; exit 7", valid=[3, 7]),
    "valid exit codes without zero": sh("true # not valid", valid=[3]),
    "invalid exit code": sh("exit 4", valid=[3, 7]),
    "privileges": sh(SHOW),
    "limits": sh("ulimit -n; ulimit -c # limits", ulimits=[("nofile", 1000, 2000), ("core", 0, 0)]),
    "limit unknown": sh("true # limit", ulimits=[("nothing", 1, 1)]),
    "hostname": sh("hostname; cat /etc/hostname", hostname="given"),
    "hostname by default": sh("hostname"),
    "hosts": sh("cat /etc/hosts"),
    "hosts extra": sh("cat /etc/hosts", hosts=[("one", "10.0.0.1"), ("two", "::2")]),
    "hosts with a name": sh("cat /etc/hosts # named", hostname="me", hosts=[("one", "10.0.0.1")]),
    "hosts with a bad address": sh("true # bad", hosts=[("one", "no-ip")]),
    "terminal and input": sh("test -t 0 || echo no terminal; cat; ls -l /proc/self/fd | wc -l"),
    "processes": sh("ps -o comm | head -3; cat /proc/1/comm"),
    "init": args("/bin/readlink", "/proc/self/root"),
    "large output": sh("seq 1 500"),
    "output without newline": sh("printf 'no newline'"),
    "output in between": sh("printf a; printf b >&2; echo; echo c"),
}

USERS = {
    f"user {name or 'none'}": sh(f"id; touch /tmp/by; stat -c '%a %u %g' /tmp/by; echo $HOME # {name}", user=name)
    for name in ("bob", "alice", "1000", "1000:50", "bob:staff", "0:50", "root", "nobody", "7:7", "7", "bob:7", ":50")
} | {
    "user unknown": sh("id # unknown", user="mallory"),
    "group unknown": sh("id # group", user="bob:nothing"),
    "user without passwd": lambda room: ops.sh(ops.files(room.base, ops.rm("/etc/passwd")), "id # gone", user="bob"),
    "number without passwd": lambda room: ops.sh(ops.files(room.base, ops.rm("/etc/passwd")), "id # gone", user="12"),
    "passwd through a link": lambda room: ops.sh(
        ops.files(
            room.base, ops.copy(room.base, "/etc/passwd", "/p"), ops.rm("/etc/passwd"), ops.symlink("/p", "/etc/passwd")
        ),
        "id # linked",
        user="bob",
    ),
}

SURROUNDINGS = {
    "mounts": sh(
        "cut -d' ' -f2- /proc/mounts | grep -v '^/ ' | sed 's/,inode64//; s/size=[0-9]*k/size/; s/nr_inodes=[0-9]*/n/'"
        " | grep -v -e cgroup -e otel -e interrupts -e thermal | cut -d' ' -f1-2 | sort"
    ),
    "devices": sh("ls /dev | grep -v otel | sort; ls -l /dev/null /dev/zero | cut -c1-10"),
    "device limits": sh("mknod /x c 1 3 && echo made; mknod /y b 7 0; echo x >/x"),
    "masked paths": sh(
        "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware 2>/dev/null | wc -l; cat /proc/keys | wc -c"
    ),
    "read-only paths": sh("echo 1 >/proc/sys/vm/swappiness; touch /sys/x; true"),
    "seccomp": sh("unshare -m true; mount -t tmpfs t /mnt; true"),
    "shared memory": sh("touch /dev/shm/x && stat -c '%a %u %g' /dev/shm; touch /dev/mqueue/x && echo queue"),
    "run is no tmpfs": sh("mkdir -p /run/x; echo kept >/run/x/y"),
    "resolv.conf is read-only": sh("echo x >/etc/resolv.conf; echo x >/etc/hosts; true"),
    "resolv.conf leaves nothing": sh("test -s /etc/resolv.conf && echo there"),
    "etc missing": lambda room: ops.sh(ops.files(room.base, ops.rm("/etc")), "ls /etc; true # no etc"),
    "etc/hosts of its own": lambda room: ops.sh(
        ops.files(room.base, ops.mkfile("/etc/hosts", b"mine\n")), "cat /etc/hosts # own"
    ),
    "hostname kept apart": sh("hostname changed; true"),
    "temporary folder": sh("stat -c '%a %u %g' /tmp; ls -ld / /proc /sys /dev | cut -c1-10"),
    "new files": sh(
        "umask 027; echo a >/new; mkdir /folder; ln -s new /link; ln /new /hard; chmod 4755 /hard; mkfifo /pipe"
    ),
    "removed and replaced": lambda room: ops.sh(
        ops.files(room.base, *ops_tree()),
        "rm -r /d/a; rm /f; mkdir /f; echo x >/f/in; rm -r /o; mkdir /o; echo n >/o/n",
    ),
    "nothing": sh("true # nothing"),
    "touched": sh("touch -d '2001-02-03 04:05:06' /etc/group; touch -d '2001-02-03 04:05:06' /old"),
    "same again": sh("cp -p /etc/group /g; cat /g >/etc/group; touch -d '1970-01-01 00:00:00' /etc/group /etc"),
    "mode only": sh("chmod 600 /etc/group"),
    "owner only": sh("chown bob:staff /etc/group /bin"),
    "moved": sh("mv /etc /cfg; mv /bin/busybox /busybox"),
    "odd names": sh("mkdir '/a b'; touch '/a b/ü' '/a b/back\\slash' '/a b/new\nline' /.wh.x; ls -a '/a b'"),
    "capability": sh("touch /c; setpriv --help >/dev/null 2>&1; true"),
    "signals to children": sh("sleep 100 & echo started"),
}


def ops_tree():
    return (
        ops.mkdir("/d/a/b", parents=1),
        ops.mkfile("/d/a/b/c", b"c"),
        ops.mkfile("/d/k", b"k"),
        ops.mkfile("/f", b"f"),
        ops.mkdir("/o"),
        ops.mkfile("/o/x", b"x"),
    )


BINDS = {
    "bind": with_mounts("ls -R /m; echo x >/m/new; cat /m/new", Mount("/m", OTHER)),
    "bind output": output("echo x >/m/new; rm /m/one", Mount("/m", OTHER, output=1), index=1),
    "bind output, root as it is": output("echo x >/m/new; echo r >/root-too", Mount("/m", OTHER, output=1), index=0),
    "bind read-only": with_mounts("cat /m/one; touch /m/x; true", Mount("/m", OTHER, readonly=1)),
    "bind read-only output": output("cat /m/one # ro", Mount("/m", OTHER, readonly=1, output=1), index=1),
    "bind scratch": output("ls -a /m; echo s >/m/made", Mount("/m", None, output=1), index=1),
    "bind scratch without output": with_mounts("echo s >/m/made; ls /m", Mount("/m", None)),
    "bind scratch read-only": with_mounts("ls -a /m; touch /m/x; true", Mount("/m", None, readonly=1)),
    "bind selector": with_mounts("ls /m; cat /m/two", Mount("/m", OTHER, selector="/dir", readonly=1)),
    "bind selector of a file": with_mounts("cat /m", Mount("/m", OTHER, selector="/dir/two", readonly=1)),
    "bind selector missing": with_mounts("true # selector", Mount("/m", OTHER, selector="/nothing", readonly=1)),
    "bind selector climbing": with_mounts("ls /m # up", Mount("/m", OTHER, selector="../../..", readonly=1)),
    "bind selector through a link": lambda room: ops.sh(
        room.base,
        "cat /m # link",
        mounts=[Mount("/m", ops.files(OTHER, ops.symlink("/dir/two", "/l")), selector="/l", readonly=1)],
    ),
    "bind selector output": output("echo y >/m/y", Mount("/m", OTHER, selector="/dir", output=1), index=1),
    "bind on a file": with_mounts(
        "cat /etc/passwd # mounted", Mount("/etc/passwd", OTHER, selector="/one", readonly=1)
    ),
    "bind in a made place": with_mounts("ls /new/place/m", Mount("/new/place/m", OTHER)),
    "bind in a made place, kept": with_mounts("echo k >/new/k", Mount("/new/place/m", OTHER)),
    "bind in a made place, stubs stay": with_mounts("true # stubs", Mount("/new/place/m", OTHER), stubs=0),
    "bind relative": with_mounts("ls m; pwd # relative", Mount("m", OTHER), cwd="/var"),
    "bind nested": with_mounts("ls /m /m/dir", Mount("/m/dir", ops.tree({"/inner": "i"})), Mount("/m", OTHER)),
    "bind twice in one place": with_mounts("ls /m # twice", Mount("/m", OTHER), Mount("/m", ops.tree({"/later": "l"}))),
    "bind through a link": lambda room: ops.sh(
        ops.files(room.base, ops.symlink("/var", "/l")), "ls /var/m # through", mounts=[Mount("/l/m", OTHER)]
    ),
    "bind of the root's own": lambda room: ops.sh(room.base, "ls /m | head -3", mounts=[Mount("/m", room.base)]),
    "bind content hash": lambda room: ops.sh(
        room.base, "cat /m/one # hash", mounts=[Mount("/m", OTHER, readonly=1, content=1)]
    ),
    "bind content hash where it cannot be": with_mounts(
        "true # unsafe", Mount("/m", OTHER, output=1, content=1, selector="/dir")
    ),
    "bind content hash off": with_mounts("cat /m/one # off", Mount("/m", OTHER, readonly=1, content=2)),
    "root read-only": lambda room: ops.sh(
        None,
        "touch /x; stat -c '%a %u %g' /m; true # ro",
        root=Mount("/", room.base, readonly=1),
        mounts=[Mount("/m", OTHER, output=0)],
    ),
    "root without output": lambda room: ops.sh(
        None, "echo x >/x; echo m >/m/m", root=Mount("/", room.base), mounts=[Mount("/m", None, output=0)]
    ),
    "root with a selector": lambda room: ops.sh(
        None,
        "ls / # selected",
        root=Mount("/", ops.files(None, ops.copy(room.base, "/", "/below", contents=1)), selector="/below", output=0),
    ),
    "root of another type": lambda room: ops.sh(None, "true # type", root=Mount("/", None, type=ops.TMPFS, output=0)),
    "root is scratch": lambda room: ops.run(None, ["/true"], root=Mount("/", None, output=0)),
    "outputs by position": lambda room: ops.sh(
        room.base,
        "echo a >/a/f; echo b >/b/f # positions",
        mounts=[Mount("/a", None, output=5), tmpfs("/t", output=1), Mount("/b", None, output=9)],
    ).output(2),
    "output missing": lambda room: ops.sh(room.base, "true # missing", mounts=[Mount("/a", None, output=1)]).output(3),
    "mount of an unknown type": with_mounts("true # unknown", Mount("/m", None, type=77)),
}

OTHER_MOUNTS = {
    "tmpfs": with_mounts("echo x >/t/x; ls -la /t | sed -n 2p | cut -c1-10", tmpfs("/t")),
    "tmpfs size": with_mounts(
        "df -k /t | tail -1 | cut -d' ' -f1; dd if=/dev/zero of=/t/x bs=1k count=200; true", tmpfs("/t", size=100 << 10)
    ),
    "tmpfs read-only": with_mounts("touch /t/x; true # tmpfs", tmpfs("/t", readonly=1)),
    "tmpfs over content": with_mounts("ls /etc | wc -l", tmpfs("/etc")),
    "cache": twice("echo 1 >/c/f", "cat /c/f; ls -ld /c | cut -c1-10", cache("/c", "plain")),
    "cache by place": twice("echo 1 >/by-place/f", "cat /by-place/f # again", cache("/by-place")),
    "cache private": twice("echo 1 >/c/f # private", "cat /c/f # private", cache("/c", "private", sharing=ops.PRIVATE)),
    "cache locked": twice("echo 1 >/c/f # locked", "cat /c/f # locked", cache("/c", "locked", sharing=ops.LOCKED)),
    "cache of a source": twice("ls /c; echo 2 >/c/one", "cat /c/one # source", cache("/c", "source", source=OTHER)),
    "cache of a source by selector": with_mounts("ls /c # sel", cache("/c", "selected", source=OTHER, selector="/dir")),
    "cache of a source as output": output(
        "cat /c/one; echo changed >/c/one", cache("/c", "out", source=OTHER, output=1), index=1
    ),
    "cache read-only": twice("touch /c/x; true", "ls /c # ro", cache("/c", "readonly", readonly=1)),
    "cache twice in one step": with_mounts("echo t >/a/f; cat /b/f", cache("/a", "both"), cache("/b", "both")),
    "cache not in the result": with_mounts("echo hidden >/hidden/f", cache("/hidden", "hidden")),
    "cache renewed": lambda room: ops.sh(
        ops.sh(room.base, "echo old >/c/f # renewed", mounts=[cache("/c", "renewed")]),
        "ls /c # renewed",
        mounts=[cache("/c", "renewed")],
    ).with_metadata(f1=1),
    "secret": (with_mounts("cat /s; stat -c '%a %u %g' /s # secret", secret("/s", "one")), WITH_SECRETS),
    "secret as client has it": (
        with_mounts(
            "cat /s; stat -c '%a %u %g' /s; grep ' /s ' /proc/mounts | cut -d' ' -f2-4 | cut -d, -f1-4",
            secret("/s", "one", mode=0o400),
        ),
        WITH_SECRETS,
    ),
    "secret of somebody": (
        with_mounts(
            "stat -c '%a %u %g' /run/secrets/x; cat /run/secrets/x",
            secret("/run/secrets/x", "one", uid=1000, gid=50, mode=0o640),
            user="bob",
        ),
        WITH_SECRETS,
    ),
    "secret executable": (
        with_mounts(
            "grep ' /s ' /proc/mounts | cut -d' ' -f4 | cut -d, -f1-4; stat -c %a /s", secret("/s", "one", mode=0o755)
        ),
        WITH_SECRETS,
    ),
    "secret empty": (with_mounts("wc -c </s", secret("/s", "empty", mode=0o400)), WITH_SECRETS),
    "secret missing": (with_mounts("true # missing", secret("/s", "nothing", mode=0o400)), WITH_SECRETS),
    "secret optional": (
        with_mounts("ls /s; true # optional", secret("/s", "nothing", mode=0o400, optional=1)),
        WITH_SECRETS,
    ),
    "secret without id": (with_mounts("true # no id", secret("/s", "")), WITH_SECRETS),
    "secret written to": (with_mounts("echo x >/s; true", secret("/s", "one", mode=0o666)), WITH_SECRETS),
    "secret leaves nothing": (with_mounts("echo k >/deep/kept", secret("/deep/er/s", "one", mode=0o400)), WITH_SECRETS),
    "secret in the environment": (sh("echo $S $T # env", secret_env=[("one", "S", 0), ("one", "T", 1)]), WITH_SECRETS),
    "secret over the environment": (sh("echo $S # over", env=["S=plain"], secret_env=[("one", "S", 0)]), WITH_SECRETS),
    "secret in the environment missing": (sh("true # env", secret_env=[("nothing", "S", 0)]), WITH_SECRETS),
    "secret in the environment optional": (
        sh("env | grep ^S=; true # env", secret_env=[("nothing", "S", 1)]),
        WITH_SECRETS,
    ),
    "secret in the environment without id": (sh("true # no id env", secret_env=[("", "S", 0)]), WITH_SECRETS),
    "no secrets at all": with_mounts("true # none", secret("/s", "one", mode=0o400)),
    "ssh missing": with_mounts("true # ssh", Mount("/run/agent", type=ops.SSH, id="default", mode=0o600)),
    "ssh optional": with_mounts(
        "ls /run/agent; true # ssh", Mount("/run/agent", type=ops.SSH, id="default", mode=0o600, optional=1)
    ),
}

RIGHTS = {
    "network none": sh("ip link | grep -c ': '; cat /etc/resolv.conf | wc -l", network=ops.NONE),
    "network host refused": sh("true # host", network=ops.HOST),
    "network host allowed": (
        sh("readlink /proc/self/ns/net | cut -c1-5; cat /etc/hosts | head -1", network=ops.HOST),
        HOST,
    ),
    "network unknown": sh("true # network", network=42),
    "security refused": sh("true # insecure", security=1),
    "security insecure": (
        sh(
            "grep -E '^(NoNewPrivs|Seccomp:)' /proc/self/status; mount -t tmpfs t /mnt && echo mounted; ls /dev/kmsg; echo 1 >/proc/sys/vm/oom_dump_tasks && echo written",
            security=1,
        ),
        INSECURE,
    ),
    "security unknown": sh("true # security", security=42),
    "entitlement unknown": (sh("true # entitlement"), {"words": ["--allow=nothing.like.it"]}),
    "cgroup parent": sh("true # parent", cgroup_parent="kilndiff"),
    "other architecture": lambda room: ops.sh(room.base, "true # other", platform=llb.message(f1="s390x", f2="linux")),
}

CASES = [
    *each("execs", PROCESS),
    *each("execs", USERS),
    *each("execs", SURROUNDINGS),
    *each("execs", BINDS),
    *each("execs", OTHER_MOUNTS),
    *each("execs", RIGHTS),
    Case(
        "execs/log of a failure",
        lambda room: ops.sh(ops.sh(room.base, "echo first step"), "echo second step; echo bad >&2; exit 3"),
    ),
]
