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
        "sources/image that does not add up",
        "sources/local bad pattern",
        "sources/local missing",
        "sources/web, *",
    ],
    "A folder's mode and owner count": ["changes/mode of a folder"],
    "--exclude counts for files, and takes variables": ["copies/copy exclude with wildcard"],
    "Links are copied as they are": ["copies/copy broken link followed", "copies/copy climbing link followed"],
    "What cannot be in an image is refused": ["execs/odd names"],
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


def is_explained(wanted, seen):
    """Whether docs/differences.md says of all that differs why: of cases made by chance nobody can say beforehand what
    they show. Compared stay exit status, trees, images, configurations, replies, cached marks, and that what failed is
    the same: of several wrongs it is chance which is met first, and how far other steps come."""
    if wanted["exit"] != seen["exit"]:
        return False
    if wanted["exit"]:
        failed = [{step[0] for step in one["steps"] if _is_failed(step)} for one in (wanted, seen)]
        return bool(failed[0] & failed[1]) or not all(failed)
    return _without_words(wanted) == _without_words(seen)


def _is_failed(step):
    # buildkitd marks no step as failed whose op has no result.
    nothing = "error: invalid response from exec need "
    return any(line.startswith("error: ") and not line.startswith(nothing) for line in step[1:])


def _without_words(seen):
    steps = [step[:1] if step[0].startswith("exporting") else step for step in seen["steps"]]
    return {**seen, "steps": steps}
