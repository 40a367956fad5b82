"""kiln as a static program: it needs nothing of the machine it runs on, and finds names as other programs do."""

import os
import shutil
import stat
import subprocess

import pytest
from kilntest import wait
from kilntest.nameworld import PORT, NameWorld

pytestmark = pytest.mark.kiln_only

BARE = """\
mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/tmp" &&
chroot "$0" /kiln build --root /state --output type=local,dest=/out /context
"""

# A module for name services that offers none, and leaves a note that it was loaded.
TRAP = """\
#include <fcntl.h>
#include <stdlib.h>
__attribute__((constructor)) static void loaded(void) {
  const char* note = getenv("TRAP");
  if (note) open(note, O_CREAT | O_WRONLY, 0644);
}
"""
FILES = {
    "/etc/nsswitch.conf": "".join(f"{name}: trap files dns\n" for name in ("hosts", "passwd", "group", "services")),
    "/etc/hosts": "127.0.0.1 localhost in-hosts\n::1 localhost six-in-hosts\n",
    "/etc/resolv.conf": "nameserver 127.0.0.1\nsearch other.test kiln.test\n",
    "/etc/group": "root:x:0:\nbuilders:x:4711:\n",
}
RECORDS = {
    "full.kiln.test": ("127.0.0.1",),
    "short.kiln.test": ("127.0.0.1",),
    "six.kiln.test": ("::1",),
}
# How an address looks to a server that takes both families.
V4, V6 = "::ffff:127.0.0.1", "::1"
SEEN = {"in-hosts": V4, "six-in-hosts": V6, "full.kiln.test": V4, "short": V4, "six.kiln.test": V6, "six": V6}


def test_no_library_is_asked_for(kiln):
    said = subprocess.run(["readelf", "-lWd", kiln], check=True, capture_output=True, text=True).stdout
    assert "Shared library" not in said
    assert "interpreter" not in said
    assert "DYN (" in said, "it is loaded at an address of chance"


def test_builds_in_a_root_without_libraries(kiln, tmp_path, unchanged_host):
    root = tmp_path / "root"
    for name in ("proc", "tmp", "dev", "context"):
        (root / name).mkdir(parents=True)
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    shutil.copy(kiln, root / "kiln")
    # Some runtime must be there; none of the steps needs it.
    (root / "runc.c").write_text('#include <stdio.h>\nint main(void) { return puts("runc version 1.1.5") < 0; }\n')
    (root / "bin").mkdir()
    subprocess.run(["gcc", "-static", root / "runc.c", "-o", root / "bin/runc"], check=True)
    (root / "context/Dockerfile").write_text("FROM scratch\nCOPY text /copied\n")
    (root / "context/text").write_text("here\n")
    subprocess.run(["unshare", "--mount", "sh", "-c", BARE, root], check=True, env={"PATH": os.environ["PATH"]})
    assert (root / "out/copied").read_text() == "here\n"


@pytest.fixture
def trap(tmp_path):
    """The environment in which such modules are found, and the note that appears when one is loaded."""
    (tmp_path / "trap.c").write_text(TRAP)
    (tmp_path / "lib").mkdir()
    library = tmp_path / "lib/libnss_trap.so.2"
    subprocess.run(["gcc", "-shared", "-fPIC", tmp_path / "trap.c", "-o", library], check=True)
    note = tmp_path / "note"
    return {**os.environ, "LD_LIBRARY_PATH": str(library.parent), "TRAP": str(note)}, note


@pytest.fixture
def world(tmp_path):
    with NameWorld(tmp_path / "world", FILES, RECORDS) as world:
        yield world


def test_names_are_found_without_the_modules_of_the_machine(kiln, tmp_path, world, trap, unchanged_host):
    environment, note = trap
    context = tmp_path / "context"
    context.mkdir()
    lines = [f"ADD http://{name}:{PORT}/{name} /{name}\n" for name in SEEN]
    (context / "Dockerfile").write_text("FROM scratch\n" + "".join(lines))
    words = [kiln, "build", "--root", tmp_path / "state", "--output", f"type=local,dest={tmp_path}/out", context]
    done = subprocess.run([*world.prefix, *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: (tmp_path / "out" / name).read_text() for name in SEEN} == SEEN
    assert "short.other.test" in world.asked(), "search domains are tried in their order"
    assert "in-hosts" not in world.asked(), "what the file knows is not asked for"
    assert not note.exists()
    # The trap is one: any other program falls into it.
    subprocess.run([*world.prefix, "getent", "ahosts", "full.kiln.test"], env=environment, check=True)
    assert note.exists()


def test_a_name_that_nobody_knows_is_an_error(kiln, tmp_path, world, trap):
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM scratch\nADD http://nobody.kiln.test:{PORT}/x /x\n")
    words = [*world.prefix, kiln, "build", "--root", tmp_path / "state", context]
    done = subprocess.run(words, env=trap[0], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "resolve host: nobody.kiln.test" in done.stderr
    assert not trap[1].exists()


def test_groups_and_listening_addresses_are_found_by_name(kilnd, tmp_path, world, trap):
    environment, note = trap
    address = tmp_path / "kilnd.sock"
    words = ["--root", tmp_path / "state", "--group", "builders", "--addr", f"unix://{address}"]
    words += ["--addr", f"tcp://full.kiln.test:{PORT + 1}"]
    daemon = subprocess.Popen([*world.prefix, kilnd, *words], env=environment, stderr=subprocess.DEVNULL)
    try:
        connect = f"exec 3<>/dev/tcp/127.0.0.1/{PORT + 1}"
        listens = lambda: subprocess.run([*world.prefix, "bash", "-c", connect], capture_output=True)  # noqa: E731
        wait.until(lambda: address.exists() and listens().returncode == 0, "kilnd listens")
        assert address.stat().st_gid == 4711
    finally:
        daemon.terminate()
        daemon.wait(20)
    assert not note.exists()
