"""Frozen dataclasses that are finished when somebody asks for more than an instance.

Importing `dataclasses`, which needs `inspect`, and making a launcher's four classes take 8 ms, a sixth of the time from
a script's start to its first result; all that most scripts ask of them is one instance.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, dataclass_transform

__all__: list[str] = []

T = TypeVar("T")

_PUT_OFF = (
    "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__replace__", "__match_args__",
    "__dataclass_fields__", "__dataclass_params__", "__signature__",
)  # fmt: skip

_lock = threading.RLock()
_fields: dict[type, list[str]] = {}
# With the module in which the names of its annotations are known: a public class says that it is of the package.
_unfinished: dict[type, str] = {}


class _PutOff:
    """Stands for a member that `dataclass` makes: has it made, then gives it."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name

    def __get__(self, instance: object, owner: type) -> Any:
        _finish(self._cls)
        return getattr(owner if instance is None else instance, self._name)


@dataclass_transform(frozen_default=True)
def recipe(cls: type[T]) -> type[T]:
    """`dataclass(frozen=True)`, put off. Every field has a default that is no `field()`."""
    own = [name for name, kind in vars(cls).get("__annotations__", {}).items() if not kind.startswith("ClassVar")]
    inherited = [name for base in reversed(cls.__mro__) for name in _fields.get(base, ())]
    _fields[cls] = list(dict.fromkeys(inherited + own))
    defaults = {name: getattr(cls, name) for name in _fields[cls]}

    def make(self: Any, /, *args: Any, **options: Any) -> None:
        if len(args) > len(defaults) or options.keys() - list(defaults)[len(args) :]:
            _finish(cls)
            cls.__init__(self, *args, **options)  # which says what is wrong with them
        self.__dict__.update(defaults)
        self.__dict__.update(zip(defaults, args, strict=False))
        self.__dict__.update(options)
        self.__post_init__()

    type.__setattr__(cls, "__init__", make)
    for name in _PUT_OFF:
        setattr(cls, name, _PutOff(cls, name))
    _unfinished[cls] = cls.__module__
    return cls


def field_names(cls: type) -> list[str]:
    """The fields of a dataclass, be it finished or not, in their order."""
    if cls in _fields:
        return _fields[cls]
    from dataclasses import fields

    return [field.name for field in fields(cls)]


def _finish(cls: type) -> None:
    with _lock:
        for base in reversed(cls.__mro__):
            if base in _unfinished:
                _make(base, _unfinished[base])
                del _unfinished[base]


def _make(cls: type, module: str) -> None:
    from dataclasses import dataclass

    make = dataclass(frozen=True)
    shown, cls.__module__ = cls.__module__, module
    for name in _PUT_OFF:
        delattr(cls, name)
    # `dataclass` leaves an `__init__` alone that is there, and another thread may be making an instance.
    make(cls)
    make.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = make(type(cls.__name__, (cls,), {})).__init__  # type: ignore[misc]
    cls.__module__ = shown
