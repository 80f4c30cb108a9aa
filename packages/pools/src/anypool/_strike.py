"""Tell an exception that a signal's handler raised, and what it cut short."""

from __future__ import annotations

import importlib
from functools import partial
from types import FrameType
from typing import Any

__all__: list[str] = []

# The enum conversions of `signal` would take ten times as long.
_signal = importlib.import_module("_signal")


def struck(error: BaseException) -> list[FrameType]:
    """The frames that were under way, outermost first, if a signal's handler raised `error`; else none."""
    handlers = map(_signal.getsignal, range(1, _signal.NSIG))
    codes = {_code(handler) for handler in handlers if callable(handler)}
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return frames
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return []


def belongs_here(frame: FrameType) -> bool:
    """Whether this is a frame of this package."""
    return str(frame.f_globals.get("__name__")).startswith("anypool.")


def let_through(error: BaseException) -> None:
    """Raise it again if a signal's handler raised it: that was meant for the program, not for what was under way."""
    if struck(error):
        raise error


def _code(handler: Any) -> Any:
    while isinstance(handler, partial):
        handler = handler.func
    called = handler if hasattr(handler, "__code__") else getattr(handler, "__func__", type(handler).__call__)
    return getattr(called, "__code__", None)
