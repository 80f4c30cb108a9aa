"""The keyword options that every map has, checked before anything is read or started."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Literal

from anypool._errors import TaskTimeout
from anypool._place import Place
from anypool._profile import Profile

__all__: list[str] = []

if TYPE_CHECKING:
    from typing import TypedDict
else:

    class TypedDict:
        """Knows the names of its fields; that of `typing` compiles their types too, at the start of every pool."""

        def __init_subclass__(cls, total: bool = True) -> None:
            bases = [vars(base).get("__annotations__", {}) for base in reversed(cls.__mro__)]
            cls.__annotations__ = {name: kind for own in bases for name, kind in own.items()}


class _FoldOptions(TypedDict, total=False):
    """Options of every map, and of `map_reduce`.

    `chunksize`: items per message; None (or 0, but for the lazy maps) adapts it to the measured time of an item.
    `timeout`: seconds for one item, after which it is stopped and its worker replaced; costs about 15 us an item.
    `retries`: how often an item may run again; by default twice after a lost worker, never after an exception; 0
    promises at most once. `retry_on`: exception classes to retry; any `Exception` if `retries` is given alone, once if
    `retry_on` is. `buffersize`: items read ahead of the consumer. `strict`: iterables of different length are a
    `ValueError`. `progress`: a bar on stderr, True in the style that suits, else "tqdm", "rich" or "log"; or a function
    that is called with what is done and the total, which may be None. `seed`: a whole number that gives each item
    random streams of its own, the same whatever the launcher, the order and the chunks: `anypool.rng()`; in worker
    processes, and on a serial pool in the main thread without `timeout`, also `random` and `numpy.random`. Costs about
    30 us an item, 150 once numpy is imported. `needs`, `tags`: only workers that have all, and one, of these tags.
    `profile`: cProfile in the workers, into this `Profile`; True for the pool's own, `pool.profile`. Costs 3 us an
    item, from Python 3.12 on 20 to 150, beside what cProfile costs.
    """

    chunksize: int | None
    timeout: float | None
    retries: int | None
    retry_on: type[BaseException] | Iterable[type[BaseException]]
    buffersize: int | None
    strict: bool
    progress: bool | Literal["tqdm", "rich", "log"] | Callable[[int, int | None], object]
    seed: int | None
    needs: str | Collection[str]
    tags: str | Collection[str]
    profile: bool | Profile


class ReduceOptions(_FoldOptions, total=False):
    """`kwargs`: keyword arguments of f, the same for all items."""

    kwargs: Mapping[str, Any] | None


class ReduceNeededKwargs(_FoldOptions):
    """For an f that can't be called without keyword arguments."""

    kwargs: Mapping[str, Any]


class _CommonOptions(_FoldOptions, total=False):
    """`on_error="return"` puts an exception in its item's place."""

    on_error: Literal["raise", "return"]


class MapOptions(_CommonOptions, total=False):
    """`kwargs`: keyword arguments of f, the same for all items."""

    kwargs: Mapping[str, Any] | None


class NeededKwargs(_CommonOptions):
    """For an f that can't be called without keyword arguments; its other arguments go unchecked then."""

    kwargs: Mapping[str, Any]


class AsyncMapOptions(MapOptions, total=False):
    """`callback` gets the list, `error_callback` the exception."""

    callback: Callable[[Any], object] | None
    error_callback: Callable[[BaseException], object] | None


class AsyncNeededKwargs(NeededKwargs, total=False):
    """Both."""

    callback: Callable[[Any], object] | None
    error_callback: Callable[[BaseException], object] | None


