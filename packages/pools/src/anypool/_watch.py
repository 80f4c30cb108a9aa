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
# A yield that took so long let a stranger run: the core is shared. Who is waited for needs it, too, but not so long.
_SHARED = 0.0001
# What looking saves, each time.
_GAIN = 0.000_04


class Watch:
    """Waits that keep looking for 200 us, if the wait before was as short as that and nobody else wants the core.

    So a rhythm of long waits costs nothing, and the first long one after short ones at most 200 us of an idle core.
    Time that was lost to a stranger, a few ms, is made good by as many waits without looking as would have gained it.
    """

    __slots__ = ("_keen", "_lost")

    def __init__(self) -> None:
        self._keen = False
        self._lost = 0.0

    def wait(self, poll: Callable[[float | None], R], timeout: float | None = None) -> R:
        """What `poll(0)` finds, or else what `poll(timeout)` returns."""
        started = now = perf_counter()
        if self._lost > 0:
            self._lost -= _GAIN
        elif self._keen:
            while now - started < _LIMIT:
                # Four times for each look at the clock: a message may have come just after one.
                if found := poll(0) or poll(0) or poll(0) or poll(0):
                    return found
                before = perf_counter()
                os.sched_yield()
                now = perf_counter()
                if now - before > _SHARED:
                    self._lost = now - before
                    break
        found = poll(timeout)
        self._keen = perf_counter() - started < _LIMIT
        return found
