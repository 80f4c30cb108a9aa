"""The iterator that `imap` and `uimap` return."""

from __future__ import annotations

import itertools
import operator
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anypool._engine import Engine
from anypool._errors import PoolClosed
from anypool._feeding import feed_ahead
from anypool._stream import Stream

if TYPE_CHECKING:
    from anypool._progress import Progress, Told

__all__: list[str] = []

T = TypeVar("T")


class Items(itertools.chain[T], Generic[T]):
    """Results as they come; several threads may share it. Dropping it withdraws what has not begun.

    It is a chain over batches of one reply each, so that taking an item that is there already runs no Python code.
    """


class _Raise:
    """An iterator that raises once; a chain goes on after it, as it would not after an error of its source."""

    def __init__(self, error: BaseException) -> None:
        self._error: BaseException | None = error

    def __iter__(self) -> Iterator[Any]:
        return self

    def __length_hint__(self) -> int:
        return int(self._error is not None)

    def __next__(self) -> Any:
        error, self._error = self._error, None
        if error is None:
            raise StopIteration
        try:
            raise error
        finally:
            # A traceback holds this frame, and would with it hold the error, and all callers' frames.
            del error


class Batches:
    """Fetches batches for a chain: each step returns an iterator over results that are there."""

    def __init__(
        self,
        engine: Engine,
        stream: Stream,
        keep_errors: bool,
        closed: Callable[[], bool],
        bar: Progress | Told | None,
    ) -> None:
        self._engine, self._stream = engine, stream
        self._keep_errors, self._closed, self._bar = keep_errors, closed, bar
        self._lock = threading.Lock()
        self._reader: int | None = None
        self._pieces: deque[Iterator[Any]] = deque()
        self._current: Iterator[Any] = iter(())
        self._over = False

    def __iter__(self) -> Iterator[Iterator[Any]]:
        return self

    def __next__(self) -> Iterator[Any]:
        self._engine.check_here()
        if self._reader == threading.get_ident():
            raise RuntimeError("the input of this map asks for the map's own results, which wait for the input")
        with self._lock:
            self._reader = threading.get_ident()
            try:
                return self._next()
            finally:
                self._reader = None

    def _next(self) -> Iterator[Any]:
        # Two threads may find the chain empty at once; both get the same iterator, or one would lose its rest.
        if operator.length_hint(self._current):
            return self._current
        if not self._pieces:
            try:
                self._fetch()
            except BaseException:
                self._end(kill=True)
                raise
        if not self._pieces:
            raise StopIteration
        self._current = self._pieces.popleft()
        return self._current

    def _fetch(self) -> None:
        stream, engine = self._stream, self._engine
        while not self._over and not self._pieces:
            closed = self._closed()
            stream.undelivered = 0
            if not closed:
                feed_ahead(engine, stream, in_hand=False)
            # Asked before collecting: what arrives after that is collected the next time.
            finished, given_up = stream.finished, closed and not engine.desk.flying(stream)
            for values, errors in stream.collect():
                self._cut(values, errors)
            if self._pieces:
                stream.undelivered = sum(map(operator.length_hint, self._pieces))
                if not closed:
                    feed_ahead(engine, stream, in_hand=True)
            elif finished:
                if stream.broken is not None:
                    self._pieces.append(_Raise(stream.broken))
                self._end(kill=False)
            elif given_up:
                self._pieces.append(_Raise(PoolClosed("the pool was closed before all results were read")))
                self._end(kill=False)
            else:
                engine.drive(self._worth_a_look)

    def _worth_a_look(self) -> bool:
        stream = self._stream
        if stream.news or stream.finished:
            return True
        return not self._engine.desk.flying(stream) if self._closed() else self._engine.hungry(stream)

    def _cut(self, values: list[Any], errors: dict[int, BaseException]) -> None:
        if self._bar is not None:
            self._bar.reach(self._stream.consumed)
        start = 0
        for at in sorted(errors):
            if self._keep_errors and errors[at] is not self._stream.source.error:
                values[at] = errors[at]
                continue
            if at > start:
                self._pieces.append(iter(values[start:at]))
            self._pieces.append(_Raise(errors[at]))
            start = at + 1
        if start < len(values):
            self._pieces.append(iter(values[start:] if start else values))

    def _end(self, kill: bool) -> None:
        if not self._over:
            self._over = True
            if self._bar is not None:
                self._bar.close()
            self._engine.end(self._stream, kill)
            self._stream.source.close()

    def __del__(self) -> None:
        # Collection may strike inside the engine's own section, so the engine is only told.
        if not getattr(self, "_over", True):
            self._engine.forgotten.append(self._stream)
            self._stream.source.close()
