"""Merge, diff and passthrough: what deletions, replaced types, opaque folders and hard links become."""

from kilntest import llb

from differ import ops
from differ.case import each
from differ.ops import THEN, mkdir, mkfile, rm, symlink

BASE = ops.tree({"/d/a": "base", "/d/b": "base", "/x": "file", "/keep": "k", "/e/sub/": None})
OTHER = ops.tree({"/d/a": "other", "/d/c": "other", "/x": "other", "/other": "o"})
TYPES = ops.tree({"/x/in": "folder now", "/d": "file now"})
WITHOUT_A = ops.files(BASE, rm("/d/a"))
WITHOUT_D = ops.files(BASE, rm("/d"))
CHANGED = ops.files(BASE, mkfile("/d/a", b"changed", time=THEN), mkfile("/new", b"n", time=THEN))
REPLACED = ops.files(BASE, rm("/d"), mkdir("/d", time=THEN), mkfile("/d/only", b"o", time=THEN))
SWAPPED = ops.files(BASE, rm("/x"), mkdir("/x", time=THEN), rm("/d"), mkfile("/d", b"file", time=THEN))
CHAIN = ops.files(ops.files(BASE, mkfile("/1", b"1", time=THEN)), mkfile("/2", b"2", time=THEN))
DEEPER = ops.files(ops.files(CHAIN, rm("/1")), mkfile("/3", b"3", time=THEN))


def made(vertex):
    return lambda room: vertex


def diff_of(lower, upper):
    return made(llb.diff(lower, upper))


def onto(other, upper, lower=BASE):
    """What upper changes over lower, done to another tree."""
    return made(llb.merge(other, llb.diff(lower, upper)))


def step(room, command):
    return ops.sh(room.base, command)


def linked(room):
    return step(room, "mkdir /h; echo x >/h/a; ln /h/a /h/b; touch -d @1 /h/a /h")


def opaque(room):
    lower = step(room, "mkdir -p /o/in; echo x >/o/in/f; echo y >/o/g; touch -d @1 /o/in/f /o/in /o/g /o")
    return lower, ops.sh(lower, "rm -r /o; mkdir /o; echo z >/o/new; touch -d @1 /o/new /o")


def moved(room):
    lower = step(room, "mkdir /from; echo m >/from/f; touch -d @1 /from/f /from")
    return lower, ops.sh(lower, "mv /from /to")


MERGES = {
    "merge of two": made(llb.merge(BASE, OTHER)),
    "merge of two the other way": made(llb.merge(OTHER, BASE)),
    "merge of three": made(llb.merge(BASE, OTHER, ops.tree({"/third": "3", "/d/a": "third"}))),
    "merge with scratch": made(llb.merge(BASE, ops.files(None, mkdir("/only", time=THEN)))),
    "merge of the same": made(llb.merge(BASE, BASE)),
    "merge of file over folder": made(llb.merge(TYPES, BASE)),
    "merge of folder over file": made(llb.merge(BASE, TYPES)),
    "merge nested": made(llb.merge(llb.merge(BASE, OTHER), llb.merge(TYPES, BASE))),
    "merge of chains": made(llb.merge(DEEPER, CHAIN)),
    "merge onto the base": lambda room: llb.merge(room.base, OTHER),
    "merge of images": lambda room: llb.merge(room.image("layered"), room.image("kinds")),
    "merge of images with whiteouts": lambda room: llb.merge(BASE, room.image("layered")),
    "merge of folders' modes": made(
        llb.merge(
            ops.files(None, mkdir("/m", mode=0o700, time=THEN)), ops.files(None, mkdir("/m", mode=0o755, time=THEN))
        )
    ),
    "merge then a step": lambda room: ops.sh(llb.merge(room.base, OTHER, BASE), "cat /d/a /d/c; echo x >/d/x # merged"),
    "merge then files": made(ops.files(llb.merge(BASE, OTHER), rm("/d/a"), mkfile("/d/n", b"n", time=THEN))),
    "merge of links": lambda room: llb.merge(BASE, linked(room)),
    "merge copied from": made(ops.files(None, ops.copy(llb.merge(BASE, OTHER), "/d", "/n"))),
    "merge of hidden links": made(
        llb.merge(ops.files(ops.tree({"/real/f": "f"}), symlink("real", "/l", time=THEN)), ops.tree({"/l/g": "folder"}))
    ),
    "merge mounted read-only": lambda room: ops.sh(
        room.base, "ls -R /m", mounts=[ops.Mount("/m", llb.merge(BASE, OTHER), readonly=1)]
    ),
    "merge mounted as output": lambda room: ops.sh(
        room.base, "rm /m/d/a; echo n >/m/n", mounts=[ops.Mount("/m", llb.merge(BASE, OTHER), output=1)]
    ).output(1),
}

