"""How an exception comes home: whole if it survives that, described in any case."""

from __future__ import annotations

from anypool._wire import IN_BAND
from anypool_serialize import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__: list[str] = []

# Modules whose frames a reader of the traceback does not want.
_OURS = ("anypool._serve", "anypool._seeding", "anypool._folding", "anypool._profiling")
# What user code may raise where we call it in passing; a KeyboardInterrupt there is the user's.
RAISED = (Exception, SystemExit, GeneratorExit)
_LEAVING = (SystemExit, GeneratorExit, KeyboardInterrupt)
STOPPED = "the task raised StopIteration, as next() does when nothing is left; give next() a default, or catch it"


class Failure:
    """What is sent of an exception; `pickled` is None for one that can't be, or must not be raised there."""

    __slots__ = ("message", "pickled", "traceback", "type_name")

    def __init__(self, pickled: bytes | None, type_name: str, message: str, traceback: str) -> None:
        self.pickled, self.type_name = pickled, type_name
        self.message, self.traceback = message, traceback

    def rebuild(self) -> BaseException:
        """The exception itself with the remote traceback as its cause, or `RemoteError` in its stead."""
        from anypool._errors import RemoteError, RemoteTraceback

        if self.pickled is not None:
            try:
                error = loads(self.pickled)
            except Exception:  # noqa: BLE001 - whatever its class does here, the description is still good
                error = None
            if isinstance(error, BaseException):
                error.__cause__ = RemoteTraceback(self.traceback)
                return error
        text = f"{self.type_name}: {self.message}" if self.message else self.type_name
        rebuilt = RemoteError(text, self.type_name, self.traceback)
        rebuilt.__cause__ = RemoteTraceback(self.traceback)
        return rebuilt


def describe(error: BaseException) -> Failure:
    """Make a `Failure`; never raises, whatever the exception's own methods do."""
    # Not at the top: workers start without it, and most never need it.
    import traceback

    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception as broken:  # noqa: BLE001 - a broken __str__ must not cost the report
        message = f"<str() raised {type(broken).__name__}>"
    try:
        text = "".join(traceback.format_exception(kind, error, _without_ours(error)))
    except Exception:  # noqa: BLE001 - the same
        text = f"{name}: {message}\n"
    pickled, why = _survives(error)
    if why:
        text += f"{name} itself can't be sent: {why}\n"
    return Failure(pickled, name, message, text)


def as_an_items(error: BaseException) -> BaseException:
    """What can be raised to the caller in the place of an error that would end an iteration, or the program."""
    if isinstance(error, StopIteration):
        stopped = RuntimeError(STOPPED)
        stopped.__cause__ = error
        return stopped
    return describe(error).rebuild() if isinstance(error, _LEAVING) else error


def _without_ours(error: BaseException) -> Any:
    # The first frame is `run` above; the reader wants what follows.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__") in _OURS and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _survives(error: BaseException) -> tuple[bytes | None, str]:
    """Its pickle, or else why there is none."""
    # Exceptions that pickle here may still fail to load there (a two-argument __init__), so it's tried here.
    if isinstance(error, _LEAVING):
        return None, ""
    why = ""
    for form in (error, _Uninitialised(error)):
        try:
            frames = dumps(form, oob=IN_BAND)
            if type(loads(frames)) is type(error):
                return frames.header, ""
        except Exception as refusal:  # noqa: BLE001 - the next form, or it's described instead
            why = why or f"{type(refusal).__name__}: {refusal}"
    return None, why


class _Uninitialised:
    """Pickles as an exception that is rebuilt without its own `__init__`, which may not take `args`."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self._error
        return _rebuilt, (type(error), error.args, vars(error))


def _rebuilt(kind: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(state)
    return error
