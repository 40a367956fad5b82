"""Merge and diff: what deletions, replaced types, opaque folders and hard links become. The expected trees are those
of the real buildkitd."""

import tarfile

import pytest
from kilntest import llb, oci
from kilntest.clients import Buildctl


def tree(files=(), folders=(), base=None):
    """A state with these files {path: text} and folders; parents are made."""
    for path in folders:
        base = llb.mkdir(base, path)
    for path, text in dict(files).items():
        parent = path.rsplit("/", 1)[0]
        base = llb.mkfile(base, path, text.encode(), make_parents=parent or None)
    return base


def steps(base, *actions):
    """Several actions of one file op, so of one layer: ("rm", path), ("dir", path), ("file", path, text)."""
    encoded = []
    for kind, path, *text in actions:
        if kind == "rm":
            encoded.append((7, llb.message(f1=path)))
        elif kind == "dir":
            encoded.append((6, llb.message(f1=path, f2=0o755, f3=1, f5=-1)))
        else:
            encoded.append((5, llb.message(f1=path, f2=0o644, f3=text[0].encode(), f5=-1)))
    return llb.files(base, encoded)


BASE = tree({"/d/a": "base", "/d/b": "base", "/x": "file", "/keep": "k"}, ["/e/sub"])
OTHER = tree({"/d/a": "other", "/d/c": "other", "/x": "other", "/other": "o"})


def onto(other, upper, lower=BASE):
    """What upper changes over lower, done to another tree."""
    return llb.merge(other, llb.diff(lower, upper))


def ab():
    """Two unrelated trees."""
    one = tree({"/same": "s", "/gone": "g", "/dir/x": "1", "/type": "file", "/kind/of": "folder"})
    two = tree({"/dir/x": "22", "/dir/new": "n", "/type/now": "dir", "/kind": "a-file"})
    return one, two


def copy_all(source, destination):
    return (4, llb.message(f1=source, f2=destination, f4=-1, f6=1, f8=1, f11=-1))


ONE, TWO = ab()
WITHOUT_A = llb.remove(BASE, "/d/a")
ADDS_N = llb.mkfile(BASE, "/d/n", b"n")

CASES = {
    "overlapping trees": llb.merge(
        tree({"/x": "1", "/one": "1", "/d/1": "1"}), tree({"/x": "2", "/d/2": "2"}), tree({"/three": "3"})
    ),
    "deletion in an input": llb.merge(OTHER, WITHOUT_A),
    "deletion taken elsewhere": onto(OTHER, WITHOUT_A),
    "deletion of what is not there": onto(tree({"/lonely": "l"}), WITHOUT_A),
    "deletion of a folder": onto(OTHER, llb.remove(BASE, "/d")),
    "folder becomes file": onto(OTHER, steps(BASE, ("rm", "/d"), ("file", "/d", "now-a-file"))),
    "file becomes folder": onto(OTHER, steps(BASE, ("rm", "/x"), ("dir", "/x"), ("file", "/x/in", "new"))),
    "file becomes folder over a folder": onto(
        tree({"/x/old": "old"}), steps(BASE, ("rm", "/x"), ("dir", "/x"), ("file", "/x/in", "new"))
    ),
    "folder made anew": onto(OTHER, steps(BASE, ("rm", "/d"), ("dir", "/d"), ("file", "/d/new", "new"))),
    "folder made anew in an input": llb.merge(
        OTHER, steps(BASE, ("rm", "/d"), ("dir", "/d"), ("file", "/d/new", "new"))
    ),
    "folder deleted, then made anew": onto(OTHER, tree({"/d/new": "new"}, base=llb.remove(BASE, "/d"))),
    "empty folder": onto(OTHER, llb.mkdir(BASE, "/e/sub/empty")),
    "folder alone": llb.diff(BASE, llb.mkdir(BASE, "/e/sub/empty")),
    "deletion alone": llb.diff(BASE, llb.remove(BASE, "/e/sub")),
    "two layers": onto(OTHER, tree({"/d/n": "n", "/d/m": "m"}, base=llb.remove(BASE, "/d/b"))),
    "made and removed": onto(OTHER, llb.remove(tree({"/d/n": "n"}, base=BASE), "/d/n")),
    "strangers": llb.diff(ONE, TWO),
    "strangers put together": llb.merge(ONE, llb.diff(ONE, TWO)),
    "strangers elsewhere": llb.merge(tree({"/gone": "?", "/same": "?", "/type/before": "?"}), llb.diff(ONE, TWO)),
    "nothing above": llb.merge(OTHER, llb.diff(BASE, None)),
    "nothing below": llb.diff(None, BASE),
    "nothing changed": llb.merge(OTHER, llb.diff(BASE, BASE)),
    "diff of diffs": llb.diff(llb.diff(BASE, WITHOUT_A), llb.diff(BASE, ADDS_N)),
    "diff of merges": llb.diff(llb.merge(ONE, OTHER), llb.merge(ONE, OTHER, TWO)),
    "diff of merges, other order": llb.merge(OTHER, llb.diff(llb.merge(ONE, TWO), llb.merge(TWO, ONE))),
    "the same twice": llb.merge(ONE, TWO, ONE),
    "merge of merges": llb.merge(llb.merge(ONE, OTHER), llb.merge(TWO, llb.diff(BASE, WITHOUT_A))),
    "written upon": llb.mkfile(llb.remove(onto(OTHER, WITHOUT_A), "/x"), "/d/a", b"again"),
    "copied from": llb.files(None, [copy_all("/", "/")], secondary=onto(OTHER, WITHOUT_A)),
}


# By case: what the result shows; after bars what the image's layers name, the lowest first.
EXPECTED = """\
overlapping trees
  d/ d/1=1 d/2=2 one=1 three=3 x=2
| x | one | d d/1 | x | d d/2 | three
deletion in an input
  d/ d/b=base d/c=other e/ e/sub/ keep=k other=o x=file
| d d/a | d d/c | x | other | e e/sub | d d/a | d d/b | x | keep | d d/.wh.a
deletion taken elsewhere
  d/ d/c=other other=o x=other
| d d/a | d d/c | x | other | d d/.wh.a
deletion of what is not there
  d/ lonely=l
| lonely | d d/.wh.a
deletion of a folder
  other=o x=other
| d d/a | d d/c | x | other | .wh.d
folder becomes file
  d=now-a-file other=o x=other
| d d/a | d d/c | x | other | d
file becomes folder
  d/ d/a=other d/c=other other=o x/ x/in=new
| d d/a | d d/c | x | other | x x/in
file becomes folder over a folder
  x/ x/in=new x/old=old
| x x/old | x x/in
folder made anew
  d/ d/c=other d/new=new other=o x=other
| d d/a | d d/c | x | other | d d/.wh.a d/.wh.b d/new
folder made anew in an input
  d/ d/c=other d/new=new e/ e/sub/ keep=k other=o x=file
| d d/a | d d/c | x | other | e e/sub | d d/a | d d/b | x | keep | d d/.wh.a d/.wh.b d/new
folder deleted, then made anew
  d/ d/new=new other=o x=other
| d d/a | d d/c | x | other | .wh.d | d d/new
empty folder
  d/ d/a=other d/c=other e/ e/sub/ e/sub/empty/ other=o x=other
| d d/a | d d/c | x | other | e e/sub e/sub/empty
folder alone
  e/ e/sub/ e/sub/empty/
| e e/sub e/sub/empty
deletion alone
  e/
| e e/.wh.sub
two layers
  d/ d/a=other d/c=other d/m=m d/n=n other=o x=other
| d d/a | d d/c | x | other | d d/.wh.b | d d/n | d d/m
made and removed
  d/ d/a=other d/c=other other=o x=other
| d d/a | d d/c | x | other | d d/n | d d/.wh.n
strangers
  dir/ dir/new=n dir/x=22 kind=a-file type/ type/now=dir
| .wh.gone .wh.same dir dir/new dir/x kind type type/now
strangers put together
  dir/ dir/new=n dir/x=22 kind=a-file type/ type/now=dir
| same | gone | dir dir/x | type | kind kind/of
| .wh.gone .wh.same dir dir/new dir/x kind type type/now
strangers elsewhere
  dir/ dir/new=n dir/x=22 kind=a-file type/ type/before=? type/now=dir
| gone | same | type type/before | .wh.gone .wh.same dir dir/new dir/x kind type type/now
nothing above
  other=o
| d d/a | d d/c | x | other | .wh.d .wh.e .wh.keep .wh.x
nothing below
  d/ d/a=base d/b=base e/ e/sub/ keep=k x=file
| e e/sub | d d/a | d d/b | x | keep
nothing changed
  d/ d/a=other d/c=other other=o x=other
| d d/a | d d/c | x | other
diff of diffs
  d/ d/n=n
| d d/n
diff of merges
  dir/ dir/new=n dir/x=22 kind=a-file type/ type/now=dir
| dir dir/x | dir dir/new | type type/now | kind
diff of merges, other order
  d/ d/a=other d/c=other dir/ dir/x=1 kind/ kind/of=folder other=o type=file x=other
| d d/a | d d/c | x | other | dir dir/x kind kind/of type
the same twice
  dir/ dir/new=n dir/x=1 gone=g kind/ kind/of=folder same=s type=file
| same | gone | dir dir/x | type | kind kind/of | dir dir/x | dir dir/new | type type/now | kind
| same | gone | dir dir/x | type | kind kind/of
merge of merges
  d/ d/c=other dir/ dir/new=n dir/x=22 gone=g kind=a-file other=o same=s type/ type/now=dir x=other
| same | gone | dir dir/x | type | kind kind/of | d d/a | d d/c | x | other | dir dir/x | dir dir/new
| type type/now | kind | d d/.wh.a
written upon
  d/ d/a=again d/c=other other=o
| d d/a | d d/c | x | other | d d/.wh.a | .wh.x | d d/a
copied from
  d/ d/c=other other=o x=other
| d d/c other x
hard links
  1=one 2=>1 4=lone d/!700 d/3=>1
| 1 2 4 d d/3
hard links put over others
  1=one 2=>1 4=lone d/!700 d/3=>1 d/a=other d/c=other other=o x=other
| d d/a | d d/c | x | other | 1 | d d/3 | 1 2 4 d d/3
hard links of the layer below
  5=lone d/!700 d/6=>5 d/a=other d/c=other other=o x=other
| d d/a | d d/c | x | other | 5 d d/6
one of several names goes
  1=one 4=lone d/!700 d/3=>1
| 1 2 4 d d/3 | .wh.2
hard links, merged, then written to
  1=one,more 2=one 4=lone d/!700 d/3=>2 d/a=other d/c=other other=o x=other
| d d/a | d d/c | x | other | 1 2 4 d d/3 | 1
made anew by the kernel
  d/ d/c=other d/new=new other=o x=other
| d d/a | d d/c | x | other | .wh.e d d/.wh.a d/.wh.b d/new
made anew by the kernel, in an input
  d/ d/c=other d/new=new keep=k other=o x=file
| d d/a | d d/c | x | other | e e/sub | d d/a | d d/b | x | keep | .wh.e d d/.wh.a d/.wh.b d/new
moved about
  d/ d/a=other d/b/ d/b/in= d/c=other d/kept=k other=o s->d y=file
| d d/a | d d/c | x | other | .wh.keep .wh.x d d/b d/b/in d/kept s y
attributes alone
  d/!750 d/a=other d/c=other keep=k other=o x=file!600
| d d/a | d d/c | x | other | d keep x
link in the way of a folder
  d/ d/a=changed d/n=n far/ far/a=far x=changed
| d far far/a x | d d/a | d d/n | x
strangers with links
  1=one,two 4=lone d/!700 d/2=>4 d/3=>1
| .wh.2 1 4 d d/2 d/3
looked at by a step
  d/ other=o seen=.:,d,other,seen,x,,./d:,c x=other
| d d/a | d d/c | x | other | d d/.wh.a | d d/.wh.c seen
diff upon a merge
  d/ d/q=q d/z=z e=e
| d d/z | d d/.wh.c d/q e
"""


