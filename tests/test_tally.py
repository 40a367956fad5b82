"""The counting behind the last line of `make test`: nothing passes by not running."""

import sys

import pytest
from kilntest import paths

sys.path.insert(0, str(paths.ROOT / "tools/ci"))

import fatal  # noqa: E402
import seconds  # noqa: E402
import tally  # noqa: E402

CTEST = '<testsuite><testcase name="base" status="{status}"/></testsuite>'
GTEST = '<testsuites><testsuite name="A">{cases}</testsuite></testsuites>'
PASSED = '<testcase classname="A" name="One" status="run" result="completed"/>'
FAILED = '<testcase classname="A" name="Two" status="run" result="completed"><failure/></testcase>'
SKIPPED = '<testcase classname="A" name="Three" status="run" result="skipped"><skipped/></testcase>'
DISABLED = '<testcase classname="A" name="DISABLED_Four" status="notrun" result="suppressed"/>'


@pytest.fixture
def results(tmp_path):
    def write(status, cases=None):
        (tmp_path / "ctest.xml").write_text(CTEST.format(status=status))
        if cases is not None:
            (tmp_path / "base.xml").write_text(GTEST.format(cases=cases))
        return tally.read_ctest(tmp_path, "release")

    return write


def test_cases_of_a_binary_are_counted(results):
    found = results("fail", PASSED + FAILED + SKIPPED + DISABLED)
    assert found.line() == "1 passed, 1 failed, 2 skipped"
    assert found.failures == ["release: A.Two"]


def test_a_binary_that_dies_after_its_cases_passed_is_a_failure(results):
    assert results("fail", PASSED).line() == "1 passed, 1 failed"


def test_a_binary_that_writes_nothing_and_fails_is_a_failure(results):
    assert results("fail").line() == "0 passed, 1 failed"


def test_a_program_that_is_no_googletest_counts_as_one(results):
    assert results("run").line() == "1 passed, 0 failed"


def test_only_listed_skips_are_allowed(tmp_path):
    allowed = tmp_path / "allowed"
    allowed.write_text("# none\nA.Three  # because\nB.*\n")
    skips = ["release: A.Three", "asan: B.Five", "release: A.Thirty"]
    assert tally.forbidden_skips(skips, allowed) == ["release: A.Thirty"]


def test_results_broken_off_are_a_failure(tmp_path):
    (tmp_path / "pytest.xml").write_text("<testsuites><testsuite>")
    assert tally.read_cases(tmp_path / "pytest.xml", "tests").line() == "0 passed, 1 failed"
    assert tally.read_cases(tmp_path / "missing.xml", "tests").line() == "0 passed, 1 failed"


def test_what_passes_when_run_again_is_unstable(results):
    first, again = results("fail", PASSED + FAILED), results("run", PASSED + FAILED.replace("<failure/>", ""))
    first.add_second_run(again)
    assert first.line() == "2 passed, 0 failed"
    assert first.unstable == ["release: A.Two"]


def test_what_fails_again_is_a_failure(results):
    first, again = results("fail", FAILED), results("fail", FAILED)
    first.add_second_run(again)
    assert (first.line(), first.unstable) == ("0 passed, 1 failed", [])


def test_what_did_not_run_again_is_a_failure(tmp_path):
    first = tally.Tally(0, ["tests: A.Two"])
    first.add_second_run(tally.Tally())
    assert (first.line(), first.unstable) == ("0 passed, 1 failed", [])


REPORTS = [
    "==12==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
    "==12==ERROR: LeakSanitizer: detected memory leaks",
    "WARNING: ThreadSanitizer: data race (pid=1)",
    "src/base/csv.cc:7:3: runtime error: signed integer overflow: 1 + 2147483647",
    "src/solver/edge.cc:12: broken invariant: a == b ",
    "terminate called after throwing an instance of 'std::bad_alloc'",
    "/usr/include/c++/12/optional:477: _Tp& _M_get(): Assertion 'this->_M_is_engaged()' failed.",
    "*** stack smashing detected ***: terminated",
    "free(): invalid pointer",
]


@pytest.mark.parametrize("report", REPORTS)
def test_a_report_is_not_passed_over_by_a_second_run(tmp_path, report):
    said = f"said:\n{report}\nmore".replace("&", "&amp;").replace("<", "&lt;")
    case = f'<testcase classname="A" name="Two"><failure>{said}</failure></testcase>'
    (tmp_path / "first.xml").write_text(f"<testsuites>{case}</testsuites>")
    first = tally.read_cases(tmp_path / "first.xml", "tests")
    assert fatal.first_line(first.reports["tests: A.Two"]) == report.strip()
    first.add_second_run(tally.Tally(1))
    assert (first.line(), first.unstable) == ("0 passed, 1 failed", [])


@pytest.mark.parametrize("text", ["x.py:12: AssertionError", "error: no AddressSanitizer here", "", None])
def test_what_any_failure_prints_is_no_report(text):
    assert fatal.first_line(text) is None


def test_a_report_counts_beside_cases_that_failed(tmp_path):
    printed = f"<system-out>{REPORTS[2]}</system-out>"
    (tmp_path / "ctest.xml").write_text(
        f'<testsuite><testcase name="base" status="fail">{printed}</testcase></testsuite>'
    )
    (tmp_path / "base.xml").write_text(GTEST.format(cases=PASSED + FAILED))
    found = tally.read_ctest(tmp_path, "tsan")
    assert found.failures == ["tsan: A.Two", f"tsan: base ended badly ({REPORTS[2]})"]
    assert found.is_final()


def test_reports_of_failures_are_kept(tmp_path):
    (tmp_path / "ctest.xml").write_text(
        '<testsuite><testcase name="rpc" status="fail"><system-out>a leak</system-out></testcase></testsuite>'
    )
    found = tally.read_ctest(tmp_path, "asan")
    assert found.reports == {"asan: rpc ended badly (fail)": "a leak"}
    assert tally.bad_binaries(tmp_path) == ["rpc"]
    assert tally.tail("x\n" * 9 + "y" * 9, 2, 3) == "x\nyyy"


def test_stages_that_grow_are_shown():
    accepted = {"build": 100.0, "lint": 4.0, "tests": 50.0}
    times = {"build": 126.0, "lint": 9.0, "tests": 61.0, "fuzz": 30.0}
    assert seconds.grown(times, accepted) == ["build: 126 s, 100 s before"]


def test_times_creep_only_if_somebody_accepts_them(tmp_path):
    accepted = {"build": 100.0, "lint": 40.0, "old": 3.0}
    times = {"build": 124.0, "lint": 30.0, "fuzz": 30.0}
    assert seconds.newly_accepted(times, accepted) == {"build": 100.0, "lint": 30.0, "old": 3.0, "fuzz": 30.0}
    assert seconds.newly_accepted(times, accepted, True) == {**times, "old": 3.0}
    seconds.write(tmp_path / "ci/seconds.json", times)
    assert seconds.read(tmp_path / "ci/seconds.json") == times
    assert seconds.read(tmp_path / "missing.json") == {}


def test_a_test_that_fails_twice_is_one_failure(tmp_path):
    case = '<testcase classname="A" name="Two"><{0}>{0}</{0}></testcase>'
    (tmp_path / "pytest.xml").write_text(f"<testsuites>{case.format('failure')}{case.format('error')}</testsuites>")
    found = tally.read_cases(tmp_path / "pytest.xml", "tests")
    assert found.failures == ["tests: A.Two"]
    assert found.reports == {"tests: A.Two": "failure\nerror"}
