"""The Dockerfile language, case by case: small requests to the frontend, what the real daemon turned each into, and
what this one does. See tests/language/README.md for the format of the files."""

import dataclasses
import gzip
import json
import pathlib
import re
import subprocess

from kilntest import oci, webserver

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "language"
RECORD = FOLDER / "record.jsonl"
SETTING = re.compile(r"@(opt|file|local|input|raw|only) ?(.*)")


@dataclasses.dataclass
class Case:
    id: str
    rule: str
    dockerfile: bytes = b""
    opts: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)  # of the context, the Dockerfile among them
    locals: dict = dataclasses.field(default_factory=dict)  # name → files
    inputs: dict = dataclasses.field(default_factory=dict)  # name → files

    def question(self, folder, places):
        """The request for `peer lower`, with its folders written below `folder`; {names} of `places` are filled in."""
        folder = pathlib.Path(folder) / self.id.replace("/", "_")
        context = write(folder / "context", {"Dockerfile": self.dockerfile, **self.files}, places)
        mounts = {"context": str(context), "dockerfile": str(context)}
        for name, files in self.locals.items():
            mounts[name] = str(write(folder / name, files, places))
        opts = {key: fill(value, places) for key, value in self.opts.items()}
        return {"ID": self.id, "Opts": opts, "Locals": mounts, "Inputs": self.inputs}


def fill(text, places):
    for name, value in places.items():
        text = text.replace("{" + name + "}", value)
    return text


def write(folder, files, places):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = content if isinstance(content, bytes) else content.encode()
        content = fill(content.decode("utf-8", "surrogateescape"), {**places, "longline": LONG_LINE})
        content = content.encode("utf-8", "surrogateescape")
        if content == b"<absent>":
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
    return folder


def unescape(text):
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")


def apply(case, word, rest):
    key, _, value = rest.partition("=")
    if word == "opt":
        case.opts[key] = unescape(value)
    elif word == "file":
        case.files[key] = unescape(value)
    elif word == "raw":
        case.dockerfile = json.loads(rest).encode("utf-8", "surrogateescape")
    else:
        name, _, path = key.partition(":")
        files = (case.locals if word == "local" else case.inputs).setdefault(name, {})
        files[path] = unescape(value)


def read_file(path):
    """{rule: (text, [Case])}"""
    rules, rule, case, body = {}, None, None, []

    def close():
        nonlocal case
        if case is not None and not case.dockerfile:
            case.dockerfile = ("\n".join(body).rstrip("\n") + "\n").encode()
        case = None

    for line in path.read_text().split("\n"):
        if line.startswith("== "):
            close()
            name, _, text = line[3:].partition(" ")
            assert name not in rules, f"{path}: rule {name} twice"
            rule = name
            rules[rule] = (text, [])
        elif line.startswith("-- "):
            close()
            body = []
            case = Case(f"{rule}/{line[3:].strip()}", rule)
            rules[rule][1].append(case)
        elif case is not None:
            setting = SETTING.fullmatch(line) if not body else None
            if setting:
                apply(case, *setting.groups())
            else:
                body.append(line)
    close()
    return rules


def rules():
    """{rule: (text, [Case])} of all files."""
    found = {}
    for path in sorted(FOLDER.glob("*.cases")):
        for rule, row in read_file(path).items():
            assert rule not in found, f"rule {rule} stands in two files"
            found[rule] = row
    return found


def cases():
    return [case for _, row in rules().values() for case in row]


# Images that the cases begin with. Nothing reads their layers.
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGES = {
    "base": {"Env": [PATH, "FROMBASE=yes"], "Cmd": ["/bin/sh"], "WorkingDir": "/"},
    "plain": {"Env": [PATH], "Cmd": ["/bin/sh"]},
    "rich": {
        "User": "nobody", "Env": [PATH, "A=1", "EMPTY=", "NOVALUE"], "Entrypoint": ["/entry"], "Cmd": ["arg"],
        "WorkingDir": "/srv/", "Labels": {"base": "label"}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": {}},
        "StopSignal": "SIGQUIT", "Shell": ["/bin/bash", "-c"],
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 1000000000},
        "Unknown": "member", "Domainname": "d", "AttachStdin": True,
    },
    "nopath": {"Cmd": ["/bin/sh"]},
    "trigger": {"Env": [PATH], "OnBuild": ["RUN echo triggered", "COPY a.txt /onbuild/", "ENV FROM_TRIGGER=1"]},
    "triggerfrom": {
        "Env": [PATH], "OnBuild": ["COPY --from=plain /etc/passwd /p", "RUN --mount=from=rich,target=/r true"],
    },
    "badtrigger": {"Env": [PATH], "OnBuild": ["NOPE x"]},
}  # fmt: skip
CLIENTS_OWN = re.compile("failed to (solve|run Build function): ")
BASE_CONFIG = (  # of the image "base"
    '{"architecture":"amd64","author":"kilntest","config":{"Env":["{PATH}","FROMBASE=yes"],"Cmd":["/bin/sh"],'
    '"WorkingDir":"/"},"created":"2020-02-02T02:02:02Z","history":[{"base":1}],"os":"linux",'
    '"rootfs":{"type":"layers","diff_ids":["{layer}"]}}'
)
LONG_LINE = "x" * 70_000
ONE_PLATFORM = '{"Platforms":[{"ID":"linux/amd64","Platform":{"architecture":"amd64","os":"linux"}}]}'
# What nearly every answer says; the record stays small with a word for it.
ABBREVIATIONS = {
    '"platform":{"Architecture":"amd64","OS":"linux"}': '"platform":"amd64"',
    ',"removeMountStubsRecursive":true': ',"stubs":1',
    '"env":["{PATH}","FROMBASE=yes"]': '"env":"base"',
    '"com.docker.dockerfile.v1.command"': '"command"',
    '"llb.customname"': '"name"',
    '"args":["/bin/sh","-c",': '"sh":[',
    '"File":"Dockerfile",': "",
    "docker.io/library/": "library/",
    r",\"comment\":\"buildkit.dockerfile.v0\"": r",\"by\":1",
    r"{\"created\":\"2020-02-02T02:02:02Z\",\"created_by\":\"kilntest\"}": r"{\"base\":1}",
    '"timestamp":"-1"': '"time":1',
    '"secondaryInput":"-1"': '"second":1',
}
EPOCH = "2020-02-02T02:02:02Z"


