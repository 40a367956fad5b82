"""How long the stages took, compared with the last times that somebody accepted: what creeps is shown while small.

build/ci/seconds.json has the times of this run. The accepted ones stay outside the tree, for they are this machine's:
a run that went well writes those of stages that are new or much faster, and of slower ones if the environment says
KILN_CI_ACCEPT_SECONDS=1."""

import json
import os
import pathlib

GROWTH = 1.25
IGNORED_SECONDS = 10  # of a short stage, chance is a large part


def accepted_file():
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(os.environ.get("KILN_CACHE") or f"{base}/kiln") / "ci/seconds.json"


def read(path):
    """{stage: seconds}; none where nothing was written, or not to its end."""
    try:
        return {str(stage): float(seconds) for stage, seconds in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def write(path, times):
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps({stage: round(seconds, 1) for stage, seconds in times.items()}, indent=1) + "\n")
    fresh.replace(path)


def grown(times, accepted):
    """Lines for what takes a quarter longer than it did."""
    return [
        f"{stage}: {seconds:.0f} s, {accepted[stage]:.0f} s before"
        for stage, seconds in times.items()
        if stage in accepted and seconds > max(accepted[stage] * GROWTH, accepted[stage] + IGNORED_SECONDS)
    ]


def newly_accepted(times, accepted, all_of_them=False):
    """What the accepted times are after a run that went well."""
    taken = {
        stage: seconds
        for stage, seconds in times.items()
        if all_of_them or stage not in accepted or seconds * GROWTH < accepted[stage]
    }
    return {**accepted, **taken}
