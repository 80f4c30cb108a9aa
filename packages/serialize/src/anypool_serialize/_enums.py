"""Enumerations by value: members are restored as they are, without the methods that once made them."""

# ruff: noqa: SLF001  the reducers of cloudpickle have private names; so have the parts of a member

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import cloudpickle.cloudpickle as _cloudpickle

from . import _rebuild

if TYPE_CHECKING:
    from ._message import Reduction
    from ._tracking import TrackId


def reduce_enum(cls: Any, track: TrackId) -> Reduction:
    attributes, _ = _cloudpickle._enum_getstate(cls)
    base = _data_base(cls)
    members: dict[str, tuple[Any, ...]] = {}
    extras: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
    for name, member in cls.__members__.items():
        attributes.pop(name, None)
        members[name] = (member._value_, *_data_of(member, base))
        extra = _attributes_of(member)
        if any(extra):
            extras[name] = extra
    keywords = {"boundary": cls._boundary_} if vars(cls).get("_boundary_") else {}
    args = (track, type(cls), cls.__bases__, cls.__name__, base, members, keywords)
    attributes.update(__module__=cls.__module__, __qualname__=cls.__qualname__)
    return _rebuild.enum, args, (attributes, extras or None), None, None, _rebuild.set_class


def _data_base(cls: type) -> type:
    """The compiled base whose data is part of every member, as `bytes`; else `object`."""
    makers = (base for base in cls.__mro__ if type(vars(base).get("__new__")) is types.BuiltinFunctionType)
    return next(makers)


def _data_of(member: Any, base: Any) -> tuple[Any, ...]:
    """What `base.__new__` takes to make it again."""
    if base is object:
        return ()
    if hasattr(base, "__getnewargs__"):
        return tuple(base.__getnewargs__(member))
    make, args = base.__reduce_ex__(member, 5)[:2]
    return tuple(args) if make is type(member) else (base(member),)


def _attributes_of(member: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those of its dictionary and those in slots."""
    state = object.__getstate__(member)
    attributes, slots = state if type(state) is tuple else (state, None)
    return {key: value for key, value in (attributes or {}).items() if key not in _OF_THE_MEMBER}, slots or {}


_OF_THE_MEMBER = frozenset({"_value_", "_name_", "__objclass__", "_sort_order_"})
