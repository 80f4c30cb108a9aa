"""The report as plain text."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.peers import OURS
from benchmarks.report import Comparison, Row, compare, rows, short
from benchmarks.runner import Record
from benchmarks.workloads import WORKLOADS

_HEAD = ("workload", OURS, "against", "theirs", "ratio [min..max]", "cpu", "n", "target", "met")
_LEFT = {0, 2}


def table(records: Iterable[Record]) -> str:
    """A line for the best peer of each workload and for each target; `*` marks the best peer."""
    lines: list[tuple[str, ...]] = [_HEAD]
    last = ""
    for record in records:
        for row in rows(record):
            lines.append(_cells(row, "" if row.workload == last else row.workload))
            last = row.workload
    return _aligned(lines)


def all_peers(record: Record) -> str:
    """One workload with every peer, the hardest to beat first."""
    workload = WORKLOADS[record.workload]
    lines: list[tuple[str, ...]] = [("", OURS, "against", "theirs", "ratio [min..max]", "cpu", "n")]
    lines += [("  ", *_figures(comparison, workload.unit, best=False)) for comparison in compare(record)]
    lines += [("  ", "", f"{name}: {note}", *[""] * 4) for name, note in record.notes.items()]
    return f"{workload.name}: {workload.title} ({record.seconds:.0f} s)\n{_aligned(lines)}"


def _cells(row: Row, name: str) -> tuple[str, ...]:
    met = {True: "yes", False: "NO", None: ""}[row.met]
    if row.comparison is None:
        return name, "", row.figure or row.note, *[""] * 4, row.target, met
    return name, *_figures(row.comparison, WORKLOADS[row.workload].unit, row.best), row.target, met


def _figures(comparison: Comparison, unit: str, best: bool) -> tuple[str, ...]:
    ratio, scaled = comparison.ratio, "" if comparison.part == 1 else "~"
    return (
        f"{short(comparison.ours.median)} {unit}",
        comparison.peer + (" *" if best else ""),
        f"{scaled}{short(comparison.theirs.median)} {unit}",
        f"{scaled}{short(ratio.median)} [{short(ratio.least)}..{short(ratio.most)}]",
        "" if comparison.cpu is None else short(comparison.cpu),
        str(comparison.rounds),
    )


def _aligned(lines: list[tuple[str, ...]]) -> str:
    # A text that only explains stands in the third column and runs over the ones behind it.
    figures = [line for line in lines if line[3]]
    widths = [max(len(line[i]) for line in figures) for i in range(len(lines[0]))]
    widths[0] = max(len(line[0]) for line in lines)
    for i in range(7, len(widths)):
        widths[i] = max(len(line[i]) for line in lines)
    return "\n".join(_line(line, widths) for line in lines)


def _line(line: tuple[str, ...], widths: list[int]) -> str:
    if line[3]:
        return "  ".join(_pad(text, widths[i], i) for i, text in enumerate(line)).rstrip()
    start = "  ".join(" " * widths[1] if i == 1 else _pad(line[0], widths[0], 0) for i in range(2))
    middle = line[2].ljust(sum(widths[2:7]) + 8)
    return "  ".join([start, middle, *(_pad(line[i], widths[i], i) for i in range(7, len(line)))]).rstrip()


def _pad(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column in _LEFT else text.rjust(width)
