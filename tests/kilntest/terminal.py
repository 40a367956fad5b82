"""What a terminal shows: pyte's emulator over bytes that a program wrote, and goldens of it."""

import base64
import fcntl
import json
import os
import pathlib
import pty
import select
import struct
import subprocess
import termios
import time

import pyte

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"


class Terminal:
    def __init__(self, width, height):
        self.screen = pyte.HistoryScreen(width, height, history=10_000)
        self._stream = pyte.ByteStream(self.screen)

    def resize(self, width, height):
        if (width, height) != (self.screen.columns, self.screen.lines):
            self.screen.resize(height, width)

    def feed(self, data):
        # The terminal's driver ends lines so.
        self._stream.feed(data.replace(b"\n", b"\r\n"))

    def rows(self):
        """The screen, without blank rows at its end."""
        return _trimmed(self.screen.display)

    def everything(self):
        """What has scrolled away upwards, then the screen."""
        above = ["".join(row[x].data for x in range(self.screen.columns)) for row in self.screen.history.top]
        return _trimmed([*above, *self.screen.display])

    def colours(self, text):
        """The colours of the row that has a text: of each character but blanks."""
        for y, row in enumerate(self.screen.display):
            if text in row:
                cells = (self.screen.buffer[y][x] for x in range(self.screen.columns))
                return {cell.fg for cell in cells if cell.data.strip()}
        raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.screen.display))


def _trimmed(rows):
    rows = [row.rstrip() for row in rows]
    while rows and not rows[-1]:
        rows.pop()
    return rows


class Script:
    """Events of a build for client_display_replay; times are seconds since its start."""

    def __init__(self):
        self.lines = []

    def _add(self, at, **event):
        self.lines.append({"at": at, **event})
        return self

    def vertex(self, at, id, name, **fields):
        return self._add(at, vertex={"id": id, "name": name, **fields})

    def step(self, start, end, id, name, **fields):
        """A step that is announced at once, and runs from start to end (None: on and on)."""
        self.vertex(0, id, name)
        self.vertex(start, id, name, started=start)
        if end is not None:
            self.vertex(end, id, name, started=start, completed=end, **fields)
        return self

    def status(self, at, vertex, id, **fields):
        return self._add(at, status={"vertex": vertex, "id": id, **fields})

    def log(self, at, vertex, text, stream=1):
        data = text if isinstance(text, bytes) else text.encode()
        return self._add(at, log={"vertex": vertex, "data": base64.b64encode(data).decode(), "stream": stream})

    def warning(self, at, vertex, short):
        return self._add(at, warning={"vertex": vertex, "short": short})

    def size(self, at, width, height):
        return self._add(at, size=[width, height])

    def finish(self, at):
        return self._add(at, finish=True)

    def play(self, program, mode, *words):
        """What is drawn: [(time, width, height, bytes)]."""
        lines = sorted(self.lines, key=lambda line: line["at"])
        text = "".join(json.dumps(line) + "\n" for line in lines)
        done = subprocess.run([program, mode, *words], input=text, capture_output=True, text=True, check=True)
        if mode == "rawjson":
            return done.stdout
        drawn = [json.loads(line) for line in done.stdout.splitlines()]
        return [(one["at"], one["width"], one["height"], base64.b64decode(one["data"])) for one in drawn]


def shots(drawn, *times):
    """The terminal as it is after what was drawn up to each time; after all of it for None."""
    at, width, height, _ = drawn[0]
    terminal = Terminal(width, height)
    rest = list(drawn)
    for until in times:
        while rest and (until is None or rest[0][0] <= until + 1e-6):
            _, width, height, data = rest.pop(0)
            terminal.resize(width, height)
            terminal.feed(data)
        yield terminal


def run_in_terminal(words, width, height, environment, seconds=60):
    """Runs a program on a terminal of that size: (exit status, Terminal)."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    process = subprocess.Popen(
        list(map(str, words)), stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    terminal = Terminal(width, height)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 1)
        if not ready:
            continue
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: nobody has it open any more
            break
        if not data:
            break
        # The driver has added the carriage returns already.
        terminal.feed(data.replace(b"\r\n", b"\n"))
    os.close(master)
    return process.wait(seconds), terminal
