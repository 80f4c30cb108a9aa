"""From what is called and the items of a chunk to the calls: an iterator that makes them, and the loop that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, starmap
from time import perf_counter

from anypool._chunk import Calling, Mode
from anypool._failure import STOPPED
from anypool._task import current, stay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []

# Items between two looks at the clock, for they bound what one slow stretch can hold back; and seconds that a step may
# take to be made longer, for a look costs a tenth of that.
_LONGEST_STEP, _SHORT_STEP = 64, 5e-6


def call_each(calling: Calling, mode: int, items: Any) -> Iterator[Any]:
    """An iterator that makes one call per step, and goes on after one that raised."""
    function = partial(calling.function, **calling.kwargs) if calling.kwargs else calling.function
    if calling.seeding is not None:
        function = calling.seeding.around(function)
    if mode == Mode.MAP:
        return map(function, *items)
    if mode == Mode.STAR:
        return starmap(function, items)
    # Not a generator: that would end with the first call that raises.
    return map(_Spread(function), items)


def drawn_from(mode: int, items: Any) -> tuple[Any, Any]:
    """The items, and an iterator that they are drawn from: how many it has left tells which of them runs."""
    if mode == Mode.MAP:
        drawn = iter(items[0])
        return [drawn, *items[1:]], drawn
    drawn = iter(items)
    return drawn, drawn


class _Spread:
    """Calls a function with a pair of arguments and keywords, by reference also in a copy of a context."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, call: tuple[Any, ...]) -> Any:
        if len(call) == 3:
            context = call[2].copy()
            context.run(stay, current())
            return context.run(self._function, *call[0], **call[1])
        return self._function(*call[0], **call[1])


def run(
    calls: Iterator[Any],
    count: int,
    budget: float,
    stop: bool,
    passing: Callable[[BaseException], bool] | None = None,
) -> tuple[list[Any], dict[int, BaseException]]:
    """Make up to `count` calls; return values (None where one raised) and exceptions by position.

    Ends early after `budget` seconds, or at the first exception if `stop`. Exceptions that are `passing` are raised.
    """
    values: list[Any] = []
    errors: dict[int, BaseException] = {}
    now = perf_counter()
    deadline = now + budget
    step, done = 1, 0
    while done < count and now < deadline:
        try:
            # Of the shortest tasks, this loop's own work is a tenth.
            while done < count and now < deadline:
                step = min(step, count - done)
                part = islice(calls, step)
                done += step
                values.extend(part)
                if len(values) < done:
                    raise RuntimeError(STOPPED)
                before, now = now, perf_counter()
                if step < _LONGEST_STEP and now - before < _SHORT_STEP:
                    step *= 2
        except BaseException as error:  # whatever user code raises is its outcome
            if passing is not None and passing(error):
                raise
            if len(values) == done:
                # A signal's handler struck between two items, and what it raised is the earlier one's: nothing else
                # was under way, and the later ones are to keep their places.
                if not values:
                    raise
                values.pop()
            errors[len(values)] = error
            values.append(None)
            if stop:
                break
            done, now = len(values), perf_counter()
    return values, errors
