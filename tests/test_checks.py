"""Build checks and questions about a Dockerfile: what the daemon finds, and what clients show of it."""

import base64
import concurrent.futures
import json
import pathlib
import re

import pytest
from kilntest import oci
from kilntest.clients import BUILDX_BUILDER, Buildctl, Buildx, Kiln
from kilntest.request import Request, write_context
from kilntest.terminal import run_in_terminal

CASES = pathlib.Path(__file__).parent.parent / "src/dockerfile/lint_cases"


def read_cases(path):
    """The cases of a golden file of the unit tests: [{section: text}], each ending with "want"."""
    cases, case = [], {}
    for name, body in re.findall(r"^-- (.+) --\n((?:(?!-- .+ --\n).*\n)*)", path.read_text(), re.MULTILINE):
        case[name] = body
        if name == "want":
            cases.append(case)
            case = {}
    return cases


def lines_of(location):
    lines = [entry["start"]["line"] for entry in location.get("ranges", [])]
    return [str(min(lines, default=0)), *([str(max(lines))] if len(set(lines)) > 1 else [])]


def findings(document):
    """A lint result as the golden files have it."""
    found = [
        f"{'-'.join(lines_of(one['location']))} {one['ruleName']}: {one['detail']}\n"
        for one in document["warnings"] or []
    ]
    if error := document.get("buildError"):
        # The order of rules is random upstream.
        message = re.sub(
            "for rules: (.*)", lambda m: f"for rules: {', '.join(sorted(m[1].split(', ')))}", error["message"]
        )
        found.append(f"{lines_of(error['location'])[0]} error: {message}\n")
    return found


class Asker:
    """`buildx build --call`: asks about files written on the spot."""

    def __init__(self, buildx, layout, folder):
        self.buildx, self.layout, self.folder, self.count = buildx, layout, folder, 0

    def __call__(self, call, files, *flags):
        if isinstance(files, str):
            files = {"Dockerfile": files}
        self.count += 1
        context = write_context(self.folder / f"asked{self.count}", files)
        words = ["build", "--builder", BUILDX_BUILDER, "--progress=plain", "--call", call]
        words += ["--build-context", f"base=oci-layout://{self.layout}:latest", *flags, context]
        return self.buildx.run(*words, check=False)


@pytest.fixture
def buildx(clients, daemon, tmp_path):
    return Buildx(clients / "buildx", daemon.address, tmp_path / "buildx")


@pytest.fixture
def ask(buildx, busybox_layout, tmp_path):
    return Asker(buildx, busybox_layout, tmp_path)


@pytest.fixture
def golden_cases(is_kilnd):
    """By file. Those with images of a registry have a test of their own; "differs" are those of which buildkitd finds
    less."""
    files = [read_cases(path) for path in sorted(CASES.glob("*.txt"))]
    files = [[case for case in cases if not any(name.startswith("image ") for name in case)] for cases in files]
    return [[case for case in cases if is_kilnd or "differs" not in case] for cases in files]


def check_cases(ask, cases):
    def check(case):
        files = {name: case[name] for name in ("Dockerfile", ".dockerignore") if name in case}
        flags = []
        for line in case.get("opts", "").splitlines():
            key, value = line.split("=", 1)
            flags += ["--build-arg", f"{key[10:]}={value}"] if key.startswith("build-arg:") else [f"--{key}", value]
        done = ask("check,format=json", files, *flags)
        assert done.stdout, f"{case}\n{done.stderr}"
        return case, findings(json.loads(done.stdout)), done

    wrong = ""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for case, found, done in pool.map(check, cases):
            want = case["want"].splitlines(keepends=True)
            if sorted(found) != sorted(want):
                wrong += f"{case['Dockerfile']}--- want\n{''.join(want)}--- got\n{''.join(found)}\n"
            assert done.returncode == (1 if found else 0)
    assert not wrong, wrong


def test_golden_files_of_the_checks(ask, golden_cases):
    """What the unit tests say, through the daemon: one case of every rule."""
    check_cases(ask, [max(cases, key=lambda case: len(case["want"])) for cases in golden_cases if cases])


