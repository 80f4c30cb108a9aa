"""Walks what a pickler would walk, with a path for each object, to tell what went wrong."""

import copyreg
import types
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._where import by_reference, importable

_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, type(...), type(NotImplemented))
_LIMIT = 200_000


class Child(NamedTuple):
    label: str
    value: Any


def root_name(obj: Any) -> str:
    """How a path begins: a function's or class's own name, `obj` for everything else."""
    name = getattr(obj, "__name__", None) if isinstance(obj, (type, types.FunctionType, types.MethodType)) else None
    return name if isinstance(name, str) and name.isidentifier() else "f" if callable_by_value(obj) else "obj"


def callable_by_value(obj: Any) -> bool:
    return type(obj) is types.FunctionType


def path_to(root: Any, culprit: Any, names: tuple[str, ...] = ()) -> str | None:
    """The shortest path from `root` to `culprit`; None if it is not within reach.

    With `names`, `root` is a tuple and each of its elements is called by the name in its place.
    """
    seen = {id(root)}
    # Children are often made for the walk (states, tuples): kept, or their ids would be given to others.
    alive: list[Any] = [root]
    queue = deque(zip(names, root, strict=False) if names else [(root_name(root), root)])
    while queue and len(alive) < _LIMIT:
        path, obj = queue.popleft()
        if obj is culprit:
            return path
        for label, child in children(obj):
            if type(child) in _ATOMS or id(child) in seen:
                continue
            seen.add(id(child))
            alive.append(child)
            queue.append((path + label, child))
    return None


def children(obj: Any) -> list[Child]:
    """What travels with `obj`; nothing if it cannot be taken apart."""
    try:
        return list(_children(obj))
    except Exception:  # noqa: BLE001  states and reducers are anybody's code; their error is told elsewhere
        return []


def _children(obj: Any) -> Iterator[Child]:
    kind = type(obj)
    if kind in _ATOMS:
        return iter(())
    if kind is dict:
        return _of_dict(obj)
    if kind in (list, tuple):
        return (Child(f"[{i}]", value) for i, value in enumerate(obj))
    if kind in (set, frozenset):
        return (Child(f".{{{_short(value)}}}", value) for value in obj)
    if kind is types.FunctionType:
        return iter(()) if by_reference(obj) else _of_function(obj)
    if issubclass(kind, type):
        return iter(()) if by_reference(obj) else _of_class(obj)
    if kind is types.MethodType:
        return iter((Child(".__self__", obj.__self__), Child(".__func__", obj.__func__)))
    if kind is types.ModuleType:
        by_name = importable(obj.__name__) or obj.__name__ == "__main__"
        return iter(()) if by_name else (Child(f".{key}", value) for key, value in vars(obj).items())
    if kind is types.CellType:
        return iter((Child(".cell_contents", obj.cell_contents),))
    if kind in (property, staticmethod, classmethod):
        names = ("fget", "fset", "fdel", "__func__")
        return (Child(f".{name}", getattr(obj, name)) for name in names if getattr(obj, name, None) is not None)
    return _of_instance(obj)


def _of_dict(obj: dict[Any, Any]) -> Iterator[Child]:
    for key, value in list(obj.items()):
        label = f"[{_short(key)}]"
        yield Child(label, value)
        if type(key) not in _ATOMS:
            yield Child(f".keys(){label}", key)


def _of_function(func: types.FunctionType) -> Iterator[Child]:
    from ._byvalue import referenced_names

    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=True):
        try:
            yield Child(f".__closure__[{name!r}]", cell.cell_contents)
        except ValueError:
            continue
    for name in referenced_names(func.__code__):
        if name in func.__globals__:
            yield Child(f".__globals__[{name!r}]", func.__globals__[name])
    for i, value in enumerate(func.__defaults__ or ()):
        yield Child(f".__defaults__[{i}]", value)
    for name in ("__kwdefaults__", "__annotations__", "__dict__"):
        for key, value in (getattr(func, name) or {}).items():
            yield Child(f".{name}[{key!r}]" if name != "__dict__" else f".{key}", value)


def _of_class(cls: type) -> Iterator[Child]:
    for i, base in enumerate(cls.__bases__):
        yield Child(f".__bases__[{i}]", base)
    for name, value in list(vars(cls).items()):
        if name not in ("__dict__", "__weakref__", "_abc_impl") and type(value) is not types.MemberDescriptorType:
            yield Child(f".{name}", value)
    if type(cls) is not type:
        yield Child(".__class__", type(cls))


def _of_instance(obj: Any) -> Iterator[Child]:
    reduction = reduce_natively(obj)
    if isinstance(reduction, str):
        return
    parts: tuple[Any, ...] = (*reduction, None, None, None)
    yield Child(".__class__", type(obj))
    state = parts[2]
    halves: tuple[Any, ...] = state if type(state) is tuple and len(state) == 2 else (state,)
    if all(half is None or type(half) is dict for half in halves):
        for half in halves:
            for key, value in (half or {}).items():
                yield Child(f".{key}" if isinstance(key, str) and key.isidentifier() else f".__dict__[{key!r}]", value)
    else:
        yield Child(".__getstate__()", state)
    for i, value in enumerate(parts[1]):
        if value is not type(obj):
            yield Child(_field(obj, value) or f".__reduce_ex__(5)[1][{i}]", value)
    for i, value in enumerate(parts[3] or ()):
        yield Child(f"[{i}]", value)
    for key, value in parts[4] or ():
        yield Child(f"[{_short(key)}]", value)


def _field(obj: Any, value: Any) -> str:
    """Of a named tuple."""
    fields = getattr(obj, "_fields", ()) if isinstance(obj, tuple) else ()
    return next((f".{name}" for name in fields if getattr(obj, name) is value), "")


def reduce_natively(obj: Any) -> Any:
    """What pickle would ask `obj` for; raises what it would raise."""
    registered = copyreg.dispatch_table.get(type(obj))
    return registered(obj) if registered is not None else obj.__reduce_ex__(5)


def _short(key: Any) -> str:
    if type(key) in _ATOMS:
        text = repr(key)
        return text if len(text) <= 40 else f"{text[:36]}...{text[0]}"
    return f"<{type(key).__name__}>"
