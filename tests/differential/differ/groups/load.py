"""What a definition must be: loading, digests, metadata, capabilities, names."""

from kilntest import llb
from kilntest.llb import field, message

from differ import ops
from differ.case import Case, each

PLAIN = ops.files(None, ops.mkfile("/loaded", b"x", time=ops.THEN))
ROOT = ops.Mount("/", None, output=0)


def of(*encoded, metadata=()):
    return lambda room: llb.encode(encoded, metadata)


def last(vertex):
    return lambda room: vertex


def exec_body(meta=None, mounts=None):
    meta = message(f1=["true"], f3="/") if meta is None else meta
    mounts = [message(f1=0, f3="/", f4=0)] if mounts is None else mounts
    return lambda room: llb.vertex(2, field(1, meta) + field(2, mounts), [room.base])


def needing(cap):
    return lambda room: PLAIN.with_metadata(f5=[message(f1=cap, f2=1)])


def described(**description):
    """Metadata with a description; names are given as llb_customname."""
    pairs = {key.replace("_", "."): value for key, value in description.items()}
    return {"f2": llb.string_map(pairs)}


def on_platform(**fields):
    return lambda room: ops.sh(room.base, f"echo {sorted(fields.items())} >/p", platform=message(**fields))


def unreachable(room):
    """An invalid op that nothing rests on."""
    return llb.encode([llb.vertex(2, b"").op, *llb.operations(llb.salted(PLAIN, "unreachable"))])


def out_of_order(room):
    below = llb.salted(PLAIN, "out of order")
    top = ops.files(below, ops.mkfile("/top", b"t", time=ops.THEN))
    return llb.encode([top.op, below.op, llb.terminal(top.op)])


def renamed(room):
    step = ops.sh(room.base, "echo renamed >/r").with_metadata(**described(llb_customname="a name of its own"))
    return ops.files(step, ops.mkfile("/n", time=ops.THEN)).with_metadata(**described(llb_customname="[2/2] another"))


def grouped(room):
    return ops.sh(room.base, "echo grouped >/g").with_metadata(f6=message(f1="group", f2="its name", f3=1))


def limited(room):
    limits = message(f1=64 << 20, f3=512)
    return ops.sh(room.base, "echo limited >/l").with_metadata(f7=limits)


def all_names(room):
    one = ops.files(
        room.base,
        ops.mkdir("/n1"),
        ops.mkfile("/n1/f", b"n"),
        ops.symlink("f", "/n1/l"),
        ops.rm("/n1/l"),
        ops.copy(room.base, "/etc/passwd", "/n1/copied"),
    )
    two = ops.files(None, ops.mkfile("/n2", b"2", time=ops.THEN))
    both = llb.merge(one, two)
    return ops.sh(llb.merge(llb.diff(room.base, both), llb.diff(None, two), room.base), "true # names")


CASES = [
    *each(
        "load",
        {
            "no ops": of(),
            "empty op": of(b""),
            "one op": of(PLAIN.op),
            "garbage op": of(b"\xff\xff\xff\xff", PLAIN.op),
            "terminal without input": of(PLAIN.op, b""),
            "missing input": of(PLAIN.op, llb.terminal(b"other")),
            "input is no digest": of(PLAIN.op, message(f1=[message(f1="sha256:zz")])),
            "negative index": of(PLAIN.op, llb.terminal(PLAIN.op, -1)),
            "index too high": of(PLAIN.op, llb.terminal(PLAIN.op, 7)),
            "unknown op": last(llb.vertex(99, b"", [PLAIN])),
            "op without kind": of(PLAIN.op, message(f1=[message(f1=llb.digest(b"\x52\x00"))]), b"\x52\x00"),
            "exec without meta": lambda room: llb.vertex(2, field(2, message(f1=0, f3="/", f4=0)), [room.base]),
            "exec without args": exec_body(meta=message(f3="/")),
            "exec without mounts": exec_body(mounts=[]),
            "exec without root": exec_body(mounts=[message(f1=0, f3="/other", f4=0)]),
            "exec with a root that is relative": exec_body(mounts=[message(f1=0, f3="", f4=0)]),
            "exec with a missing input": exec_body(mounts=[message(f1=5, f3="/", f4=0)]),
            "files without actions": last(llb.vertex(4, b"", [PLAIN], platform=None)),
            "diff without sides": last(llb.vertex(7, b"", [PLAIN], platform=None)),
            "diff without upper": last(llb.vertex(7, message(f1=message(f1=0)), [PLAIN], platform=None)),
            "merge of nothing": last(llb.vertex(6, b"", [], platform=None)),
            "merge of one": last(llb.merge(PLAIN)),
            "passthrough without id": last(llb.vertex(8, message(f2=[0]), [PLAIN], platform=None)),
            "passthrough without outputs": last(llb.vertex(8, message(f1="p"), [PLAIN], platform=None)),
            "passthrough of what is not there": last(ops.passthrough("p", PLAIN, outputs=(3,))),
            "unknown scheme": last(ops.source("gopher://a")),
            "no scheme": last(ops.source("nothing")),
            "unknown cap": needing("source.nothing"),
            "known cap": needing("file.base"),
            "unreachable op": unreachable,
            "out of order": out_of_order,
            "names of their own": renamed,
            "progress group": grouped,
            "limits": limited,
            "names of all kinds": all_names,
            "export cache forced": lambda room: PLAIN.with_metadata(f4=message(f1=1)),
            "platform spelled otherwise": on_platform(f1="X86_64", f2="Linux"),
            "platform with a plain variant": on_platform(f1="amd64", f2="linux", f3="v1"),
            "platform missing": lambda room: ops.sh(room.base, "echo none >/p", platform=None),
            "constraints": lambda room: llb.vertex(
                4, message(f2=[ops.wired(-1, -1, 0, 6, message(f1="/constrained", f2=0o755, f5=ops.THEN))])
            ),
        },
    ),
    Case(
        "load/ignored cache",
        lambda room: ops.sh(room.base, "echo ignored >/i").with_metadata(f1=1),
    ),
    Case(
        "load/ignored cache below",
        lambda room: ops.sh(ops.sh(room.base, "echo below >/b").with_metadata(f1=1), "cat /b >/above # ignored below"),
    ),
]
