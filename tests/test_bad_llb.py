"""Bad input: definitions, handed to Control.Solve as they are and to buildctl."""

import base64
import json
import random
import subprocess

import pytest
from kilntest import failure, llb

PLAIN = llb.mkfile(None, "/a", b"x")


def source_like(identifier, **attributes):
    return llb.encode(llb.operations(llb.source(identifier, **attributes)))


def vertex_of(number, operation, inputs=()):
    return llb.encode(llb.operations(llb.vertex(number, operation, inputs)))


def self_reference():
    """An op cannot hold its own digest; two entries that name each other by made-up digests come nearest."""
    first = llb.terminal(b"nothing like it")
    return llb.encode([first, llb.terminal(first)])


def deep(levels, bottom=PLAIN):
    for level in range(levels):
        bottom = llb.mkfile(bottom, f"/{level}", b"")
    return llb.definition(bottom)


def exec_with(meta=None, mounts=None, **fields):
    meta = llb.message(f1=["true"], f3="/") if meta is None else meta
    mounts = [llb.message(f1=0, f3="/", f4=0)] if mounts is None else mounts
    return vertex_of(2, llb.message(f1=meta, f2=mounts, **fields), [PLAIN])


def file_with(action, number=5, **indices):
    fields = {"f1": -1, "f2": -1, "f3": 0, **indices}
    return vertex_of(4, llb.message(f2=[llb.message(**fields) + llb.field(number, action)]))


def mount(dest, **fields):
    return llb.message(**{"f1": 0, "f3": dest, "f4": -1, **fields})


ROOT = llb.message(f1=0, f3="/", f4=0)

DEFINITIONS = {
    "no ops": (llb.encode([b""]), "LLB"),
    "one op": (llb.encode([PLAIN.op]), "invalid LLB with 1 vertexes"),
    "garbage for an op": (llb.encode([b"\xff\xff\xff\xff", PLAIN.op]), "failed to parse llb proto op"),
    "terminal without input": (llb.encode([PLAIN.op, b""]), "invalid LLB with no inputs on last vertex"),
    "missing input": (llb.encode([PLAIN.op, llb.terminal(b"other")]), "invalid missing input digest"),
    "input that is no digest": (llb.encode([PLAIN.op, llb.message(f1=[llb.message(f1="sha256:zz")])]), "sha256:zz"),
    "cycle": (self_reference(), "invalid missing input digest"),
    "negative input index": (llb.encode([PLAIN.op, llb.terminal(PLAIN.op, -1)]), "index"),
    "input index too high": (
        llb.encode([PLAIN.op, llb.terminal(PLAIN.op, 7)]),
        "invalid response from file need 7 index but 1 results received",
    ),
    "unknown kind of op": (vertex_of(99, b""), "no support for an op without a kind"),
    "unknown scheme": (source_like("gopher://a"), "gopher"),
    "source without a scheme": (source_like("nothing"), "nothing"),
    "image without a name": (source_like("docker-image://"), 'failed to parse "docker-image://" source'),
    "bad image name": (source_like("docker-image://UPPER/../x"), "UPPER/../x"),
    "local without a session": (source_like("local://context"), "session"),
    "layout without a digest": (source_like("oci-layout://a/b:c"), "digest"),
    "exec without meta": (vertex_of(2, llb.message(f2=[ROOT]), [PLAIN]), "invalid exec op with no meta"),
    "exec without arguments": (exec_with(meta=llb.message(f3="/")), "invalid exec op with no args"),
    "exec without mounts": (exec_with(mounts=[]), "invalid exec op with no mounts"),
    "exec without a root": (exec_with(mounts=[mount("/other")]), "invalid exec op with no rootfs"),
    "exec with a bad input": (exec_with(mounts=[llb.message(f1=5, f3="/", f4=0)]), 'invalid mount input 5 of "/"'),
    "exec with a climbing selector": (
        exec_with(mounts=[ROOT, mount("/m", f2="../../../../etc")]),
        "mount /m: open ../../../../etc: No such file or directory",
    ),
    "exec with an unknown mount type": (exec_with(mounts=[ROOT, mount("/m", f6=77)]), 'invalid mount type 77 of "/m"'),
    "exec with an insecure mode": (exec_with(f4=1), "security.insecure is not allowed"),
    "exec with an unknown mode": (exec_with(f4=42), "invalid security mode 42"),
    "exec with an unknown network": (exec_with(f3=42), "invalid exec op with unknown network mode 42"),
    "exec with a bad host address": (
        exec_with(meta=llb.message(f1=["true"], f3="/", f6=[llb.message(f1="h", f2="no-ip")])),
        "failed to parse IP no-ip",
    ),
    "exec with a bad ulimit": (
        exec_with(meta=llb.message(f1=["true"], f3="/", f9=[llb.message(f1="nonsense", f2=1, f3=1)])),
        'invalid exec op with unknown ulimit "nonsense"',
    ),
    "exec with a nul in its arguments": (
        exec_with(meta=llb.message(f1=["a\0b"], f3="/")),
        'invalid argument "a\\x00b": zero byte',
    ),
    "exec in scratch": (exec_with(), "true"),
    "file op without actions": (vertex_of(4, b""), "invalid file op with no actions"),
    "file op without outputs": (file_with(llb.message(f1="/a", f2=420), f3=-1), "no outputs specified"),
    "file op with a missing output": (file_with(llb.message(f1="/a", f2=420), f3=3), "missing output index 0"),
    "file op with a bad input": (file_with(llb.message(f1="/a", f2=420), f1=9), "input index"),
    "file op that rests on itself": (file_with(llb.message(f1="/a", f2=420), f1=0), "loop from index 0"),
    "file op of an unknown kind": (file_with(b"", number=63), "invalid file action 0: no action"),
    "removal of what is not there": (file_with(llb.message(f1="/none"), number=7), "/none"),
    "merge of nothing": (vertex_of(6, b""), "invalid merge op with no inputs"),
    "diff of nothing": (vertex_of(7, b""), "invalid diff op with nil lower or upper input"),
    "build op": (vertex_of(5, llb.message(f1=-1, f3=b"\xff")), "failed to parse llb proto op"),
}  # fmt: skip


