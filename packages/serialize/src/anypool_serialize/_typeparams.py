"""Type parameters, type aliases and new types by value."""

# ruff: noqa: ARG001  every reducer is called with the pickler, though few need it

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _rebuild
from ._tracking import identify
from ._where import by_reference, importable

if TYPE_CHECKING:
    from ._message import MessagePickler, Reduction
    from ._tracking import TrackId


def reduce_parameter(pickler: MessagePickler, obj: Any) -> Reduction:
    if _named_in_its_module(obj):
        return NotImplemented
    track = identify(obj)
    may_wait = sys.version_info >= (3, 12) and hasattr(type(obj), "__bound__")
    if may_wait and pickler.message.again(obj):
        return _late_variable(track, obj)
    try:
        args, keywords = _made_with(obj)
    except NameError:
        return _late_variable(track, obj)
    return _rebuild.type_parameter, (track, type(obj).__name__, obj.__name__, args, keywords)


def _made_with(obj: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    keywords: dict[str, Any] = {"__module__": getattr(obj, "__module__", None)}
    if hasattr(obj, "__covariant__"):
        keywords.update(covariant=obj.__covariant__, contravariant=obj.__contravariant__, bound=obj.__bound__)
    if getattr(obj, "__infer_variance__", False):
        keywords["infer_variance"] = True
    if _has_default(obj):
        keywords["default"] = obj.__default__
    return getattr(obj, "__constraints__", ()), keywords


def _has_default(obj: Any) -> bool:
    return hasattr(obj, "has_default") and obj.has_default()  # since Python 3.13


def _late_variable(track: TrackId, obj: Any) -> Reduction:
    """One whose bound mentions its owner (`class Node[T: Node]`), or a name that nobody has defined."""
    values: dict[str, Any] = {}
    bound = _evaluated(values, obj, "__bound__")
    either = _evaluated(values, obj, "__constraints__")
    limit = "" if values.get("__bound__", obj) is None else f": {bound}"
    if either not in values:
        limit = f": ({either}, {either})"
    elif values[either]:
        limit = f": ({', '.join(f'{either}[{i}]' for i in range(len(values[either])))})"
    default = f" = {_evaluated(values, obj, '__default__')}" if _has_default(obj) else ""
    text = f"def made[{obj.__name__}{limit}{default}](): pass\n(made,) = made.__type_params__"
    return _late(track, text, obj, values)


def _evaluated(values: dict[str, Any], obj: Any, attribute: str) -> str:
    """An expression for an attribute that is evaluated when asked for: its name, or the name that is not defined."""
    try:
        values[attribute] = getattr(obj, attribute)
    except NameError as error:
        return error.name or attribute
    return attribute


def _late(track: TrackId | None, text: str, obj: Any, values: dict[str, Any]) -> Reduction:
    scope = {"__name__": obj.__module__}
    return _rebuild.late, (track, text, scope), (scope, values), None, None, _rebuild.set_late


def reduce_new_type(pickler: MessagePickler, obj: Any) -> Reduction:
    if by_reference(obj):
        return NotImplemented
    keywords = {"__module__": obj.__module__}
    return _rebuild.type_parameter, (identify(obj), "NewType", obj.__name__, (obj.__supertype__,), keywords)


def reduce_alias(pickler: MessagePickler, obj: Any) -> Reduction:
    if _named_in_its_module(obj):
        return NotImplemented
    if not pickler.message.again(obj):
        try:
            # It bears no weak reference, so it has no identity to keep: each message makes a new one.
            return _rebuild.type_alias, (obj.__name__, obj.__value__, obj.__type_params__)
        except NameError:
            pass
    return _late_alias(obj)


def _late_alias(obj: Any) -> Reduction:
    """One whose value mentions it, or a name that nobody has defined; its parameters are new ones of these names."""
    values: dict[str, Any] = {}
    value = _evaluated(values, obj, "__value__")
    stars = {"TypeVarTuple": "*", "ParamSpec": "**"}
    names = {p: f"{stars.get(type(p).__name__, '')}{p.__name__}" for p in obj.__type_params__}
    head = f"[{', '.join(names.values())}]" if names else ""
    used = [names[p].replace("**", "") for p in getattr(values.get(value), "__parameters__", ()) if p in names]
    tail = f"[{', '.join(used)}]" if used else ""
    return _late(None, f"type {obj.__name__}{head} = {value}{tail}\nmade = {obj.__name__}", obj, values)


def _named_in_its_module(obj: Any) -> bool:
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    return module is not None and importable(module.__name__) and getattr(module, obj.__name__, None) is obj
