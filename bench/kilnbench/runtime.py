"""What the OCI runtime itself takes for a step that does nothing: nobody who uses it can be faster."""

import json
import shutil
import subprocess
import time

from kilntest import busybox


def bare_runtime_seconds(folder):
    """`runc run` of a bundle whose process is /bin/true."""
    root = folder / "rootfs"
    for name in ("bin", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox.BINARY, root / "bin/busybox")
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    path = folder / "config.json"
    spec = json.loads(path.read_text())
    spec["process"] |= {"terminal": False, "args": ["/bin/busybox", "true"]}
    path.write_text(json.dumps(spec))
    start = time.perf_counter()
    subprocess.run(
        ["runc", "--root", folder / "state", "run", folder.name],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start