def shown(path):
    """The names in a tar with their text, in one line: folders end in a slash, links say where they lead, modes that
    are not the usual ones follow an exclamation mark."""
    found = []
    with tarfile.open(path) as archive:
        for member in archive:
            name = member.name.strip("/") + "/" * member.isdir()
            if member.isreg():
                name += "=" + archive.extractfile(member).read().decode().strip().replace("\n", ",")
            elif member.islnk() or member.issym():
                name += ("=>" if member.islnk() else "->") + member.linkname
            if member.mode != (0o755 if member.isdir() else 0o777 if member.issym() else 0o644):
                name += f"!{member.mode:o}"
            found.append(name)
    return " ".join(sorted(name for name in found if name != "/"))


def layers(path):
    """The names in each layer of an OCI archive."""
    with tarfile.open(path) as archive:
        described = oci.read_member(archive, "index.json")["manifests"][0]
        listed = []
        for layer in oci.read_archived(archive, described)["layers"]:
            blob = archive.extractfile("blobs/" + layer["digest"].replace(":", "/"))
            with tarfile.open(fileobj=blob) as inner:
                listed.append(" ".join(sorted(name.strip("/") for name in inner.getnames())))
        return listed


def shell(image, state, script):
    """What a step with `state` at /tmp makes of it."""
    inputs = [image] if state is None else [image, state]
    root = llb.message(f1=0, f3="/", f4=1)
    place = llb.message(f1=len(inputs) - 1 if state else llb.SCRATCH, f3="/tmp", f4=0)
    meta = llb.message(f1=["/bin/sh", "-euc", script], f3="/tmp")
    return llb.vertex(2, llb.message(f1=meta, f2=[place, root]), inputs)


