"""Every operation of LLB with every field of it, on top of kilntest.llb. Names of fields follow ops.proto where they
say enough."""

import dataclasses

from kilntest import llb
from kilntest.llb import SCRATCH, Vertex, field, message

AS_IS = -1  # mode and time of copies, time of other file actions
SHARED, PRIVATE, LOCKED = 0, 1, 2
BIND, SECRET, SSH, CACHE, TMPFS = 0, 1, 2, 3, 4
UNSET, HOST, NONE = 0, 1, 2
# A time long ago, in nanoseconds; what has it is compared to the second.
THEN = 1_000_000_000 * 10**9


@dataclasses.dataclass
class Mount:
    dest: str
    source: Vertex = None
    selector: str = None
    output: int = -1
    readonly: int = 0
    type: int = BIND
    size: int = None  # tmpfs
    id: str = None  # cache, secret, ssh
    sharing: int = SHARED
    uid: int = 0
    gid: int = 0
    mode: int = 0
    optional: int = 0
    content: int = 0

    def encode(self, inputs):
        index = SCRATCH if self.source is None else position(inputs, self.source)
        body = message(f1=index, f2=self.selector, f3=self.dest, f4=self.output, f5=self.readonly, f6=self.type)
        if self.size is not None:
            body += field(19, message(f1=self.size))
        if self.type == CACHE:
            body += field(20, message(f1=self.id, f2=self.sharing))
        if self.type in (SECRET, SSH):
            options = message(f1=self.id, f2=self.uid, f3=self.gid, f4=self.mode, f5=self.optional)
            body += field(21 if self.type == SECRET else 22, options)
        return body + (field(24, self.content) if self.content else b"")


def secret(dest, id, **options):
    return Mount(dest, type=SECRET, id=id, **options)


def cache(dest, id="", **options):
    return Mount(dest, type=CACHE, id=id, **options)


def tmpfs(dest, **options):
    return Mount(dest, type=TMPFS, **options)


def position(inputs, wanted):
    return next(i for i, one in enumerate(inputs) if (one.op, one.index) == (wanted.op, wanted.index))


def distinct(vertices):
    found = []
    for one in vertices:
        if one is not None and all((one.op, one.index) != (other.op, other.index) for other in found):
            found.append(one)
    return found


def run(
    base,
    args,
    *,
    env=(),
    cwd="/",
    user=None,
    mounts=(),
    network=UNSET,
    security=0,
    secret_env=(),
    hosts=(),
    hostname=None,
    ulimits=(),
    cgroup_parent=None,
    stubs=1,
    valid=(),
    proxy=None,
    root=None,
    devices=(),
    platform=llb.PLATFORM,
):
    """An exec whose root, unless `root` says otherwise, is `base`, and is output 0. secret_env: (id, name, optional);
    hosts: (name, ip); ulimits: (name, soft, hard); proxy: the fields of ProxyEnv; devices: (name, optional)."""
    root = root or Mount("/", base, output=0)
    inputs = distinct([root.source, *(mount.source for mount in mounts)])
    meta = message(f1=list(args), f2=list(env), f3=cwd, f4=user, f7=hostname, f10=cgroup_parent, f11=stubs)
    meta += field(5, message(**proxy) if proxy else None)
    meta += field(6, [message(f1=name, f2=ip) for name, ip in hosts])
    meta += field(9, [message(f1=name, f2=soft, f3=hard) for name, soft, hard in ulimits])
    meta += field(12, list(valid))
    body = message(
        f1=meta,
        f2=[mount.encode(inputs) for mount in (root, *mounts)],
        f3=network,
        f4=security,
        f5=[message(f1=id, f2=name, f3=optional) for id, name, optional in secret_env],
        f6=[message(f1=name, f2=optional) for name, optional in devices],
    )
    return llb.vertex(2, body, inputs, platform=platform)


def sh(base, command, **options):
    return run(base, ["/bin/sh", "-c", command], **options)


@dataclasses.dataclass
class Owner:
    """A user and a group, each a name, a number or absent; names are looked up in `of`, else in the first input."""

    user: object = None
    group: object = None
    of: Vertex = None

    def encode(self, inputs):
        index = position(inputs, self.of) if self.of else 0

        def one(value):
            if value is None:
                return None
            return message(f2=value) if isinstance(value, int) else message(f1=message(f1=value, f2=index))

        return message(f1=one(self.user), f2=one(self.group))


