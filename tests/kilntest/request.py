"""One build as a user asks for it, in the words of whichever client is used."""

import dataclasses
import pathlib


@dataclasses.dataclass
class Request:
    """`context` is a folder, or the URL of a remote context (a str, with `dockerfile` relative to it). `contexts` are
    folders of OCI image layouts with an image tagged `latest`, folders of files, or URLs; `outputs` values of --output;
    `secrets`, `ssh` and `allow` those of --secret, --ssh and --allow. `tags` and `flags` (more words of the command
    line) are for buildx and kiln."""

    context: pathlib.Path
    dockerfile: str = "Dockerfile"
    target: str = None
    args: dict = dataclasses.field(default_factory=dict)
    contexts: dict = dataclasses.field(default_factory=dict)
    outputs: list = dataclasses.field(default_factory=list)
    no_cache: bool = False
    metadata: pathlib.Path = None
    platform: str = None
    tags: list = dataclasses.field(default_factory=list)
    flags: list = dataclasses.field(default_factory=list)
    secrets: list = dataclasses.field(default_factory=list)
    ssh: list = dataclasses.field(default_factory=list)
    allow: list = dataclasses.field(default_factory=list)

    def shared_words(self):
        """Flags that mean the same to every client."""
        words = [f"--secret={value}" for value in self.secrets]
        words += [f"--ssh={value}" for value in self.ssh]
        return words + [f"--allow={value}" for value in self.allow]


def is_remote(context):
    return isinstance(context, str) and ("://" in context or "@" in context)


def is_layout(path):
    return (pathlib.Path(path) / "oci-layout").exists()


def write_context(folder, files):
    """Writes {relative path: text or bytes}; returns the folder."""
    folder = pathlib.Path(folder)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder
