"""A Debian base image, made once by mmdebstrap from Debian's packages and kept in the cache outside the tree."""

import fcntl
import os
import pathlib
import shutil
import subprocess

from kilntest import oci

SUITE = "bookworm"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]}


def _cache():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kiln/bases"


def layout():
    """The folder of an OCI layout with a minimal Debian, tagged `latest`; takes a minute the first time."""
    folder = _cache() / SUITE
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _make(folder)
    return folder


def _make(folder):
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    made = oci.Layout(fresh)
    tar = fresh / "root.tar"
    subprocess.run(["mmdebstrap", "--variant=minbase", "--quiet", SUITE, tar], check=True)
    layer = tar.read_bytes()
    tar.unlink()
    made.tag(made.image_of_blobs([made.blob(layer, LAYER)], [oci.digest(layer)], config=CONFIG), "latest")
    fresh.rename(folder)
