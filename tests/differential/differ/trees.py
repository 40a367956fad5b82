"""Folders on disk from values, and the small languages in which trees are recorded."""

import dataclasses
import os
import pathlib

THEN = 1_000_000_000  # what is written has this time
NOW = 1_700_000_000  # later times are those of the run


@dataclasses.dataclass
class File:
    data: object = b""
    mode: int = 0o644
    time: int = THEN


@dataclasses.dataclass
class Folder:
    mode: int = 0o755
    time: int = THEN


@dataclasses.dataclass
class Link:
    """A symbolic link; with `hard`, another name of a file of the same tree."""

    to: str
    hard: bool = False
    time: int = THEN


def write(folder, spec):
    """{path: text, bytes, File, Folder, Link} becomes a folder; whatever is not said otherwise has the time THEN."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    times = {}
    for name, value in spec.items():
        path = folder / name
        value = File(value) if isinstance(value, (str, bytes)) else value
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(value, Folder):
            path.mkdir(exist_ok=True)
            path.chmod(value.mode)
        elif isinstance(value, Link) and value.hard:
            path.hardlink_to(folder / value.to)
        elif isinstance(value, Link):
            path.symlink_to(value.to)
        else:
            path.write_bytes(value.data.encode() if isinstance(value.data, str) else value.data)
            path.chmod(value.mode)
        times[path] = value.time
    for parent, folders, names in os.walk(folder, topdown=False):
        for name in [*names, *folders]:
            path = pathlib.Path(parent, name)
            os.utime(path, (times.get(path, THEN),) * 2, follow_symlinks=False)
    os.utime(folder, (THEN, THEN))
    return folder


def shown_time(seconds):
    return "now" if seconds > NOW else str(int(seconds))


def shown_data(data, digest):
    """Short text as it is, all else by its digest."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None and len(text) <= 60 and all(c.isprintable() or c == "\n" for c in text):
        return repr(text)
    return digest.removeprefix("sha256:")[:16]