@pytest.mark.heavy
def test_all_golden_files_of_the_checks(ask, golden_cases):
    """Every case: run against buildkitd, this shows that the unit tests say the right thing."""
    cases = [case for cases in golden_cases for case in cases]
    assert len(cases) > 100
    check_cases(ask, cases)


MANY = """\
FROM base AS One
# FOO what it is & does
ARG FOO=1
MAINTAINER me
ENV a b
env API_KEY=$UNDEF
RUN --mount=type=secret,id=token,required=true --mount=type=ssh true
CMD a

from scratch as two
COPY --from=one \\

  / /
"""
TEXT = """\
Check complete, 2 warnings have been found!

WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
"ENV key=value" should be used instead of legacy "ENV key value" format
{file}:2
--------------------
   1 |     FROM scratch
   2 | >>> ENV a b
   3 |     LABEL one=two \\
   4 |       c=$UNSET
--------------------

WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
Usage of undefined variable '$UNSET'
{file}:3
--------------------
   2 |     ENV a b
   3 | >>> LABEL one=two \\
   4 | >>>   c=$UNSET
   5 |     EXPOSE 80
--------------------
"""
TWO_WARNINGS = "FROM scratch\nENV a b\nLABEL one=two \\\n  c=$UNSET\nEXPOSE 80\nEXPOSE 90\n"


@pytest.fixture(params=["buildx", "kiln"])
def caller(request, ask, kiln, daemon, busybox_layout, tmp_path):
    """caller(call, files, *flags): the two clients that have --call, which say the same."""
    if request.param == "buildx":
        return ask
    client = Kiln(kiln, address=daemon.address)

    def call(call, files, *flags):
        if isinstance(files, str):
            files = {"Dockerfile": files}
        context = write_context(tmp_path / f"kiln{len(list(tmp_path.iterdir()))}", files)
        base = ["--build-context", f"base=oci-layout://{busybox_layout}:latest"]
        where = ["--addr", daemon.address, "--progress=plain"]
        return client.run("build", *where, "--call", call, *base, *flags, context, check=False)

    return call


def test_check_as_text(caller):
    done = caller("check", TWO_WARNINGS)
    file = re.search(r"^(.*/Dockerfile):2$", done.stdout, re.MULTILINE)[1]
    assert done.stdout == TEXT.format(file=file)
    assert done.returncode == 1
    assert caller("check,ignorestatus=true", TWO_WARNINGS).returncode == 0
    done = caller("check", "FROM scratch\nENV a=b\n")
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")
    done = caller("check", "FROM scratch AS One\nRUNN x\n")
    assert done.returncode == 1
    assert "Check complete, 1 warning has been found!" in done.stdout
    assert "dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)\n" in done.stderr
    assert ">>> RUNN x" in done.stderr


def test_outline(caller):
    assert caller("outline", MANY).stdout == (
        "TARGET: two\n\n"
        "BUILD ARG   VALUE   DESCRIPTION\nFOO         1       what it is & does\n\n"
        "SECRET   REQUIRED\ntoken    true\n\n"
        "SSH       REQUIRED\ndefault   \n\n"
    )
    outline = json.loads(caller("outline,format=json", MANY, "--build-arg", "FOO=given", "--target=one").stdout)
    place = {"ranges": [{"start": {"line": 3}, "end": {"line": 3}}]}
    assert outline["name"] == "one"
    assert outline["args"] == [{"name": "FOO", "description": "what it is & does", "value": "given", "location": place}]
    assert [secret["name"] for secret in outline["secrets"]] == ["token"]


GLOBALS = """\
# VERSION of all
ARG VERSION=1
ARG NAME=app-$VERSION
ARG UNUSED
FROM base AS first
ARG NAME
ARG TARGETPLATFORM
FROM first
# OWN is the last stage's
ARG OWN
ARG VERSION=2
"""


CIRCLE = """\
FROM base AS a
COPY --from=c /x /

FROM base AS b
COPY --from=a /x /
FROM base AS c
COPY --from=b /x /
"""


