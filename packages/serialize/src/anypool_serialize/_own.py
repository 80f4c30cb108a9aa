"""Which modules are your own, and what code reaches through them."""

from __future__ import annotations

import dis
import functools
import os
import sys
import sysconfig
import types
from importlib.util import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

from ._byvalue import inner_codes
from ._where import find_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from importlib.machinery import ModuleSpec

_IMPORT_NAME = dis.opmap["IMPORT_NAME"]


class Source(NamedTuple):
    """A module as its file is now, compiled."""

    code: types.CodeType
    package: str


def is_own(name: str | None) -> bool:
    """Whether a module comes neither with Python nor with an installed package."""
    module = sys.modules.get(name or "")
    if module is None or name in ("__main__", "__mp_main__"):
        return True
    file = getattr(module, "__file__", None)
    # A package without a file is a folder without an `__init__.py`; anything else without one is built in.
    places = [file] if file else getattr(module, "__path__", ())
    return any(not os.path.join(place, "").startswith(_installed_folders()) for place in places)


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple({os.path.join(sysconfig.get_path(kind), "") for kind in kinds})


def all_codes(code: types.CodeType) -> list[types.CodeType]:
    return [code, *inner_codes(code)]


def attributes_of_modules(code: types.CodeType, values: Iterable[Any]) -> list[tuple[str, Any]]:
    """What `code` may reach through those of `values` that are own modules, and through their submodules."""
    modules = [value for value in values if type(value) is types.ModuleType and is_own(value.__name__)]
    if not modules:
        return []
    names = sorted({name for inner in all_codes(code) for name in inner.co_names})
    reached = []
    for module in modules:
        for name in names:
            if name in vars(module):
                value = vars(module)[name]
                reached.append((f"{module.__name__}.{name}", value))
                if type(value) is types.ModuleType and is_own(value.__name__) and value not in modules:
                    modules.append(value)
    return reached


def imports_in(code: types.CodeType, package: str) -> list[str]:
    """Names of the modules that `code` imports when it runs, and of those that may only be attributes there."""
    names: dict[str, None] = {}
    for inner in all_codes(code):
        # Reading instructions takes long, and few functions import.
        if _IMPORT_NAME in inner.co_code[::2]:
            names.update(dict.fromkeys(_imports_of(inner, package)))
    return list(names)


def _imports_of(code: types.CodeType, package: str) -> Iterator[str]:
    instructions = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
    for level, wanted, step in zip(instructions, instructions[1:], instructions[2:], strict=False):
        if step.opcode == _IMPORT_NAME:
            try:
                name = resolve_name("." * level.argval + step.argval, package)
            except ImportError:
                continue
            yield name
            yield from (f"{name}.{attribute}" for attribute in wanted.argval or ())


def source_of(name: str) -> Source | None:
    """An own module, found and compiled but not imported; None for any other."""
    try:
        spec = _found(name)
        if spec is None or not spec.origin or spec.origin.startswith(_installed_folders()):
            return None
        loader: Any = spec.loader
        code = loader.get_code(name)
    except Exception:  # noqa: BLE001  finders and loaders are anybody's code, and a file may be broken
        return None
    return None if code is None else Source(code, spec.parent or "")


def _found(name: str) -> ModuleSpec | None:
    parent = name.rpartition(".")[0]
    if not parent:
        return find_spec(name, None)
    package = _found(parent)
    locations = package and package.submodule_search_locations
    # The list of a package without `__init__.py` looks for its parent among the imported modules.
    return find_spec(name, getattr(locations, "_path", locations)) if locations else None
