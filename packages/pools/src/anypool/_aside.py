"""Where what must not wait, or be waited for, is done instead."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__: list[str] = []


class Aside:
    """A thread for what takes a lock that whoever notices it may hold.

    It is there from the start: Python 3.12 starts none once the interpreter is ending.
    """

    def __init__(self, name: str = "anypool-aside") -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=_run_all, args=(self._calls,), name=name, daemon=True)
        self._thread.start()

    def call(self, action: Callable[[], object]) -> None:
        """Run this after what was asked before."""
        self._calls.put(action)

    def end(self, seconds: float) -> None:
        """End when all is done; wait for that so long."""
        self._calls.put(None)
        if seconds:
            self._thread.join(seconds)


def _run_all(calls: SimpleQueue[Callable[[], object] | None]) -> None:
    while (action := calls.get()) is not None:
        try:
            action()
        except BaseException:  # Foreign code may raise SystemExit, and slots wait for what comes after it.
            logging.getLogger("anypool").exception("a launcher's executor")
        # Not to hold a pool while waiting for the next call.
        del action
