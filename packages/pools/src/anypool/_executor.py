"""A pool in the shape of a standard executor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from itertools import chain, islice
from typing import Any, ParamSpec, Protocol, TypeVar

from anypool._errors import PoolClosed
from anypool._result import Result

__all__: list[str] = []

P = ParamSpec("P")
R = TypeVar("R")


class Pool(Protocol):
    """What an executor needs of the pool behind it."""

    def submit(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Result[R]: ...

    def __len__(self) -> int: ...

    def close(self) -> None: ...

    def join(self) -> None: ...

    def _cancel_waiting(self) -> None: ...


class PoolExecutor(Executor):
    """`submit`, `map` and `shutdown` of a pool, with the standard library's meaning."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @property
    def _max_workers(self) -> int:
        """What dask and others ask of any executor, though it is the standard library's own."""
        return len(self._pool)

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Result[R]:
        """The pool's `submit`; `RuntimeError` after shutdown, as the standard says."""
        try:
            return self._pool.submit(fn, *args, **kwargs)
        except PoolClosed as error:
            raise RuntimeError("cannot schedule new futures after shutdown") from error

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[R]:
        """All input is read at once; `timeout` counts from this call. With the pool's own methods neither is so."""
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, got {chunksize}")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        chunks = _cut(zip(*iterables, strict=False), chunksize)
        lists: Iterator[list[R]] = super().map(partial(_run, fn), chunks, timeout=timeout, **more)
        return chain.from_iterable(lists)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Close the pool; without `wait` its workers end when all is done."""
        self._pool.close()
        if cancel_futures:
            self._pool._cancel_waiting()  # noqa: SLF001 - the pool's own face
        if wait:
            self._pool.join()
        else:
            threading.Thread(target=self._pool.join, name="anypool-shutdown").start()


def _cut(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(rows, size)):
        yield chunk


def _run(fn: Callable[..., R], rows: list[tuple[Any, ...]]) -> list[R]:
    return [fn(*row) for row in rows]