def solve_all(peer, daemon, definitions):
    """What Control.Solve answers to each: [{"Code": …, "Message": …}]."""
    lines = b"".join(base64.b64encode(one) + b"\n" for one in definitions)
    done = subprocess.run([peer, "-addr", daemon.address, "solve"], input=lines, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.kiln_only  # buildkitd runs some of them
def test_definitions(peer, daemon, serves_on):
    answers = solve_all(peer, daemon, [definition for definition, _ in DEFINITIONS.values()])
    wrong = [
        f"{name}: {answer['Code']}: {answer['Message']}"
        for (name, (_, said)), answer in zip(DEFINITIONS.items(), answers, strict=True)
        if answer["Code"] in ("OK", "Internal", "Unavailable") or said not in answer["Message"]
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.kiln_only  # takes buildkitd for a minute
def test_definitions_of_absurd_size(peer, daemon, serves_on):
    wide = llb.encode([*(llb.mkfile(None, f"/{n}", b"").op for n in range(20_000)), llb.terminal(PLAIN.op)])
    missing = llb.source("oci-layout://nothing/here@" + llb.digest(b""))
    cases = [deep(10_000, bottom=missing), deep(300), wide]
    for answer in solve_all(peer, daemon, cases):
        assert answer["Code"] not in ("Internal", "Unavailable"), answer["Message"][:500]


@pytest.mark.kiln_only
def test_answer_of_absurd_size(peer, daemon):
    name = "x" * 1_000_000
    (answer,) = solve_all(peer, daemon, [llb.definition(llb.mkfile(None, "/" + name, b""))])
    assert answer["Code"] not in ("OK", "Internal", "Unavailable")
    assert name in answer["Message"]
    daemon.stop(seconds=5)
    daemon.start()


def mutations(count, seed):
    """Real definitions with bytes flipped, cut, doubled."""
    chance = random.Random(seed)
    step = llb.run(PLAIN, ["/bin/sh", "-c", "true"], env=["A=b"], mounts=[mount("/c", f6=3, f20=llb.message(f1="id"))])
    graph = [PLAIN.op, step.op, llb.copy(step, "/a", "/b").op]
    for _ in range(count):
        ops = list(graph)
        which = chance.randrange(len(ops))
        data = bytearray(ops[which])
        for _ in range(chance.randint(1, 4)):
            where = chance.randrange(len(data))
            how = chance.randrange(4)
            if how == 0:
                data[where] = chance.randrange(256)
            elif how == 1:
                del data[where:]
                data += b"\0"
            elif how == 2:
                data[where:where] = data[: chance.randrange(8)]
            else:
                data[where] ^= 1 << chance.randrange(8)
        # Later ops still name the old digest, or the new one: both occur.
        if chance.random() < 0.7:
            old, new = llb.digest(ops[which]).encode(), llb.digest(bytes(data)).encode()
            ops = [op.replace(old, new) for op in ops]
        ops[which] = bytes(data)
        yield llb.encode([*ops, llb.terminal(ops[chance.randrange(len(ops))])])


def test_mutated_definitions(peer, daemon, serves_on):
    for answer in solve_all(peer, daemon, mutations(300, seed=3)):
        assert answer["Code"] not in ("Internal", "Unavailable"), answer


def test_garbage_on_standard_input_of_buildctl(buildctl, serves_on):
    for data in (b"", b"\0\1\2", b"FROM base\n", llb.encode([b"\xff" * 100])):
        failure.check(buildctl.run("build", stdin=data, check=False), "error:")