def test_check_gives_all_places_of_an_error(ask):
    error = json.loads(ask("check,format=json", CIRCLE).stdout)["buildError"]
    assert [entry["start"]["line"] for entry in error["location"]["ranges"]] == [2, 5, 7], error


def test_outline_of_global_arguments(caller):
    outline = json.loads(caller("outline,format=json", GLOBALS).stdout)
    assert "name" not in outline
    found = [
        (arg["name"], arg.get("value"), arg.get("description"), lines_of(arg["location"])) for arg in outline["args"]
    ]
    assert found == [
        ("NAME", "app-1", None, ["3"]),
        ("OWN", None, "is the last stage's", ["10"]),
        ("VERSION", "2", None, ["11"]),
    ]


SETS_AGAIN = """\
# VERSION of all
ARG VERSION=1
FROM scratch AS first
{}
FROM first AS second
{}
FROM second
{}
"""
GLOBAL = "VERSION=1@2 of all"
# What the base, the stage on it and the target say → the outline, and the one where VERSION is given.
AGAIN = [
    ("ARG VERSION=2", "ARG VERSION=3", "ARG VERSION=4", ["VERSION=4@8"], ["VERSION=given@8"]),
    # Asked for without a default, it is the global one, whatever a base has made of it.
    ("ARG VERSION=2", "ARG VERSION=3", "ARG VERSION", [GLOBAL], ["VERSION=given@8"]),
    ("ENV VERSION=7", "ARG VERSION=3", "ARG VERSION", [GLOBAL], ["VERSION=given@8"]),
    ("ARG VERSION", "ARG VERSION", "ARG VERSION", [GLOBAL], ["VERSION=given@8"]),
    # Not asked for, it is what the nearest base has.
    (
        "ARG VERSION=2",
        "ARG VERSION=3",
        "ARG OTHER=$VERSION",
        ["VERSION=3@6", "OTHER=3@8"],
        ["VERSION=given@6", "OTHER=given@8"],
    ),
    (
        "ARG VERSION=2",
        "ARG VERSION",
        "ARG OTHER=$VERSION",
        [GLOBAL, "OTHER=1@8"],
        ["VERSION=given@6", "OTHER=given@8"],
    ),
    (
        "ARG VERSION=2",
        "ARG OTHER",
        "ARG OTHER=$VERSION",
        ["VERSION=2@4", "OTHER=2@8"],
        ["VERSION=given@4", "OTHER=given@8"],
    ),
    (
        "ENV VERSION=7",
        "ARG VERSION=3",
        "ARG OTHER=$VERSION",
        ["VERSION=3@6", "OTHER=7@8"],
        ["VERSION=given@6", "OTHER=7@8"],
    ),
]


def test_outline_of_an_argument_that_a_base_stage_sets_again(caller):
    for *stages, plain, given in AGAIN:
        file = SETS_AGAIN.format(*stages)
        for flags, want in ([], plain), (["--build-arg", "VERSION=given"], given):
            args = json.loads(caller("outline,format=json", file, *flags).stdout)["args"]
            found = [
                f"{arg['name']}={arg['value']}@{lines_of(arg['location'])[0]} {arg.get('description', '')}".rstrip()
                for arg in args
            ]
            assert found == want, stages
    text = caller("outline", SETS_AGAIN.format("ARG VERSION=2", "ARG VERSION=3", "ARG VERSION")).stdout
    assert text == "BUILD ARG   VALUE   DESCRIPTION\nVERSION     1       of all\n\n"


def test_targets(caller):
    text = "# one is first\nFROM base AS one\nFROM --platform=$BUILDPLATFORM one AS two\nFROM scratch\n"
    done = caller("targets", text)
    assert done.stdout == "TARGET    DESCRIPTION\none       is first\ntwo       \n(default) \n"
    targets = json.loads(caller("targets,format=json", text).stdout)["targets"]
    assert [{key: value for key, value in target.items() if key != "location"} for target in targets] == [
        {"name": "one", "description": "is first", "base": "base"},
        {"name": "two", "base": "one", "platform": "$BUILDPLATFORM"},
        {"default": True, "base": "scratch"},
    ]


