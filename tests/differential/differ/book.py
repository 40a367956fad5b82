"""The records of buildkitd, and where kiln differs on purpose."""

import difflib
import functools
import json
import pathlib
import re

from kilntest import busybox, oci

from differ import different

RECORDS = pathlib.Path(__file__).parents[1] / "records"
WIDTH = 140
# What most images say is not recorded.
USUAL = {
    "index": [
        {
            "mediaType": oci.MANIFEST,
            "annotations": {"org.opencontainers.image.created": "now"},
            "platform": {"architecture": "amd64", "os": "linux"},
        }
    ],
    "manifest": {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": {"mediaType": oci.CONFIG}},
    "config": {"Env": [f"PATH={busybox.PATH}"], "WorkingDir": "/"},
    "reply": {
        "containerimage.config.digest": "sha256:*",
        "containerimage.descriptor": {
            "annotations": {"org.opencontainers.image.created": "now"},
            "mediaType": oci.MANIFEST,
            "platform": {"architecture": "amd64", "os": "linux"},
        },
        "containerimage.digest": "<root>",
    },
}
BASIS = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers"}, "created": "now"}


def path(group):
    return RECORDS / f"{group}.json"


@functools.cache
def read(group):
    return json.loads(path(group).read_text()) if path(group).exists() else {}


def write(group, seen):
    path(group).write_text(dumps(seen) + "\n")


def wanted(case):
    """What kiln has to do: as recorded, but for what is different on purpose."""
    recorded = read(case.group)
    assert case.id in recorded, f"{case.id} is not recorded (tests/differential/record)"
    return different.observations().get(case.id, recorded[case.id])


def normal(seen):
    """An observation as it is in a file, without what is usual."""
    seen = json.loads(json.dumps(seen))
    if seen.get("reply") == USUAL["reply"]:
        del seen["reply"]
    for value in seen.values():
        if not isinstance(value, dict) or "images" not in value:
            continue
        if value.get("index") == USUAL["index"]:
            del value["index"]
        value["images"] = [_image(one) for one in value["images"]]
    return seen


def _image(image):
    for part in image.get("manifests", []):
        _image(part)
    if image.get("manifest") == USUAL["manifest"]:
        del image["manifest"]
    config = image.get("config", {})
    for key, value in BASIS.items():
        if config.get(key) == value:
            del config[key]
    if config.get("config") == USUAL["config"]:
        del config["config"]
    if isinstance(config.get("history"), list):
        config["history"] = [_history(one) for one in config["history"]]
    image["layers"] = [_layer(one) for one in image.get("layers", [])]
    return image


def _history(entry):
    if isinstance(entry, dict):
        return " | ".join(f"{key}: {entry[key]}" for key in sorted(entry))
    return entry


def _layer(layer):
    if isinstance(layer, str):
        return layer
    if layer.get("mediaType") == oci.LAYER_GZIP:
        del layer["mediaType"]
        if layer.get("packed") == "gzip":
            del layer["packed"]
    return layer["is"] if set(layer) == {"is"} else layer


def dumps(value, indent=""):
    """JSON whose lines are not short without need."""
    flat = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(indent) + len(flat) <= WIDTH or not isinstance(value, (dict, list)):
        return flat
    inner = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(inner + dumps(one, inner) for one in value) + "\n" + indent + "]"
    lines = [f"{inner}{json.dumps(key, ensure_ascii=False)}: {dumps(value[key], inner)}" for key in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def eased(wanted, seen):
    """`seen` without what is not defined: where `wanted` has a folder with a time of the run, its time is chance (work
    inside touches it, mount points come and go), and with it the digest of the layer."""
    if isinstance(wanted, dict) and isinstance(seen, dict):
        seen = {key: eased(wanted.get(key), value) for key, value in seen.items()}
        if "entries" in wanted and "diff" not in wanted:
            seen.pop("diff", None)
        return seen
    if isinstance(wanted, list) and isinstance(seen, list):
        touched = {name for name in map(_touched, wanted) if name}
        if touched:
            return [_at_chance(one) if _folder(one) in touched else one for one in seen]
        if len(wanted) == len(seen):
            return [eased(one, other) for one, other in zip(wanted, seen, strict=True)]
    return seen


FOLDER = re.compile(r"(d \d+(?: \d+:\d+)?) (\d+|now) (.*)")


def _folder(line):
    found = FOLDER.fullmatch(line) if isinstance(line, str) else None
    return found.group(3).rstrip("/") if found else None


def _touched(line):
    return (
        _folder(line)
        if isinstance(line, str) and FOLDER.fullmatch(line) and FOLDER.fullmatch(line).group(2) == "now"
        else None
    )


def _at_chance(line):
    return FOLDER.sub(r"\1 now \3", line)


def difference(wanted, seen):
    """A unified diff of two observations, empty if they are the same."""
    lines = [dumps(one).splitlines() for one in (wanted, seen)]
    return "\n".join(difflib.unified_diff(*lines, "buildkitd", "kiln", lineterm="", n=2))
