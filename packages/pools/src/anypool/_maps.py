"""Maps as objects: callables that carry the pool they run on, and can be passed to other maps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from anypool._chunk import Mode
from anypool._launcher import Launcher
from anypool._mapping import Many, Maps, Runner
from anypool._options import Options
from anypool._pool import Pool
from anypool._result import Result
from anypool._select import get_pool

__all__: list[str] = []

R = TypeVar("R")


class _StandAlone(Runner):
    """`pool` is a `Pool`, a launcher or its name, or one of the pool functions such as `ProcessPool`; None is `serial`.

    `args` and `options` go to the launcher or the function. A pool that is given stays its owner's; one that is made
    here starts with the first call, is used by the later ones, and ends with `close` and `join`, with the `with` block,
    or with this object. It can be pickled, and arrives with a pool of its own unless it was given one.

    With `close`, `join` or `clear`, which are the same here, each call has a pool of its own: it ends with the call,
    that of an iterator once it is exhausted or dropped, that of a `Result` once there is an outcome.
    """

    def __init__(
        self,
        pool: Pool | Launcher | str | Callable[..., Pool] | None = None,
        /,
        *args: Any,
        close: bool = False,
        join: bool = False,
        clear: bool = False,
        **options: Any,
    ) -> None:
        if not (pool is None or isinstance(pool, (Pool, Launcher, str)) or callable(pool)):
            raise TypeError(f"a map runs on a pool, a launcher, its name or a pool function, got {pool!r}")
        self._once = close or join or clear
        if isinstance(pool, Pool) and (args or options or self._once):
            raise TypeError("options belong to a pool that is made here, and this one is made already")
        self._how = pool if pool is not None else "serial"
        self._args, self._options = args, options
        self._made: Pool | None = None
        self._lock = threading.Lock()

    @property
    def pool(self) -> Pool:
        """The pool behind it."""
        if isinstance(self._how, Pool):
            return self._how
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _taken(self) -> Pool:
        """The pool, no longer behind this object: whoever calls at the same time has another."""
        with self._lock:
            made, self._made = self._made, None
        return made if made is not None else self._make()

    def _make(self) -> Pool:
        if isinstance(self._how, (str, Launcher)):
            workers = {"workers": self._args[0]} if self._args else {}
            return get_pool(self._how, **workers, **self._options)
        assert not isinstance(self._how, Pool)
        return self._how(*self._args, **self._options)

    def close(self) -> None:
        """Let the pool that was made here take no more work; a pool that was given stays open."""
        if self._made is not None:
            self._made.close()

    def join(self) -> None:
        """After `close`: wait for what was started, and end the workers."""
        if self._made is not None:
            self._made.join()

    def clear(self) -> None:
        """Close and join; the next call makes a new pool."""
        made, self._made = self._made, None
        if made is not None:
            _end(made)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._made is not None:
            self._made.__exit__(kind, error, traceback)

    def _map(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> list[R]:
        if not self._once:
            return self.pool._map(mode, f, iterables, options)  # noqa: SLF001 - the pool's own face
        with self._taken() as pool:
            return pool._map(mode, f, iterables, options)  # noqa: SLF001 - the pool's own face

    def _imap(
        self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options, *, ordered: bool
    ) -> Iterator[R]:
        pool = self._taken() if self._once else self.pool
        items = pool._imap(mode, f, iterables, options, ordered=ordered)  # noqa: SLF001 - the pool's own face
        return _Last(pool, items) if self._once else items

    def _amap(self, mode: Mode, f: Callable[..., R], iterables: tuple[Many, ...], options: Options) -> Result[list[R]]:
        pool = self._taken() if self._once else self.pool
        result = pool._amap(mode, f, iterables, options)  # noqa: SLF001 - the pool's own face
        if self._once:
            # By a thread of its own: that of the callbacks has other pools to look after.
            result.add_done_callback(lambda _: threading.Thread(target=_end, args=(pool,), name="anypool-end").start())
        return result

    def __reduce__(self) -> tuple[Any, ...]:
        options = {**self._options, "clear": True} if self._once else self._options
        return _arrive, (type(self), self._how, self._args, options)

    def __repr__(self) -> str:
        how = self._how if isinstance(self._how, (str, Pool, Launcher)) else getattr(self._how, "__name__", self._how)
        return f"{type(self).__name__}({how})"


class _Last(Iterator[R]):
    """The last work of a pool: it ends with the iterator, or as every pool when nobody has it any more."""

    def __init__(self, pool: Pool, items: Iterator[R]) -> None:
        self._pool, self._items = pool, items

    def __next__(self) -> R:
        try:
            return next(self._items)
        except StopIteration:
            _end(self._pool)
            raise


def _end(pool: Pool) -> None:
    pool.close()
    pool.join()


def _arrive(kind: type[_StandAlone], how: Any, args: tuple[Any, ...], options: dict[str, Any]) -> _StandAlone:
    return kind(how, *args, **options)


class Map(_StandAlone):
    """`pool.map` as an object: `Map("process:4")(f, xs)`."""

    __call__ = Maps.map


class Imap(_StandAlone):
    """`pool.imap` as an object."""

    __call__ = Maps.imap


class Uimap(_StandAlone):
    """`pool.uimap` as an object."""

    __call__ = Maps.uimap


class Amap(_StandAlone):
    """`pool.amap` as an object."""

    __call__ = Maps.amap


class Smap(_StandAlone):
    """`pool.starmap` as an object."""

    __call__ = Maps.starmap


class Ismap(_StandAlone):
    """`pool.istarmap` as an object."""

    __call__ = Maps.istarmap


class Asmap(_StandAlone):
    """`pool.astarmap` as an object."""

    __call__ = Maps.astarmap


for _public in (Map, Imap, Uimap, Amap, Smap, Ismap, Asmap):
    # Else `help` would show it for none of them.
    _public.__doc__ = f"{_public.__doc__}\n\n    {_StandAlone.__doc__}"
    _public.__module__ = "anypool"
del _public
