"""Figures, their budgets, and how they are shown."""

import collections
import dataclasses
import statistics

from kilnbench.lab import BUILDKITD, EMBEDDED, KILND


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits for a side: a ratio to buildkitd, or a value of its own. With neither: as buildkitd, at most."""

    ratio: float = 1.0
    value: float = None

    def text(self, unit):
        return f"≤ {show(self.value, unit)}" if self.value is not None else f"≤ {self.ratio:.2f}×"


AHEAD = Budget()


@dataclasses.dataclass
class Line:
    """One line of the table; lower is better."""

    name: str
    unit: str = "s"
    daemon: Budget = AHEAD
    embedded: Budget = AHEAD


def show(value, unit):
    if value is None:
        return "–"
    if unit == "s":
        return f"{value * 1000:.1f} ms" if value < 0.1 else f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    if unit == "bytes":
        return f"{value / (1 << 20):.1f} MiB"
    return f"{value:.2f} {unit}".rstrip()


def _ratio(samples, side):
    """The median of the ratios to buildkitd of what was taken in turn."""
    pairs = zip(samples.get(side, []), samples.get(BUILDKITD, []), strict=False)
    ratios = [mine / other for mine, other in pairs if other]
    return statistics.median(ratios) if ratios else None


class Table:
    def __init__(self):
        self.lines = {}
        self.samples = collections.defaultdict(lambda: collections.defaultdict(list))
        self.cpu = collections.defaultdict(lambda: collections.defaultdict(list))
        self.notes = {}  # (line, side): why there is no figure

    def add(self, line: Line, side, value):
        """One figure; the n-th of each side belong together (they were taken in turn)."""
        self.lines.setdefault(line.name, line)
        self.samples[line.name][side].append(value)

    def add_build(self, line: Line, side, measured):
        """Its seconds, and those of the CPU, which say more where other work takes turns with it."""
        self.add(line, side, measured.seconds)
        self.cpu[line.name][side].append(measured.cpu_seconds)

    def note(self, line: Line, side, text):
        self.lines.setdefault(line.name, line)
        self.notes[line.name, side] = text

    def median(self, name, side):
        values = self.samples[name].get(side)
        return statistics.median(values) if values else None

    def ratio(self, name, side):
        return _ratio(self.samples[name], side)

    def within(self, name, side):
        """Whether the budget is kept; None without figures."""
        line = self.lines[name]
        budget = line.daemon if side == KILND else line.embedded
        if budget.value is not None:
            value = self.median(name, side)
            return None if value is None else value <= budget.value
        ratio = self.ratio(name, side)
        return None if ratio is None else ratio <= budget.ratio

    def rows(self):
        shown = ["ratio", "CPU", "budget", ""]
        yield ["what", BUILDKITD, KILND, *shown, EMBEDDED, *shown]
        for name, line in self.lines.items():
            row = [name, show(self.median(name, BUILDKITD), line.unit)]
            for side, budget in ((KILND, line.daemon), (EMBEDDED, line.embedded)):
                row += self._cells(name, line, side, budget)
            yield row

    def _cells(self, name, line, side, budget):
        value = self.median(name, side)
        if value is None:
            return [self.notes.get((name, side), "–"), "", "", "", ""]
        ratio, cpu = self.ratio(name, side), _ratio(self.cpu[name], side)
        verdict = {True: "ok", False: "OVER", None: ""}[self.within(name, side)]
        ratios = [f"{number:.2f}" if number else "" for number in (ratio, cpu)]
        return [show(value, line.unit), *ratios, budget.text(line.unit), verdict]

    def text(self):
        rows = list(self.rows())
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)

    def markdown(self):
        rows = list(self.rows())
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        return "\n".join(lines)

    def over(self):
        """Names of lines and sides that do not keep their budget."""
        return [
            f"{name} ({side})" for name in self.lines for side in (KILND, EMBEDDED) if self.within(name, side) is False
        ]
