"""A base image with programs of this machine and the libraries they need, for steps that want more than busybox."""

import pathlib
import re
import shutil
import subprocess

from kilntest import busybox, oci

LIBRARY = re.compile(r"(?:=> )?(/\S+) \(0x")


def needed(program):
    """The libraries that the dynamic loader takes for a program, and the loader."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    return {pathlib.Path(path) for path in LIBRARY.findall(said)}


def entries(programs, links=()):
    """Members of a layer over busybox': programs where they are here, their libraries, and links {path: target}."""
    paths = {pathlib.Path(shutil.which(name) or name) for name in programs}
    files = set(paths)
    for path in paths:
        files |= needed(path)
    # Folders that are links here (/lib → usr/lib) are plain ones there.
    folders = {str(parent)[1:] for path in files for parent in path.parents if str(parent) != "/"}
    for link, _ in links:
        folders |= {str(parent) for parent in pathlib.Path(link).parents if str(parent) != "."}
    made = [oci.directory(name) for name in sorted(folders)]
    made += [oci.Entry(str(path)[1:], path.read_bytes(), 0o755) for path in sorted(files)]
    return made + [oci.symlink(path, target) for path, target in links]


def write_layout(path, programs, links=()):
    """An image layout with the one image, tagged `latest`; returns its folder."""
    layout = oci.Layout(path)
    layers = [busybox.entries(), entries(programs, links)]
    layout.tag(layout.image(layers, config={"Env": [f"PATH={busybox.PATH}"], "Cmd": ["sh"]}), "latest")
    return layout.path
