"""Where the programs under test are. The environment may name others."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def kiln():
    return pathlib.Path(os.environ.get("KILN_BINARY") or ROOT / "build/release/kiln")


def kilnd():
    named = os.environ.get("KILN_DAEMON")
    return pathlib.Path(named) if named else kiln().with_name("kilnd")


def is_sanitized():
    """Whether the daemon is the one of the tree with AddressSanitizer."""
    return "asan" in kilnd().parts


def _printed_by(script):
    done = subprocess.run([ROOT / script], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())


def clients():
    """The folder with buildctl, buildkitd and buildx; compiled now if they are not there yet."""
    named = os.environ.get("KILN_CLIENTS")
    return pathlib.Path(named) if named else _printed_by("tests/clients/build")


def peer():
    """Our own client for what the real ones do not show (tests/clients/peer)."""
    return _printed_by("tests/clients/build-peer")
