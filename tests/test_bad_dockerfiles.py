"""Bad input: Dockerfiles and outputs. Each failure is clear, and the daemon serves on."""

import re

import pytest
from kilntest import failure

DOCKERFILES = {
    "empty": ("", "the Dockerfile cannot be empty"),
    "only comments": ("# nothing\n", "file with no instructions"),
    "no FROM": ("RUN true\n", "no build stage in current context"),
    "unknown instruction": ("FROM base\nRUNN true\n", "unknown instruction: RUNN", "Dockerfile:2", ">>> RUNN true"),
    "FROM without a name": ("FROM\n", "FROM requires either one or three arguments"),
    "FROM with two names": ("FROM base as\n", "FROM requires either one or three arguments"),
    "bad stage name": ("FROM base AS 1-?\n", "invalid name for build stage"),
    "base is a blank variable": ("ARG X\nFROM $X\n", "base name ($X) should not be blank"),
    "bad image name": ("FROM UPPER/case\n", "UPPER/case"),
    "bad platform": ("FROM --platform=a/b/c/d/e base\n", "platform"),
    "unknown flag of RUN": ("FROM base\nRUN --nope=1 true\n", "unknown flag: --nope", "Dockerfile:2"),
    "unknown mount type": ("FROM base\nRUN --mount=type=floppy,target=/a true\n", "floppy", "Dockerfile:2"),
    "mount without target": ("FROM base\nRUN --mount=type=cache true\n", "target", "Dockerfile:2"),
    "bad mount option": ("FROM base\nRUN --mount=type=bind,target=/a,nope=1 true\n", "nope", "Dockerfile:2"),
    "bad sharing": ("FROM base\nRUN --mount=type=cache,target=/a,sharing=maybe true\n", "maybe", "Dockerfile:2"),
    "bad network": ("FROM base\nRUN --network=moon true\n", "moon", "Dockerfile:2"),
    "ENV without value": ("FROM base\nENV A\n", "ENV must have two arguments", "Dockerfile:2"),
    "EXPOSE nonsense": ("FROM base\nEXPOSE eighty\n", "eighty"),
    "bad expansion": ("FROM base\nARG A\nENV B=${A!x}\n", "Dockerfile:3"),
    "unterminated quote": ('FROM base\nLABEL a="b\n', "Dockerfile:2"),
    "unterminated here-document": ("FROM base\nRUN <<EOF\necho\n", "unterminated heredoc"),
    "stage that copies itself": ("FROM base AS a\nCOPY --from=a / /\n", "circular dependency"),
    "stages in a circle": ("FROM b AS a\nRUN true\nFROM a AS b\nCOPY --from=c / /\nFROM b AS c\n", ""),
    "line without end": ("FROM base\nRUN " + "x" * 70_000 + "\n", ""),
    "binary": ("FROM base\n\0\1\2\n", "Dockerfile:2"),
    "bad directive": ("# escape=x\nFROM base\n", "escape"),
    "failing step": ("FROM base\nRUN exit 3\n", "exit code: 3", "Dockerfile:2", ">>> RUN exit 3"),
    "missing image": ("FROM 127.0.0.1:1/no:where\n", "127.0.0.1:1/no:where"),
    "missing secret": ("FROM base\nRUN --mount=type=secret,id=token,required=true true\n", "token"),
    "base of an earlier stage": ("FROM 127.0.0.1:1/x\nFROM base\nCOPY --from=0 / /\n", "127.0.0.1:1/x"),
}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile(build, serves_on, name):
    text, *said = DOCKERFILES[name]
    failure.check(build(text, check=False), *said)


def test_copy_of_what_is_not_there(build, serves_on):
    done = build("FROM base\nCOPY nope /x\n", check=False)
    failure.check(done, "failed to compute cache key: failed to calculate checksum of ref", '"/nope": not found')
    shown = r"^#\d+ \[\d/2\] COPY nope /x\n#\d+ ERROR: failed to calculate checksum"
    assert re.search(shown, done.stderr, re.MULTILINE)


def test_missing_dockerfile(build, serves_on):
    failure.check(build({"other": ""}, check=False), "failed to read dockerfile", "Dockerfile")


def test_excerpt_shows_the_lines_around(build):
    done = build("FROM base\n# before\nRUN one \\\n  two\n# after\n", check=False)
    failure.check(done, "Dockerfile:3", "2 |     # before", "3 | >>> RUN one \\", "4 | >>>   two", "5 |     # after")


OUTPUTS = {
    "unknown type": ("type=floppy", "floppy"),
    "bad name": ("type=image,name=UPPER/../x,push=true", "UPPER"),
    "bad compression": ("type=oci,compression=zip,dest={}", "zip"),
    "bad boolean": ("type=image,name=x,push=maybe", "maybe"),
    "bad level": ("type=oci,compression-level=high,dest={}", "high"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_output(build, tmp_path, serves_on, name):
    output, said = OUTPUTS[name]
    failure.check(build(failure.GOOD, outputs=[output.format(tmp_path / "x")], check=False), said)


LARGE = "# " + "x" * (17 << 20) + "\n"


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.dockerignore", ".dockerignore"])
def test_files_that_no_message_could_hold(build, serves_on, name):
    files = {"Dockerfile": "FROM base\nCOPY . /x\n", name: LARGE + "FROM base\n"}
    failure.check(build(files, check=False), f"{name} exceeds maximum allowed size of 16777216 bytes")
