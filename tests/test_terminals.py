"""What others made up, and kiln shows at the end of a build or when asked: a terminal never obeys it."""

import os
import re
import subprocess

import pytest
from kilntest.build import Builder
from kilntest.clients import Kiln
from kilntest.request import write_context
from kilntest.terminal import run_in_terminal

pytestmark = pytest.mark.kiln_only

# Sets the title, then colours what follows; the bell.
SEQUENCE = "\x1b]0;taken\x07\x1b[31m"


@pytest.fixture
def builder(kiln, tmp_path, busybox_layout, unchanged_host):
    return Builder(Kiln(kiln, root=tmp_path / "root"), busybox_layout, tmp_path / "build")


def shown(words, client):
    """The screen, on which nothing was obeyed."""
    environment = {**os.environ, **client.environment, "TERM": "xterm", "NO_COLOR": "1"}
    status, terminal = run_in_terminal(words, 400, 60, environment)
    rows = terminal.everything()
    assert terminal.screen.title == "", rows
    colours = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
    assert colours <= {"default"}, rows
    return status, "\n".join(rows)


def test_source_lines_of_a_failure(builder):
    dockerfile = f"FROM base\n# {SEQUENCE}note\nRUN echo {SEQUENCE}; exit 3\n"
    words = builder.client.words(builder.request({"Dockerfile": dockerfile}))
    for progress in ("plain", "tty", "quiet", "rawjson"):
        again = [word if word != "--progress=plain" else f"--progress={progress}" for word in words]
        status, screen = shown(again, builder.client)
        assert status == 1
        assert "|     # note" in screen and "| >>> RUN echo" in screen and "ERROR: " in screen
    # In a pipe the message is as harmless: logs are looked at later. What steps print keeps its colours, line by line,
    # unless NO_COLOR is set.
    for no_colour, kept in (("1", []), ("", ["\x1b[31m", "\x1b[0m"])):
        environment = {**os.environ, **builder.client.environment, "NO_COLOR": no_colour}
        piped = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True)
        assert piped.returncode == 1 and "| >>> RUN echo" in piped.stderr
        lines = [line for line in piped.stderr.splitlines() if set(line) & set("\x1b\x07\x9b")]
        assert [re.findall("[\x1b\x07\x9b](?:\\[[0-9]*m)?", line) for line in lines] in ([], [kept] * len(lines))
        assert bool(lines) == bool(kept)


def test_names_of_files(builder, kiln, tmp_path):
    # The context takes the name for a pattern, so it has no bracket.
    sequence = SEQUENCE.replace("\x1b[", "\x9b")
    context = write_context(tmp_path / "named", {f"{sequence}file": "FROM base\nRUN exit 3\n"})
    words = [
        kiln,
        "build",
        "--root",
        tmp_path / "root",
        "--build-context",
        f"base=oci-layout://{builder.layout}:latest",
    ]
    status, screen = shown([*words, "-f", context / f"{sequence}file", context], builder.client)
    assert status == 1 and "file:2" in screen
    status, screen = shown([*words, "-f", context / f"{sequence}none", context], builder.client)
    assert status == 1 and "none" in screen


CHECKED = f"FROM base AS One\n# {SEQUENCE}note\n# X is {SEQUENCE}told\nARG X\nENV a {SEQUENCE}b\n"


@pytest.mark.parametrize("call", ["check", "outline", "targets", "check,format=json"])
def test_answers_about_a_dockerfile(builder, call):
    words = builder.client.words(builder.request({"Dockerfile": CHECKED}))
    shown([*words[:-1], f"--call={call}", words[-1]], builder.client)


def test_check(builder, kiln, tmp_path):
    context = write_context(tmp_path / "checked", {"Dockerfile": CHECKED})
    status, screen = shown([kiln, "check", context], builder.client)
    assert status == 1 and "|     # note" in screen
    piped = subprocess.run([kiln, "check", context], capture_output=True, text=True)
    assert "\x1b[31mb" in piped.stdout + piped.stderr, "programs get what is there"


def test_descriptions_and_names_of_recorded_builds(builder, kiln, tmp_path):
    builder(f"FROM base AS one\nRUN : {SEQUENCE}; echo >/made\n", args={"BUILDKIT_BUILD_NAME": f"{SEQUENCE}named"})
    where = ["--root", tmp_path / "root"]
    for words in (["du", "--verbose"], ["du", "--format=json"], ["ls"], ["ls", "--format=json"], ["logs"]):
        _, screen = shown([kiln, words[0], *where, *words[1:]], builder.client)
        assert ("echo >/made" in screen) or ("named" in screen), words
    _, screen = shown([kiln, "logs", *where, f"{SEQUENCE}nothing"], builder.client)
    assert "nothing" in screen
    _, screen = shown([kiln, "prune", *where, "--force", "--verbose"], builder.client)
    assert "echo >/made" in screen
