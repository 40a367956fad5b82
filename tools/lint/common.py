"""What the lint scripts share: the project's files, the module table, includes."""

import functools
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.MULTILINE)


def tracked_files(*suffixes):
    """Paths (relative to ROOT) of files that git knows or could add, with one of the suffixes."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = sorted(set(filter(None, out.split("\0"))))
    return [p for p in paths if p.endswith(suffixes or "") and (ROOT / p).is_file()]


@functools.cache
def includes(path):
    """The (bracket, header) pairs that a file includes."""
    return INCLUDE.findall((ROOT / path).read_text(encoding="utf-8"))


def module_table():
    """modules.txt as {module: [direct modules]}, in its order."""
    table = {}
    for line in (ROOT / "tools/lint/modules.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            name, _, rest = line.partition(":")
            table[name.strip()] = rest.split()
    return table


def is_test_side(path):
    return path.endswith("_test.cc") or "/testing/" in path


def find_cycle(graph):
    """A list of nodes that lead back to the first, or None."""
    state = {}
    for start in graph:
        if state.get(start):
            continue
        state[start] = "open"
        stack = [(start, iter(graph[start]))]
        while stack:
            node, rest = stack[-1]
            follower = next(rest, None)
            if follower is None:
                state[node] = "done"
                stack.pop()
            elif state.get(follower) == "open":
                trail = [n for n, _ in stack]
                return trail[trail.index(follower) :] + [follower]
            elif follower not in state:
                state[follower] = "open"
                stack.append((follower, iter(graph.get(follower, ()))))
    return None


def finish(name, errors, checked):
    """Prints the errors, and exits as a check does."""
    for error in errors:
        print(error)
    print(f"{name}: {checked}, {len(errors)} errors")
    sys.exit(1 if errors else 0)
