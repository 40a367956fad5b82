"""Reports of broken memory or broken invariants, in what a program under test printed: they fail the test that sees
them, also one that expects the program to fail."""

import sys

from kilntest import paths

sys.path.insert(0, str(paths.ROOT / "tools/ci"))

import fatal  # noqa: E402

SHOWN = 8000  # characters from the report on


def check(program, text):
    line = fatal.first_line(text)
    if line:
        raise AssertionError(f"{program}: {line}\n{text[text.index(line) :][:SHOWN]}")
