"""A pool in the shape of a standard executor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from anypool._pool import Pool
    from anypool._result import Result

__all__: list[str] = []

P = ParamSpec("P")
R = TypeVar("R")


class PoolExecutor(Executor):
    """`submit`, `map` and `shutdown` of a pool, with the standard library's meaning."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The pool's `submit`; `RuntimeError` after shutdown, as the standard says."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except ValueError as error:
            raise RuntimeError("cannot schedule new futures after shutdown") from error

    def map(
        self, fn: Callable[..., R], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[R]:
        """All input is read at once; `timeout` counts from this call, for the whole."""
        deadline = None if timeout is None else time.monotonic() + timeout
        result = self._pool.amap(fn, *iterables, chunksize=None if chunksize == 1 else chunksize, on_error="return")
        return _items(result, deadline)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the pool."""
        if cancel_futures and (engine := self._pool._engine_made) is not None:  # noqa: SLF001 - the pool's own face
            engine.cancel_waiting()
        self._pool.close()
        if wait:
            self._pool.join()


def _items(result: Result[list[R]], deadline: float | None) -> Iterator[R]:
    values = result.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    for value in values:
        if isinstance(value, BaseException):
            raise value
        yield value