def test_other_questions(caller):
    described = caller("subrequests.describe", "FROM scratch\n").stdout
    assert described == (
        "NAME                 VERSION DESCRIPTION\n"
        "outline              1.0.0   List all parameters current build target supports\n"
        "targets              1.0.0   List all targets current build supports\n"
        "subrequests.describe 1.0.0   List available subrequest types\n"
    )
    listed = json.loads(caller("subrequests.describe,format=json", "FROM scratch\n").stdout)
    assert [one["opts"] for one in listed] == [
        [{"name": "target", "description": "Target build stage"}],
        [],
        None,
    ]
    converted = json.loads(caller("convertllb,format=json", "FROM base\nRUN echo '<&>'\n").stdout)
    [run] = [op["exec"] for op in converted["def"].values() if "exec" in op]
    assert run["meta"]["args"] == ["/bin/sh", "-c", "echo '<&>'"]
    names = [entry.get("description", {}).get("llb.customname") for entry in converted["metadata"].values()]
    assert "[1/2] RUN echo '<&>'" in names
    assert converted["source"]["infos"][0]["filename"] == "Dockerfile"
    done = caller("nonsense", "FROM scratch\n")
    assert done.returncode == 1
    assert "failed to solve: unsupported request frontend.nonsense" in done.stderr


def test_buildctl_asks(clients, daemon, tmp_path):
    context = write_context(tmp_path / "context", {"Dockerfile": "FROM scratch AS One\n"})
    buildctl = Buildctl(clients / "buildctl", daemon.address)

    def ask(request):
        words = ["build", "--frontend=dockerfile.v0", f"--local=context={context}", f"--local=dockerfile={context}"]
        return buildctl.run(*words, f"--opt=requestid={request}", check=False)

    assert ask("frontend.targets").stdout == "TARGET        DESCRIPTION\none (default) \n"
    done = ask("frontend.lint")
    assert "WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/stage-name-casing/" in done.stdout
    assert "Dockerfile:1\n" in done.stdout
    assert "unsupported request frontend.x" in ask("frontend.x").stderr


def warnings_of(metadata):
    """`buildx.build.warnings`, as ["Rule: text (line n)"]."""
    warnings = json.loads(metadata.read_text())["buildx.build.warnings"]
    for one in warnings:
        assert one["sourceInfo"]["filename"] == "Dockerfile"
        assert one["sourceInfo"]["language"] == "Dockerfile"
        assert one["level"] == 1
    return [base64.b64decode(one["short"]).decode() for one in warnings], warnings


def test_builds_warn(buildx, tmp_path):
    buildx.environment["BUILDX_METADATA_WARNINGS"] = "true"
    context = write_context(tmp_path / "context", {"Dockerfile": TWO_WARNINGS, "other": "# check=skip=all\n" + MANY})
    metadata = tmp_path / "metadata.json"
    request = Request(context, metadata=metadata, platform="linux/amd64,linux/arm64", outputs=["type=cacheonly"])
    done = buildx.build(request)
    shown = [line.partition("WARN: ")[2] for line in done.stderr.splitlines() if "WARN: " in line]
    texts, warnings = warnings_of(metadata)
    want = [
        'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy "ENV key value" format (line 2)',
        "UndefinedVar: Usage of undefined variable '$UNSET' (line 3)",
    ]
    assert texts == want
    assert set(shown) <= set(want)
    assert "2 warnings found" in done.stderr
    # Clients find the lines by these, and the step by its digest.
    assert [entry["start"]["line"] for entry in warnings[1]["range"]] == [3, 4]
    assert base64.b64decode(warnings[1]["detail"][0]) == b"Variables should be defined before their use"
    assert warnings[1]["url"] == "https://docs.docker.com/go/dockerfile/rule/undefined-var/"


