"""A file system for one case: gone in an instant, and with a journal that nobody else writes to."""

import contextlib
import pathlib
import subprocess
import tempfile

SIZE = 30 << 30
MAKE = ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-N", "2000000"]


@contextlib.contextmanager
def scratch_disk(where):
    """A folder on an ext4 of its own in a sparse file under `where` (a folder, or None: TMPDIR). Removing the 50,000
    files that each build leaves would take longer than the builds, where every unlink is told to the disk."""
    with tempfile.TemporaryDirectory(prefix="kiln-bench.", dir=where) as folder:
        image, mounted = pathlib.Path(folder) / "disk", pathlib.Path(folder) / "on"
        mounted.mkdir()
        with image.open("wb") as file:
            file.truncate(SIZE)
        subprocess.run([*MAKE, image], check=True)
        subprocess.run(["mount", "-o", "loop,noinit_itable", image, mounted], check=True)
        try:
            yield mounted
        finally:
            # Lazily, should a process of a failed case still have files open.
            subprocess.run(["umount", "--lazy", mounted], check=True)
