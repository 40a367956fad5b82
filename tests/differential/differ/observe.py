"""What one build did, as plain values in which nothing depends on when and where it ran."""

import base64
import dataclasses
import json
import pathlib
import re
import tarfile

from differ import images

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
BLOB = re.compile(r"\b[0-9a-f]{64}\b")
ID = re.compile(r"\b(?=[0-9]*[a-z])(?=[a-z]*[0-9])[0-9a-z]{25}\b")
# buildkitd's own names: of a state with another one merged in, of where it mounted something to work on it.
TWO_IDS = re.compile("<id>::<id>")
MOUNTED = re.compile(r"/[^ ]*/cachemounts/buildkit\d+")
# A layer is described by whoever pulled it first, if that happened at all.
PULLED = re.compile(r"pulled from [^ |\"]+|created by buildkit")
# The same commit by another name is the same layer, described by whoever asked first.
REVISION = re.compile(r"(?<=git snapshot for http://<git>/repo\.git)#[^ |\"]+")
# kiln says of what kind an error is, and the client prints that before the text.
KIND = re.compile(
    r"(?<=error: failed to solve: )(InvalidArgument|NotFound|PermissionDenied|Unavailable|FailedPrecondition): "
)
# When a build fails at once, the client's two halves race for who says so.
HALF = re.compile(r"(?<=error: )failed to run Build function(?=: )")
SECONDS = re.compile(r"\b\d+\.\d+s\b")


STREAMS = {1: "out", 2: "err"}


@dataclasses.dataclass
class Words:
    """Replaces in text what belongs to one run: {value: name}."""

    known: dict

    def clean_known(self, text):
        for value, name in self.known.items():
            text = text.replace(value, name)
        return REVISION.sub("", PULLED.sub("pulled", text))

    def clean_archived(self, text):
        return BLOB.sub("<blob>", text)

    def clean(self, text):
        text = self.clean_known(text)
        return neutral(SECONDS.sub("<seconds>", ID.sub("<id>", DIGEST.sub("sha256:*", text))))


def neutral(text):
    parts = ((PULLED, "pulled"), (MOUNTED, ""), (TWO_IDS, "<id>"), (HALF, "failed to solve"), (KIND, ""))
    for pattern, name in parts:
        text = pattern.sub(name, text)
    return text


def progress(stderr):
    """({digest: vertex}, {digest: log}, {digest: status ids}, what is no progress) of --progress=rawjson."""
    vertices, logs, statuses, rest = {}, {}, {}, []
    for line in stderr.splitlines():
        try:
            update = json.loads(line)
        except json.JSONDecodeError:
            rest.append(line)
            continue
        if not isinstance(update, dict):
            rest.append(line)
            continue
        for one in update.get("vertexes") or []:
            vertices.setdefault(one["digest"], {}).update(one)
        for one in update.get("logs") or []:
            streams = logs.setdefault(one["vertex"], {})
            streams[one["stream"]] = streams.get(one["stream"], b"") + base64.b64decode(one["data"])
        for one in update.get("statuses") or []:
            statuses.setdefault(one["vertex"], {})[one["id"]] = True
    return vertices, logs, statuses, "\n".join(rest)


def steps(done, words, with_logs):
    """One list for each vertex, sorted: name, what became of it, its log. When a build fails, how far its other steps
    come is a matter of luck."""
    vertices, logs, statuses, _ = progress(done.stderr)
    found = []
    for digest, one in vertices.items():
        name = words.clean(one.get("name", ""))
        line = [name]
        if "context canceled" in one.get("error", ""):
            pass  # what was under way when another step failed, or when its result was no longer needed
        elif one.get("error"):
            line.append("error: " + words.clean(one["error"]))
        elif done.returncode == 0 and not one.get("completed"):
            line.append("not completed" if one.get("started") else "not started")
        if with_logs:
            for stream, text in sorted(logs.get(digest, {}).items()):
                line.append(f"{STREAMS[stream]}: " + words.clean(text.decode(errors="replace")))
        if name.startswith("exporting") and not one.get("error"):
            line += sorted(words.clean(status) for status in statuses.get(digest, {}))
        found.append(line)
    return sorted(found)


def cached(stderr, words):
    """[name, whether it came from the cache] of every vertex."""
    vertices = progress(stderr)[0].values()
    return sorted([words.clean(one.get("name", "")), bool(one.get("cached"))] for one in vertices)


def error(done, words):
    """The text of a failure with its excerpt."""
    if done.returncode == 0:
        return {}
    text = words.clean(progress(done.stderr)[3])
    return {"error": [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("time=")]}


def reply(path):
    """What the metadata file says."""
    if not pathlib.Path(path).exists():
        return {}
    values = json.loads(pathlib.Path(path).read_text())
    return {key: values[key] for key in sorted(values) if not key.startswith("buildx.build")}


def shown_reply(values, words):
    shown = {}
    for key, value in values.items():
        if key == "containerimage.descriptor":
            value = {one: value[one] for one in value if one not in ("digest", "size")}
            if "annotations" in value:
                created = value["annotations"].get("org.opencontainers.image.created")
                value["annotations"] = {
                    **value["annotations"],
                    **({"org.opencontainers.image.created": images.shown_created(created)} if created else {}),
                }
        shown[key] = json.loads(words.clean(json.dumps(value)))
    return shown


def folder(path):
    """A folder that was exported, one line for each entry; the client owns all of it."""
    lines = []
    with tarfile.open("/dev/null", "w") as tar:
        for one in sorted(pathlib.Path(path).rglob("*")):
            info = tar.gettarinfo(one, arcname=str(one.relative_to(path)))
            data = one.read_bytes() if info.isreg() else b""
            line = f"{images.KINDS[info.type]} {info.mode:o} {images.trees.shown_time(info.mtime)} {info.name}"
            if info.issym() or info.islnk():
                line += f" -> {info.linkname}"
            elif info.isreg():
                line += f" {len(data)} {images.trees.shown_data(data, images.oci.digest(data))}"
            lines.append(line)
    return lines
