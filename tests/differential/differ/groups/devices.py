"""Devices of the Container Device Interface: who gets which, and what they change in a step. Their files are the
room's (stock.DEVICES)."""

import dataclasses

from differ import ops
from differ.case import Case, each

ALL = {"words": ["--allow=device"]}
KIND = "diff.test/thing"
SHOW = "env | grep ^D_ | sort"


def asks(*devices, command=SHOW, **options):
    """A step with devices, each a name or (name, optional); `note` makes its command another one."""
    devices = [one if isinstance(one, tuple) else (one, 0) for one in devices]
    return lambda room, note="": ops.sh(room.base, command + note, devices=devices, **options)


def apart(table):
    """The table's cases, none of which finds the step of another one in the cache."""

    def noted(name, graph):
        return lambda room: graph(room, f" # {name}")

    return [dataclasses.replace(case, graph=noted(case.id, case.graph)) for case in each("devices", table)]


def allow(*grants):
    return {"words": [f"--allow=device={grant}" for grant in grants]}


NAMES = {
    "by name": (asks(f"{KIND}=one"), ALL),
    "first of a kind": (asks(KIND), ALL),
    "first of a kind, empty name": (asks(f"{KIND}="), ALL),
    "all of a kind": (asks(f"{KIND}=*"), ALL),
    "by class": (asks("quick"), ALL),
    "class of the form of a name": (asks("diff.test/odd=class"), ALL),
    "several, some twice": (asks("quick", f"{KIND}=one", KIND), ALL),
    "missing": (asks(f"{KIND}=none"), ALL),
    "missing, not asked for all": asks(f"{KIND}=none"),
    "missing kind": (asks("diff.test/none"), ALL),
    "missing class": (asks("none"), ALL),
    "missing, optional": (asks((f"{KIND}=none", 1)), ALL),
    "optional": (asks((f"{KIND}=one", 1)), ALL),
    "later folder": (asks("diff.test/over=it"), ALL),
    "of JSON": (asks("diff.test/json=it"), ALL),
}

GRANTS = {
    "not allowed": asks(f"{KIND}=one"),
    "several not allowed": asks("quick"),
    "another allowed": (asks(f"{KIND}=one"), allow(f"{KIND}=q1")),
    "allowed by name": (asks(f"{KIND}=one"), allow(f"{KIND}=one")),
    "allowed by kind, which is the first": (asks(f"{KIND}=q1"), allow(KIND)),
    "allowed by all of a kind": (asks("quick"), allow(f"{KIND}=*")),
    "allowed by class": (asks(f"{KIND}=q2"), allow("quick")),
    "allowed one by one": (asks("quick"), allow(f"{KIND}=q1", f"{KIND}=q2")),
    "allowed, but missing": (asks(f"{KIND}=one"), allow(f"{KIND}=one", f"{KIND}=none")),
    "allowed by annotation": asks("diff.test/free=it"),
    "allowed by configuration": asks("diff.test/auto=it"),
    "alias": (asks("mine"), allow(f"{KIND}=one,alias=mine")),
    "alias of none": (asks("mine"), allow(f"{KIND}=none,alias=mine")),
    "key unknown": (asks(f"{KIND}=one"), allow(f"{KIND}=one,color=red")),
    "key without value": (asks(f"{KIND}=one"), allow(f"{KIND}=one,alias")),
}

EDITS = {
    "environment": (asks("diff.test/env=it", env=["D_OWN=1", "D_SET=step"]), ALL),
    "node of the host": (asks("diff.test/node=host", command="stat -c '%n %F %t:%T %a %u %g' /dev/d-*"), ALL),
    "node of the host, as a user": (
        asks("diff.test/node=host", command="stat -c '%n %F %t:%T %a %u %g' /dev/d-* # user", user="bob"),
        ALL,
    ),
    "node described": (asks("diff.test/node=told", command="stat -c '%n %F %t:%T %a %u %g' /dev/d-*"), ALL),
    "node that may only be read": (
        asks("diff.test/node=read", command="head -c 2 /dev/d-read | wc -c; echo x 2>&1 >/dev/d-read"),
        ALL,
    ),
    "node that is missing": (asks("diff.test/node=gone"), ALL),
    "node of another type": (asks("diff.test/node=type"), ALL),
    "node that is none": (asks("diff.test/node=file"), ALL),
    "pipe": (asks("diff.test/node=pipe", command="stat -c '%n %F %a %u %g' /dev/d-*"), ALL),
    "node in an insecure step": (
        asks("diff.test/node=host", command="stat -c '%n %F %t:%T %a' /dev/d-* /dev/kmsg", security=1),
        {"words": ["--allow=device", "--allow=security.insecure"]},
    ),
    "mount": (asks("diff.test/mount=file", command="cat /etc/d-file; ! echo x >/etc/d-file"), ALL),
    "mount over ours": (asks("diff.test/mount=shm", command="grep -c ' /dev/shm ' /proc/mounts; ls /dev/shm"), ALL),
    "mount below one of the step": (
        lambda room: ops.sh(
            room.base,
            "ls /m /m/deep",
            mounts=[ops.Mount("/m", type=ops.TMPFS)],
            devices=[("diff.test/mount=deep", 0)],
        ),
        ALL,
    ),
    "mount that is missing": (asks("diff.test/mount=gone", command="true"), {**ALL, "logs": False}),
    "groups": (asks("diff.test/groups=it", command="id -G"), ALL),
    "groups of a user": (asks("diff.test/groups=it", command="id -G", user="bob"), ALL),
}

CASES = [
    *apart(NAMES),
    *apart(GRANTS),
    *each("devices", EDITS),
    Case(
        "devices/dockerfile",
        dockerfile=f"FROM base\nRUN --device={KIND}=one {SHOW}\nRUN --device=quick --device=none {SHOW} && true\n",
        **ALL,
    ),
    Case("devices/dockerfile, required", dockerfile="FROM base\nRUN --device=none,required true\n"),
    Case("devices/dockerfile, not allowed", dockerfile=f"FROM base\nRUN true\nRUN --device={KIND}=one,required true\n"),
]
