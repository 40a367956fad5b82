"""The real buildctl against a daemon."""

import json
import subprocess


class Buildctl:
    def __init__(self, program, address):
        self._command = [program, "--addr", address]

    def run(self, *arguments, check=True, **options):
        """The finished process, with stdout and stderr as text; a failure shows both."""
        command = [str(word) for word in (*self._command, *arguments)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def build(self, context, *arguments, output=None, dockerfile=None, metadata=None, **options):
        """Builds a folder with the Dockerfile frontend. `output` is the value of --output."""
        words = ["build", "--progress=plain", "--frontend=dockerfile.v0"]
        words += [f"--local=context={context}", f"--local=dockerfile={dockerfile or context}"]
        words += [f"--output={output}"] if output else []
        words += [f"--metadata-file={metadata}"] if metadata else []
        return self.run(*words, *arguments, **options)

    def records(self, *arguments):
        """What `du` lists, as JSON."""
        return json.loads(self.run("du", "--format", "{{json .}}", *arguments).stdout or "[]")