LINKED = "echo one >1; ln 1 2; mkdir d; ln 1 d/3; echo lone >4; chmod 700 d"


def steps_cases(image):
    """Cases that take a kernel's union: scripts over BASE or what others made."""
    linked = shell(image, None, LINKED)
    anew = shell(image, BASE, "rm -r d; mkdir d; echo new >d/new; rm -r e")
    moved = shell(image, BASE, "mv keep d/kept; mv x y; rm d/b; mkdir d/b; touch d/b/in; ln -s d s")
    return {
        "hard links": linked,
        "hard links put over others": llb.merge(OTHER, tree({"/1": "?", "/d/3": "?"}), linked),
        "hard links of the layer below": onto(OTHER, shell(image, linked, "ln 4 5; ln 4 d/6"), linked),
        "one of several names goes": onto(linked, shell(image, linked, "rm 2"), linked),
        "hard links, merged, then written to": shell(image, llb.merge(OTHER, linked), "echo more >>1; cat 2 d/3"),
        "made anew by the kernel": onto(OTHER, anew),
        "made anew by the kernel, in an input": llb.merge(OTHER, anew),
        "moved about": onto(OTHER, moved),
        "attributes alone": onto(OTHER, shell(image, BASE, "chmod 600 x; chmod 750 d; touch -d @1 keep")),
        "link in the way of a folder": onto(
            shell(image, None, "mkdir far; echo far >far/a; ln -s far d; ln -s far/a x"),
            tree({"/d/a": "changed", "/d/n": "n", "/x": "changed"}, base=BASE),
        ),
        "strangers with links": llb.diff(linked, shell(image, None, LINKED + "; rm 2; ln 4 d/2; echo two >>1")),
        "looked at by a step": shell(
            image, llb.merge(OTHER, llb.diff(BASE, llb.remove(BASE, "/d/a"))), "ls -R . >seen; rm -r d; mkdir d; ls d"
        ),
        "diff upon a merge": onto(
            tree({"/d/z": "z"}),
            shell(image, llb.merge(BASE, OTHER), "rm d/c; echo q >d/q; rm -r e; echo e >e"),
            llb.merge(BASE, OTHER),
        ),
    }


