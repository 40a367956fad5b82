"""Reads `--progress plain`."""

import re

LINE = re.compile(r"^#(\d+) (.*)$")
STEP = re.compile(r"^\[(?!internal\]|context |auth\])[^]]*\] .*")


def steps(text):
    """{step as it is shown ("[2/2] RUN …"): whether it came from the cache}, without loading of Dockerfile, context and
    bases."""
    names, cached = {}, set()
    for line in text.splitlines():
        found = LINE.match(line)
        if not found:
            continue
        number, rest = found.groups()
        if STEP.match(rest) and "] FROM " not in rest and number not in names:
            names[number] = rest
        if rest == "CACHED":
            cached.add(number)
    return {name: number in cached for number, name in names.items()}


def assert_cached(text, count):
    found = steps(text)
    assert len(found) == count, text
    assert all(found.values()), text
