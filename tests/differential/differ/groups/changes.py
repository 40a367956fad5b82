"""Cache decisions: a project is built, changed, and built again. Which steps of the second build came from the cache?"""

import dataclasses
import hashlib

from differ import observe, trees
from differ.trees import THEN, File, Folder, Link

DOCKERFILE = """\
# syntax-free
FROM base AS deps
RUN echo {id} >/id
ARG USED=1
ARG UNUSED=1
COPY dir /dir
RUN cat /dir/x >/deps; echo $USED
FROM base AS other
RUN echo other {id} >/other
FROM base
RUN echo start {id}
COPY --from=deps /deps /deps
COPY --chown=1:1 a b /ab/
COPY link /l
RUN --mount=type=bind,target=/m ls /m/dir /deps
WORKDIR /work
RUN --mount=type=bind,source=dir,target=/m --mount=type=bind,from=other,source=/other,target=/o cat /m/* /o
COPY . /all
RUN cat /all/a
"""
IGNORE = "ignored\n"


def project():
    return {
        "a": File("a", 0o644),
        "b": File("b", 0o644),
        "dir/x": File("x"),
        "dir/y": File("y"),
        "ignored": File("i"),
        "link": Link("a"),
        "untouched/z": File("z"),
        "exec": File("e", 0o755),
        ".dockerignore": File(IGNORE),
    }


@dataclasses.dataclass
class Change:
    """`change(files)` alters the context in place; `text(dockerfile)` gives another Dockerfile; `after` are --opt of
    the second build, `secrets` what a secret is in the first and in the second."""

    name: str
    change: object = None
    text: object = None
    after: dict = dataclasses.field(default_factory=dict)
    secrets: tuple = (None, None)
    dockerfile: str = DOCKERFILE
    files: dict = dataclasses.field(default_factory=project)

    @property
    def id(self):
        return f"changes/{self.name}"

    group = "changes"

    def observe(self, room, space):
        text = self.dockerfile.replace("{id}", self.name)
        files = dict(self.files)
        seen = {"before": self._build(room, space / "before", text, files, {}, self.secrets[0]).returncode}
        if self.change:
            self.change(files)
        if self.text:
            text = self.text(text)
        done = self._build(room, space / "after", text, files, self.after, self.secrets[1])
        words = observe.Words({str(space): "<space>", **room.words})
        return {
            **seen,
            "after": done.returncode,
            "steps": observe.cached(done.stderr, words),
            **observe.error(done, words),
        }

    def _build(self, room, space, text, files, opts, secret):
        trees.write(space / "context", files)
        trees.write(space / "dockerfile", {"Dockerfile": text, ".dockerignore": files.get(".dockerignore", "")})
        words = room.dockerfile_words(space) + [f"--opt={key}={value}" for key, value in opts.items()]
        # A folder at the daemon of its own: what is of the same size and age is not sent again.
        own = "context-" + hashlib.sha256(self.name.encode()).hexdigest()[:8]
        words += [f"--local={own}={space}/context", f"--opt=contextkey={own}"]
        if secret:
            (space / "secret").write_text(secret)
            words.append(f"--secret=id=s,src={space}/secret")
        return room.client.run("build", "--progress=rawjson", *room.store_words(), *words, check=False)


def setting(path, value):
    return lambda files: files.update({path: value})


def removing(path):
    return lambda files: files.pop(path)


def edited(old, new):
    def edit(text):
        assert old in text
        return text.replace(old, new)

    return edit


def args(**values):
    return {f"build-arg:{key}": value for key, value in values.items()}


def nothing(files):
    pass


SECRET = """\
FROM base
RUN echo secret {id}
RUN --mount=type=secret,id=s,target=/s cat /s
RUN --mount=type=secret,id=s,env=S echo $S
"""
CACHE_MOUNT = """\
FROM base
RUN echo mount {id}
RUN --mount=type=cache,id={id},target=/c echo x >>/c/f; wc -l </c/f
RUN --mount=type=cache,id={id},target=/c wc -l </c/f
"""
LINKED = """\
FROM base
RUN echo linked {id}
COPY --link a /linked/a
COPY --link dir /linked/dir
RUN ls -R /linked
"""
STAGED = """\
FROM base AS one
RUN echo one {id}
COPY a /in
RUN sort /in >/out
FROM base
RUN echo two {id}
COPY --from=one /out /out
RUN cat /out
"""
BASED = """\
ARG BASE=base
FROM $BASE
RUN echo based {id}
COPY a /a
"""
PATTERNS = """\
FROM base
RUN echo patterns {id}
COPY *.txt /t/
COPY --exclude=*.md docs /docs
COPY docs/*.md /md/
RUN ls -R /t /docs /md
"""
DOCS = {"1.txt": File("1"), "2.txt": File("2"), "docs/a.md": File("a"), "docs/b": File("b"), "docs/c/d": File("d")}


