"""File systems in files: one to fill, one to lose power on."""

import contextlib
import fcntl
import itertools
import pathlib
import subprocess
import time

FICLONE = 0x40049409


class Disk:
    """An ext4 in an image file. `with Disk(image, folder, megabytes=64) as disk:` has it mounted on the folder; without
    a size the image is there already."""

    # Metadata reaches the image within a second; what files hold later, as on any ext4.
    OPTIONS = "loop,commit=1"

    def __init__(self, image, folder, megabytes=None):
        self.image, self.folder = pathlib.Path(image), pathlib.Path(folder)
        if megabytes:
            make_image(self.image, megabytes)
            run("mkfs.ext4", "-q", "-F", "-m", "0", self.image)

    def __enter__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-o", self.OPTIONS, self.image, self.folder)
        return self

    def __exit__(self, *_):
        run("umount", self.folder)

    def copy_as_it_is(self, image):
        """What is on the disk at this moment, as after a loss of power. The copy is made in one instant (the image lies
        on a file system that can): of writes in a row it has all up to one of them."""
        with self.image.open("rb") as source, pathlib.Path(image).open("wb") as copy:
            fcntl.ioctl(copy, FICLONE, source.fileno())


class CopyingDisk:
    """`with CopyingDisk(image, folder):` the folder is on a file system that copies images in an instant (XFS)."""

    def __init__(self, image, folder):
        self.image, self.folder = pathlib.Path(image), pathlib.Path(folder)

    def __enter__(self):
        make_image(self.image, 8192)
        run("mkfs.xfs", "-q", "-m", "reflink=1", self.image)
        self.folder.mkdir(parents=True)
        run("mount", "-o", "loop", self.image, self.folder)
        return self

    def __exit__(self, *_):
        try:
            self._unmount()
        finally:
            self.image.unlink()

    def _unmount(self, seconds=20):
        """A loop device lets go of its image a while after it was unmounted; where mounts are private, only when the
        last namespace has ended that was made meanwhile, of any program. The folder is free in any case."""
        done, end = _umount(self.folder), time.monotonic() + seconds
        while done.returncode != 0 and time.monotonic() < end:
            time.sleep(0.05)
            done = _umount(self.folder)
        if done.returncode != 0:
            holders = _holders(self.folder)
            run("umount", "--lazy", self.folder)
            assert not holders, f"{done.stderr.strip()} {holders}"


def _umount(folder):
    return subprocess.run(["umount", folder], capture_output=True, text=True)


def _holders(folder):
    """The processes that have a file of the folder open, or stand in it."""
    found = []
    for link in itertools.chain(*(pathlib.Path("/proc").glob(f"[0-9]*/{name}") for name in ("fd/*", "cwd", "root"))):
        with contextlib.suppress(OSError):
            if link.readlink().is_relative_to(folder):
                found.append(f"{link}: {link.readlink()}")
    return found


def make_image(path, megabytes):
    with path.open("wb") as image:
        image.truncate(megabytes << 20)


def run(*words):
    subprocess.run([str(word) for word in words], check=True)
