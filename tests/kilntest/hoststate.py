"""What a daemon may leave behind on the host: compared before and after a test."""

import dataclasses
import os
import pathlib
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
RUNTIMES = (pathlib.Path("/run/runc"), pathlib.Path("/run/crun"))


def mounts(pid="self"):
    """Mount points of a process's namespace, each as often as it is mounted."""
    lines = pathlib.Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return sorted(line.split()[4] for line in lines)


def cgroups():
    """Those of builds (…/buildkit/ID, …/kiln/ID): the rest of the machine makes and removes others all the time."""
    found = []
    for folder, inner, _ in os.walk(CGROUPS):  # passes over what goes away meanwhile
        if pathlib.Path(folder).name in ("buildkit", "kiln"):
            found += [f"{folder}/{name}" for name in inner]
    return sorted(found)


def containers():
    """What the OCI runtimes believe to exist."""
    return sorted(str(path) for folder in RUNTIMES if folder.is_dir() for path in folder.iterdir())


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
    """What a process's descriptors point to. Of sockets, pipes and the like only how many there are."""
    result = []
    for path in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            result.append(str(path.readlink()).split(":[")[0])
        except OSError:
            continue
    return sorted(result)


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
    """Of a live daemon, between builds: its own mount namespace, its children, its descriptors."""

    mounts: list
    children: list
    open_files: list

    @classmethod
    def take(cls, pid):
        return cls(mounts(pid), children(pid), open_files(pid))


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
