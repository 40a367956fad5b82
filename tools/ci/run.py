"""The stages behind `make test`, `make lint` and .ci/run: runs them in order, says how long each took, and closes with
one line, `N passed, N failed`. A stage that cannot run counts as one failure; the others run all the same.

usage: run.py [--made SECONDS] [newcomer] [test] [sanitized] [lint] [fuzz]
  --made     `make run` was done before and took so long; -1: it failed
  newcomer   `make run` in a root that has nothing, if what matters for that has changed
  sanitized  a third of the end-to-end tests with the daemon of the tree `asan`
  fuzz       the fuzz targets alone, KILN_FUZZ_SECONDS each"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import time

import seconds as stage_seconds
import tally

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
JOBS = str(os.cpu_count())
FUZZ_SECONDS = os.environ.get("KILN_FUZZ_SECONDS", "4")  # for each target
UNSTABLE_CASES = 3  # as many may fail once in a run and pass when run again; they are shown, to be mended
# Which of the end-to-end tests that have a daemon run it under AddressSanitizer, by a hash of their names.
ASAN_SHARE = "0/3"
LATE_LINTS = ("clang_tidy",)  # minutes where the sources have changed; all others take seconds and come first
ENVIRONMENT = {
    # One compiler cache for all checkouts.
    "CCACHE_BASEDIR": str(ROOT),
    "CCACHE_NOHASHDIR": "1",
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "second_deadlock_stack=1:halt_on_error=1",
    "LLVM_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
    "ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
}


class Run:
    def __init__(self):
        self.total = tally.Tally()
        self.times = {}
        self.environment = {**ENVIRONMENT, **os.environ}

    def command(self, *words):
        """Runs a program at the top of the tree; whether it succeeded."""
        return self._run(words, None).returncode == 0

    def output_of(self, *words):
        """What a program printed; None if it failed."""
        done = self._run(words, subprocess.PIPE)
        return done.stdout.strip() if done.returncode == 0 else None

    def _run(self, words, stdout):
        words = [str(word) for word in words]
        return subprocess.run(
            words, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=stdout, text=True, check=False
        )

    def stage(self, name, function):
        """function returns a Tally, or whether it went well (which counts only if it did not)."""
        print(f"== {name}", flush=True)
        start = time.monotonic()
        result = function()
        self.note(name, time.monotonic() - start)
        counted = result if isinstance(result, tally.Tally) else tally.Tally(failures=[] if result else [name])
        self.total.add(counted)
        cases = "" if result is True else f", {counted.line()}"
        print(f"== {name}: {self.times[name]:.0f} s{cases}", flush=True)
        return result

    def note(self, name, seconds):
        self.times[name] = self.times.get(name, 0) + seconds
        stage_seconds.write(BUILD / "ci/seconds.json", self.times)

    def build(self, tree):
        # What cmake prints of a good configuration is of no use; its errors come on the other stream.
        configured = self.output_of("cmake", "--preset", tree, "--log-level=WARNING") is not None
        return configured and self.command("cmake", "--build", BUILD / tree, "--", "--quiet", "-k", "0")

    def unit_tests(self, tree):
        results = BUILD / tree / "results"
        found = self._ctest(tree, results)
        if found and found.failures:
            print((BUILD / tree / "Testing/Temporary/LastTest.log").read_text(errors="replace")[-100_000:])
            if found.is_final():
                return found
            bad = "|".join(tally.bad_binaries(results))
            again = self._ctest(tree, results, "-R", f"^({bad})$")
            if again:
                found.add_second_run(again)
        return found

    def _ctest(self, tree, results, *which):
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        self.command(
            *("ctest", "--test-dir", BUILD / tree, "-j", JOBS, "--quiet", "--no-tests=ignore", *which),
            *("--output-junit", results / "ctest.xml"),
        )
        return tally.read_ctest(results, tree) if (results / "ctest.xml").exists() else False

    def end_to_end(self, tree="release", *which):
        clients = self.output_of("tests/clients/build")
        venv = self.output_of("tools/venv", "tests/requirements.txt")
        if clients is None or venv is None:
            return False
        self.environment["KILN_CLIENTS"] = clients
        if tree != "release":
            self.environment["KILN_DAEMON"] = str(BUILD / tree / "kilnd")
        stage = "tests" if tree == "release" else f"tests, {tree}"
        found = self._pytest(venv, stage, *which)
        if found.failures and not found.is_final():
            found.add_second_run(self._pytest(venv, stage, *which, "--last-failed", "--last-failed-no-failures=none"))
        return found

    def _pytest(self, venv, stage, *which):
        report = BUILD / "ci" / f"{stage.replace(', ', '-')}.xml"
        report.unlink(missing_ok=True)
        went_well = self.command(f"{venv}/bin/python", "-m", "pytest", "tests", "-q", f"--junitxml={report}", *which)
        found = tally.read_cases(report, stage)
        if not went_well and not found.failures:
            found.failures.append(f"{stage}: pytest ended badly")
        return found

    def fuzz(self):
        """A few seconds for each target, from its corpus; what it finds stays in the build tree."""
        result = tally.Tally()
        for target in sorted((BUILD / "asan/bin").glob("fuzz_*")):
            name = target.name.removeprefix("fuzz_")
            found = BUILD / "asan/fuzz" / name
            found.mkdir(parents=True, exist_ok=True)
            corpus = [p for p in (found, ROOT / "fuzz/corpus" / name) if p.is_dir()]
            dictionary = ROOT / f"fuzz/{name}.dict"
            options = [f"-dict={dictionary}"] if dictionary.exists() else []
            options += [f"-max_total_time={FUZZ_SECONDS}", "-timeout=10", "-rss_limit_mb=2048", "-verbosity=0"]
            if self.command(target, *options, f"-artifact_prefix={found}-", *corpus):
                result.passed += 1
            else:
                result.failures.append(f"fuzz: {name} (its input: build/asan/fuzz/{name}-*)")
        return result

    def newcomer(self):
        """`make run` where there is nothing yet."""
        self.stage("newcomer", lambda: tally.Tally(1) if self.command("tools/ci/newcomer") else False)

    def tests(self):
        for tree in ("release", "asan", "tsan"):
            if self.stage(f"{tree}: build", lambda tree=tree: self.build(tree)) is not True:
                continue
            self.stage(f"{tree}: unit tests", lambda tree=tree: self.unit_tests(tree))
            if tree == "release":
                self.stage("release: end to end", self.end_to_end)
            if tree == "asan":
                self.stage("asan: fuzzing", self.fuzz)

    def lint(self, late):
        """Each executable of tools/lint is one check."""
        checks = [p for p in sorted((ROOT / "tools/lint").iterdir()) if p.is_file() and os.access(p, os.X_OK)]
        for check in checks:
            name = f"lint: {check.name}"
            if (check.name in LATE_LINTS) == late:
                self.stage(name, lambda c=check, n=name: tally.Tally(1) if self.command(c) else tally.Tally(0, [n]))

    def close(self):
        """Prints what there is to know, the tally last; the exit status."""
        if len(self.total.unstable) > UNSTABLE_CASES:
            self.total.failures.append(f"more than {UNSTABLE_CASES} cases passed only when they were run again")
        for skip in tally.forbidden_skips(self.total.skips, ROOT / "tests/allowed_skips"):
            self.total.failures.append(f"skipped, and not in tests/allowed_skips: {skip}")
        for name, report in self.total.reports.items():
            print(f"\n== what {name} printed:\n{tally.tail(report)}")
        print("\nseconds:")
        for name, seconds in self.times.items():
            print(f"{seconds:8.1f}  {name}")
        accepted = stage_seconds.read(stage_seconds.accepted_file())
        for line in stage_seconds.grown(self.times, accepted):
            print(f"SLOWER  {line} (KILN_CI_ACCEPT_SECONDS=1 accepts it)")
        if not self.total.failures:
            all_of_them = os.environ.get("KILN_CI_ACCEPT_SECONDS") == "1"
            times = stage_seconds.newly_accepted(self.times, accepted, all_of_them)
            stage_seconds.write(stage_seconds.accepted_file(), times)
        for case in self.total.unstable:
            print(f"UNSTABLE  {case} (passed when it was run again)")
        for failure in self.total.failures:
            print(f"FAILED  {failure}")
        print(self.total.line())
        return 1 if self.total.failures else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--made", type=float)
    parser.add_argument("wanted", nargs="*", metavar="newcomer|test|sanitized|lint|fuzz")
    arguments = parser.parse_args()
    wanted = arguments.wanted or ["test", "lint"]
    unknown = set(wanted) - {"newcomer", "test", "sanitized", "lint", "fuzz"}
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    (BUILD / "ci").mkdir(parents=True, exist_ok=True)
    run = Run()
    if arguments.made is not None:
        run.note("make run", max(arguments.made, 0))
        run.total.add(tally.Tally(1) if arguments.made >= 0 else tally.Tally(0, ["make run"]))
    if "lint" in wanted:
        run.lint(late=False)
    if "newcomer" in wanted:
        run.newcomer()
    if "test" in wanted:
        run.tests()
    if "sanitized" in wanted and run.stage("asan: build", lambda: run.build("asan")) is True:
        run.stage("asan: end to end", lambda: run.end_to_end("asan", "--share", ASAN_SHARE))
    if "fuzz" in wanted and run.stage("asan: build", lambda: run.build("asan")) is True:
        run.stage("asan: fuzzing", run.fuzz)
    if "lint" in wanted:
        run.lint(late=True)
    sys.exit(run.close())


if __name__ == "__main__":
    main()
