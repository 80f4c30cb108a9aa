"""From pairs to figures: medians, ratios with their spread, and whether a target is met."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.meter import Sample
from benchmarks.peers import OURS
from benchmarks.runner import Record
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.base import BEST, Workload


@dataclass(frozen=True)
class Spread:
    """The median of one figure over the rounds, its least and its greatest."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        return cls(statistics.median(figures), min(figures), max(figures))


@dataclass(frozen=True)
class Comparison:
    """Ours beside one peer; `ratio` is how many times as good ours is: above 1 is better in any unit."""

    peer: str
    ours: Spread
    theirs: Spread
    ratio: Spread
    cpu: float | None  # their processor time over ours
    rounds: int
    part: float  # of the work that the peer was given; its figure is scaled up


@dataclass(frozen=True)
class Row:
    """A line of the table: a comparison, a figure of our own, or only why there is none."""

    workload: str
    comparison: Comparison | None
    best: bool = False
    target: str = ""
    met: bool | None = None
    figure: str = ""
    note: str = ""


def compare(record: Record) -> list[Comparison]:
    """Peers in the order of how hard they are to beat."""
    workload = WORKLOADS[record.workload]
    found = [_compare(workload, peer, pairs, record.parts) for peer, pairs in record.pairs.items()]
    return sorted(found, key=lambda comparison: comparison.ratio.median)


def _compare(workload: Workload, peer: str, pairs: list[tuple[Sample, Sample]], parts: dict[str, float]) -> Comparison:
    ratios = [_ratio(workload, ours.value, theirs.value) for ours, theirs in pairs]
    cpu = [theirs.cpu / ours.cpu for ours, theirs in pairs if ours.cpu and theirs.cpu]
    part = parts.get(peer, 1.0)
    return Comparison(
        peer,
        Spread.of([ours.value for ours, _ in pairs]),
        Spread.of([theirs.value for _, theirs in pairs]),
        Spread.of(ratios),
        statistics.median(cpu) if cpu and part == 1 else None,
        len(pairs),
        part,
    )


def _ratio(workload: Workload, ours: float, theirs: float) -> float:
    better, worse = (ours, theirs) if workload.higher_is_better else (theirs, ours)
    return better / worse if worse > 0 else float("inf")


def rows(record: Record) -> list[Row]:
    """The best peer, those that a target names, our own figures, and who is missing and why."""
    workload, compared = WORKLOADS[record.workload], compare(record)
    best = compared[0].peer if compared else ""
    goals = {target.against: target.at_least for target in workload.targets}
    found = []
    for comparison in compared:
        goal = goals.get(comparison.peer)
        if comparison.peer == best:
            goal = max(goal or 0, goals.get(BEST, 0)) or None
        if goal is None and comparison.peer != best:
            continue
        met = None if goal is None else comparison.ratio.median >= goal
        text = "" if goal is None else f">= {goal:g}"
        found.append(Row(workload.name, comparison, comparison.peer == best, text, met))
    found += _own_figures(workload, record)
    found += [Row(workload.name, None, note=f"{peer}: {note}") for peer, note in record.notes.items()]
    return found


def _own_figures(workload: Workload, record: Record) -> list[Row]:
    ours = [ours for pairs in record.pairs.values() for ours, _ in pairs]
    if not ours:
        return []
    found = []
    for limit in workload.limits:
        figures = [sample.value if limit.figure == "value" else sample.extras[limit.figure] for sample in ours]
        spread = Spread.of(figures)
        name = workload.unit if limit.figure == "value" else limit.figure
        text = f"{OURS}: {short(spread.median)} {name} [{short(spread.least)}..{short(spread.most)}]"
        found.append(Row(workload.name, None, False, str(limit), limit.met(spread.median), figure=text))
    return found


def short(figure: float) -> str:
    """Three digits that count, without an exponent."""
    if figure >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}" if figure >= 0.001 else f"{figure:.4f}"
