"""LLB definitions (pb.Definition) in plain Python: a protobuf encoder of thirty lines, and the operations that tests
need. A vertex is (bytes of its Op, vertices that it rests on)."""

import hashlib
import struct

SCRATCH = -1


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, value):
    """One field: int (varint), float (fixed64), str or bytes (length-delimited), list (repeated), None (absent)."""
    if value is None:
        return b""
    if isinstance(value, list):
        return b"".join(field(number, one) for one in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(**fields):
    """message(f1=…, f4=…): the fields by number."""
    return b"".join(field(int(name[1:]), value) for name, value in fields.items())


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def string_map(values):
    return [message(f1=key, f2=value) for key, value in sorted(values.items())]


PLATFORM = message(f1="amd64", f2="linux")


class Vertex:
    """One output of an operation; `metadata` is its encoded OpMetadata."""

    def __init__(self, body, inputs=(), index=0, metadata=b""):
        """`body`: the Op but for its inputs."""
        self.body, self.inputs, self.index, self.metadata = body, list(inputs), index, metadata
        self.op = message(f1=[message(f1=digest(one.op), f2=one.index) for one in self.inputs]) + body

    def output(self, index):
        return Vertex(self.body, self.inputs, index, self.metadata)

    def with_metadata(self, **fields):
        return Vertex(self.body, self.inputs, self.index, message(**fields))


def vertex(number, operation, inputs=(), platform=PLATFORM):
    """An Op whose oneof field is `number`."""
    inputs = [one for one in inputs if one is not None]
    return Vertex(field(number, operation) + field(10, platform), inputs)


def salted(last, salt, done=None):
    """The same graph with other digests: a constraint, which nobody looks at, is in every operation. Builds of the two
    share no vertices, but the keys of their steps are the same."""
    done = {} if done is None else done
    if last.op not in done:
        inputs = [salted(one, salt, done) for one in last.inputs]
        done[last.op] = Vertex(last.body + field(11, message(f1=salt)), inputs, 0, last.metadata)
    return done[last.op].output(last.index)


def source(identifier, **attributes):
    attributes = {key.replace("_", "."): value for key, value in attributes.items()}
    return vertex(3, message(f1=identifier, f2=string_map(attributes)))


def image(reference):
    return source(f"docker-image://{reference}")


def run(base, args, *, env=(), cwd="/", user="", mounts=(), network=0, security=0):
    """An exec on `base`, whose root file system is its result. `mounts` are more of ExecOp's, encoded."""
    meta = message(f1=list(args), f2=list(env), f3=cwd, f4=user or None)
    root = message(f1=0, f3="/", f4=0)
    return vertex(2, message(f1=meta, f2=[root, *mounts], f3=network, f4=security), [base])


def files(base, actions, secondary=None):
    """A file op that does one encoded action after the other: [(field number in FileAction, action)]."""
    inputs = [one for one in (base, secondary) if one is not None]
    previous = 0 if base is not None else SCRATCH
    second = SCRATCH if secondary is None else len(inputs) - 1
    encoded = []
    for index, (number, action) in enumerate(actions):
        output = 0 if index == len(actions) - 1 else SCRATCH
        encoded.append(message(f1=previous, f2=second, f3=output) + field(number, action))
        previous = len(inputs) + index
    return vertex(4, message(f2=encoded), inputs, platform=None)


def mkfile(base, path, data, *, mode=0o644, make_parents=None):
    actions = [(6, message(f1=make_parents, f2=0o755, f3=1, f5=-1))] if make_parents else []
    return files(base, [*actions, (5, message(f1=path, f2=mode, f3=data, f5=-1))])


def copy(base, src, dest):
    """From `base` into itself."""
    return files(base, [(4, message(f1=src, f2=dest, f4=-1, f6=1, f8=1, f11=-1))], secondary=base)


def remove(base, path, *, wildcard=False):
    return files(base, [(7, message(f1=path, f3=int(wildcard)))])


def mkdir(base, path, *, mode=0o755):
    return files(base, [(6, message(f1=path, f2=mode, f3=1, f5=-1))])


def merge(*inputs):
    return vertex(6, message(f1=[message(f1=index) for index in range(len(inputs))]), inputs, platform=None)


def diff(lower, upper):
    """What `upper` changes over `lower`; None is scratch."""
    inputs = [one for one in (lower, upper) if one is not None]
    first = SCRATCH if lower is None else 0
    second = SCRATCH if upper is None else len(inputs) - 1
    return vertex(7, message(f1=message(f1=first), f2=message(f1=second)), inputs, platform=None)


def operations(last):
    """All of a graph, inputs first, and the terminal op."""
    ordered, seen, todo = [], set(), [(last, False)]
    while todo:
        one, inputs_done = todo.pop()
        if inputs_done:
            ordered.append(one.op)
        elif one.op not in seen:
            seen.add(one.op)
            todo.append((one, True))
            todo += [(before, False) for before in reversed(one.inputs)]
    return [*ordered, terminal(last.op, last.index)]


def terminal(op, index=0):
    return message(f1=[message(f1=digest(op), f2=index)])


def encode(ops, metadata=()):
    """A pb.Definition of encoded ops; metadata: {digest: encoded OpMetadata}."""
    return message(f1=list(ops), f2=[message(f1=key, f2=value) for key, value in dict(metadata).items()])


def definition(last):
    return encode(operations(last), metadata(last))


def metadata(last):
    """{digest: encoded OpMetadata} of all of a graph."""
    found, todo = {}, [last]
    while todo:
        one = todo.pop()
        if one.metadata:
            found[digest(one.op)] = one.metadata
        todo += one.inputs
    return found
