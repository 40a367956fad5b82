#!/usr/bin/env python3
"""A machine with another kernel, made by QEMU without any help of the processor, for as long as one command runs.

By hand:   tests/kernels/guest.py --kernel 6.1 --cgroups hybrid -- 'kiln --version'
"""

import argparse
import contextlib
import dataclasses
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# What the examples' scripts and the tests call.
PROGRAMS = [
    *("bash", "busybox", "cat", "chmod", "cp", "cut", "date", "dirname", "du", "find", "grep", "head", "id", "install"),
    *("ln", "ls", "mkdir", "mktemp", "mv", "printf", "readlink", "rm", "runc", "sed", "seq", "sha256sum", "sort"),
    *("stat", "tail", "tar", "touch", "tr", "true", "uname", "wc"),
]
END = "guest: exit "
APPEND = "console=ttyS0 quiet panic=-1 rdinit=/init"


@dataclasses.dataclass
class Outcome:
    output: str
    status: int | None  # None: the machine ended, or was ended, before the command did


class Files:
    """What the machine begins with, as a cpio archive of the form that kernels unpack (newc)."""

    def __init__(self):
        self.entries = {}

    def directory(self, path, mode=0o755):
        path = path.strip("/")
        if path and path not in self.entries:
            self.directory(str(pathlib.PurePosixPath(path).parent).strip("."))
            self.entries[path] = (stat.S_IFDIR | mode, b"")

    def file(self, path, data, mode=0o644):
        self.directory(str(pathlib.PurePosixPath(path).parent).strip("."))
        self.entries[path.strip("/")] = (stat.S_IFREG | mode, data)

    def copy(self, source, path):
        """A file with its mode, or a folder."""
        source = pathlib.Path(source)
        if source.is_dir():
            self.directory(path)
            for child in sorted(source.iterdir()):
                self.copy(child, f"{path}/{child.name}")
        else:
            self.file(path, source.read_bytes(), source.stat().st_mode & 0o777)

    def program(self, source, path):
        """A program without its symbols, and the libraries it asks for."""
        with tempfile.NamedTemporaryFile() as stripped:
            done = subprocess.run(["strip", "-o", stripped.name, source], stderr=subprocess.DEVNULL)
            self.file(path, pathlib.Path(stripped.name if done.returncode == 0 else source).read_bytes(), 0o755)
        listed = subprocess.run(["ldd", source], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for word in listed.stdout.split():
            if word.startswith("/") and pathlib.Path(word).exists():
                self.file(f"/rootfs{word}", pathlib.Path(word).read_bytes(), 0o755)

    def write(self, path):
        with pathlib.Path(path).open("wb") as out:
            for number, (name, (mode, data)) in enumerate([*self.entries.items(), ("TRAILER!!!", (0, b""))]):
                raw = name.encode() + b"\0"
                fields = (number + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
                out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + raw)
                out.write(b"\0" * (-(110 + len(raw)) % 4) + data + b"\0" * (-len(data) % 4))


def base_files(kernel):
    files = Files()
    for folder in ("dev", "proc", "new", "rootfs/bin", "rootfs/usr/bin", "rootfs/tmp", "rootfs/run", "rootfs/root"):
        files.directory(folder)
    for folder in ("dev", "proc", "sys", "var", "etc"):
        files.directory(f"rootfs/{folder}")
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is None:
            raise RuntimeError(f"the machine's tests need {name} here")
        files.program(found, f"/rootfs/usr/bin/{name}")
    busybox = shutil.which("busybox")
    for path in ("/bin/busybox", "/rootfs/bin/busybox", "/rootfs/bin/sh", "/rootfs/usr/bin/env"):
        files.copy(busybox, path)
    files.program(shutil.which("bash"), "/rootfs/bin/bash")
    files.file("/init", (HERE / "init").read_bytes(), 0o755)
    files.file("/rootfs/guest", (HERE / "guest").read_bytes(), 0o755)
    files.file("/rootfs/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    files.file("/rootfs/etc/group", b"root:x:0:\n")
    files.file("/rootfs/etc/hosts", b"127.0.0.1 localhost\n")
    files.file("/rootfs/etc/resolv.conf", b"nameserver 127.0.0.1\n")
    for module in sorted((kernel / "modules").iterdir()):
        files.copy(module, f"/modules/{module.name}")
    return files


def kernel_folder(series):
    done = subprocess.run([HERE / "kernel", series], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(done.stdout.strip())


def run(series, command, *, files=(), programs=(), cgroups="v2", memory_mb=384, overlay=True, timeout=120):
    """Runs `command` (of bash) as root of a machine with Linux `series`. `files`, `programs`: (here, path there)."""
    kernel = kernel_folder(series)
    begins_with = base_files(kernel)
    for here, there in programs:
        begins_with.program(here, f"/rootfs{there}")
    for here, there in files:
        begins_with.copy(here, f"/rootfs{there}")
    begins_with.file("/rootfs/command", f"{command}\n".encode(), 0o755)
    settings = f"CGROUPS={cgroups}\nOVERLAY={'yes' if overlay else 'no'}\n"
    begins_with.file("/rootfs/settings", settings.encode())
    begins_with.file("/settings", settings.encode())
    with tempfile.TemporaryDirectory() as work:
        initrd = pathlib.Path(work) / "initrd"
        begins_with.write(initrd)
        return _boot(kernel / "vmlinuz", initrd, memory_mb, timeout)


def _boot(image, initrd, memory_mb, timeout):
    qemu = [
        *("qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2"),
        *("-m", str(memory_mb), "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"),
        *("-kernel", image, "-initrd", initrd, "-append", APPEND),
    ]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(qemu, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        output = (done.stdout + done.stderr).decode(errors="replace").replace("\r", "")
        return Outcome(output, _status_in(output))
    return Outcome(f"the machine was ended after {timeout} s", None)


def _status_in(output):
    ends = [line for line in output.splitlines() if line.startswith(END)]
    return int(ends[-1].removeprefix(END)) if ends else None


def main():
    parser = argparse.ArgumentParser(description="runs a command with another kernel")
    parser.add_argument("--kernel", default="6.1", choices=("6.1", "6.12"))
    parser.add_argument("--cgroups", default="v2", choices=("v2", "hybrid", "none"))
    parser.add_argument("--memory", type=int, default=512, metavar="MB")
    parser.add_argument("--no-overlay", action="store_true", help="leave the kernel without overlayfs")
    parser.add_argument("--timeout", type=int, default=600, metavar="S")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    outcome = run(
        asked.kernel,
        " ".join(asked.command),
        programs=[(ROOT / "build/release/kiln", "/usr/bin/kiln"), (ROOT / "build/release/kiln", "/usr/bin/kilnd")],
        files=[(ROOT / "examples/hello", "/kiln/examples/hello"), (HERE / "builds", "/kiln/builds")],
        cgroups=asked.cgroups,
        memory_mb=asked.memory,
        overlay=not asked.no_overlay,
        timeout=asked.timeout,
    )
    print(outcome.output, end="")
    sys.exit(1 if outcome.status is None else outcome.status)


if __name__ == "__main__":
    main()
