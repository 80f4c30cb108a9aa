"""Maps as objects: callables that carry the pool they run on, and can be passed to other maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from anypool._launcher import Launcher
from anypool._pool import Pool
from anypool._result import Result
from anypool._select import get_pool

__all__: list[str] = []

R = TypeVar("R")


class _StandAlone:
    """`pool` is a `Pool`, a launcher or its name, or one of the pool functions such as `ProcessPool`; None is `serial`.

    `options` go to the launcher. A pool that is given stays its owner's; one that is made here starts with the first
    call, is used by the later ones, and ends with `close` or with this object. It can be pickled.
    """

    def __init__(self, pool: Pool | Launcher | str | Callable[..., Pool] | None = None, /, *args: Any, **options: Any) -> None:
        self._made: Pool | None = None
        self._how = pool if pool is not None else "serial"
        self._args, self._options = args, options

    @property
    def pool(self) -> Pool:
        """The pool behind it."""
        if isinstance(self._how, Pool):
            return self._how
        if self._made is None:
            if isinstance(self._how, (str, Launcher)):
                workers = {"workers": self._args[0]} if self._args else {}
                self._made = get_pool(self._how, **workers, **self._options)
            else:
                self._made = self._how(*self._args, **self._options)
        return self._made

    def close(self) -> None:
        """Take no more work."""
        if self._made is not None:
            self._made.close()

    def join(self) -> None:
        """Wait for what was started, and end the workers."""
        if self._made is not None:
            self._made.join()

    def clear(self) -> None:
        """Close, join, and start afresh with the next call."""
        if self._made is not None:
            self._made.close()
            self._made.join()
            self._made = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": None}

    def __repr__(self) -> str:
        how = self._how if isinstance(self._how, (str, Pool, Launcher)) else getattr(self._how, "__name__", self._how)
        return f"{type(self).__name__}({how})"


class Map(_StandAlone):
    """`pool.map` as an object."""

    def __call__(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Any) -> list[R]:
        """Results in order."""
        return self.pool.map(f, *iterables, **options)


class Imap(_StandAlone):
    """`pool.imap` as an object."""

    def __call__(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Any) -> Iterator[R]:
        """Results in order, as they come."""
        return self.pool.imap(f, *iterables, **options)


class Uimap(_StandAlone):
    """`pool.uimap` as an object."""

    def __call__(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Any) -> Iterator[R]:
        """Results as completed."""
        return self.pool.uimap(f, *iterables, **options)


class Amap(_StandAlone):
    """`pool.amap` as an object."""

    def __call__(self, f: Callable[..., R], /, *iterables: Iterable[Any], **options: Any) -> Result[list[R]]:
        """A `Result` of the list."""
        return self.pool.amap(f, *iterables, **options)


class Smap(_StandAlone):
    """`pool.starmap` as an object."""

    def __call__(self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Any) -> list[R]:
        """Results in order."""
        return self.pool.starmap(f, rows, **options)


class Ismap(_StandAlone):
    """`pool.istarmap` as an object."""

    def __call__(self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Any) -> Iterator[R]:
        """Results in order, as they come."""
        return self.pool.istarmap(f, rows, **options)


class Asmap(_StandAlone):
    """`pool.astarmap` as an object."""

    def __call__(self, f: Callable[..., R], rows: Iterable[Iterable[Any]], /, **options: Any) -> Result[list[R]]:
        """A `Result` of the list."""
        return self.pool.astarmap(f, rows, **options)