CASES = [
    Change("none", nothing),
    Change("time of a file", setting("a", File("a", 0o644, time=THEN + 1000))),
    Change("time of a folder", setting("dir", Folder(time=THEN + 1000))),
    Change("mode of a file", setting("a", File("a", 0o755))),
    Change("mode of a folder", setting("dir", Folder(0o700))),
    Change("content of a file", setting("a", File("A"))),
    Change("content, same size and time", setting("dir/x", File("X"))),
    Change("content back again", setting("b", File("b", time=THEN + 5))),
    Change("one more file", setting("dir/new", File("n"))),
    Change("one file less", removing("dir/y")),
    Change(
        "file becomes a folder", lambda files: files.update({"untouched/z/f": File("f")}) or files.pop("untouched/z")
    ),
    Change("file becomes a link", setting("b", Link("a"))),
    Change("link to elsewhere", setting("link", Link("b"))),
    Change("time of a link", setting("link", Link("a", time=THEN + 9))),
    Change("renamed", lambda files: files.update({"exec2": files.pop("exec")})),
    Change("unrelated file", setting("untouched/z", File("zz"))),
    Change("ignored file", setting("ignored", File("changed"))),
    Change(
        "one more ignored file",
        lambda files: files.update({".dockerignore": File("ignored\nmore\n"), "more": File("m")}),
    ),
    Change("ignore list", setting(".dockerignore", File("ignored\nuntouched\n"))),
    Change("hard link instead of a copy", lambda files: files.update({"b": File("a"), "b2": Link("a", hard=True)})),
    Change("empty folder", setting("dir/sub", Folder())),
    Change("argument used", after=args(USED="2")),
    Change("argument unused", after=args(UNUSED="2")),
    Change("argument unknown", after=args(NOT_THERE="2")),
    Change("argument as by default", after=args(USED="1")),
    Change("comment", text=edited("# syntax-free", "# another comment")),
    Change("text of a step", text=edited("cat /all/a", "cat  /all/a")),
    Change("new step in between", text=edited("WORKDIR /work\n", "RUN true {id}\nWORKDIR /work\n")),
    Change("step removed", text=edited("COPY link /l\n", "")),
    Change(
        "order of copies",
        text=edited("COPY --chown=1:1 a b /ab/\nCOPY link /l\n", "COPY link /l\nCOPY --chown=1:1 a b /ab/\n"),
    ),
    Change("order of sources", text=edited("a b /ab/", "b a /ab/")),
    Change("owner of a copy", text=edited("--chown=1:1", "--chown=1:2")),
    Change("mode of a copy", text=edited("--chown=1:1", "--chown=1:1 --chmod=600")),
    Change("target of a copy", text=edited("/ab/", "/abc/")),
    Change("working directory", text=edited("/work", "/worked")),
    Change("environment added", text=edited("WORKDIR", "ENV E=1\nWORKDIR")),
    Change("label added", text=edited("WORKDIR", "LABEL l=1\nWORKDIR")),
    Change("entrypoint added", text=edited("WORKDIR", 'ENTRYPOINT ["x"]\nWORKDIR')),
    Change("user", text=edited("WORKDIR", "USER bob\nWORKDIR")),
    Change(
        "name of a stage",
        text=lambda text: text.replace("AS other", "AS another").replace("from=other", "from=another"),
    ),
    Change("proxy", after=args(HTTP_PROXY="http://p")),
    Change("hostname", after={"hostname": "changed"}),
    Change("extra host", after={"add-hosts": "h=10.0.0.1"}),
    Change("no cache", after={"no-cache": ""}),
    Change("no cache of a stage", after={"no-cache": "deps"}),
    Change("target", after={"target": "deps"}),
    Change("label of the command line", after={"label:x": "y"}),
    Change("content of a secret", dockerfile=SECRET, secrets=("old", "new")),
    Change("cache mount", dockerfile=CACHE_MOUNT),
    Change("cache mount, no cache", dockerfile=CACHE_MOUNT, after={"no-cache": ""}),
    Change("linked copy, file", setting("a", File("changed")), dockerfile=LINKED),
    Change("linked copy, other file", setting("dir/x", File("changed")), dockerfile=LINKED),
    Change("linked copy, step before", text=edited("echo linked", "echo Linked"), dockerfile=LINKED),
    Change("stage with the same result", setting("a", File("a", 0o755)), dockerfile=STAGED),
    Change("stage with an equal result", text=edited("sort /in >/out", "cat /in >/out"), dockerfile=STAGED),
    Change("stage with another result", setting("a", File("other")), dockerfile=STAGED),
    Change("base with the same layers", after=args(BASE="configured"), dockerfile=BASED),
    Change("another base", after=args(BASE="layered"), dockerfile=BASED.replace("RUN echo based {id}\n", "")),
    Change(
        "patterns: a match changed",
        lambda files: files.update({"1.txt": File("changed")}),
        dockerfile=PATTERNS,
        files=DOCS,
    ),
    Change(
        "patterns: one match more", lambda files: files.update({"3.txt": File("3")}), dockerfile=PATTERNS, files=DOCS
    ),
    Change(
        "patterns: an excluded one changed",
        lambda files: files.update({"docs/a.md": File("changed")}),
        dockerfile=PATTERNS,
        files=DOCS,
    ),
    Change(
        "patterns: a match renamed",
        lambda files: files.update({"0.txt": files.pop("1.txt")}),
        dockerfile=PATTERNS,
        files=DOCS,
    ),
    Change(
        "patterns: no match touched",
        lambda files: files.update({"docs/c/d": File("dd")}),
        dockerfile=PATTERNS,
        files=DOCS,
    ),
]
