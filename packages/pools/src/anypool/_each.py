"""From what is called and the items of a chunk to an iterator that makes the calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import starmap

from anypool._chunk import Calling, Mode
from anypool._task import current, stay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []


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
