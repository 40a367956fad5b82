"""What cases are built from and with: base images, servers, a daemon and a client. One room serves all cases."""

import contextlib
import pathlib
import shutil
import threading

from kilntest import gitserver, llb, oci
from kilntest.clients import Buildctl
from kilntest.registry import Registry
from kilntest.webserver import WebServer

from differ import images, ops, stock


class Room:
    """`with Room(folder) as room:`, then room.attach(buildctl program, address)."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.layout = oci.Layout(self.folder / "layout")
        self.roots = {}  # {name: descriptor of an image in the layout}
        self.known_layers = {}
        self.words = {str(self.folder): "<room>"}
        self._stack = contextlib.ExitStack()
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self):
        for name, make in stock.IMAGES.items():
            self._add_image(name, make)
        self.web = self._stack.enter_context(WebServer())
        stock.fill_web(self.web)
        self.words[self.web.host] = "<web>"
        repository = gitserver.Repository(self.folder / "git")
        self.commits = stock.fill_repository(repository)
        self.git = self._stack.enter_context(gitserver.GitWeb(self.folder / "git"))
        self.words[self.git.host] = "<git>"
        self.device_folders = stock.fill_devices(self.folder / "cdi")
        self.registry = self._stack.enter_context(Registry(self.folder / "registry"))
        self.registry.push_layout(self.layout.path, "base", "library/base:latest")
        self.words[self.registry.host] = "<registry>"
        return self

    def __exit__(self, *failure):
        return self._stack.__exit__(*failure)

    def _add_image(self, name, make):
        root = make(self.layout)
        self.layout.tag(root, name)
        self.roots[name] = root
        self.words[root["digest"]] = f"<{name}>"
        if name == "base":
            (layer,) = oci.read_json(self.layout.path, root)["layers"]
            self.words[layer["digest"]] = "<base layer>"
            self.known_layers[layer["digest"]] = "base"
            self.base_tree = images.describe_bytes(oci.layer_tar(images.base_entries()))

    def attach(self, program, address):
        self.client = Buildctl(program, address)
        # A daemon that knows an image by name and digest does not ask for it again: so it is for all cases.
        self.client.run("build", *self.store_words(), stdin=llb.definition(self.base))
        return self

    def daemon_config(self):
        registry = f'[registry."{self.registry.host}"]\nhttp = true\ninsecure = true\n'
        folders = ", ".join(f'"{path}"' for path in self.device_folders)
        return f'{registry}[cdi]\nspecDirs = [{folders}]\nautoAllowed = ["diff.test/auto"]\n'

    def daemon_options(self):
        allowed = ("network.host", "security.insecure")
        return {"arguments": [f"--allow-insecure-entitlement={one}" for one in allowed]}

    @property
    def base(self):
        return self.image("base")

    def image(self, name, platform=llb.PLATFORM, **attributes):
        """A source of an image in a client's layout; attributes as oci_layerlimit="1"."""
        attributes = {"oci_store": "stock", **attributes}
        return ops.source(f"oci-layout://stock/{name}@{self.digest(name)}", attributes, platform)

    def digest(self, name):
        return self.roots[name]["digest"]

    def space(self):
        """A fresh folder."""
        with self._lock:
            self._count += 1
            path = self.folder / f"run{self._count}"
        path.mkdir()
        return path

    def store_words(self):
        """The words of a command line by which a client offers the images."""
        return [f"--oci-layout=stock={self.layout.path}"]

    def dockerfile_words(self, space):
        """… by which it builds the Dockerfile in space/dockerfile, with the images by name."""
        words = [
            "--frontend=dockerfile.v0",
            f"--local=context={space}/context",
            f"--local=dockerfile={space}/dockerfile",
        ]
        return words + [f"--opt=context:{name}=oci-layout:stock@{self.digest(name)}" for name in self.roots]

    def observe(self, case):
        """What the case does, as plain values."""
        space = self.space()
        try:
            return case.observe(self, space)
        finally:
            shutil.rmtree(space, ignore_errors=True)
