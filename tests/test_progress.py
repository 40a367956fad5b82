"""How progress looks: screens of a terminal and plain text against golden files, from events with a hand-wound clock.

`--accept-golden` writes the files anew; look at the difference before you commit it."""

import json
import os
import re

import pytest
import wcwidth
from kilntest import paths
from kilntest.build import Builder
from kilntest.clients import Kiln
from kilntest.terminal import GOLDEN, Script, run_in_terminal, shots

pytestmark = pytest.mark.kiln_only

SIZES = {"80x24": (80, 24), "200x50": (200, 50)}


@pytest.fixture
def golden(pytestconfig):
    """golden(name, lines) compares with tests/golden/NAME."""

    def compare(name, lines):
        path = GOLDEN / name
        text = "\n".join(lines) + "\n"
        if pytestconfig.getoption("--accept-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no {path}: run with --accept-golden"
        assert text == path.read_text(), f"differs from {path} (--accept-golden takes it)"

    return compare


@pytest.fixture(scope="session")
def replay():
    program = paths.kiln().parent / "bin/client_display_replay"
    assert program.exists(), f"{program} is not built"
    return program


@pytest.fixture(params=SIZES, ids=str)
def size(request):
    return request.param, *SIZES[request.param]


def screens(golden, replay, name, script, size, *times, words=()):
    label, width, height = size
    script.size(0, width, height)
    drawn = script.play(replay, "tty", *words)
    lines = []
    for at, terminal in zip(times, shots(drawn, *times), strict=True):
        rows = terminal.everything() if at is None else terminal.rows()
        lines += [f"--- {'the end' if at is None else f'{at} s'}", *rows]
    golden(f"{name}.{label}", lines)
    return terminal


def a_build():
    """A build as they come: context, a pull with sizes, a cached step, one that logs, one that exports."""
    script = Script()
    script.step(0.05, 0.1, "def", "[internal] load build definition from Dockerfile")
    script.status(0.1, "def", "transferring dockerfile:", current=313, started=0.06, completed=0.08)
    script.step(0.1, 0.7, "meta", "[internal] load metadata for docker.io/library/alpine:3.20")
    script.step(0.7, 2.9, "base", "[base 1/3] FROM docker.io/library/alpine:3.20@sha256:" + "ab" * 32)
    layers = {"sha256:" + "1f" * 32: (3_400_000, 1.2), "sha256:" + "2e" * 32: (81_000_000, 2.5)}
    for layer, (total, end) in layers.items():
        for tenth in range(1, 10):
            at = 0.8 + (end - 0.8) * tenth / 10
            script.status(round(at, 3), "base", layer, current=total * tenth // 10, total=total, started=0.8)
        script.status(end, "base", layer, current=total, total=total, started=0.8, completed=end)
    script.status(2.6, "base", "extracting sha256:" + "2e" * 32, started=2.5)
    script.status(2.9, "base", "extracting sha256:" + "2e" * 32, started=2.5, completed=2.9)
    script.step(0.75, 0.9, "ctx", "[internal] load build context")
    script.status(0.9, "ctx", "transferring context:", current=1_234_567, started=0.8, completed=0.88)
    script.vertex(0, "cached", "[base 2/3] RUN apk add make")
    script.vertex(2.9, "cached", "[base 2/3] RUN apk add make", started=2.9, completed=2.9, cached=True)
    script.step(2.9, 6.4, "make", "[base 3/3] RUN make -j2 all")
    for number in range(30):
        script.log(round(3 + number / 10, 3), "make", f"cc -c src/file{number}.c\n")
    script.log(6.1, "make", "linking 40%\rlinking 80%\r")
    script.log(6.3, "make", "linked\n", stream=2)
    script.step(6.4, 6.6, "export", "exporting to image")
    script.status(6.5, "export", "exporting layers", started=6.4, completed=6.5)
    script.warning(0.7, "def", "FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)")
    return script.finish(6.7)


def test_a_build(golden, replay, size):
    terminal = screens(golden, replay, "build", a_build(), size, 0.5, 1.5, 4.0, 6.2, None)
    assert terminal.colours("RUN make") == {"blue"}
    assert not terminal.screen.cursor.hidden


def test_a_failed_build(golden, replay, size):
    script = Script().step(0.1, 0.2, "a", "[internal] load build definition from Dockerfile")
    script.step(
        0.2, 4.0, "bad", "[2/4] RUN make test", error='process "/bin/sh -c make test" did not complete: exit code: 2'
    )
    for number in range(80):
        script.log(round(0.3 + number / 25, 3), "bad", f"test {number}\t{'ok' if number < 79 else 'FAILED'}\n")
    script.step(0.3, 4.0, "other", "[other 1/1] RUN sleep 60", error="Canceled: context canceled")
    script.vertex(0, "never", "[3/4] RUN make install")
    script.finish(4.1)
    screens(golden, replay, "failed", script, size, 2.0, None)


def test_more_steps_than_rows(golden, replay, size):
    """What runs stays in sight, whatever has ended since it began."""
    script = Script().step(0.1, None, "long", "[slow 1/1] RUN the longest of all")
    script.log(0.2, "long", "".join(f"working on {n}\n" for n in range(8)))
    for number in range(70):
        start = round(0.2 + number * 0.05, 3)
        script.step(start, round(start + 0.1, 3), f"s{number}", f"[{number + 1:2}/70] RUN step {number}")
    for number in range(3):
        script.step(3.0, None, f"late{number}", f"[late {number}] RUN another")
        script.log(3.2, f"late{number}", f"begun {number}\n")
    script.finish(5.0)
    screens(golden, replay, "many", script, size, 2.0, 4.0, None)


def test_what_is_in_logs_and_names_is_harmless(golden, replay, size):
    script = Script().step(0.1, 3.0, "v", "[1/1] RUN \x1b[2Jprintf '漢字\x07' " + "长" * 120)
    for text in (
        "\x1b[2J\x1b[Hcleared the screen?\n",
        "\x1b]0;a title\x07\x1b]52;c;ZXZpbA==\x07clipboard\n",
        "\x1b[31mred, \x1b[1mbold\n",
        "漢字かな交じり文 " * 12 + "\n",
        "emoji 🚀🚀🚀 and e\u0301 combined\n",
        "a\tb\tc\n",
        b"not \xff\xfe UTF-8 \xc3\n",
        "up\x1b[5Aand over\x1b[3;3Hthere\x1b[?25l\n",
        "\x1b[6n\x1b[c\x1bP$q\x1b\\who are you\n",
        "\u202eright to left\u202c\n",
        "x" * 500 + "\n",
        "no newline at the end",
    ):
        script.log(0.5 + 0.1 * len(script.lines), "v", text)
    script.finish(3.2)
    terminal = screens(golden, replay, "harmless", script, size, 1.0, 1.4, 2.0, None)
    assert terminal.screen.title == ""


def test_the_window_changes_its_size(golden, replay):
    script = Script().size(0, 80, 24)
    script.step(0.1, 0.3, "a", "[1/2] RUN the first of them, with a name that is rather long for a narrow window")
    script.step(0.3, None, "b", "[2/2] RUN the second")
    script.log(0.4, "b", "".join(f"line {n} " + "-" * 60 + "\n" for n in range(4)))
    script.size(1.0, 120, 30).size(2.0, 40, 10).finish(3.0)
    drawn = script.play(replay, "tty")
    lines = []
    for at, terminal in zip((0.9, 1.9, 2.9, None), shots(drawn, 0.9, 1.9, 2.9, None), strict=True):
        lines += ["--- the end" if at is None else f"--- {at} s", *terminal.rows()]
    golden("resized", lines)


def test_no_colours(replay):
    drawn = a_build().size(0, 80, 24).play(replay, "tty", "no-colour")
    text = b"".join(data for *_, data in drawn)
    assert b"\x1b[34m" not in text and b"\x1b[0m" not in text


def test_rows_are_never_wider_than_the_window(replay):
    """Each row ends before the right edge: what were wider would wrap, and the count of rows to go up be wrong."""
    for width in (20, 33, 80):
        for *_, data in a_build().size(0, width, 12).play(replay, "tty")[:-1]:
            rows = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", data).decode().split("\n")
            assert len(rows) <= 12
            for row in rows:
                assert wcwidth.wcswidth(row.rpartition("\r")[2]) <= width, (width, row)


def plain(script, replay):
    return b"".join(data for *_, data in script.play(replay, "plain")).decode().splitlines()


def test_plain(golden, replay):
    golden("build.plain", plain(a_build(), replay))


def test_plain_with_steps_side_by_side(golden, replay):
    """Each has its turn for a while: lines of two compilers do not alternate."""
    script = Script()
    for id, name in (("one", "[one 1/1] RUN make"), ("two", "[two 1/1] RUN make")):
        script.step(0.1, 8.0, id, name)
        for number in range(40):
            script.log(round(0.2 + number * 0.19, 3), id, f"{id} {number}\n")
    script.step(3, 3.2, "bad", "[bad 1/1] RUN false", error="exit code: 1\nsecond line\x1b[2J")
    script.log(3.1, "bad", "why it failed\nlast words")
    golden("side_by_side.plain", plain(script.finish(8.1), replay))


def test_plain_shows_every_line(replay):
    script = Script().step(0.1, 2.0, "v", "[1/1] RUN seq").step(0.1, 2.0, "w", "[2/2] RUN seq")
    for number in range(500):
        script.log(round(0.2 + number / 400, 4), "vw"[number % 2], f"line {number}\n")
    lines = plain(script.finish(2.1), replay)
    shown = [int(line.split()[-1]) for line in lines if re.match(r"#\d+ [\d.]+ line \d+$", line)]
    assert sorted(shown) == list(range(500))
    assert shown != sorted(shown)
    assert sum(line.endswith("RUN seq") for line in lines) < 20


def test_rawjson(golden, replay):
    text = a_build().play(replay, "rawjson")
    events = [json.loads(line) for line in text.splitlines()]
    assert {key for event in events for key in event} == {"vertexes", "statuses", "logs", "warnings"}
    golden("build.rawjson", text.splitlines()[:12])


# Real builds.


def settled(rows):
    """Without times and digests, which differ from run to run."""
    rows = [re.sub(r"[\d.]+s$", "T", row) for row in rows]
    rows = [re.sub(r"Building [\d.]+s", "Building T", row) for row in rows]
    return [re.sub(r"sha256:[0-9a-f]+", "DIGEST", re.sub(r" {2,}", "  ", row)) for row in rows]


@pytest.mark.parametrize("size", [(80, 24), (200, 50)], ids=str)
def test_a_real_build_on_a_terminal(kiln, tmp_path, busybox_layout, size, unchanged_host):
    build = Builder(Kiln(kiln, root=tmp_path / "root"), busybox_layout, tmp_path)
    dockerfile = "FROM base\nRUN for i in 1 2 3 4 5 6 7 8 9; do echo line $i; sleep 0.05; done\nRUN echo made >/made\n"
    words = build.client.words(build.request({"Dockerfile": dockerfile}))
    words = [word if word != "--progress=plain" else "--progress=tty" for word in words]
    status, terminal = run_in_terminal(words, *size, {**os.environ, **build.client.environment, "TERM": "xterm"})
    rows = settled(terminal.everything())
    assert status == 0, rows
    assert re.match(r"\[\+\] Building T \((\d+)/\1\) FINISHED$", rows[0]), rows
    assert any(re.match(r" => \[\d/3\] RUN echo made >/made  T$", row) for row in rows), rows
    assert len([row for row in rows if "RUN for i" in row]) == 1
    assert not any("line 9" in row for row in rows)
    assert all(len(row) <= size[0] for row in terminal.screen.display)


def test_a_real_failure_on_a_terminal(kiln, tmp_path, busybox_layout, unchanged_host):
    build = Builder(Kiln(kiln, root=tmp_path / "root"), busybox_layout, tmp_path)
    words = build.client.words(build.request({"Dockerfile": "FROM base\nRUN echo why; exit 4\n"}))
    words = [word if word != "--progress=plain" else "--progress=tty" for word in words]
    environment = {**os.environ, **build.client.environment, "TERM": "xterm"}
    status, terminal = run_in_terminal(words, 120, 40, environment)
    rows = settled(terminal.everything())
    assert status == 1
    at = [rows.index("------"), rows.index("why"), rows.index("   2 | >>> RUN echo why; exit 4".replace("   2", "  2"))]
    assert at == sorted(at), rows
    assert any(row.startswith("ERROR: ") and "exit code: 4" in row for row in rows), rows
    assert "kiln logs --root" in "".join(terminal.everything()[-3:])
    assert terminal.colours("] RUN echo why; exit 4 ") == {"red"}
