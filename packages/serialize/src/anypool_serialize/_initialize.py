"""Globals that an initializer sets, for the functions of its module that come after it."""

from __future__ import annotations

import sys
import types

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_MISSING = object()
# By module name; empty in a process that has run no initializer.
_kept: dict[str, dict[str, Any]] = {}


def initialize(function: Callable[..., object], args: Iterable[Any] = ()) -> None:
    """Call `function(*args)`, and let functions that are loaded later in this process see what it has set.

    A function that travels by value brings the globals it uses, as they are at the sender. What this one, if it came by
    value too, binds in its globals, or puts into a dict, list, set or object that it finds there, takes their place in
    every function of the same module that arrives after it. Raises what `function` raises.
    """
    namespace = _own_namespace(function)
    if namespace is None:
        function(*args)
        return
    before = {name: (value, _contents(value)) for name, value in namespace.items()}
    function(*args)
    kept = _kept.setdefault(namespace["__name__"], {})
    for name, value in namespace.items():
        old, contents = before.get(name, (_MISSING, None))
        if value is not old or not _same(_contents(value), contents):
            kept[name] = value


def apply_to(namespace: dict[str, Any]) -> None:
    """Put what was kept for a module into the globals of a function of it."""
    kept = _kept.get(namespace.get("__name__", ""))
    if kept:
        namespace.update(kept)


def _own_namespace(function: Any) -> dict[str, Any] | None:
    """The globals of a function, unless they are those of a module that all of its functions share anyway."""
    while (inner := getattr(function, "func", None) or getattr(function, "__func__", None)) is not None:
        function = inner
    if not isinstance(function, types.FunctionType):
        function = vars(type(function)).get("__call__")
    namespace: dict[str, Any] = getattr(function, "__globals__", {})
    module = sys.modules.get(namespace.get("__name__", ""))
    return None if "__name__" not in namespace or getattr(module, "__dict__", None) is namespace else namespace


def _contents(value: object) -> list[object] | None:
    if isinstance(value, (types.ModuleType, types.FunctionType, type)):
        return None
    held = value if isinstance(value, (dict, list, set)) else getattr(value, "__dict__", None)
    if isinstance(held, dict):
        return [part for item in held.items() for part in item]
    return list(held) if held is not None else None


def _same(one: list[object] | None, other: list[object] | None) -> bool:
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
