"""A plan level by level, with the number of workers that each part would have here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from anypool._context import Scope, entered
from anypool._launcher import Launcher, cpus
from anypool._plan import Mixed, Nested, Plan

__all__: list[str] = []


class _Row(NamedTuple):
    depth: int
    what: str
    says: str


def tree(plan: Plan) -> str:
    """The plan as lines: a level, with what it is made of below it, then the next level behind `>`."""
    rows, share, outer = [], cpus(), 1
    for number, level in enumerate(plan):
        with entered(Scope((), share)):
            size = level.size
            says = _count(level, size) + (f" in each task, {outer * size} in all" if number else "")
            if number and not level.starts_workers:
                says = "the task itself"
            rows += [_Row(0, f"{'> ' if number else ''}{level}", says), *_inside(level, 1)]
        share, outer = share / size, outer * size
    if plan.levels[-1].starts_workers:
        rows.append(_Row(0, "> serial", "past the last level: the task itself"))
    width = max(2 * row.depth + len(row.what) for row in rows)
    return "\n".join(f"{'  ' * row.depth + row.what:<{width}}   {row.says}" for row in rows)


def _inside(launcher: Launcher, depth: int) -> Iterator[_Row]:
    if isinstance(launcher, Nested):
        for number, (part, size) in enumerate(zip(launcher.parts, launcher.sizes, strict=True)):
            role = "worker" if number == len(launcher.parts) - 1 else "hub"
            says = f"{size} {role}{'s' * (size != 1)}{' in each' if number else ''}"
            yield _Row(depth + number, str(part), says)
    elif isinstance(launcher, Mixed):
        for group, size, share in zip(launcher.groups, launcher.sizes, launcher.shares, strict=True):
            with entered(Scope((), share)):
                yield _Row(depth, str(group), _count(group, size))
                yield from _inside(group, depth + 1)


def _count(launcher: Launcher, size: int) -> str:
    if not launcher.starts_workers:
        return "the caller"
    return f"{size} worker{'s' * (size != 1)}"
