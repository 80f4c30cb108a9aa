"""Serialize data and code at the speed of the C pickler, and say why an object won't travel."""

from __future__ import annotations

from ._core import copy, dumps, loads, pickles
from ._errors import AnypoolError, CopiedState, TooLarge, Unserializable
from ._where import by_reference, register_by_value, unregister_by_value
from ._write import Frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import tools as tools
    from ._check import check
    from ._digest import digest
    from ._explain import Explanation, explain
    from ._files import dump, load
    from ._initialize import initialize

__all__ = [
    "AnypoolError",
    "CopiedState",
    "Explanation",
    "Frames",
    "TooLarge",
    "Unserializable",
    "by_reference",
    "check",
    "copy",
    "digest",
    "dump",
    "dumps",
    "explain",
    "initialize",
    "load",
    "loads",
    "pickles",
    "register_by_value",
    "unregister_by_value",
]

# Loaded when first asked for: none of them is needed to send and receive.
_LATER = {
    "Explanation": "_explain",
    "check": "_check",
    "digest": "_digest",
    "dump": "_files",
    "explain": "_explain",
    "initialize": "_initialize",
    "load": "_files",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "tools":
        return import_module(".tools", __name__)
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "tools"})