@pytest.fixture
def made(new_daemon, daemon_arguments, clients, shared_registry, tmp_path):
    """made(state): what it shows, and the names in the layers of an image of it; made.image: busybox."""
    daemon = new_daemon(registries=[shared_registry.host], arguments=daemon_arguments)
    buildctl = Buildctl(clients / "buildctl", daemon.address)

    def make(state):
        outputs = [f"--output=type=tar,dest={tmp_path}/t.tar", f"--output=type=oci,dest={tmp_path}/i.tar"]
        buildctl.run("build", "--progress=plain", *outputs, stdin=llb.definition(state))
        return [shown(tmp_path / "t.tar"), *layers(tmp_path / "i.tar")]

    make.image = llb.image(f"{shared_registry.host}/library/busybox:latest")
    return make


def read_expected():
    """{case: [what it shows, *layers]}"""
    read, found = {}, []
    for line in EXPECTED.splitlines():
        if line.startswith("|"):
            found += [layer.strip() for layer in line[1:].split("|")]
        elif line.startswith(" "):
            found[0] = f"{found[0]} {line.strip()}".strip()
        else:
            found = read[line] = [""]
    return read


def test_merges_and_differences(made):
    got = {case: made(state) for case, state in {**CASES, **steps_cases(made.image)}.items()}
    assert got == read_expected()


LAYERS = 600


@pytest.mark.kiln_only  # buildkitd: more lower directories than overlayfs takes
def test_more_layers_than_one_mount_takes(made):
    state = made.image
    for step in range(LAYERS):
        state = llb.mkfile(state, f"/tmp/{step % 100}", str(step).encode())
        if step % 50 == 49:
            state = llb.remove(state, f"/tmp/{step % 100}")
    state = llb.run(state, ["/bin/sh", "-euc", "cd /tmp; ls | wc -l >/count; cat 0 98 >/read; rm 98; mv 97 96"])
    tree, *layers_made = made(llb.files(None, [copy_all("/tmp", "/")], secondary=state))
    assert tree.split() == sorted(f"{n}={597 if n == 96 else 500 + n}" for n in range(97) if n != 49)
    top = made(llb.files(None, [copy_all("/count", "/"), copy_all("/read", "/")], secondary=state))[0]
    assert top == "count=98 read=500598"


REBASED = """\
FROM base AS old
RUN mkdir -p /data/sub && echo base >/data/sub/file
FROM base AS new
RUN mkdir -p /data/sub && echo other >/data/sub/file && echo new >/data/new
FROM {stage}
COPY --link file /data/sub/file
"""


def test_linked_copies_are_kept_when_the_base_changes(build, tmp_path):
    last = []
    for stage in ["old", "new"]:
        outputs = [f"type=oci,dest={tmp_path}/{stage}.tar", f"type=local,dest={tmp_path}/{stage}"]
        build({"Dockerfile": REBASED.format(stage=stage), "file": "copied"}, outputs=outputs)
        assert (tmp_path / stage / "data/sub/file").read_text() == "copied"
        with tarfile.open(tmp_path / f"{stage}.tar") as archive:
            described = oci.read_member(archive, "index.json")["manifests"][0]
            last.append(oci.read_archived(archive, described)["layers"][-1]["digest"])
    # The file of the second context has another time: made again, the layer would have other bytes.
    assert last[0] == last[1]
    assert (tmp_path / "new/data/new").read_text() == "new\n"
