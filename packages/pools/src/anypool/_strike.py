"""Tell an exception that a signal's handler raised, and what it cut short."""

from __future__ import annotations

from types import FrameType

__all__: list[str] = []


def struck(error: BaseException) -> list[FrameType]:
    """The frames that were under way, outermost first, if a signal's handler raised `error`; else none.

    A handler is known by its argument, the frame that it interrupts. Whether it is still the handler says nothing: many
    reset themselves first, and tasks may call the same function.
    """
    frames: list[FrameType] = []
    trace = error.__traceback__
    while trace is not None:
        if frames and _was_given(trace.tb_frame, frames[-1]):
            return frames
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return []


def _was_given(frame: FrameType, interrupted: FrameType) -> bool:
    for value in frame.f_locals.values():
        if value is interrupted or (type(value) is tuple and any(part is interrupted for part in value)):
            return True
    return False


def belongs_here(frame: FrameType) -> bool:
    """Whether this is a frame of this package."""
    return str(frame.f_globals.get("__name__")).startswith("anypool.")


def let_through(error: BaseException) -> None:
    """Raise it again if a signal's handler raised it: that was meant for the program, not for what was under way."""
    if struck(error):
        raise error
