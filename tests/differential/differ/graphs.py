"""Random LLB: a graph of all kinds of operations from a seed. Everything in it is allowed, and its result depends on
nothing but the seed."""

import dataclasses
import random

from kilntest import llb

from differ import ops
from differ.ops import Mount, Owner
from differ.trees import File, Folder, Link

NAMES = ("a", "b", "c", "d", "e")
LAYERED = ("layered", "kinds", "twice", "docker")
PROJECT = {
    "a": "local a",
    "b/c": File("local c", 0o755),
    "b/d/e": "local e",
    "c/a": "local c/a",
    "d": Folder(0o711),
    "e": Link("b/c"),
}
# What a step does to the folder $R: always succeeds, and leaves nothing with a time of its own that matters.
COMMANDS = (
    "mkdir -p $R/{p}; echo {w} >$R/{p}/{n}",
    "rm -rf $R/{p}",
    "rm -rf $R/{p}; mkdir -p $R/{p}; echo {w} >$R/{p}/{m}",
    "rm -rf $R/{n}; echo {w} >$R/{n}",
    "ln -sfn {q} $R/{n}.link",
    "mkdir -p $R/{p}; echo {w} >$R/{p}/h1; ln -f $R/{p}/h1 $R/{p}/h2",
    "find $R/{n} -type f -exec chmod 6{o} {{}} +",
    "chown -R {u}:{u} $R/{n}",
    "mv $R/{n} $R/{m}.moved",
    "cp -a $R/{n} $R/{m}.copy",
    "mkfifo -m 6{o} $R/{n}.pipe; mkdir -p $R/{p}",
    "find $R/{n} $R/{m} 2>/dev/null | sort >$R/{n}.list",
    "touch -d @{t} $R/{n}",
    "for i in 1 2 3; do mkdir -p $R/{p}/$i; echo $i >>$R/{p}/$i/{n}; done",
    "true",
)


@dataclasses.dataclass
class State:
    vertex: llb.Vertex  # None: scratch
    bootable: bool = False  # has a shell


class Graph:
    """Graph(seed, room).result() is a vertex."""

    def __init__(self, seed, room):
        self.random = random.Random(seed)
        self.seed, self.room = seed, room
        self.states = [State(room.base, True), State(None), State(self._tree())]

    def result(self):
        steps = (self._step, self._step_on_mounts, self._files, self._files, self._merge, self._diff, self._source)
        for _ in range(self.random.randint(3, 9)):
            self.states.append(self.random.choice(steps)())
        last = self.states[-1]
        return last.vertex if last.vertex is not None else self._tree()

    def _any(self, bootable=False):
        """A state, rather a late one."""
        chosen = [one for one in self.states if one.bootable or not bootable]
        return chosen[max(self.random.randrange(len(chosen)), self.random.randrange(len(chosen)))]

    def _path(self, most=3):
        return "/" + "/".join(self.random.choice(NAMES) for _ in range(self.random.randint(1, most)))

    def _tree(self):
        names = {self._path(1) + "x" + self._path(): self._word() for _ in range(self.random.randint(1, 4))}
        return ops.tree({**{f"{path}.f": text for path, text in names.items()}, f"{self._path()}/": 0o750})

    def _word(self):
        return f"{self.random.choice(NAMES)}{self.random.randrange(100)}\n"

    def _command(self, where):
        lines = []
        for _ in range(self.random.randint(1, 4)):
            words = {
                "n": self.random.choice(NAMES),
                "m": self.random.choice(NAMES),
                "p": self._path().lstrip("/"),
                "q": self._path().lstrip("/"),
                "w": self._word().strip(),
                "o": f"{self.random.randrange(8)}{self.random.randrange(8)}",
                "u": self.random.choice((0, 1, 1000)),
                "t": self.random.randrange(1_000_000_000),
            }
            lines.append(self.random.choice(COMMANDS).format(**words))
        return f"R={where}; " + "; ".join(lines)

    def _step(self):
        state = self._any(bootable=True)
        quiet = {"user": "1000:50"} if self.random.random() < 0.1 else {}
        cwd = self.random.choice(("/", "/", "/tmp", self._path()))
        return State(
            ops.sh(state.vertex, f"({self._command('')}) 2>/dev/null; true # {self.seed}", cwd=cwd, **quiet), True
        )

    def _step_on_mounts(self):
        root = self._any(bootable=True)
        mounts = [Mount("/m", self._any().vertex, output=1)]
        if self.random.random() < 0.5:
            mounts.append(Mount("/ro", self._any().vertex, readonly=1))
            command = f"cp -a /ro/. /m/{self.random.choice(NAMES)}ro; "
        else:
            command = ""
        if self.random.random() < 0.3:
            mounts.append(ops.tmpfs("/tmp/t"))
        command = f"({command}{self._command('/m')}) 2>/dev/null; true # {self.seed}"
        vertex = ops.sh(root.vertex, command, mounts=mounts)
        return State(vertex, True) if self.random.random() < 0.2 else State(vertex.output(1))

    def _files(self):
        state = self._any()
        actions = [self._action() for _ in range(self.random.randint(1, 4))]
        vertex = ops.files(state.vertex, *actions)
        return State(vertex, state.bootable)

    def _owner(self):
        chance = self.random.random()
        if chance < 0.6:
            return None
        if chance < 0.8:
            return Owner(self.random.choice((0, 1, 1000)), self.random.choice((0, 50)))
        return Owner("bob", self.random.choice((None, "staff")), of=self.room.base)

    def _action(self):
        kind = self.random.randrange(6)
        time = self.random.choice((ops.AS_IS, 0, ops.THEN))
        # Names of their own: what is to be made may not be in the way of what is there.
        own = f"/{self.random.choice(NAMES)}{self.random.randrange(1000)}"
        if kind == 0:
            return ops.mkdir(
                own + self._path(), mode=self.random.choice((0o755, 0o700)), parents=1, owner=self._owner(), time=time
            )
        if kind == 1:
            return ops.mkfile(
                own, self._word().encode(), mode=self.random.choice((0o644, 0o4755)), owner=self._owner(), time=time
            )
        if kind == 2:
            return ops.symlink(self._path(), own + "l", owner=self._owner(), time=time)
        if kind == 3:
            return ops.rm(self._path(), missing_ok=1, wildcard=self.random.randrange(2))
        return self._copy(own, time)

    def _copy(self, own, time):
        source = self._any()
        # What steps change has no names with dots, so that patterns find something.
        src = self.random.choice(("/", "/*", "/[a-c]*", f"/{self.random.choice(NAMES)}*"))
        filters = self.random.choice(
            (
                {},
                {},
                {"include": [f"**/{self.random.choice(NAMES)}"]},
                {"exclude": [f"**/{self.random.choice(NAMES)}*"]},
            )
        )
        if source.bootable:
            src = self.random.choice(("/etc", "/[a-e]*"))
        return ops.copy(
            source.vertex,
            src,
            own + "/",
            wildcard=1,
            empty_wildcard=1,
            contents=self.random.randrange(2),
            follow=self.random.randrange(2),
            replace=1,
            owner=self._owner(),
            mode=self.random.choice((ops.AS_IS, ops.AS_IS, 0o750)),
            time=time,
            **filters,
        )

    def _merge(self):
        states = [self._any() for _ in range(self.random.randint(2, 4))]
        vertices = [one.vertex for one in states if one.vertex is not None] or [self._tree()]
        # Only who has a shell at the bottom, and nothing above that could hide it, surely has one.
        bootable = states[0].bootable and all(one.vertex is None or one is states[0] for one in states[1:])
        return State(llb.merge(*vertices), bootable)

    def _diff(self):
        lower, upper = self._any(), self._any()
        if lower.vertex is None and upper.vertex is None:
            return State(self._tree())
        return State(llb.diff(lower.vertex, upper.vertex))

    def _source(self):
        kind = self.random.randrange(3)
        if kind == 0:
            return State(self.room.image(self.random.choice(LAYERED)))
        if kind == 1:
            return State(ops.local("project", local_excludepatterns=f'["{self.random.choice(NAMES)}"]'))
        return State(ops.tree({self._path() + ".t": self._word()}))