DIFFS = {
    "diff": diff_of(BASE, CHANGED),
    "diff of a deletion": diff_of(BASE, WITHOUT_A),
    "diff of a deleted folder": diff_of(BASE, WITHOUT_D),
    "diff of a replaced folder": diff_of(BASE, REPLACED),
    "diff of swapped types": diff_of(BASE, SWAPPED),
    "diff from scratch": diff_of(None, BASE),
    "diff to scratch": diff_of(BASE, None),
    "diff of nothing": diff_of(None, None),
    "diff of the same": diff_of(BASE, BASE),
    "diff backwards": diff_of(CHANGED, BASE),
    "diff of strangers": diff_of(BASE, OTHER),
    "diff of strangers' types": diff_of(BASE, TYPES),
    "diff of two steps": diff_of(BASE, CHAIN),
    "diff of many steps": diff_of(BASE, DEEPER),
    "diff of images": lambda room: llb.diff(room.image("layered", oci_layerlimit="2"), room.image("layered")),
    "diff of an opaque folder": lambda room: llb.diff(*opaque(room)),
    "diff of a moved folder": lambda room: llb.diff(*moved(room)),
    "diff of hard links": lambda room: llb.diff(room.base, linked(room)),
    "diff of modes": diff_of(
        ops.files(None, mkdir("/m", mode=0o700, time=THEN)), ops.files(None, mkdir("/m", mode=0o755, time=THEN))
    ),
    "diff of times": diff_of(ops.tree({"/t": "t"}), ops.tree({"/t": "t"}, time=THEN + 10**9)),
    "diff of equal content": diff_of(ops.tree({"/t": "t", "/u": "u"}), ops.tree({"/t": "t", "/u": "v"})),
    "diff of owners": diff_of(
        ops.tree({"/t": "t"}),
        ops.files(None, mkfile("/t", b"t", time=THEN, owner=ops.Owner(5, 5))),
    ),
    "diff used": lambda room: ops.sh(llb.merge(room.base, llb.diff(BASE, CHANGED)), "cat /d/a /new; ls /keep; true"),
    "diff of a merge": diff_of(BASE, llb.merge(BASE, OTHER)),
    "diff of a diff": diff_of(None, llb.diff(BASE, CHANGED)),
    "diff exported as a folder": (diff_of(BASE, REPLACED), {"outputs": ("type=local",)}),
}

ONTO = {
    "onto: changes": onto(OTHER, CHANGED),
    "onto: a deletion": onto(OTHER, WITHOUT_A),
    "onto: a deleted folder": onto(OTHER, WITHOUT_D),
    "onto: a deletion of what is not there": onto(ops.tree({"/z": "z"}), WITHOUT_A),
    "onto: a replaced folder": onto(OTHER, REPLACED),
    "onto: swapped types": onto(OTHER, SWAPPED),
    "onto: many steps": onto(OTHER, DEEPER),
    "onto: deletion, then again": made(llb.merge(BASE, llb.diff(BASE, WITHOUT_D), OTHER)),
    "onto: as a tree": (onto(OTHER, DEEPER), {"outputs": ("type=tar",)}),
    "onto: deletion of links": lambda room: llb.merge(
        linked(room), llb.diff(linked(room), ops.sh(linked(room), "rm /h/a; touch -d @1 /h"))
    ),
    "onto: the base, by a step": lambda room: llb.merge(
        room.base, llb.diff(room.base, step(room, "rm /etc/group; echo x >/stepped; touch -d @1 /stepped /etc"))
    ),
    "onto: opaque": lambda room: llb.merge(room.base, OTHER, llb.diff(*opaque(room))),
}

PASSES = {
    "passthrough": made(ops.passthrough("p", BASE)),
    "passthrough second": made(ops.passthrough("p", BASE, OTHER, outputs=(1,))),
    "passthrough swapped": made(ops.passthrough("p", BASE, OTHER, outputs=(1, 0)).output(1)),
    "passthrough then files": made(ops.files(ops.passthrough("p", BASE), mkfile("/after", b"a", time=THEN))),
}

CASES = each("merges", MERGES | DIFFS | ONTO | PASSES)