@dataclasses.dataclass
class Action:
    """`body(inputs)` encodes it. `source`: the vertex that is copied from, or Step(number of an action before)."""

    number: int
    body: object
    source: object = None
    owner: Owner = None


@dataclasses.dataclass
class Step:
    action: int


def _owned(number, fields, owner, at, source=None):
    def body(inputs):
        return message(**fields) + (field(at, owner.encode(inputs)) if owner else b"")

    return Action(number, body, source, owner)


def mkdir(path, *, mode=0o755, parents=0, owner=None, time=AS_IS):
    return _owned(6, {"f1": path, "f2": mode, "f3": parents, "f5": time}, owner, 4)


def mkfile(path, data=b"", *, mode=0o644, owner=None, time=AS_IS):
    return _owned(5, {"f1": path, "f2": mode, "f3": data, "f5": time}, owner, 4)


def symlink(old, new, *, owner=None, time=AS_IS):
    return _owned(8, {"f1": old, "f2": new, "f4": time}, owner, 3)


def rm(path, *, missing_ok=0, wildcard=0):
    return Action(7, lambda _: message(f1=path, f2=missing_ok, f3=wildcard))


def copy(
    source,
    src,
    dest,
    *,
    owner=None,
    mode=AS_IS,
    mode_text=None,
    follow=0,
    contents=0,
    unpack=0,
    parents=1,
    wildcard=0,
    empty_wildcard=0,
    time=AS_IS,
    include=(),
    exclude=(),
    replace=0,
    required=(),
):
    """`source` None is scratch."""
    fields = {"f1": src, "f2": dest, "f4": mode, "f5": follow, "f6": contents, "f7": unpack, "f8": parents}
    fields |= {"f9": wildcard, "f10": empty_wildcard, "f11": time, "f12": list(include), "f13": list(exclude)}
    fields |= {"f14": replace, "f15": mode_text, "f16": list(required)}
    return _owned(4, fields, owner, 3, source)


def files(base, *actions):
    """The actions one after the other, beginning with `base` (None: scratch); the last one's result is the output."""
    inputs = distinct([base])
    for action in actions:
        owner = action.owner.of if action.owner else None
        inputs = distinct([*inputs, action.source if isinstance(action.source, Vertex) else None, owner])
    encoded, previous = [], SCRATCH if base is None else 0
    for number, action in enumerate(actions):
        source = action.source
        if isinstance(source, Step):
            second = len(inputs) + source.action
        else:
            second = SCRATCH if source is None else position(inputs, source)
        output = 0 if number == len(actions) - 1 else SCRATCH
        encoded.append(wired(previous, second, output, action.number, action.body(inputs)))
        previous = len(inputs) + number
    return llb.vertex(4, message(f2=encoded), inputs, platform=None)


def wired(first, second, output, number, body):
    """A FileAction with its indices as they are given."""
    return message(f1=first, f2=second, f3=output) + field(number, body)


def raw_files(inputs, *actions):
    """A file op of encoded actions (see wired)."""
    return llb.vertex(4, message(f2=list(actions)), inputs, platform=None)


def tree(spec, base=None, time=THEN):
    """A state with files and folders: {path: text, "folder/": None or mode, path: (text, mode)}; parents come by
    themselves. Everything has one time, long ago."""
    actions = []
    for path, value in spec.items():
        if path.endswith("/"):
            actions.append(mkdir(path, mode=value or 0o755, parents=1, time=time))
            continue
        text, mode = value if isinstance(value, tuple) else (value, 0o644)
        parent = path.rpartition("/")[0]
        if parent:
            actions.append(mkdir(parent, parents=1, time=time))
        actions.append(mkfile(path, text.encode(), mode=mode, time=time))
    return files(base, *actions)


def passthrough(id, *inputs, outputs=(0,)):
    return llb.vertex(8, message(f1=id, f2=list(outputs)), inputs, platform=None)


def local(name, **attributes):
    return llb.vertex(3, _source(f"local://{name}", attributes), platform=None)


def source(identifier, attributes=(), platform=llb.PLATFORM):
    return llb.vertex(3, _source(identifier, dict(attributes)), platform=platform)


def _source(identifier, attributes):
    # local.includepattern is written local_includepattern.
    attributes = {key.replace("_", "."): value for key, value in attributes.items()}
    return message(f1=identifier, f2=llb.string_map(attributes))
