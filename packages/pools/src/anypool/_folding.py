"""A chunk's values, folded on its worker: what a `map_reduce` sends along with its function."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

__all__: list[str] = []


class Combiner:
    """The operator by which the values of a chunk become one partial result."""

    def __init__(self, op: Callable[[Any, Any], Any]) -> None:
        self.op = op

    def over(self, calls: Iterator[Any]) -> tuple[Iterator[None], PartialResult]:
        """An iterator that makes one call per step and folds its value, and what they are folded into."""
        result = PartialResult(self.op)
        return map(result.keep, accumulate(calls, result.join)), result


class PartialResult:
    """The values so far as one; no two are kept.

    The operator may change what stands on its left, so after an exception inside it nobody knows what that holds.
    """

    def __init__(self, op: Callable[[Any, Any], Any]) -> None:
        self._op = op
        self._held: deque[Any] = deque(maxlen=1)
        self._joins = 0
        self.keep = self._held.append

    def join(self, left: Any, right: Any) -> Any:
        """One more; counted before anything can be raised."""
        self._joins += 1
        return self._op(left, right)

    @property
    def values(self) -> list[Any]:
        """One, or none if there was none to fold."""
        return list(self._held)

    def retryable(self, classes: tuple[type[BaseException], ...], done: int) -> tuple[type[BaseException], ...]:
        """Which exceptions of the item after the first `done` may be retried: none if the fold may hold that item."""
        return classes if self._joins + len(self._held) == done else ()
