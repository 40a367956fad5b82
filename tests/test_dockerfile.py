"""Dockerfiles as people write them: what comes out of COPY, ARG, ENV and the rest, seen in the exported files."""

import os
import pathlib
import stat
import tarfile
import time

import pytest
from kilntest import oci, plain


def tree(folder):
    """{path: text, or None for a folder} below a folder."""
    folder = pathlib.Path(folder)
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text() for path in sorted(folder.rglob("*"))
    }


def files_in(folder):
    return sorted(name for name, text in tree(folder).items() if text is not None)


CONTEXT = {
    "a.txt": "a",
    "b.txt": "b",
    "c.md": "c",
    "sub/d.txt": "d",
    "sub/deep/e.txt": "e",
    "other/f.txt": "f",
    "name with space": "s",
    "[x].txt": "x",
}

COPIES = [
    ("COPY a.txt /", ["a.txt"]),
    ("COPY a.txt /new", ["new"]),
    ("COPY a.txt /new/", ["new/a.txt"]),
    ("COPY a.txt b.txt /both/", ["both/a.txt", "both/b.txt"]),
    ("COPY *.txt /t/", ["t/[x].txt", "t/a.txt", "t/b.txt"]),
    ("COPY ?.* /t/", ["t/a.txt", "t/b.txt", "t/c.md"]),
    ("COPY [ab].txt /t/", ["t/a.txt", "t/b.txt"]),
    ("COPY [[]x].txt /t/", ["t/[x].txt"]),
    ("COPY */*.txt /t/", ["t/d.txt", "t/f.txt"]),
    ("COPY sub /", ["d.txt", "deep/e.txt"]),
    ("COPY sub /s", ["s/d.txt", "s/deep/e.txt"]),
    ("COPY sub/ other /s/", ["s/d.txt", "s/deep/e.txt", "s/f.txt"]),
    ("COPY s* /s/", ["s/d.txt", "s/deep/e.txt"]),
    ('COPY ["name with space", "/to here/"]', ["to here/name with space"]),
    ("WORKDIR /w\nCOPY a.txt .", ["w/a.txt"]),
    ("WORKDIR /w\nCOPY a.txt x/", ["w/x/a.txt"]),
    ("COPY --exclude=deep sub /s", ["s/d.txt"]),
    ("COPY --exclude=**/*.txt . /s", ["s/Dockerfile", "s/c.md", "s/name with space"]),
    ("COPY --parents sub/deep/e.txt /p/", ["p/sub/deep/e.txt"]),
    ("COPY . /all/\nCOPY a.txt /all/b.txt", sorted(f"all/{name}" for name in [*CONTEXT, "Dockerfile"])),
    ("COPY <<one <<two /here/\n1\none\n2\ntwo", ["here/one", "here/two"]),
    ("COPY --link a.txt /l/", ["l/a.txt"]),
    ("COPY *.nothing a.txt /x/", ["x/a.txt"]),
    ("ADD a.txt sub /add/", ["add/a.txt", "add/d.txt", "add/deep/e.txt"]),
]


@pytest.mark.parametrize("instructions, names", COPIES, ids=[i.replace("\n", " ")[:40] for i, _ in COPIES])
def test_copy(build, instructions, names):
    build({**CONTEXT, "Dockerfile": f"# syntax-free\nFROM scratch\n{instructions}\n"})
    assert files_in(build.out) == names


