"""Where the programs under test are. The environment may name others."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def kiln():
    return pathlib.Path(os.environ.get("KILN_BINARY") or ROOT / "build/release/kiln")


def kilnd():
    return kiln().with_name("kilnd")


def clients():
    """The folder with buildctl, buildkitd and buildx; compiled now if they are not there yet."""
    named = os.environ.get("KILN_CLIENTS")
    if named:
        return pathlib.Path(named)
    done = subprocess.run([ROOT / "tests/clients/build"], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())