def write_images(folder):
    """One layout with all the images (amd64, arm64 and arm), each tagged with its name. Returns it, and the digests by
    name."""
    layout = oci.Layout(folder)
    tar = oci.layer_tar([oci.Entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\n")])
    blob = layout.blob(tar, "application/vnd.oci.image.layer.v1.tar")
    images = {
        name: layout.index([manifest(layout, platform, config, [blob], oci.digest(tar)) for platform in PLATFORMS])
        for name, config in IMAGES.items()
    }
    images["hollow"] = manifest(layout, PLATFORMS[0], {"Env": ["X=1"]}, [], None)
    images["arm"] = manifest(layout, PLATFORMS[1], IMAGES["plain"], [blob], oci.digest(tar))
    windows = {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1"}
    images["windows"] = manifest(layout, windows, {"Env": ["W=1"]}, [blob], oci.digest(tar))
    images["0"] = images["plain"]
    for name, image in images.items():
        layout.tag(image, name)
    digests = {name: image["digest"] for name, image in images.items() if name != "0"}
    return layout, {**digests, "layer": oci.digest(tar)}


PLATFORMS = (
    {"architecture": "amd64", "os": "linux"},
    {"architecture": "arm64", "os": "linux", "variant": "v8"},
    {"architecture": "arm", "os": "linux", "variant": "v7"},
)


def manifest(layout, platform, config, layers, diff_id):
    document = {
        **platform,
        "author": "kilntest",
        "created": EPOCH,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [diff_id] if diff_id else []},
        "history": [{"created": EPOCH, "created_by": "kilntest"}] if diff_id else [],
    }
    document = layout.json_blob(document, oci.CONFIG)
    value = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "config": document, "layers": layers}
    return {**layout.json_blob(value, oci.MANIFEST), "platform": platform}


def ask(peer, address, asked, folder, places, constants):
    """What the daemon makes of the cases: {id: answer}. The values of `places` (hosts, which the cases name as {name})
    and of `constants` (long texts that would fill the record) are replaced by their names."""
    lines = "".join(json.dumps(case.question(folder, places)) + "\n" for case in asked)
    done = subprocess.run([peer, "-addr", address, "lower"], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    text = done.stdout
    for name, value in {**places, **constants, "longline": LONG_LINE}.items():
        text = text.replace(value, "{" + name + "}")
    for long, short in ABBREVIATIONS.items():
        text = text.replace(long, short)
    return {one.pop("ID"): tidy(one) for one in map(json.loads, text.splitlines())}


def tidy(answer):
    """Image configurations with their members in order: exporters sort them anyway. The order further down is kept.
    No warnings: whether they come before the answer is chance, and another test has them."""
    answer.pop("Warnings", None)
    if "Error" in answer:  # which of these it is depends on who notices first
        answer["Error"]["Message"] = CLIENTS_OWN.sub("", answer["Error"]["Message"])
    metadata = answer.get("Metadata", {})
    for key, value in metadata.items():
        if key.startswith("containerimage."):
            metadata[key] = json.dumps(dict(sorted(json.loads(value).items())), separators=(",", ":"))
    if metadata.get("containerimage.base.config") == BASE_CONFIG:
        del metadata["containerimage.base.config"]
    if metadata.get("refs.platforms") == ONE_PLATFORM:
        del metadata["refs.platforms"]
    return answer


def read_record():
    """{id: answer} of the real daemon."""
    return {one.pop("ID"): one for one in map(json.loads, RECORD.read_text().splitlines())}


def write_record(answers):
    lines = [json.dumps({"ID": name, **answer}, ensure_ascii=False, separators=(",", ":")) + "\n"
             for name, answer in answers.items()]  # fmt: skip
    RECORD.write_text("".join(lines))


def pages():
    """Of the web server: {path: content}."""
    archive = oci.layer_tar([oci.Entry("Dockerfile", b"FROM base\nCOPY inside /\n"), oci.Entry("inside", b"1")])
    return {
        "/file": b"content\n",
        "/Dockerfile": b"FROM base\nRUN echo downloaded\nCOPY context /self\n",
        "/context.tar": archive,
        "/undated.tar": webserver.Page(archive, modified=None),
        "/context.tar.gz": gzip.compress(archive, mtime=0),
    }


def differences():
    """{case id: why}: cases whose answer is not the real daemon's."""
    lines = (FOLDER / "differences.txt").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))