def test_warnings_may_be_errors(buildx, tmp_path):
    text = "# check=error=true\nFROM scratch AS One\nENV a b\n"
    context = write_context(tmp_path / "context", {"Dockerfile": text})
    done = buildx.build(Request(context, outputs=["type=cacheonly"]), check=False)
    assert done.returncode == 1
    rules = re.search("failed to solve: lint violation found for rules: (.*)", done.stderr)[1]
    assert sorted(rules.split(", ")) == ["LegacyKeyValueFormat", "StageNameCasing"]
    args = {"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}
    assert "warning" not in buildx.build(Request(context, outputs=["type=cacheonly"], args=args)).stderr.lower()
    args = {"BUILDKIT_DOCKERFILE_CHECK": "skpi=all"}
    done = buildx.build(Request(context, outputs=["type=cacheonly"], args=args), check=False)
    assert 'failed to parse build-arg:BUILDKIT_DOCKERFILE_CHECK: invalid check option "skpi"' in done.stderr


def test_platform_of_base_images(clients, new_daemon, shared_registry, tmp_path):
    layout = oci.Layout(tmp_path / "layout")
    layout.tag(layout.image([[oci.directory("x")]], architecture="arm64"), "latest")
    shared_registry.push_layout(layout.path, "latest", "checks/arm:latest")
    daemon = new_daemon(registries=[shared_registry.host])
    ask = Asker(Buildx(clients / "buildx", daemon.address, tmp_path / "buildx"), layout.path, tmp_path)
    image = f"{shared_registry.host}/checks/arm"
    text = f"FROM {image} AS one\nFROM scratch\nCOPY --from={image} / /\nCOPY --from=one / /\n"
    message = f'Base image {image} was pulled with platform "linux/arm64", expected "linux/amd64" for current build'
    assert sorted(findings(json.loads(ask("check,format=json", text).stdout))) == [
        f"1 InvalidBaseImagePlatform: {message}\n",
        f"3 InvalidBaseImagePlatform: {message}\n",
    ]


@pytest.mark.kiln_only
def test_kiln_shows_warnings(kiln, tmp_path):
    client = Kiln(kiln, root=tmp_path / "root")
    context = write_context(tmp_path / "context", {"Dockerfile": TWO_WARNINGS})
    done = client.build(Request(context))
    assert "WARN: UndefinedVar: Usage of undefined variable '$UNSET' (line 3)\n" in done.stderr
    assert done.stderr.count("WARN: ") == 2
    words = [kiln, "build", "--root", tmp_path / "root", context]
    _, terminal = run_in_terminal(words, 100, 30, client.environ())
    shown = "\n".join(terminal.everything())
    assert " 2 warnings found:\n - LegacyKeyValueFormat: " in shown
    assert " - UndefinedVar: Usage of undefined variable '$UNSET' (line 3)" in shown


@pytest.mark.kiln_only
def test_kiln_check(kiln, tmp_path):
    client = Kiln(kiln)
    context = write_context(tmp_path / "context", {"Dockerfile": TWO_WARNINGS, "bad": "FROM scratch\nRUNN x\n"})
    file = context / "Dockerfile"
    done = client.run("check", context, check=False)
    assert (done.returncode, done.stdout) == (1, TEXT.format(file=file))
    assert client.run("check", file, check=False).stdout == done.stdout
    document = json.loads(client.run("check", "--format", "json", context, check=False).stdout)
    assert [one["ruleName"] for one in document["warnings"]] == ["LegacyKeyValueFormat", "UndefinedVar"]

    done = client.run("check", "--fix", context, check=False)
    assert done.returncode == 1
    assert f"{file}: 1 mended\n" in done.stderr
    assert file.read_text() == TWO_WARNINGS.replace("ENV a b", "ENV a=b")
    done = client.run("check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=UndefinedVar", context)
    assert done.stdout == "Check complete, no warnings found.\n"

    done = client.run("check", context / "bad", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "unknown instruction: RUNN (did you mean RUN?)" in done.stderr
    assert ">>> RUNN x" in done.stderr
    assert "no such file" in client.run("check", context / "absent", check=False).stderr.lower()
    assert "--fix" in client.run("check", "--help").stdout
