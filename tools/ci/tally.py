"""Counts of passed, failed and skipped cases, read from the result files of GoogleTest, CTest and pytest."""

import dataclasses
import fnmatch
import pathlib
import xml.etree.ElementTree as ElementTree

import fatal


@dataclasses.dataclass
class Tally:
    passed: int = 0
    failures: list = dataclasses.field(default_factory=list)  # names, with the stage in front
    skips: list = dataclasses.field(default_factory=list)
    unstable: list = dataclasses.field(default_factory=list)  # failed, and passed when run again; among `passed`
    reports: dict = dataclasses.field(default_factory=dict)  # what a failure printed, by its name

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips
        self.unstable += other.unstable
        self.reports |= other.reports

    def is_final(self):
        """Whether a failure printed what no second run may pass over (fatal.py)."""
        return any(fatal.first_line(report) for report in self.reports.values())

    def add_second_run(self, again):
        """`again` is of the failures only: what failed and now passed is unstable, unless it did not run at all, or the
        first run printed what is final."""
        if self.is_final() or again.passed + len(again.failures) < len(self.failures):
            return
        steady = [failure for failure in self.failures if failure in again.failures]
        self.unstable += [failure for failure in self.failures if failure not in again.failures]
        self.passed += len(self.failures) - len(steady)
        self.failures = steady

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
        bad = [mark for mark in case if mark.tag in ("failure", "error")]
        if bad:
            report = "\n".join(mark.text or mark.get("message", "") for mark in bad)
            # pytest names a test twice that failed, and then failed again in what its fixtures do after it.
            if name in tally.reports:
                report = f"{tally.reports[name]}\n{report}"
            else:
                tally.failures.append(name)
            tally.reports[name] = report
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
        printed = test.findtext("system-out") or ""
        # A report is one of its own beside cases that failed: theirs may well be forgiven.
        if not ran_well and (not cases.failures or fatal.first_line(printed)):
            said = fatal.first_line(printed)
            name = f"{stage}: {test.get('name')} ended badly ({said or test.get('status')})"
            cases.failures.append(name)
            cases.reports[name] = printed
        elif ran_well and not inner.exists():
            cases.passed += 1
        tally.add(cases)
    return tally


def bad_binaries(results):
    """The names of the tests that ctest ran and that did not end well."""
    tests = ElementTree.parse(results / "ctest.xml").getroot().iter("testcase")
    return [test.get("name") for test in tests if test.get("status") != "run"]


def tail(report, lines=80, width=400):
    """The end of what a failure printed: sanitizers and pytest name the place there or close to it."""
    return "\n".join(line[:width] for line in report.rstrip().splitlines()[-lines:])


def forbidden_skips(skips, allowed_file):
    """The skips that no line of tests/allowed_skips (patterns, '#' starts a reason) names."""
    patterns = []
    for line in pathlib.Path(allowed_file).read_text().splitlines():
        pattern = line.split("#")[0].strip()
        if pattern:
            patterns.append(pattern)
    return [skip for skip in skips if not any(fnmatch.fnmatchcase(skip, f"*: {pattern}") for pattern in patterns)]
