"""Look before sleeping: waking a sleeper on another core costs 25 us, most of a short call's round trip."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    R = TypeVar("R")

__all__: list[str] = []

# What came later than this was worth no looking for: sleeping is cheaper than so much of a core.
_LIMIT = 0.0002
# A yield that took so long let another process run: the core is shared, so looking keeps others from working.
_SHARED = 0.000_012
# Waits without looking after that.
_REST = 20


class Watch:
    """Waits that keep looking for 200 us, if the wait before was as short as that and nobody else wants the core.

    So a rhythm of long waits costs nothing, and the first long one after short ones at most 200 us of an idle core.
    """

    __slots__ = ("_keen", "_rest")

    def __init__(self) -> None:
        self._keen = False
        self._rest = 0

    def wait(self, look: Callable[[], R], sleep: Callable[[], R]) -> R:
        """What `look` finds, or else what `sleep` returns."""
        started = now = perf_counter()
        if self._rest:
            self._rest -= 1
        elif self._keen:
            while now - started < _LIMIT:
                if found := look():
                    return found
                before = perf_counter()
                os.sched_yield()
                now = perf_counter()
                if now - before > _SHARED:
                    self._rest = _REST
                    break
        found = sleep()
        self._keen = perf_counter() - started < _LIMIT
        return found
