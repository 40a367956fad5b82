"""Build checks and questions about a Dockerfile: what the daemon finds, and what clients show of it."""

import concurrent.futures
import json
import pathlib
import re

import pytest
from kilntest.clients import BUILDX_BUILDER, Buildx
from kilntest.request import write_context

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


def golden_cases():
    """By file. Those with images of a registry have a test of their own."""
    for path in sorted(CASES.glob("*.txt")):
        yield [case for case in read_cases(path) if not any(name.startswith("image ") for name in case)]


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
            assert done.returncode == (1 if want else 0)
    assert not wrong, wrong


def test_golden_files_of_the_checks(ask):
    """What the unit tests say, through the daemon: one case of every rule."""
    check_cases(ask, [max(cases, key=lambda case: len(case["want"])) for cases in golden_cases() if cases])


@pytest.mark.heavy
def test_all_golden_files_of_the_checks(ask):
    """Every case: run against buildkitd, this shows that the unit tests say the right thing."""
    cases = [case for cases in golden_cases() for case in cases]
    assert len(cases) > 100
    check_cases(ask, cases)
