"""Which item of which map runs, and where: told by the code that runs it, asked for by the code that it runs."""

from __future__ import annotations

import os
import threading
from collections import namedtuple
from contextvars import ContextVar
from operator import length_hint

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Token
    from typing import Any, NamedTuple

    class Task(NamedTuple):
        """`item`: its index in the map's input, None for a single call. `worker`: as in `pool.workers()`.

        In a worker behind a `/` or `+` its name is the last part of that.
        """

        item: int | None
        worker: str
        host: str
        pid: int

else:
    Task = namedtuple("Task", ("item", "worker", "host", "pid"))

__all__: list[str] = []

# Whose tasks have no worker but him.
_CALLER = "caller"


class _Here(threading.local):
    """What the worker that this thread is, or is lent to, is called."""

    name = ""


here = _Here()
_running: ContextVar[running | spoken | None] = ContextVar("anypool_task", default=None)
# In a process that is one worker: its name, and what runs, for threads that tasks start.
_name: str | None = None
_latest: running | None = None
# Called when a chunk ends, before its outcome is sent.
at_end: list[Callable[[], object]] = []


class running:  # noqa: N801 - read as a phrase: with running(...)
    """Within a block, calls are made whose arguments come from `items`: of `count` items, the `first` is next.

    `first` is None for a single call. What it says goes to `said`, if that is where it is collected.
    """

    __slots__ = ("_before", "_token", "count", "first", "items", "name", "said")

    def __init__(self, first: int | None, count: int, items: Any, said: list[Any] | None = None) -> None:
        self.first, self.count, self.items, self.said = first, count, items, said
        self._before: running | None = None
        self.name = here.name

    def __enter__(self) -> None:
        global _latest
        if self.said is None and type(outer := _running.get()) is running:
            # A pool of this process, in a task.
            self.said = outer.said
        self._token: Token[Any] = _running.set(self)
        if _name is not None:
            self._before, _latest = _latest, self

    def __exit__(self, *_: object) -> None:
        global _latest
        for end in at_end:
            end()
        _running.reset(self._token)
        # What a thread says that goes on is for nobody to collect.
        self.said = None
        if _name is not None:
            _latest = self._before

    @property
    def index(self) -> int | None:
        """The item that runs now: known by how many are left, so that it costs nothing to whom does not ask."""
        if self.first is None or self.items is None:
            return self.first
        return self.first + max(0, self.count - length_hint(self.items) - 1)


def current_task() -> Task | None:
    """The task that calls this, on any launcher; None outside of tasks.

    In a stream, handler or filter to which a task's output comes in its caller's process: the task that it is of.
    """
    now = current()
    if now is None:
        return None if _name is None else _placed(None, _name)
    return now.task if isinstance(now, spoken) else _placed(now.index, now.name or _name or _CALLER)


def current() -> running | spoken | None:
    """What runs in this context, or in this worker."""
    now = _running.get()
    return _latest if now is None and _name is not None else now


def stay(now: running | spoken | None) -> None:
    """Have the same run in this context, which is another's copy."""
    _running.set(now)


class unmoved:  # noqa: N801 - read as a phrase: with unmoved()
    """After a block the caller is in the task that it was in before, wherever a signal's handler has struck in it."""

    def __enter__(self) -> None:
        self._before = _running.get()

    def __exit__(self, *_: object) -> None:
        _running.set(self._before)


def runs_here() -> running | None:
    """What runs in this context, or in this worker; not what is only handed on here."""
    now = current()
    while isinstance(now, spoken):
        now = now.outer
    return now


def _placed(index: int | None, name: str) -> Task:
    return Task(index, name, os.uname().nodename, os.getpid())


def become(name: str | None) -> None:
    """This process is one worker from now on, with one task at a time; None if it is none after all."""
    global _name
    _name = name


class spoken:  # noqa: N801 - read as a phrase: with spoken(task)
    """Within a block, `current_task()` is this one, whose output is being handed on."""

    def __init__(self, task: Task, outer: running | None) -> None:
        self.task = task
        # In a thread of an executor's: the task that has opened its pool.
        self.outer = current() or outer

    def __enter__(self) -> None:
        self._token: Token[Any] = _running.set(self)

    def __exit__(self, *_: object) -> None:
        _running.reset(self._token)


def _silence() -> None:
    # A forked child's list is nobody's.
    if type(now := _running.get()) is running:
        now.said = None


os.register_at_fork(after_in_child=_silence)
current_task.__module__ = Task.__module__ = "anypool"
