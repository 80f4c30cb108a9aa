"""The second attempt, after the C pickler gave up: dill where it helps, else the path to the culprit."""

from __future__ import annotations

import sys
import types
import warnings
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ._advice import advice_for
from ._errors import CopiedState, TooLarge, Unserializable
from ._islands import carries, reduce_by_dill
from ._message import Refused
from ._pickler import Pickler
from ._walk import path_to, reduce_natively
from ._write import Frames, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from ._message import Reduction

_warned: WeakSet[Any] = WeakSet()


class CarefulPickler(Pickler):
    """Asks every object for its reduction itself: who refuses is known, and dill can be tried on it."""

    helped = False

    def reducer_override(self, obj: Any) -> Reduction:
        reduction = super().reducer_override(obj)
        if reduction is not NotImplemented or issubclass(type(obj), (type, types.FunctionType)):
            return reduction
        try:
            return reduce_natively(obj)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # noqa: BLE001  reducers are anybody's code
            return self._by_dill(obj, error)

    def _by_dill(self, obj: Any, error: Exception) -> Reduction:
        if not carries(type(obj)):
            raise Refused(obj, describe_failure(error)) from error
        if self.strict:
            raise Refused(obj, "only dill carries it, as a copy, which strict=True forbids") from error
        try:
            reduction = reduce_by_dill(obj)
        except Exception as second:
            raise Refused(obj, describe_failure(error)) from second
        self.helped = True
        return reduction


def dumps_carefully(
    obj: Any, strict: bool, oob: int, names: tuple[str, ...], most: int | None, first: Exception
) -> tuple[Frames, Sequence[object]]:
    """What `write` gives if dill helps; raises Unserializable otherwise."""
    if isinstance(first, RecursionError):
        raise _too_deep(obj, names) from first
    made: list[CarefulPickler] = []

    def careful(*args: Any) -> CarefulPickler:
        made.append(CarefulPickler(*args))
        return made[0]

    try:
        written = write(careful, obj, strict, oob, most)
    except (MemoryError, CopiedState, TooLarge):
        raise
    except RecursionError as error:
        raise _too_deep(obj, names) from error
    except Refused as refused:
        # The cause has no name here: it holds this frame, and would keep `obj` until the collector comes by.
        raise _unserializable(obj, refused.obj, refused.reason, names) from (
            refused.__cause__ or (first if not isinstance(first, Refused) else None)
        )
    except Exception as error:
        raise _unserializable(obj, obj, describe_failure(error), names) from error
    if not made[0].helped:
        # Nothing refuses; it failed for another reason, such as the exception of a signal's handler.
        raise first
    return written


def _unserializable(root: Any, culprit: Any, reason: str, names: tuple[str, ...]) -> Unserializable:
    path = path_to(root, culprit, names) or ""
    where = f"{path} ({type_name(culprit)})" if path else f"an object of type {type_name(culprit)}"
    return Unserializable(f"{where} cannot be serialized: {reason}. {advice_for(culprit)}", path)


def _too_deep(obj: Any, names: tuple[str, ...]) -> Unserializable:
    path, what = "", f"an object of type {type_name(obj)}"
    if len(names) == 1:
        path, what = names[0], f"{names[0]} ({type_name(obj[0])})"
    # From Python 3.12 on the limit is the interpreter's own and cannot be raised.
    more = ", or raise the limit with sys.setrecursionlimit" if sys.version_info < (3, 12) else ""
    return Unserializable(
        f"{what} is nested too deeply for the pickler. Send it flat: a list of nodes that "
        f"refer to each other by index{more}",
        path,
    )


def describe_failure(error: BaseException) -> str:
    if isinstance(error, Refused):
        return error.reason
    text = str(error).strip().rstrip(".")
    return text if type(error) is TypeError and text else f"{type(error).__name__}: {text}"


def type_name(obj: Any) -> str:
    kind = type(obj)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def warn_of_copies(root: Any, copies: Sequence[Any], names: tuple[str, ...]) -> None:
    """One warning for each object in this process, however often it is sent: finding the path costs a walk."""
    for obj in copies:
        if obj in _warned:
            continue
        path = path_to(root, obj, names) or f"an object of type {type_name(obj)}"
        what = "the same lock" if "lock" in type(obj).__name__.lower() else "the same file"
        warnings.warn(f"{path}: a copy, not {what}", CopiedState, stacklevel=_stack_level())
        # Not before: a warning that is turned into an error must stop the next message too.
        _warned.add(obj)


def _top_package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _stack_level() -> int:
    """Frames up to the first one outside this package and the one that sends with it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  there is no public way that is as cheap
    level = 1
    while frame is not None and _top_package(frame) in ("anypool", "anypool_serialize"):
        frame = frame.f_back
        level += 1
    return level
