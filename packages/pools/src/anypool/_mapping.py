"""The map methods: what a checker infers from f and the iterables, and which way each goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, TypeVarTuple, Unpack, overload

from anypool._chunk import Mode
from anypool._options import AsyncMapOptions, AsyncNeededKwargs, MapOptions, NeededKwargs, Options
from anypool._result import Result

__all__: list[str] = []

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
T = TypeVarTuple("T")
Many = Iterable[Any]


def _only(method: str, rows: Many, more: tuple[Any, ...]) -> tuple[Many]:
    if more:
        size = f"; a chunk size is given by keyword, chunksize={more[0]}" if isinstance(more[0], int) else ""
        raise TypeError(f"{method}() takes one iterable, of argument tuples{size}")
    return (rows,)


class Runner:
    """What the methods need of whoever has them: a pool, or a map that is an object."""

    def _map(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> list[R]:
        raise NotImplementedError

    def _imap(
        self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options, *, ordered: bool
    ) -> Iterator[R]:
        raise NotImplementedError

    def _amap(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> Result[list[R]]:
        raise NotImplementedError


class Maps(Runner):
    """All maps. The overloads are for one, two, three iterables; for more; for an f that needs `kwargs=`.

    `self` is a `Runner`, so that the methods can be borrowed by classes which have one of them only.
    """

    @overload
    def map(self: Runner, f: Callable[[A], R], a: Iterable[A], /, **options: Unpack[MapOptions]) -> list[R]: ...
    @overload
    def map(
        self: Runner, f: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /, **options: Unpack[MapOptions]
    ) -> list[R]: ...
    @overload
    def map(
        self: Runner,
        f: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[MapOptions],
    ) -> list[R]: ...
    @overload
    def map(
        self: Runner,
        f: Callable[..., R],
        a: Many,
        b: Many,
        c: Many,
        d: Many,
        /,
        *more: Many,
        **options: Unpack[MapOptions],
    ) -> list[R]: ...
    @overload
    def map(self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Unpack[NeededKwargs]) -> list[R]: ...
    def map(self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Any) -> list[R]:
        """`[f(*row) for row in zip(*iterables)]`, in input order; stops at the shortest iterable.

        Raises the exception of the lowest item that has one, and starts nothing further. Input is read as workers need
        it, so memory holds the results and a few chunks. Options: chunksize, kwargs, timeout, retries, retry_on,
        on_error, buffersize, strict, progress, seed, needs, tags, profile; see the table in the README.
        """
        return self._map(Mode.MAP, f, iterables, Options("map", options))

    @overload
    def imap(self: Runner, f: Callable[[A], R], a: Iterable[A], /, **options: Unpack[MapOptions]) -> Iterator[R]: ...
    @overload
    def imap(
        self: Runner, f: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]: ...
    @overload
    def imap(
        self: Runner,
        f: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def imap(
        self: Runner,
        f: Callable[..., R],
        a: Many,
        b: Many,
        c: Many,
        d: Many,
        /,
        *more: Many,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def imap(
        self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Unpack[NeededKwargs]
    ) -> Iterator[R]: ...
    def imap(self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Any) -> Iterator[R]:
        """Results in input order, as they come; `next` on the iterator may be called by several threads.

        An exception is raised in its item's place, and the item after it can be taken next. Input is read by whoever
        takes results: two chunks per worker ahead, or `buffersize` items, so it may be endless. Behind a slow item no
        more is read once 64 MiB of finished ones are kept. What has been read runs: where results may suddenly grow
        from bytes to megabytes, give a `buffersize`. Dropping the iterator withdraws what has not begun. Options as
        for `map`.
        """
        return self._imap(Mode.MAP, f, iterables, Options("imap", options, lazy=True), ordered=True)

    @overload
    def uimap(self: Runner, f: Callable[[A], R], a: Iterable[A], /, **options: Unpack[MapOptions]) -> Iterator[R]: ...
    @overload
    def uimap(
        self: Runner, f: Callable[[A, B], R], a: Iterable[A], b: Iterable[B], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]: ...
    @overload
    def uimap(
        self: Runner,
        f: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def uimap(
        self: Runner,
        f: Callable[..., R],
        a: Many,
        b: Many,
        c: Many,
        d: Many,
        /,
        *more: Many,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def uimap(
        self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Unpack[NeededKwargs]
    ) -> Iterator[R]: ...
    def uimap(self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Any) -> Iterator[R]:
        """Results as they are completed, in no order; otherwise like `imap`."""
        return self._imap(Mode.MAP, f, iterables, Options("uimap", options, lazy=True), ordered=False)

    @overload
    def amap(
        self: Runner, f: Callable[[A], R], a: Iterable[A], /, **options: Unpack[AsyncMapOptions]
    ) -> Result[list[R]]: ...
    @overload
    def amap(
        self: Runner,
        f: Callable[[A, B], R],
        a: Iterable[A],
        b: Iterable[B],
        /,
        **options: Unpack[AsyncMapOptions],
    ) -> Result[list[R]]: ...
    @overload
    def amap(
        self: Runner,
        f: Callable[[A, B, C], R],
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        **options: Unpack[AsyncMapOptions],
    ) -> Result[list[R]]: ...
    @overload
    def amap(
        self: Runner,
        f: Callable[..., R],
        a: Many,
        b: Many,
        c: Many,
        d: Many,
        /,
        *more: Many,
        **options: Unpack[AsyncMapOptions],
    ) -> Result[list[R]]: ...
    @overload
    def amap(
        self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Unpack[AsyncNeededKwargs]
    ) -> Result[list[R]]: ...
    def amap(self: Runner, f: Callable[..., R], /, *iterables: Many, **options: Any) -> Result[list[R]]:
        """`map` as a `Result`, whose value is the list or the exception that `map` would raise.

        All of the input is read, and serialised where workers need that, before this returns: nothing bounds its
        memory. On a serial pool it is also computed by then. Options as for `map`, and `callback(list)` and
        `error_callback(exception)`, which are called on a thread of the library's own, or here if it is done by then.
        """
        return self._amap(Mode.MAP, f, iterables, Options("amap", options, later=True))

    @overload
    def starmap(
        self: Runner,
        f: Callable[[*T], R],
        rows: Iterable[tuple[*T]],
        /,
        **options: Unpack[MapOptions],
    ) -> list[R]: ...
    @overload
    def starmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, **options: Unpack[MapOptions]
    ) -> list[R]: ...
    def starmap(self: Runner, f: Callable[..., R], rows: Iterable[Many], /, *more: Any, **options: Any) -> list[R]:
        """`[f(*row) for row in rows]`: `map` over one iterable of argument tuples."""
        return self._map(Mode.STAR, f, _only("starmap", rows, more), Options("starmap", options))

    @overload
    def istarmap(
        self: Runner,
        f: Callable[[*T], R],
        rows: Iterable[tuple[*T]],
        /,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def istarmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]: ...
    def istarmap(self: Runner, f: Callable[..., R], rows: Iterable[Many], /, *more: Any, **options: Any) -> Iterator[R]:
        """`imap` over one iterable of argument tuples."""
        return self._imap(
            Mode.STAR, f, _only("istarmap", rows, more), Options("istarmap", options, lazy=True), ordered=True
        )

    @overload
    def uistarmap(
        self: Runner,
        f: Callable[[*T], R],
        rows: Iterable[tuple[*T]],
        /,
        **options: Unpack[MapOptions],
    ) -> Iterator[R]: ...
    @overload
    def uistarmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, **options: Unpack[MapOptions]
    ) -> Iterator[R]: ...
    def uistarmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, *more: Any, **options: Any
    ) -> Iterator[R]:
        """`uimap` over one iterable of argument tuples."""
        return self._imap(
            Mode.STAR, f, _only("uistarmap", rows, more), Options("uistarmap", options, lazy=True), ordered=False
        )

    @overload
    def astarmap(
        self: Runner,
        f: Callable[[*T], R],
        rows: Iterable[tuple[*T]],
        /,
        **options: Unpack[AsyncMapOptions],
    ) -> Result[list[R]]: ...
    @overload
    def astarmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, **options: Unpack[AsyncMapOptions]
    ) -> Result[list[R]]: ...
    def astarmap(
        self: Runner, f: Callable[..., R], rows: Iterable[Many], /, *more: Any, **options: Any
    ) -> Result[list[R]]:
        """`amap` over one iterable of argument tuples."""
        return self._amap(Mode.STAR, f, _only("astarmap", rows, more), Options("astarmap", options, later=True))

    # The names of the standard library's pool.

    imap_unordered = uimap
    map_async = amap
    starmap_async = astarmap