class Options:
    """Checked options. Raises `TypeError` for an unknown name or a wrong type, `ValueError` for a wrong value.

    `lazy`: for a map whose consumer pulls; `later`: for one that has callbacks; `op`: folds the values.
    """

    def __init__(
        self,
        method: str,
        given: dict[str, Any],
        *,
        lazy: bool = False,
        later: bool = False,
        op: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        if given:
            _refuse_unknown(method, given, _LATER if later else _NOW if op is None else _FOLDED)
        self.lazy, self.op = lazy, op
        self.callback = _function("callback", given.get("callback"))
        self.error_callback = _function("error_callback", given.get("error_callback"))
        self.chunksize = _chunksize(method, given.get("chunksize"), lazy)
        self.kwargs = _mapping(given.get("kwargs"))
        self.timeout = _positive("timeout", given.get("timeout"))
        self.buffersize = _count("buffersize", given.get("buffersize"), 1)
        self.strict = _flag("strict", given.get("strict", False))
        self.progress: Any = _progress(given["progress"]) if "progress" in given else False
        self.profile: bool | Profile = _profile(given.get("profile", False))
        self.seed = None if (seed := given.get("seed")) is None else whole("seed", seed, None)
        self.on_error = given.get("on_error", "raise")
        if self.on_error not in ("raise", "return"):
            raise ValueError(f"on_error is 'raise' or 'return', got {self.on_error!r}")
        self.halt = not lazy and self.on_error == "raise"
        retries = _count("retries", given.get("retries"), 0)
        self.retry_on = _classes(given.get("retry_on", ()))
        self.retry_late = any(issubclass(TaskTimeout, kind) for kind in self.retry_on)
        if retries and not self.retry_on:
            self.retry_on = (Exception,)
        self.error_retries = (1 if retries is None else retries) if self.retry_on else 0
        self.lost_retries = 2 if retries is None else retries
        self.place = _place(given) if "needs" in given or "tags" in given else None


_NOW = frozenset(MapOptions.__annotations__)
_LATER = frozenset(AsyncMapOptions.__annotations__)
_FOLDED = frozenset({*ReduceOptions.__annotations__, "initial"})


def _refuse_unknown(method: str, given: dict[str, Any], known: frozenset[str]) -> None:
    unknown = [name for name in given if name not in known]
    if not unknown:
        return
    name = unknown[0]
    if name == "on_error":
        hint = "; an exception has no place in what is folded: f may catch it and return what op takes"
    elif name in _LATER:
        hint = f"; {name} belongs to amap() and astarmap()"
    else:
        hint = f"; an argument of f goes into kwargs={{{name!r}: ...}}"
    raise TypeError(f"{method}() got an unknown option {name!r}; it has {', '.join(sorted(known))}{hint}")


def whole(name: str, value: object, least: int | None, where: str = "") -> int:
    """`value` as an int, numpy's included; `TypeError` for anything else, `ValueError` below `least`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)  # type: ignore[arg-type]  # what has no index is refused
    except TypeError:
        raise TypeError(f"{name} is a whole number or None, got {value!r}") from None
    if least is not None and number < least:
        raise ValueError(f"{name} must be at least {least}{where}, got {number}")
    return number


def names_of(name: str, value: object) -> tuple[str, ...]:
    """One name or several as a tuple; `TypeError` for anything else."""
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, (tuple, list, set, frozenset)) or not all(
        isinstance(each, str) and each for each in names
    ):
        raise TypeError(f"{name} is a name or a tuple of names, got {value!r}")
    return tuple(names)


def _place(given: dict[str, Any]) -> Place | None:
    asked = (names_of(name, () if (value := given.get(name)) is None else value) for name in ("needs", "tags"))
    place = Place(*map(frozenset, asked))
    return place if any(place) else None


def _chunksize(method: str, value: object, lazy: bool) -> int | None:
    if value == 0 and not lazy:
        return None
    return _count("chunksize", value, 1, f" for {method}(), or {'None' if lazy else '0 or None'} for the default")


def _count(name: str, value: object, least: int, where: str = "") -> int | None:
    return None if value is None else whole(name, value, least, where)


def _flag(name: str, value: object) -> bool:
    # By the name of its type too, which numpy's go by.
    if not (isinstance(value, int) or type(value).__name__ in ("bool", "bool_")) or value not in (0, 1):
        raise TypeError(f"{name} is True or False, got {value!r}")
    return bool(value)


def _profile(value: Any) -> bool | Profile:
    if isinstance(value, Profile):
        return value
    try:
        return _flag("profile", value)
    except TypeError:
        raise TypeError(f"profile is True, False or a Profile, got {value!r}") from None


def _progress(value: Any) -> Any:
    if callable(value):
        return value
    if not isinstance(value, str):
        try:
            value = _flag("progress", value)
        except TypeError:
            raise TypeError(f"progress is True, False, a style or a function, got {value!r}") from None
    if value is not False:
        from anypool import _bars  # Only who has one needs it.

        _bars.check() if value is True else _bars.style_asked(value, "progress")
    return value


def _positive(name: str, value: object) -> float | None:
    if value is None:
        return None
    try:
        if isinstance(value, (bool, str, bytes)):
            raise TypeError
        seconds = float(value)  # type: ignore[arg-type]  # what is no number is refused
    except TypeError:
        raise TypeError(f"{name} is a number of seconds or None, got {value!r}") from None
    if not seconds > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {value}")
    return None if seconds == inf else seconds


def _function(name: str, value: Any) -> Callable[[Any], object] | None:
    if value is not None and not callable(value):
        raise TypeError(f"{name} is a function or None, got {value!r}")
    found: Callable[[Any], object] | None = value
    return found


def _mapping(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"kwargs is a dict of f's keyword arguments, got {value!r}")
    return dict(value)


def _classes(value: Any) -> tuple[type[BaseException], ...]:
    try:
        classes = (value,) if isinstance(value, type) else tuple(value)
    except TypeError:
        raise TypeError(f"retry_on holds exception classes, got {value!r}") from None
    for entry in classes:
        if not (isinstance(entry, type) and issubclass(entry, BaseException)):
            raise TypeError(f"retry_on holds exception classes, got {value!r}")
    return classes
