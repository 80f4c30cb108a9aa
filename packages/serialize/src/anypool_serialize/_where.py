"""Decides what the far side can import and what must travel by value."""

from __future__ import annotations

import sys
from types import ModuleType

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

_MAIN = frozenset({"__main__", "__mp_main__"})
_by_value: set[str] = set()
# name -> (id of the module object, whether an import finds it again): asking the finders costs 50 to 200 µs.
_importable: dict[str, tuple[int, bool]] = {}


def register_by_value(module: ModuleType | str) -> None:
    """Send functions and classes of `module` and its submodules by value from now on, in this process.

    For code under edit that the remote hosts lack or have in an older version. Accepts a module or its name;
    ValueError if it has not been imported, or is not written in Python.
    """
    name = _name(module)
    if name not in sys.modules:
        raise ValueError(f"module {name!r} is not imported; import it before registering it by value")
    if compiled(sys.modules[name]):
        raise ValueError(f"module {name!r} is not written in Python, so there is nothing to send by value")
    _by_value.add(name)


def unregister_by_value(module: ModuleType | str) -> None:
    """Take back `register_by_value`; ValueError if the module is not registered."""
    name = _name(module)
    if name not in _by_value:
        raise ValueError(f"module {name!r} is not registered by value; registered: {sorted(_by_value)}")
    _by_value.remove(name)


def _name(module: ModuleType | str) -> str:
    if not isinstance(module, (str, ModuleType)):
        raise TypeError(f"a module or its name is registered by value, got {module!r}")
    return module if isinstance(module, str) else module.__name__


def compiled(module: ModuleType) -> bool:
    """Whether `module` is built in or an extension, so that all of its classes come from its binary."""
    from importlib.machinery import BuiltinImporter, ExtensionFileLoader

    loader = getattr(module, "__loader__", None)
    return loader is BuiltinImporter or isinstance(loader, ExtensionFileLoader)


def by_reference(obj: object) -> bool:
    """Whether importing `obj.__module__` and following `obj.__qualname__` leads to this very object."""
    name = getattr(obj, "__qualname__", None)
    module_name = getattr(obj, "__module__", None)
    if type(name) is not str or type(module_name) is not str:
        return False
    found: object = sys.modules.get(module_name)
    # The answer that is known, without a call: each task of a function by name asks.
    if (_by_value or _importable.get(module_name) != (id(found), True)) and not importable(module_name):
        return False
    try:
        if "." not in name:
            return getattr(found, name) is obj
        for part in name.split("."):
            found = getattr(found, part)
    except Exception:  # noqa: BLE001  a module may have a __getattr__ of its own
        return False
    return found is obj


def importable(name: str) -> bool:
    """Whether another interpreter with this `sys.path` gets the same module for `name`."""
    if name in _MAIN or (_by_value and _registered(name)):
        return False
    module = sys.modules.get(name)
    cached = _importable.get(name)
    if cached is None or cached[0] != id(module):
        cached = _importable[name] = (id(module), _found_again(name, module))
    return cached[1]


def _registered(name: str) -> bool:
    while name:
        if name in _by_value:
            return True
        name = name.rpartition(".")[0]
    return False


def _found_again(name: str, module: object) -> bool:
    if module is None:
        return False
    parent = name.rpartition(".")[0]
    if parent and not (parent in sys.modules and importable(parent)):
        return False
    spec = getattr(module, "__spec__", None)
    if spec is None:
        # An extension may put submodules without a spec there; importing the parent brings them.
        return bool(parent) or name in sys.builtin_module_names
    origin = getattr(spec, "origin", None)
    if origin in ("built-in", "frozen"):
        return True
    path = getattr(sys.modules[parent], "__path__", None) if parent else None
    found = find_spec(getattr(spec, "name", name), path)
    if found is None:
        return bool(parent) and not getattr(spec, "has_location", False)
    return _same_origin(found.origin, origin)


def find_spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    for finder in sys.meta_path:
        try:
            found = finder.find_spec(name, path)
        except Exception:  # noqa: BLE001, S112  a broken finder of somebody else must not decide
            continue
        if found is not None:
            return found
    return None


def _same_origin(found: str | None, origin: str | None) -> bool:
    if found == origin:
        return True
    if found is None or origin is None:
        return False
    from os.path import realpath

    return realpath(found) == realpath(origin)
