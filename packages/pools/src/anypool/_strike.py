"""Tell an exception that a signal's handler raised, and what it cut short."""

from __future__ import annotations

from types import FrameType

__all__: list[str] = []

# As in `inspect`, which takes long to import: the function has a parameter `*args`.
_VARARGS = 4


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
    code = frame.f_code
    arguments = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & _VARARGS)
    given = [frame.f_locals.get(name) for name in code.co_varnames[:arguments]]
    return any(
        value is interrupted or (type(value) is tuple and any(part is interrupted for part in value)) for value in given
    )


def belongs_here(frame: FrameType) -> bool:
    """Whether this is a frame of this package."""
    return str(frame.f_globals.get("__name__")).startswith("anypool.")


def let_through(error: BaseException) -> None:
    """Raise it again if a signal's handler raised it: that was meant for the program, not for what was under way."""
    if struck(error):
        raise error


def callers_own(error: BaseException) -> bool:
    """Whether what a task in the caller's own thread raised means the caller.

    A handler that says sys.exit() means the program that was interrupted, not the item that ran; and so does one that
    struck when no item's own code ran.
    """
    if isinstance(error, KeyboardInterrupt):
        return True
    frames = struck(error)
    return bool(frames) and (isinstance(error, SystemExit) or belongs_here(frames[-1]))
