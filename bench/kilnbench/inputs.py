"""What is built: the same bytes in every run on one machine."""

import functools
import itertools
import multiprocessing
import pathlib
import random
import zlib

from kilntest import busybox, oci

MIB = 1 << 20
DIRECTORY_FILES = 100


def _elsewhere(function):
    """Runs it in a process of its own: what a child of ours is said to have used at most is never less than we did."""

    @functools.wraps(function)
    def run(*arguments):
        process = multiprocessing.get_context("fork").Process(target=function, args=arguments)
        process.start()
        process.join()
        if process.exitcode != 0:
            raise RuntimeError(f"{function.__name__} failed")

    return run


@_elsewhere
def small_files(folder, count):
    """`count` files of 100 to 1,500 bytes, a hundred in each directory."""
    source = random.Random(1)
    for start in range(0, count, DIRECTORY_FILES):
        directory = folder / f"d{start // DIRECTORY_FILES:04}"
        directory.mkdir(parents=True)
        for index in range(start, min(start + DIRECTORY_FILES, count)):
            (directory / f"f{index:06}.txt").write_bytes(source.randbytes(source.randint(50, 750)).hex().encode())


def _installed():
    """The bytes of what is installed on this machine, over and over: programs, libraries, headers, documents."""
    files = sorted(path for path in pathlib.Path("/usr").rglob("*") if path.is_file() and not path.is_symlink())
    for path in itertools.cycle(files):
        with path.open("rb") as file:
            while data := file.read(MIB):
                yield data


def blocks(mebibytes):
    """Blocks of 1 MiB that compress as an image's files do."""
    rest = bytearray()
    installed = _installed()
    for _ in range(mebibytes):
        while len(rest) < MIB:
            rest += next(installed)
        yield bytes(rest[:MIB])
        del rest[:MIB]


@_elsewhere
def big_files(folder, mebibytes):
    """Files of 16 MiB each."""
    folder.mkdir(parents=True)
    file = None
    for index, block in enumerate(blocks(mebibytes)):
        if index % 16 == 0:
            file = (folder / f"part{index // 16:03}").open("wb")
        file.write(block)
        if index % 16 == 15:
            file.close()
    if not file.closed:
        file.close()


def base_layout(path):
    return busybox.write_layout(path).path


@_elsewhere
def big_layout(path, mebibytes):
    """An image layout with busybox and, in one gzip layer above it, big files; tagged `latest`."""
    layout = oci.Layout(path)
    members = [oci.directory("big")]
    taken = []
    for index, block in enumerate(blocks(mebibytes)):
        taken.append(block)
        if index % 16 == 15 or index == mebibytes - 1:
            members.append(oci.Entry(f"big/part{index // 16:03}", b"".join(taken)))
            taken = []
    tars = [oci.layer_tar(busybox.entries()), oci.layer_tar(members)]
    packed = [_gzip(tar) for tar in tars]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": oci.EPOCH,
        "config": {"Env": [f"PATH={busybox.PATH}"]},
        "rootfs": {"type": "layers", "diff_ids": [oci.digest(tar) for tar in tars]},
        "history": [{"created": oci.EPOCH} for _ in tars],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST,
        "config": layout.json_blob(document, oci.CONFIG),
        "layers": [layout.blob(data, oci.LAYER_GZIP) for data in packed],
    }
    layout.tag(layout.json_blob(manifest, oci.MANIFEST), "latest")


def _gzip(data):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()