@pytest.mark.parametrize(
    "instruction, said",
    [
        ("COPY missing /", '"/missing": not found'),
        ("COPY ../a.txt /x/missing.txt\nCOPY ../../none /", '"/none": not found'),
        ("COPY --from=nowhere/at:all a /", "nowhere/at:all"),
        ("COPY --chmod=999 a.txt /", "999"),
        ("COPY --unknown=1 a.txt /", "unknown flag: --unknown"),
        ("COPY a.txt", "COPY requires at least two arguments"),
    ],
)
def test_copy_that_fails(build, instruction, said):
    done = build({**CONTEXT, "Dockerfile": f"FROM scratch\n{instruction}\n"}, check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_copy_from_a_stage_an_image_and_a_named_context(build, shared_registry, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more/extra").write_text("named\n")
    dockerfile = (
        "FROM base AS one\nRUN echo stage >/made\nFROM scratch\nCOPY --from=one /made /1\nCOPY --from=0 /made /2\n"
        f"COPY --from=base /etc/passwd /3\nCOPY --from={shared_registry.host}/library/busybox /etc/group /4\n"
        "COPY --from=more extra /5\n"
    )
    build(dockerfile, contexts={"more": tmp_path / "more"})
    assert {name: text.split(":")[0].strip() for name, text in tree(build.out).items()} == {
        "1": "stage", "2": "stage", "3": "root", "4": "root", "5": "named"
    }  # fmt: skip


OWNERS = [
    ("", "0:0:644"),
    ("--chown=12:34", "12:34:644"),
    ("--chown=12", "12:12:644"),
    ("--chown=nobody", "65534:65534:644"),
    ("--chown=nobody:root", "65534:0:644"),
    ("--chown=12:nogroup", "12:65534:644"),
    ("--chmod=755", "0:0:755"),
    ("--chmod=4711", "0:0:4711"),
    ("--chmod=u+x,g-r", "0:0:704"),
    ("--chown=1:2 --chmod=600", "1:2:600"),
    ("--link --chown=1:2 --chmod=600", "1:2:600"),
]


@pytest.mark.parametrize("flags, owner", OWNERS)
def test_copy_with_owner_and_mode(build, flags, owner):
    build({"f": "x", "Dockerfile": f"FROM base\nCOPY {flags} f /new/f\nRUN stat -c %u:%g:%a /new/f >/seen\n"})
    assert build.read("seen").strip() == owner


def test_copy_keeps_modes_links_and_times(build, tmp_path):
    request = build.request({"Dockerfile": "FROM scratch\nCOPY in /\n", "in/run": "#!", "in/data": "d"})
    (request.context / "in/run").chmod(0o751)
    (request.context / "in/link").symlink_to("data")
    (request.context / "in/away").symlink_to("/absolute/../target")
    os.utime(request.context / "in/data", (1_000_000_000, 1_000_000_000))
    request.outputs = [f"type=tar,dest={tmp_path}/out.tar"]
    build.client.build(request)
    with tarfile.open(tmp_path / "out.tar") as archive:
        seen = {member.name.rstrip("/"): member for member in archive}
    assert stat.S_IMODE(seen["run"].mode) == 0o751
    assert (seen["link"].linkname, seen["away"].linkname) == ("data", "/absolute/../target")
    assert seen["data"].mtime == 1_000_000_000
    assert (seen["run"].uid, seen["run"].gid) == (0, 0)


def test_hard_links_of_the_context_stay_contents(build):
    dockerfile = "FROM base\nCOPY in /\nRUN echo more >>/one && cat /two >/seen\n"
    request = build.request({"Dockerfile": dockerfile, "in/one": "1\n"})
    (request.context / "in/two").hardlink_to(request.context / "in/one")
    build.client.build(request)
    again = build.request({"Dockerfile": "FROM scratch\nCOPY in /\n", "in/one": "1\n"})
    build.client.build(again)
    assert build.read("one") == "1\n"


IGNORES = [
    ("*.txt\n", {"c.md", "name with space", "sub/d.txt", "sub/deep/e.txt", "other/f.txt"}),
    ("**/*.txt\n!sub/d.txt\n", {"c.md", "name with space", "sub/d.txt"}),
    ("*\n!sub\n", {"sub/d.txt", "sub/deep/e.txt"}),
    ("*\n!sub/deep\n", {"sub/deep/e.txt"}),
    ("# comment\n\nsub/\n  other  \n", {"a.txt", "b.txt", "[x].txt", "c.md", "name with space"}),
    ("sub/*\n", {"a.txt", "b.txt", "[x].txt", "c.md", "name with space", "other/f.txt"}),
    ("/a.txt\n[[]x].txt\n?.md\nname with space\nsub\nother\n", {"b.txt"}),
    ("**\n", set()),
]


@pytest.mark.parametrize("ignore, left", IGNORES, ids=[i.replace("\n", " ") for i, _ in IGNORES])
def test_dockerignore(build, ignore, left):
    ignore += "Dockerfile\n.dockerignore\n"
    build({**CONTEXT, "Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": ignore})
    assert set(files_in(build.out)) == left


def test_dockerignore_beside_a_named_dockerfile(build):
    files = {"my.Dockerfile": "FROM scratch\nCOPY . /\n", "a": "", "b": ""}
    ignores = {"my.Dockerfile.dockerignore": "a\n*ocker*\n", ".dockerignore": "b\n"}
    build({**files, **ignores}, dockerfile="my.Dockerfile")
    assert files_in(build.out) == ["b"]


EXPANSIONS = [
    ("$V", "value"), ("${V}", "value"), ("${V:-d}", "value"), ("${N:-d}", "d"), ("${N-d}", "d"), ("${E-d}", ""),
    ("${E:-d}", "d"), ("${V:+alt}", "alt"), ("${N:+alt}", ""), ("${E+alt}", "alt"), (r"\$V", "$V"), ("'$V'", "$V"),
    ('"$V"', "value"), ("${N:-$V}", "value"), ("${V#v}", "alue"), ("${P##*/}", "file.tar.gz"),
    ("${P%%.*}", "/a/b/file"), ("${P%.*}", "/a/b/file.tar"),
    ("${P/b/X}", "/a/X/file.tar.gz"), ("${P//a/A}", "/A/b/file.tAr.gz"), ("pre${V}post", "prevaluepost"),
]  # fmt: skip


def test_expansion_of_variables(build):
    lines = ["FROM base", "ARG V=value", "ARG E=", "ARG P=/a/b/file.tar.gz", "ARG N"]
    for index, (text, _) in enumerate(EXPANSIONS):
        lines.append(f"ENV R{index}={text}")
    lines.append("RUN env | grep ^R >/seen")
    build("\n".join(lines) + "\n")
    seen = dict(line.split("=", 1) for line in build.read("seen").splitlines())
    assert {text: seen[f"R{index}"] for index, (text, _) in enumerate(EXPANSIONS)} == dict(EXPANSIONS)


@pytest.mark.parametrize("text, said", [("${N:?is needed}", "is needed"), ("${N?}", "N"), ("${", "{")])
def test_expansion_that_fails(build, text, said):
    done = build(f"FROM base\nARG N\nENV X={text}\n", check=False)
    assert done.returncode != 0
    assert said in done.stderr


def test_args_and_their_scopes(build):
    dockerfile = (
        'ARG BASE=base\nARG G=global\nFROM $BASE AS a\nRUN echo "[$G]" >/1\nARG G\nRUN echo "[$G]" >/2\n'
        'ARG L=local\nENV L=env\nRUN echo "[$L]" >/3\nFROM a\nRUN echo "[$G][$L]" >/4\nARG TARGETARCH TARGETOS\n'
        'RUN echo "$TARGETOS/$TARGETARCH" >/5\n'
    )
    build(dockerfile, args={"G": "given"})
    seen = [build.read(str(n)).strip() for n in range(1, 6)]
    assert seen == ["[]", "[given]", "[env]", "[given][env]", "linux/amd64"]


def test_an_unused_argument_does_not_matter_and_a_used_one_does(build):
    dockerfile = "FROM base\nRUN true\nARG USED\nRUN echo $USED >/seen\n"
    build(dockerfile, args={"USED": "1"})
    plain.assert_cached(build(dockerfile, args={"USED": "1", "UNUSED": "x"}).stderr, 2)
    assert sorted(plain.steps(build(dockerfile, args={"USED": "2"}).stderr).values()) == [False, True]
    assert build.read("seen") == "2\n"


def test_forms_of_run(build):
    build(
        'FROM base\nRUN ["/bin/sh", "-c", "echo json >/1"]\nRUN echo cont\\\n# comment\ninued >/2\n'
        'SHELL ["/bin/sh", "-ec"]\nRUN <<EOF\necho here >/3\necho doc >>/3\nEOF\n'
        "RUN <<'EOF' cat >/4\n$unexpanded\nEOF\nRUN <<EOF\n#!/bin/cat\nscript\nEOF\n"
    )
    assert [build.read(str(n)) for n in range(1, 5)] == ["json\n", "continued\n", "here\ndoc\n", "$unexpanded\n"]


CONFIGURED = """\
FROM base
ENV A=1 B="two words"
LABEL org.x="y" "quoted key"=v
EXPOSE 80 443/tcp 53/udp
VOLUME /data /more
USER 12:34
WORKDIR /w
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --retries=3 CMD true
ENTRYPOINT ["/bin/prog", "a"]
CMD run $A
"""


def test_image_configuration(build, tmp_path):
    build(CONFIGURED, outputs=[f"type=oci,dest={tmp_path}/image.tar"])
    with tarfile.open(tmp_path / "image.tar") as archive:
        manifest = oci.read_archived(archive, oci.read_member(archive, "index.json")["manifests"][0])
        document = oci.read_archived(archive, manifest["config"])
    config = document["config"]
    assert document["os"] == "linux" and document["architecture"] == "amd64"
    assert config["Env"][1:] == ["A=1", "B=two words"]
    assert config["Labels"] == {"org.x": "y", "quoted key": "v"}
    assert sorted(config["ExposedPorts"]) == ["443/tcp", "53/udp", "80/tcp"]
    assert sorted(config["Volumes"]) == ["/data", "/more"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("12:34", "/w", "SIGTERM")
    assert config["Entrypoint"] == ["/bin/prog", "a"]
    assert config["Cmd"] == ["/bin/sh", "-c", "run $A"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000, "Retries": 3}
    assert len(document["history"]) == 1 + 10
    assert sum(not step.get("empty_layer", False) for step in document["history"]) == len(manifest["layers"]) == 2


def test_onbuild_and_entrypoint_of_a_parent(build, registry, tmp_path):
    name = f"{registry.host}/parent:1"
    build(
        'FROM base\nENTRYPOINT ["x"]\nCMD ["y"]\nONBUILD RUN echo triggered >/seen\n',
        outputs=[f"type=image,name={name},push=true"],
    )
    build(f"FROM {name}\n")
    assert build.read("seen") == "triggered\n"


FILES = {"hom.txt": "t", "hom.c": "c", "d/a.txt": "a", "d/b.c": "b"}


@pytest.mark.kiln_only  # buildkitd applies it to what is in folders only
@pytest.mark.parametrize(
    "instruction, names",
    [
        ("COPY --exclude=*.txt hom* /", ["hom.c"]),
        ("COPY --exclude=*.txt hom.txt hom.c /", ["hom.c"]),
        ("COPY --exclude=*.txt hom* d /", ["b.c", "hom.c"]),
        ("COPY --exclude=*.txt --exclude=!hom.txt hom* d /", ["b.c", "hom.c", "hom.txt"]),
        ("ADD --exclude=hom.txt hom.* /x/", ["x/hom.c"]),
        ("COPY --exclude=*.txt hom.txt /x/\nCOPY hom.c /", ["hom.c"]),
        ("COPY --exclude=*.txt <<hom.txt /\nhom.txt", ["hom.txt"]),
        ("FROM scratch AS s\nCOPY hom* d /\nFROM scratch\nCOPY --from=s --exclude=*.txt /* /", ["b.c", "hom.c"]),
    ],
)
def test_exclude_of_files_that_are_named(build, instruction, names):
    build({**FILES, "Dockerfile": f"FROM scratch\n{instruction}\n"})
    assert files_in(build.out) == names


@pytest.mark.kiln_only  # buildkitd's key holds what is excluded
def test_what_is_excluded_is_no_reason_to_copy_again(build):
    text = "FROM base\nCOPY --exclude=*.txt hom* d /x/\nRUN cat /proc/sys/kernel/random/uuid >/ran\n"
    build({**FILES, "Dockerfile": text})
    ran = build.read("ran")
    build({**FILES, "hom.txt": "another", "d/a.txt": "another", "Dockerfile": text})
    assert build.read("ran") == ran
    build({**FILES, "hom.c": "another", "Dockerfile": text})
    assert build.read("ran") != ran


@pytest.mark.kiln_only  # variables are text to buildkitd there
@pytest.mark.parametrize(
    "arguments, flags, names",
    [
        ("ARG X=hom.txt", "--exclude=$X", ["hom.c"]),
        ("ARG X=txt", "--exclude=hom.${X}", ["hom.c"]),
        ("ARG X", "--exclude=$X --exclude=${X:-hom.c}", ["hom.txt"]),
        ("ENV X=*.c", "--exclude=$X", ["hom.txt"]),
        ("ARG X=hom.txt", "--exclude='\\\\$X'", ["hom.c", "hom.txt"]),
    ],
)
def test_exclude_with_variables(build, arguments, flags, names):
    files = {name: text for name, text in FILES.items() if "/" not in name}
    build({**files, "Dockerfile": f"FROM scratch\n{arguments}\nCOPY {flags} --exclude=Dockerfile . /\n"})
    assert files_in(build.out) == names


@pytest.mark.kiln_only  # buildkitd finds them in folders only
@pytest.mark.parametrize("paths", ["d /t", "d/* /t/", "d/link /t/link", "d/link d/f /t/"])
@pytest.mark.parametrize("source", ["context", "stage"])
def test_links_that_lead_nowhere(build, tmp_path, paths, source):
    request = build.request({"d/f": "f", "Dockerfile": ""})
    (pathlib.Path(request.context) / "d/link").symlink_to("/nowhere")
    lines = ["FROM scratch AS made", "COPY d /d", "FROM scratch"] if source == "stage" else ["FROM scratch"]
    copy = f"COPY --from=made {paths}" if source == "stage" else f"COPY {paths}"
    (pathlib.Path(request.context) / "Dockerfile").write_text("\n".join([*lines, copy, ""]))
    build.client.build(request)
    assert (build.out / "t/link").readlink() == pathlib.Path("/nowhere")


@pytest.mark.kiln_only  # buildkitd finds nothing below a link
@pytest.mark.parametrize(
    "paths, names",
    [
        ("soft/out/f", ["o/soft/out/f"]),
        ("soft/out", ["o/soft/out/f", "o/soft/out/g"]),
        ("soft/*/f", ["o/soft/out/f"]),
        ("./soft/./out/f", ["o/out/f"]),
        ("soft/inner/g real/out/f", ["o/real/out/f", "o/soft/inner/g"]),
    ],
)
def test_parents_through_links(build, paths, names):
    request = build.request({"real/out/f": "f", "real/out/g": "g", "Dockerfile": ""})
    context = pathlib.Path(request.context)
    (context / "soft").symlink_to("real")
    (context / "real/inner").symlink_to("out")
    (context / "real/loop").symlink_to("../soft")
    (context / "Dockerfile").write_text(f"FROM scratch\nCOPY --parents {paths} /o/\n")
    build.client.build(request)
    assert files_in(build.out) == names


def test_parents_of_a_link_itself(build):
    request = build.request({"real/f": "f", "Dockerfile": "FROM scratch\nCOPY --parents soft /o/\n"})
    (pathlib.Path(request.context) / "soft").symlink_to("real")
    build.client.build(request)
    assert (build.out / "o/soft").readlink() == pathlib.Path("real")


@pytest.mark.kiln_only  # buildkitd keeps the folder that it had
def test_another_mode_of_a_folder_is_another_folder(build):
    request = build.request({"common/sub/file": "s", "Dockerfile": "FROM scratch\nCOPY common /c/\n"})
    folder = pathlib.Path(request.context) / "common/sub"

    def mode_after(mode):
        folder.chmod(mode)
        build.client.build(request)
        return stat.S_IMODE((build.out / "c/sub").stat().st_mode)

    assert mode_after(0o755) == 0o755
    assert mode_after(0o700) == 0o700
    (folder / "new").write_text("n")
    assert mode_after(0o750) == 0o750
    (folder / "new").unlink()
    assert mode_after(0o750) == 0o750


def test_a_folder_named_as_the_ignore_file(build):
    build({".dockerignore/a.txt": "x", "b": "b", "Dockerfile": "FROM scratch\nCOPY . /\n"})
    assert files_in(build.out) == [".dockerignore/a.txt", "Dockerfile", "b"]


def said(build, text):
    """What the only step of a Dockerfile wrote to /said."""
    build("FROM base\n" + text)
    return build.read("said")


@pytest.mark.kiln_only  # buildkitd takes the words for something else
@pytest.mark.parametrize(
    "text, wanted",
    [
        ("RUN cat <<- EOF >/said\n\thello\nEOF\n", "hello\n"),
        ("RUN <<- EOF\n\techo hi >/said\n\tEOF\n", "hi\n"),
        ("RUN echo $((1 <<2)) >/said\n", "4\n"),
        ("RUN echo $(( (1 <<2) + 1 )) >/said; cat <<E >>/said\nx\nE\n", "5\nx\n"),
        ('COPY <<"my file" /d/\nx\nmy file\nRUN ls /d >/said\n', "my file\n"),
        ("COPY << one <<- two /d/\n1\none\n\t2\n\ttwo\nRUN cat /d/one /d/two >/said\n", "1\n2\n"),
    ],
)
def test_heredocs_that_look_otherwise(build, text, wanted):
    assert said(build, text) == wanted


@pytest.mark.kiln_only  # buildkitd gives the carriage returns to the shell
def test_heredocs_of_a_file_with_carriage_returns(build):
    text = "FROM base\nRUN <<EOF\nset -eu\necho hi >/said\nEOF\nRUN cat <<A >>/said\nyou\nA\n"
    build((text + "COPY <<B /kept\nb\nB\n").replace("\n", "\r\n"))
    assert build.read("said") == "hi\nyou\n"
    assert (build.out / "kept").read_bytes() == b"b\r\n"


@pytest.mark.kiln_only  # the kernel takes no such argument
@pytest.mark.parametrize("shell", ["", 'SHELL ["/bin/sh", "-eu", "-c"]\n'])
def test_commands_that_are_longer_than_an_argument(build, shell):
    comment = "\n".join("# " + "z" * 100 for _ in range(2000))
    assert said(build, f"{shell}RUN <<E\n{comment}\necho ran $0 >/said\nE\n").startswith("ran ")
    lines = "\n".join(f"{i:0100}" for i in range(2000))
    assert len(said(build, f"{shell}RUN cat <<E >/said\n{lines}\nE\n")) == 202_000
    assert not (build.out / "dev/pipes").exists()


def test_a_large_heredoc(build):
    """More than a word may be: what is written to a file has the limit of the Dockerfile itself."""
    lines = "\n".join("z" * 1023 for _ in range(1100))
    done = build(f"FROM scratch\nARG X=1\nCOPY <<E /f\n{lines}\n$X\nE\n")
    assert len(build.read("f")) == 1100 * 1024 + 2
    assert len(done.stderr) < 10_000


@pytest.mark.kiln_only  # buildkitd shows all of it
def test_an_error_in_a_large_heredoc_shows_little_of_it(build):
    lines = "\n".join("z" * 1023 for _ in range(1100))
    done = build(f"FROM scratch\nCOPY <<E /f\n{lines}\n${{X:?none}}\nE\n", check=False)
    assert done.returncode != 0
    assert "X: none" in done.stderr
    assert len(done.stderr) < 100_000
    done = build(f"FROM base\nRUN <<E\nexit 1\n{lines}\nE\n", check=False)
    assert done.returncode != 0
    assert "exit code: 1" in done.stderr
    assert len(done.stderr) < 100_000


@pytest.mark.kiln_only  # buildkitd mounts no chain as long as that
def test_a_thousand_copies(build):
    """Five seconds on a quiet machine."""
    lines = "".join(f"COPY a /f{number}\n" for number in range(1000))
    start = time.monotonic()
    build({"a": "a", "Dockerfile": f"FROM scratch\n{lines}"})
    assert time.monotonic() - start < 20
    assert len(files_in(build.out)) == 1000
