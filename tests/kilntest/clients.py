"""Whoever asks a daemon (or its own engine) for a build: buildctl, buildx, kiln. They all have `build(request)`."""

import json
import os
import pathlib
import subprocess

from kilntest import reports
from kilntest.request import Request, is_layout, is_remote

BUILDX_BUILDER = "kilntest"


class Client:
    """Subclasses have `words(request)`: the whole command line; and `environment`, additions to the environment."""

    environment = {}

    def environ(self):
        # pytest changes a variable of its own while other threads read them.
        own = {name: value for name in os.environ if (value := os.environ.get(name)) is not None}
        return {**own, **self.environment}

    def start(self, request, **options):
        """The running process, stdout and stderr as pipes with text."""
        return subprocess.Popen(
            [str(word) for word in self.words(request)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ(),
            **options,
        )

    def build(self, request, check=True):
        """The finished process, with stdout and stderr as text; a failure shows both."""
        return self.execute(self.words(request), check=check)

    def execute(self, words, *, check=True, stdin=None):
        """`stdin`: bytes for standard input."""
        words = [str(word) for word in words]
        done = subprocess.run(words, capture_output=True, input=stdin or b"", env=self.environ(), check=False)
        done.stdout, done.stderr = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        reports.check(words[0], done.stderr)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done


class Buildctl(Client):
    name = "buildctl"

    def __init__(self, program, address, flags=()):
        """`flags`: of buildctl itself, such as --tlscacert."""
        self._command = [program, "--addr", address, *flags]

    def run(self, *arguments, check=True, stdin=None):
        return self.execute([*self._command, *arguments], check=check, stdin=stdin)

    def records(self, *arguments):
        """What `du` lists, as JSON."""
        return json.loads(self.run("du", "--format", "{{json .}}", *arguments).stdout) or []

    def words(self, request: Request):
        words = [*self._command, "build", "--progress=plain", "--frontend=dockerfile.v0"]
        if is_remote(request.context):
            words += [f"--opt=context={request.context}", f"--opt=filename={request.dockerfile}"]
        else:
            context = pathlib.Path(request.context)
            words += [f"--local=context={context}", f"--local=dockerfile={(context / request.dockerfile).parent}"]
            words += [f"--opt=filename={pathlib.Path(request.dockerfile).name}"]
        words += [f"--opt=target={request.target}"] if request.target else []
        words += [f"--opt=platform={request.platform}"] if request.platform else []
        words += [f"--opt=build-arg:{key}={value}" for key, value in request.args.items()]
        for name, path in request.contexts.items():
            if is_remote(path):
                words += [f"--opt=context:{name}={path}"]
            elif is_layout(path):
                digest = json.loads((pathlib.Path(path) / "index.json").read_text())["manifests"][0]["digest"]
                words += [f"--oci-layout={name}={path}", f"--opt=context:{name}=oci-layout:{name}@{digest}"]
            else:
                words += [f"--local={name}={path}", f"--opt=context:{name}=local:{name}"]
        words += [f"--output={output}" for output in request.outputs]
        words += ["--no-cache"] if request.no_cache else []
        words += [f"--metadata-file={request.metadata}"] if request.metadata else []
        return words + request.shared_words()


def _docker_words(request: Request):
    """The flags that buildx and kiln have in common."""
    remote = is_remote(request.context)
    context = request.context if remote else pathlib.Path(request.context)
    words = ["--progress=plain", "--file", request.dockerfile if remote else context / request.dockerfile]
    words += ["--target", request.target] if request.target else []
    words += ["--platform", request.platform] if request.platform else []
    for tag in request.tags:
        words += ["--tag", tag]
    for key, value in request.args.items():
        words += ["--build-arg", f"{key}={value}"]
    for name, path in request.contexts.items():
        value = f"oci-layout://{path}:latest" if not is_remote(path) and is_layout(path) else path
        words += ["--build-context", f"{name}={value}"]
    for output in request.outputs:
        words += ["--output", output]
    words += ["--no-cache"] if request.no_cache else []
    words += ["--metadata-file", request.metadata] if request.metadata else []
    return [*words, *request.shared_words(), *request.flags, context]


class Buildx(Client):
    """buildx with the remote driver; its settings live in a folder of the test's own."""

    name = "buildx"

    def __init__(self, program, address, folder, options=()):
        """`options`: of the driver, KEY=VALUE."""
        self._program = program
        # Provenance is a later matter: asked for by default when it is announced.
        self.environment = {"BUILDX_CONFIG": str(folder), "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        words = [word for option in options for word in ("--driver-opt", option)]
        self.execute([program, "create", "--name", BUILDX_BUILDER, "--driver", "remote", *words, address])

    def run(self, *arguments, check=True):
        return self.execute([self._program, *arguments], check=check)

    def words(self, request: Request):
        return [self._program, "build", "--builder", BUILDX_BUILDER, *_docker_words(request)]


class Kiln(Client):
    """`kiln build`: embedded with a root of its own, or through a daemon."""

    def __init__(self, program, *, root=None, address=None, config=None, flags=()):
        """`flags`: where the engine is and how to talk to it, such as --tlscacert."""
        self.name = "kiln" if address else "kiln embedded"
        self._program = program
        self._where = ["--addr", address, *flags] if address else ["--root", root]
        self._where += ["--config", config] if config else []
        self.environment = {"BUILDKIT_HOST": "", "KILN_HOST": ""}

    def run(self, *arguments, check=True):
        return self.execute([self._program, *arguments], check=check)

    def words(self, request: Request):
        return [self._program, "build", *self._where, *_docker_words(request)]
