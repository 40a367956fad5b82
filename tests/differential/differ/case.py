"""A case: one build, aimed at one behaviour."""

import dataclasses
import importlib
import json
import pathlib
import shutil
import tarfile

from kilntest import llb

from differ import images, observe, trees

GROUPS = pathlib.Path(__file__).parent / "groups"


@dataclasses.dataclass
class Case:
    """`graph(room)` gives the LLB: a vertex, or the bytes of a definition. `dockerfile` is text instead; `files` is its
    context (see trees.write). `locals`: {name: tree} for local sources. `outputs`: values of --output without dest.
    `words`: more of buildctl's command line, or a function of the room. `opts`: {key: value} of --opt.
    `again`: whether a second run follows, whose cached marks are compared; `archive`: whether the members of the OCI
    archive itself are; `logs`: whether what steps print is; `raw`: of a result, only the
    configurations of the images, byte for byte."""

    id: str
    graph: object = None
    dockerfile: str = None
    files: dict = dataclasses.field(default_factory=dict)
    locals: dict = dataclasses.field(default_factory=dict)
    outputs: tuple = ("type=oci",)
    words: object = ()
    opts: dict = dataclasses.field(default_factory=dict)
    again: bool = True
    archive: bool = False
    logs: bool = True
    raw: bool = False

    @property
    def group(self):
        return self.id.split("/")[0]

    def definition(self, room):
        """Cases run side by side; to each its own vertices."""
        graph = self.graph(room)
        return graph if isinstance(graph, bytes) else llb.definition(llb.salted(graph, self.id))

    def observe(self, room, space):
        """Builds it, twice if it says so; what was seen, as plain values."""
        stdin = self._prepare(room, space)
        words = observe.Words({str(space): "<space>", **room.words})
        outputs = [with_destination(output, space, number) for number, output in enumerate(self.outputs)]
        done = room.client.run(*self._command(room, space, outputs), check=False, stdin=stdin)
        seen = {"exit": done.returncode, **observe.error(done, words)}
        if not self.raw:
            seen["steps"] = observe.steps(done, words, self.logs)
        if done.returncode == 0:
            seen.update(self._results(room, space, words))
        if done.returncode == 0 and self.again:
            again = room.client.run(*self._command(room, space, []), check=False, stdin=stdin)
            seen["again"] = observe.cached(again.stderr, words) if again.returncode == 0 else again.stderr
        return seen

    def _prepare(self, room, space):
        """Writes the folders; returns what goes to the client's standard input."""
        for name, spec in self.locals.items():
            trees.write(space / name, spec)
        if self.dockerfile is None:
            return self.definition(room)
        trees.write(space / "context", self.files)
        trees.write(space / "dockerfile", {"Dockerfile": self.dockerfile})
        if ".dockerignore" in self.files:
            shutil.copy(space / "context/.dockerignore", space / "dockerfile")
        return None

    def _command(self, room, space, outputs):
        words = ["build", "--progress=rawjson", f"--metadata-file={space}/reply", *room.store_words()]
        words += [f"--output={output}" for output in outputs]
        words += [f"--local={name}={space}/{name}" for name in self.locals]
        words += room.dockerfile_words(space) if self.dockerfile is not None else []
        words += [f"--opt={key}={value}" for key, value in self.opts.items()]
        more = self.words(room) if callable(self.words) else self.words
        return words + [word.replace("{space}", str(space)) for word in more]

    def _results(self, room, space, words):
        found = {}
        reply = observe.reply(space / "reply")
        for number, output in enumerate(self.outputs):
            path = space / f"out{number}"
            kind = output.removeprefix("type=").split(",")[0]
            name = kind if len(self.outputs) == 1 else f"{number} {kind}"
            if kind in ("oci", "docker") and path.is_file():
                archive = images.Archive(path, room.known_layers)
                described = archive.configurations() if self.raw else archive.describe()
                found[name] = json.loads(words.clean_known(json.dumps(described)))
                if self.archive:
                    found[name]["members"] = [words.clean_archived(one) for one in archive.members]
                for root in archive.json("index.json")["manifests"]:
                    words.known[root["digest"]] = "<root>"
            elif kind == "tar" and path.is_file():
                with tarfile.open(path) as tar:
                    found[name] = images.over_base(images.describe(tar), room.base_tree)
            elif (path / "oci-layout").exists():
                found[name] = json.loads(
                    words.clean_known(json.dumps(images.Layout(path, room.known_layers).describe()))
                )
            elif path.is_dir():
                found[name] = observe.folder(path)
        if reply and not self.raw:
            found["reply"] = observe.shown_reply(reply, words)
        return found


def with_destination(output, space, number):
    """An --output with the place of it."""
    if output.startswith("type=image") or ",dest=" in output:
        return output
    return f"{output},dest={space}/out{number}"


def each(prefix, table, **shared):
    """Cases of a table {name: graph}, or {name: (graph, more fields of Case)}."""
    made = []
    for name, value in table.items():
        graph, more = value if isinstance(value, tuple) else (value, {})
        made.append(Case(f"{prefix}/{name}", graph, **{**shared, **more}))
    return made


def groups():
    """{name of a group: its cases}; each is a module of groups/ with CASES."""
    names = sorted(path.stem for path in GROUPS.glob("*.py") if path.stem != "__init__")
    return {name: importlib.import_module(f"differ.groups.{name}").CASES for name in names}
