"""Which plan holds here, and who says so."""

from __future__ import annotations

import os
from types import TracebackType
from typing import NamedTuple, Self

from anypool._budget import check_plan
from anypool._context import Scope, entered, scope
from anypool._errors import PlanError
from anypool._launcher import Launcher
from anypool._plan import Plan

__all__: list[str] = []

VARIABLE = "ANYPOOL_PLAN"
_DEFAULT = "process"


class Found(NamedTuple):
    """A plan, who speaks for it, and whether its budget has been checked."""

    plan: Plan
    source: str
    checked: bool = False


def plan_here() -> Found:
    """What `get_pool()` opens here: the plan of the context or the task, ANYPOOL_PLAN, a configuration file, `process`.

    Raises `PlanError` that names the source of a text that is wrong.
    """
    here = scope()
    if here is not None:
        return Found(Plan(here.levels or (_serial(),)), here.source, checked=True)
    text = os.environ.get(VARIABLE, "").strip()
    if text:
        return Found(read(text, f"the environment variable {VARIABLE}"), f"the environment variable {VARIABLE}")
    return Found(read(_DEFAULT, "the default"), "the default")


def read(text: str, source: str) -> Plan:
    """The plan of a text from somewhere else, which an error names."""
    from anypool._building import plan_of

    try:
        return plan_of(text)
    except PlanError as error:
        raise PlanError(f"{source}: {error}") from error
    except (TypeError, ValueError) as error:
        raise PlanError(f"{source}: {error} in {text!r}") from error


def _serial() -> Launcher:
    from anypool.launchers.serial import Serial

    return Serial()


class plan:  # noqa: N801 - read as a phrase: with plan("process:4")
    """Have `get_pool()` open these levels in a block, for code that doesn't own the pool, such as a library's.

    Takes what `get_pool` takes but executors: texts, launchers, a `Plan`. It holds in this context only (a thread, an
    asyncio task), not in the tasks of the pools that are opened: those get the next level. Raises what `get_pool` raises
    for a plan, at once.
    """

    def __init__(self, *levels: str | Launcher | Plan) -> None:
        from anypool._opening import given_plan

        self._plan = given_plan(list(levels), {})
        check_plan(self._plan)
        self._entered: list[entered] = []

    def __enter__(self) -> Self:
        here = scope()
        block = entered(Scope(self._plan.levels, None if here is None else here.cpus, "plan()"))
        self._entered.append(block)
        block.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entered.pop().__exit__()

    def __str__(self) -> str:
        return str(self._plan)


plan.__module__ = "anypool"
