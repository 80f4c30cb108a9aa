"""The keyword options that every map has, checked before anything is read or started."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypedDict

__all__: list[str] = []


class MapOptions(TypedDict, total=False):
    """Options of `map`, `imap`, `uimap` and their `starmap` forms.

    `chunksize`: items per message; None or 0 adapts it to the measured time of an item. `kwargs`: constant keyword
    arguments of f. `timeout`: seconds for one item, after which it is stopped and its worker replaced; costs about 15 us
    an item. `retries`: how often an item may run again; by default twice after a lost worker, never after an exception;
    0 promises at most once. `retry_on`: exception classes to retry, any `Exception` if `retries` is given alone.
    `on_error="return"` puts an exception in its item's place. `buffersize`: items read ahead of the consumer. `strict`:
    iterables of different length are a `ValueError`. `progress`: a bar on stderr.
    """

    chunksize: int | None
    kwargs: dict[str, Any] | None
    timeout: float | None
    retries: int | None
    retry_on: type[BaseException] | Iterable[type[BaseException]]
    on_error: Literal["raise", "return"]
    buffersize: int | None
    strict: bool
    progress: bool


class AsyncMapOptions(MapOptions, total=False):
    """Options of `amap` and `astarmap`: `callback` gets the list, `error_callback` the exception."""

    callback: Callable[[Any], object] | None
    error_callback: Callable[[BaseException], object] | None


class Options:
    """Checked options. Raises `TypeError` for an unknown name or a wrong type, `ValueError` for a wrong value."""

    def __init__(self, method: str, given: dict[str, Any], *, lazy: bool) -> None:
        self.callback = given.pop("callback", None)
        self.error_callback = given.pop("error_callback", None)
        unknown = sorted(set(given) - set(MapOptions.__annotations__))
        if unknown:
            known = ", ".join(MapOptions.__annotations__)
            hint = f"; did you mean kwargs={{{unknown[0]!r}: …}} for f?" if "kwargs" not in given else ""
            raise TypeError(f"{method}() got an unknown option {unknown[0]!r}; options are {known}{hint}")
        self.chunksize = _chunksize(method, given.get("chunksize"), lazy)
        self.kwargs = _mapping(given.get("kwargs"))
        self.timeout = _positive("timeout", given.get("timeout"))
        self.buffersize = _count("buffersize", given.get("buffersize"), 1)
        self.strict = bool(given.get("strict", False))
        self.progress = bool(given.get("progress", False))
        self.on_error = given.get("on_error", "raise")
        if self.on_error not in ("raise", "return"):
            raise ValueError(f"on_error is 'raise' or 'return', got {self.on_error!r}")
        self.lazy = lazy
        self.halt = not lazy and self.on_error == "raise"
        retries = _count("retries", given.get("retries"), 0)
        self.retry_on = _classes(given.get("retry_on", ()))
        if retries and not self.retry_on:
            self.retry_on = (Exception,)
        self.error_retries = (1 if retries is None else retries) if self.retry_on else 0
        self.lost_retries = 2 if retries is None else retries


def _chunksize(method: str, value: object, lazy: bool) -> int | None:
    if value == 0 and not lazy:
        return None
    return _count("chunksize", value, 1, f" for {method}()")


def _count(name: str, value: object, least: int, where: str = "") -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number or None, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}{where}, got {value}")
    return value


def _positive(name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number of seconds or None, got {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be more than 0 seconds, got {value}")
    return float(value)


def _mapping(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"kwargs is a dict of f's keyword arguments, got {value!r}")
    return value


def _classes(value: Any) -> tuple[type[BaseException], ...]:
    classes = (value,) if isinstance(value, type) else tuple(value)
    for entry in classes:
        if not (isinstance(entry, type) and issubclass(entry, BaseException)):
            raise TypeError(f"retry_on holds exception classes, got {entry!r}")
    return classes
