"""Which plan holds here, and who says so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import NamedTuple, Self

from anypool._budget import check_plan
from anypool._building import plan_from
from anypool._context import Scope, hold, scope
from anypool._files import in_project, of_user
from anypool._launcher import Launcher, cpus
from anypool._plan import Plan
from anypool._select import VARIABLE, default

__all__: list[str] = []


class _Block(NamedTuple):
    """A `plan` that was entered, and what held before."""

    plan: plan
    before: Scope | None


# The blocks that this context is in, the innermost last: one `plan` may be entered in several threads at once.
_blocks: ContextVar[tuple[_Block, ...]] = ContextVar("anypool_blocks", default=())


class Found(NamedTuple):
    """A plan, who speaks for it, and whether its budget has been checked."""

    plan: Plan
    source: str
    checked: bool = False


class Voice(NamedTuple):
    """Somebody who may speak for a plan: the text, or None."""

    source: str
    text: str | None


def plan_here() -> Found:
    """What `get_pool()` opens here: the plan of the context or the task, ANYPOOL_PLAN, a configuration file, `process`.

    Raises `PlanError`, `LauncherNotFound` or `LauncherUnavailable` that name the source of a text that is wrong.
    """
    here = scope()
    if here is not None:
        return Found(Plan(here.levels or (_serial(),)), here.source, checked=True)
    for voice in voices():
        if voice.text is not None:
            return Found(plan_from(voice.text, voice.source), voice.source)
    raise AssertionError("the default always speaks")


def voices() -> Iterator[Voice]:
    """Who speaks outside of plans and tasks, in their order; files are read when it is their turn."""
    text = os.environ.get(VARIABLE, "").strip()
    yield Voice(f"the environment variable {VARIABLE}", text or None)
    for find in (in_project, of_user):
        if (file := find()) is None:
            continue
        from anypool._config import checked

        said = checked(file)
        yield Voice(said.plan.source, said.plan.text) if said.plan else Voice(said.path, None)
    yield Voice("the default", default())


def _serial() -> Launcher:
    from anypool.launchers.serial import Serial

    return Serial()


class plan:  # noqa: N801 - read as a phrase: with plan("process:4")
    """Have `get_pool()` open these levels in a block, for code that doesn't own the pool, such as a library's.

    Takes what `get_pool` takes but executors: texts, launchers, a `Plan`. It holds in this context only (a thread, an
    asyncio task), not in the tasks of the pools that are opened: those get the next level. Raises what `get_pool`
    raises for a plan, at once. One object may be entered again, and in several threads.
    """

    def __init__(self, *levels: str | Launcher | Plan) -> None:
        from anypool._opening import given_plan

        for level in levels:
            if not isinstance(level, (str, Launcher, Plan)):
                raise TypeError(f"plan() takes texts, launchers and plans, got {level!r}")
        self._plan, self._cpus = given_plan(list(levels), {}), float(cpus())
        check_plan(self._plan)

    def __enter__(self) -> Self:
        before = scope()
        if float(cpus()) != self._cpus:
            check_plan(self._plan)
        _blocks.set((*_blocks.get(), _Block(self, before)))
        hold(Scope(self._plan.levels, None if before is None else before.cpus, "plan()"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Generators may leave their blocks in another order than they entered them, or in another context.
        blocks = list(_blocks.get())
        for at in reversed(range(len(blocks))):
            if blocks[at].plan is self:
                before = blocks.pop(at).before
                if at == len(blocks):
                    hold(before)
                else:
                    blocks[at] = _Block(blocks[at].plan, before)
                _blocks.set(tuple(blocks))
                return

    def __str__(self) -> str:
        return str(self._plan)


plan.__module__ = "anypool"
