"""The command line of bench/run."""

import argparse
import json
import os
import pathlib
import signal
import sys
import time

from kilnbench.cases import CASES
from kilnbench.disk import scratch_disk
from kilnbench.lab import SIDES, Lab
from kilnbench.table import Table

DESCRIPTION = """Builds the same things with buildkitd and kilnd through the same buildctl, and with `kiln build`, in
turn, and prints medians, the median of the ratios to buildkitd, and whether the budget is kept."""


def parse():
    parser = argparse.ArgumentParser(prog="bench/run", description=DESCRIPTION)
    parser.add_argument("--only", action="append", metavar="NAME", help=f"one of: {', '.join(CASES)} (repeatable)")
    parser.add_argument("--rounds", type=int, help="how often each is done (3; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes: whether it works, not how fast")
    parser.add_argument("--sides", default=",".join(SIDES), help="leave some out: %(default)s")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="write every figure there")
    parser.add_argument("--dir", help="where to work (default: a new folder in TMPDIR); needs 20 GiB")
    options = parser.parse_args()
    unknown = set(options.only or []) - set(CASES)
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    return options


def main():
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that daemons end and folders go
    table = Table()
    rounds = options.rounds or (1 if options.quick else 3)
    failed = False
    for name in options.only or CASES:
        start = time.monotonic()
        try:
            with scratch_disk(options.dir) as folder:
                CASES[name](Lab(folder, options.sides.split(","), options.quick), table, rounds)
        except Exception as error:  # the other cases are worth having
            failed = True
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    print(table.markdown() if options.markdown else table.text())
    print(f"\n{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, {rounds} round(s)")
    over = table.over()
    print(f"{len(table.lines)} lines, {len(over)} over budget" + "".join(f"\n  {name}" for name in over))
    if options.json:
        options.json.write_text(json.dumps({name: dict(sides) for name, sides in table.samples.items()}, indent=1))
    return 1 if failed else 0
