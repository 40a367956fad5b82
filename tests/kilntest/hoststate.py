"""What a daemon may leave behind on the host: compared before and after a test. Other builds may run on the machine, or
have crashed there: of mounts, cgroups and containers only those count that belong to this run of the tests."""

import contextlib
import dataclasses
import os
import pathlib
import tempfile
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
RUNTIMES = (pathlib.Path("/run/runc"), pathlib.Path("/run/crun"))
# The daemons of the tests put their containers below this one (kilntest.daemon), so that they are known by it.
CGROUP_PARENT = f"kilntest-{os.getpid()}"

_folder = tempfile.gettempdir()  # where tests have their files, until watch() tells better


def watch(folder):
    """From now on what mentions `folder`, where all tests of this run have their files, is theirs."""
    global _folder
    _folder = f"{folder}/"


def is_ours(text):
    return _folder in text


def mounts(pid="self"):
    """Our mount points in a process's namespace, each as often as it is mounted: those that lie in our folder or come
    from there. A namespace whose mounts are private still gets those of other programs."""
    lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return sorted(line.split()[4] for line in lines if is_ours(line))


def cgroups():
    """Those of builds (…/buildkit/ID, …/kiln/ID), but for what other programs run."""
    found = []
    for folder, inner, _ in os.walk(CGROUPS):  # passes over what goes away meanwhile
        if pathlib.Path(folder).name in ("buildkit", "kiln"):
            groups = [f"{folder}/{name}" for name in inner]
            found += [group for group in groups if f"/{CGROUP_PARENT}/" in group or not _is_another_ones(group)]
    return sorted(found)


def _is_another_ones(group):
    """Whether processes run in it of which none knows our folder: a container has its root mounted from there. What is
    mounted in our own namespace tells nothing of a process that shares it."""
    seen, here = False, pathlib.Path("/proc/self/ns/mnt").readlink()
    with contextlib.suppress(OSError):
        for pid in (pathlib.Path(group) / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                shares = pathlib.Path(f"/proc/{pid}/ns/mnt").readlink() == here
                if not shares and is_ours(pathlib.Path(f"/proc/{pid}/mountinfo").read_text()):
                    return False
                seen = True
    return seen


def remove_cgroups():
    """At the end of the run: the folders that the daemons' containers were in. What is in use stays."""
    for top in [CGROUPS / CGROUP_PARENT, *CGROUPS.glob(f"*/{CGROUP_PARENT}")]:
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                pathlib.Path(folder).rmdir()


def containers():
    """What the OCI runtimes believe to exist of ours, in their usual folders; kilnd's have one of their own."""
    found = [path for folder in RUNTIMES if folder.is_dir() for path in folder.iterdir()]
    return sorted(str(path) for path in found if _is_our_container(path))


def _is_our_container(path):
    """The runtime's record of a container says where its bundle is."""
    try:
        return any(is_ours(file.read_text(errors="replace")) for file in path.iterdir() if file.is_file())
    except OSError:  # it has gone meanwhile
        return False


def children(pid):
    """Every descendant of a process, as "pid name"."""
    parents = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:  # it ended meanwhile
            continue
        name, _, rest = text.rpartition(")")
        child, _, name = name.partition(" (")
        parents[int(child)] = (int(rest.split()[1]), name)
    found, frontier = [], {pid}
    while frontier:
        frontier = {child for child, (parent, _) in parents.items() if parent in frontier}
        found += [f"{child} {parents[child][1]}" for child in frontier]
    return sorted(found)


def open_files(pid):
    """What a process's descriptors point to: "anon_inode:[eventfd]", "pipe", "socket tcp out", a path."""
    kinds, result = None, []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            name, _, inode = str(path.readlink()).partition(":[")
        except OSError:
            continue
        if name == "socket":
            kinds = kinds or _socket_kinds(pid)
            name = f"socket {kinds.get(inode.rstrip(']'), 'other')}"
        elif name == "anon_inode":
            name = f"{name}:[{inode}"
        result.append(name)
    return sorted(result)


def _socket_kinds(pid):
    """{inode: what the socket is} of the process's network namespace: "tcp listening", "tcp in" (somebody connected to
    us), "tcp out", "unix PATH" (the name that it or its listener is bound to), "unix pair"."""
    kinds, found = {}, []
    for name in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            found.append((local.rpartition(":")[2], state, rest[5]))
    ports = {port for port, state, _ in found if state == "0A"}
    for port, state, inode in found:
        kinds[inode] = "tcp listening" if state == "0A" else "tcp in" if port in ports else "tcp out"
    for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:
        words = line.split(maxsplit=7)
        kinds[words[6]] = f"unix {words[7]}" if len(words) > 7 else "unix pair"
    return kinds


@dataclasses.dataclass(frozen=True)
class HostState:
    mounts: list
    cgroups: list
    containers: list

    @classmethod
    def take(cls):
        return cls(mounts(), cgroups(), containers())


@dataclasses.dataclass(frozen=True)
class DaemonState:
    """Of a live daemon, between builds: its own mount namespace, its children, its descriptors, its containers."""

    mounts: list
    children: list
    open_files: list
    containers: list

    @classmethod
    def take(cls, pid, runtime=None):
        """`runtime`: the folder where the daemon's OCI runtime notes its containers."""
        known = sorted(path.name for path in runtime.iterdir()) if runtime and runtime.is_dir() else []
        return cls(mounts(pid), children(pid), open_files(pid), known)


def differences(before, after):
    """Lines like "mounts: + /x" for what came and went, per field. A child that takes another name stays the same."""
    lines = []
    for field in dataclasses.fields(before):
        old, new = list(getattr(before, field.name)), list(getattr(after, field.name))
        if field.name == "children":
            known = {value.split()[0]: value for value in old}
            new = [known.get(value.split()[0], value) for value in new]
        for value in list(new):
            if value in old:
                old.remove(value)
                new.remove(value)
        lines += [f"{field.name}: + {value}" for value in new] + [f"{field.name}: - {value}" for value in old]
    return lines


def lasting_differences(before, take, seconds=5.0):
    """The differences between `before` and what take() shows that are there at every look for so long; none as soon as
    one look shows none. What ends in the background (or belongs to somebody else on this machine) comes and goes."""
    end = time.monotonic() + seconds
    lasting = differences(before, take())
    while lasting and time.monotonic() < end:
        time.sleep(0.02)
        now = differences(before, take())
        lasting = [line for line in lasting if line in now]
    return lasting


def lasting_additions(before, take, seconds=5.0):
    """Of lasting_differences, what is new: builds of others on this machine may well end."""
    return [line for line in lasting_differences(before, take, seconds) if ": + " in line]
