"""Tell a task of a thread to end, by a SystemExit that strikes only its own code: in ours it might keep a lock held."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__: list[str] = []

T = TypeVar("T")

_here = threading.local()


class Task:
    """What a thread runs for one slot; `abandoned` once it is to end, `struck` once it was told."""

    abandoned = struck = False


class Gate:
    """Whose code the thread is in: a task's, or ours while a task uses a pool, which may run another task inside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ident = threading.get_ident()
        # The task in whose code we are, how deep in ours, and whose code that will return to.
        self._task: Task | None = None
        self._depth = 0
        self._outer: Task | None = None

    def run(self, task: Task, call: Callable[[], T]) -> T:
        """Make a call that is this task's own code. A SystemExit from here came too late to strike that."""
        before = self._task, self._depth, self._outer
        try:
            try:
                self._set(task, 0, None)
                return call()
            finally:
                self._set(*before)
        except SystemExit:
            # It may have struck before that was done, and strikes once only.
            self._set(*before)
            raise

    def _set(self, task: Task | None, depth: int, outer: Task | None) -> None:
        with self._lock:
            self._task, self._depth, self._outer = task, depth, outer

    def __enter__(self) -> None:
        if self._depth == 0:
            # What was thrown before is raised at one of the next bytecodes, before any lock is taken.
            self._set(None, 1, self._task)
        else:
            self._depth += 1

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0:
            task = self._outer
            self._set(task, 0, None)
            if task is not None and task.abandoned and not task.struck:
                task.struck = True
                raise SystemExit

    def leave(self, task: Task) -> None:
        """From another thread: have the task end as soon as it is in its own code."""
        import ctypes  # Hardly ever needed, and it takes a while.

        with self._lock:
            task.abandoned = True
            if self._task is task:
                task.struck = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._ident), ctypes.py_object(SystemExit))


def open_gate() -> Gate:
    """The gate of the calling thread, which runs tasks from now on."""
    _here.gate = gate = Gate()
    return gate


def current() -> Any:
    """The gate of the calling thread, if it runs tasks of a pool of threads."""
    return getattr(_here, "gate", None)
