"""Where kiln differs from buildkitd on purpose: the headings of docs/differences.md, and the cases that show it. What
kiln does there is recorded too, in on_purpose.json (`record --on-purpose`)."""

import fnmatch
import functools
import json
import pathlib
import re

FILE = pathlib.Path(__file__).parents[1] / "on_purpose.json"
DOCUMENT = pathlib.Path(__file__).parents[3] / "docs/differences.md"

ROWS = {
    "Mistakes in a definition are found when it is loaded": [
        "copies/action unknown",
        "copies/input *",
        "copies/no output",
        "copies/output *",
        "execs/bind content hash where it cannot be",
        "execs/* unknown",
        "execs/mount of an unknown type",
        "execs/output missing",
        "execs/root of another type",
        "load/exec with a missing input",
        "load/index too high",
        "load/merge of nothing",
        "load/no scheme",
        "load/unknown op",
        "load/unknown scheme",
        "outputs/annotations on a descriptor, Docker's types",
        "outputs/archive with a bad name",
        "outputs/docker, a bad name",
        "outputs/image, push by digest with a tag",
        "sources/blob without a digest",
        "sources/git, bad checksum",
        "sources/git, name like a flag",
        "sources/image with a bad name",
        "sources/image without a digest",
        "sources/image, bad limit",
        "sources/image, limit below zero",
        "sources/image, no layers at all",
        "sources/local bad list",
        "sources/registry with a bad name",
        "sources/registry without a host",
        "sources/registry, bad mode",
    ],
    "Messages say what is wrong": [
        "copies/copy bad mode in words",
        "copies/copy file to new place without parents",
        "copies/copy include bad",
        "copies/copy wildcard bad",
        "copies/mkdir with parents over a file",
        "copies/unpack into a file",
        "dockerfiles/missing stage",
        "dockerfiles/two platforms in one tree",
        "dockerfiles/two platforms, annotated for a third",
        "execs/hosts with a bad address",
        "execs/root without output",
        "execs/working directory that is a file",
        "load/garbage op",
        "outputs/* bad",
        "outputs/archive of any name",
        "outputs/*, bad",
        "outputs/* bad epoch",
        "outputs/* bad flag",
        "outputs/*, bad epoch",
        "outputs/*, bad flag",
        "outputs/configuration given",
        "outputs/image, nobody to push to",
        "sources/git, folder that is a file",
        "sources/git, missing *",
        "sources/image missing",
        "sources/image of an older variant",
        "sources/image of another architecture",
        "sources/image without our platform",
        "sources/image that does not add up",
        "sources/local bad pattern",
        "sources/local missing",
        "sources/web, *",
    ],
    "Archives are the same every time": [
        "dockerfiles/base alone",
        "dockerfiles/on a base, overridden",
    ],
    "Progress shows more": [
        "dockerfiles/target *",
        "outputs/image, unpacked*",
        "outputs/layout",
        "outputs/pushed*",
        "sources/image of all kinds",
    ],
}


@functools.cache
def observations():
    """{case: what kiln does}."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def rows_of(name):
    return [row for row, patterns in ROWS.items() if any(fnmatch.fnmatchcase(name, one) for one in patterns)]


def without_own_notes(wanted):
    """What buildkitd did, without attributes of its overlay filesystem (numbers of inodes), which come into tars of it
    where a file was copied up."""
    return json.loads(re.sub(r" trusted\.overlay\.[a-z]+=[0-9a-f]*", "", json.dumps(wanted)))


def without_explained(seen):
    """An observation without what docs/differences.md explains: of cases made by chance nobody can say beforehand which
    of it they show. Compared stay exit status, which steps failed, trees, images, configurations, replies, cached marks."""
    seen = json.loads(json.dumps(seen))
    failed = seen.get("exit", 0) != 0
    steps = [_without_words(step, failed) for step in seen.get("steps", [])]
    # How far the other steps of a failing build come is a matter of luck, and of when a wrong definition is found.
    seen["steps"] = [step for step in steps if len(step) > 1] if failed else steps
    seen.pop("error", None)
    return seen


def _without_words(step, failed):
    if step[0].startswith("exporting"):
        return step[:1] + (["error"] if any(line.startswith("error: ") for line in step[1:]) else [])
    # buildkitd marks no step as failed whose op has no result.
    overlooked = ("err: ", "error: invalid response from exec need ")
    words = [line for line in step if not (failed and line.startswith(overlooked))]
    return ["error" if line.startswith("error: ") else line for line in words]
