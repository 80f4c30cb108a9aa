"""Serialize everything Python at the speed of the C pickler, and say why an object won't travel."""

from ._core import Frames, copy, dumps, loads, pickles
from ._errors import AnypoolError, CopiedState, Unserializable
from ._where import register_by_value, unregister_by_value

__all__ = [
    "AnypoolError",
    "CopiedState",
    "Frames",
    "Unserializable",
    "copy",
    "dumps",
    "loads",
    "pickles",
    "register_by_value",
    "unregister_by_value",
]
