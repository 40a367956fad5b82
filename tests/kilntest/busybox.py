"""A base image with a shell, from the machine's own static busybox: no network, the same bytes every time."""

import pathlib
import subprocess

from kilntest import oci

BINARY = pathlib.Path("/bin/busybox")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def entries():
    """The members of its one layer: /bin/busybox, a link for each applet, /etc/{passwd,group}, /tmp."""
    applets = subprocess.run([BINARY, "--list"], check=True, capture_output=True, text=True).stdout.split()
    folders = ["bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var"]
    return [
        *(oci.directory(name) for name in folders),
        oci.directory("tmp", 0o1777),
        oci.Entry("bin/busybox", BINARY.read_bytes(), 0o755),
        *(oci.symlink(f"bin/{name}", "busybox") for name in sorted(applets) if name != "busybox"),
        oci.symlink("usr/bin/env", "../../bin/busybox"),
        oci.Entry("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        oci.Entry("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
    ]


def write_layout(path, name="latest"):
    """Writes an image layout with the one image, tagged `name`; returns the Layout."""
    layout = oci.Layout(path)
    image = layout.image([entries()], config={"Env": [f"PATH={PATH}"], "Cmd": ["sh"]})
    layout.tag(image, name)
    return layout
