"""Counts of passed, failed and skipped cases, read from the result files of GoogleTest, CTest and pytest."""

import dataclasses
import fnmatch
import pathlib
import xml.etree.ElementTree as ElementTree


@dataclasses.dataclass
class Tally:
    passed: int = 0
    failures: list = dataclasses.field(default_factory=list)  # names, with the stage in front
    skips: list = dataclasses.field(default_factory=list)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def line(self):
        skipped = f", {len(self.skips)} skipped" if self.skips else ""
        return f"{self.passed} passed, {len(self.failures)} failed{skipped}"


def read_cases(path, stage):
    """A JUnit-like file: GoogleTest's and pytest's differ only in how they mark a skip. A DISABLED_ case is a skip.
    A file that is missing or broken off (a full disk, a crash) is one failure."""
    tally = Tally()
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        return Tally(failures=[f"{stage}: no results: {error}"])
    for case in root.iter("testcase"):
        name = f"{stage}: {case.get('classname')}.{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            tally.failures.append(name)
        elif case.find("skipped") is not None or case.get("result") in ("skipped", "suppressed"):
            tally.skips.append(name)
        else:
            tally.passed += 1
    return tally


def read_ctest(results, stage):
    """results/ctest.xml says which binaries ran; results/<name>.xml says what was in each. A binary that ended badly
    after all its cases had passed (a leak, a race, a crash at exit), or wrote nothing, is a failure of its own."""
    tally = Tally()
    for test in ElementTree.parse(results / "ctest.xml").getroot().iter("testcase"):
        cases = Tally()
        inner = results / f"{test.get('name')}.xml"
        if inner.exists():
            cases = read_cases(inner, stage)
        ran_well = test.get("status") == "run"
        if not ran_well and not cases.failures:
            cases.failures.append(f"{stage}: {test.get('name')} ended badly ({test.get('status')})")
        elif ran_well and not inner.exists():
            cases.passed += 1
        tally.add(cases)
    return tally


def forbidden_skips(skips, allowed_file):
    """The skips that no line of tests/allowed_skips (patterns, '#' starts a reason) names."""
    patterns = []
    for line in pathlib.Path(allowed_file).read_text().splitlines():
        pattern = line.split("#")[0].strip()
        if pattern:
            patterns.append(pattern)
    return [skip for skip in skips if not any(fnmatch.fnmatchcase(skip, f"*: {pattern}") for pattern in patterns)]
