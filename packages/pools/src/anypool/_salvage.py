"""What can be loaded of a pickle in which some object can't be rebuilt, or be pickled, so that only its own item fails.

Slow: the standard library's unpickler in Python, run only after the fast one has failed.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NoReturn

from anypool._failure import RAISED, Failure, describe
from anypool_serialize import dumps

__all__: list[str] = []


class Broken:
    """Stands for an object that could not be rebuilt, and takes whatever its pickle goes on to do with it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def ignore(self, *_: object) -> None:
        """Its content; it is lost."""

    append = extend = add = __setitem__ = __setstate__ = ignore

    def __iter__(self) -> Iterator[Any]:
        raise self.error


class _Missing:
    """Stands for a class or function that can't be found."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise self.error


def _attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    for arg in args:
        if type(arg) is Broken:
            return arg
    try:
        return call(*args, **kwargs)
    except RAISED as error:
        # Whatever rebuilding raises.
        return Broken(error)


def _new(cls: Any, *args: Any, **kwargs: Any) -> Any:
    return cls() if type(cls) is _Missing else cls.__new__(cls, *args, **kwargs)


# To a checker it has no base: its name is private, though its methods are what the module documents as extensible.
_Unpickler: Any = pickle._Unpickler  # noqa: SLF001


class _Salvager(_Unpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Any]] = dict(_Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except RAISED as error:
            # A module may raise anything when it is imported.
            return _Missing(error)

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _attempt(self.stack[-1], *args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = _attempt(_new, self.stack[-1], *args)

    def load_newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = _attempt(_new, self.stack[-1], *args, **kwargs)

    def load_build(self) -> None:
        # The standard one takes the state off the stack and leaves the object there.
        if type(failed := _attempt(super().load_build)) is Broken:
            self.stack[-1] = failed

    for _code, _load in (
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
    ):
        dispatch[_code[0]] = _load
    del _code, _load


def salvage(header: Any, buffers: Iterable[Any]) -> Any:
    """The object with `Broken` in the place of what can't be rebuilt. Raises if it is no pickle at all."""
    return _Salvager(io.BytesIO(header), buffers=buffers).load()


def salvage_outcomes(
    header: Any, buffers: Iterable[Any], mixed: bool
) -> tuple[list[Any], Any, dict[int, BaseException]]:
    """A reply's values, its failures, and for the values that can't be rebuilt why not. Raises if that is none."""
    loaded = salvage(header, buffers)
    values, failures = loaded if mixed else (loaded, {})
    broken = {at: error for at, value in enumerate(values) if (error := broken_in(value)) is not None}
    if not broken:
        raise ValueError("nothing in it is broken")
    return [None if at in broken else value for at, value in enumerate(values)], failures, broken


def refused(values: list[Any]) -> dict[int, Failure]:
    """Which of these can't be serialised, and why not."""
    found: dict[int, Failure] = {}
    for at, value in enumerate(values):
        try:
            dumps((value,), names=("result",))
        except RAISED as error:
            # This is the question.
            found[at] = describe(error)
    return found


def broken_in(value: Any) -> BaseException | None:
    """Why something within a value could not be rebuilt, or None."""
    seen: set[int] = set()
    left = [value]
    while left:
        part = left.pop()
        if type(part) is Broken:
            return part.error
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            left += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, set, frozenset)):
            left += part
        elif isinstance(held := getattr(part, "__dict__", None), dict) and not isinstance(part, type):
            left += held.values()
    return None


class Checked:
    """A function that refuses arguments which could not be rebuilt."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for arg in args:
            if (error := broken_in(arg)) is not None:
                raise error
        return self._function(*args, **kwargs)
