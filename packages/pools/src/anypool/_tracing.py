"""What cProfile keeps, kept for one thread: from Python 3.12 on cProfile itself hears all threads of a process at once.

Each event costs about five times what it costs cProfile, most of which is taken off the times again.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from time import perf_counter
from types import FrameType
from typing import Any

__all__: list[str] = []

Label = tuple[str, int, str]
# (calls that are not recursive, calls, own seconds, seconds, {caller: (calls, not recursive ones, own, seconds)})
Table = dict[Label, tuple[int, int, float, float, dict[Label, tuple[int, int, float, float]]]]

TAKEN = "Another profiling tool is already active"


class Tracer:
    """`enable`, `disable` and `snapshot_stats` are cProfile's; whatever else traces the thread pauses meanwhile."""

    def __init__(self) -> None:
        self.stats: Table = {}
        # Label, beginning, and seconds of what it called, of each call that goes on.
        self._open: list[tuple[Label, float, list[float]]] = []
        self._depth: defaultdict[object, int] = defaultdict(int)
        self._functions: dict[Label, list[Any]] = {}
        self._callers: dict[Label, dict[Label, list[Any]]] = {}
        self._ours = self._event
        self._before: Any = None
        # Seconds spent here.
        self._spent = 0.0

    def enable(self) -> None:
        """Begin, in this thread."""
        self._open.clear()
        self._depth.clear()
        self._before = sys.getprofile()
        sys.setprofile(self._ours)

    def disable(self) -> None:
        """End; `ValueError` if somebody else has taken its place."""
        taken = sys.getprofile() is not self._ours
        sys.setprofile(self._before)
        if taken:
            raise ValueError(TAKEN)

    def clear(self) -> None:
        """Forget what was recorded."""
        self._functions.clear()
        self._callers.clear()

    def snapshot_stats(self) -> None:
        """Make `stats` of what was recorded."""
        self.stats = {
            label: (*each, {caller: tuple(part) for caller, part in self._callers[label].items()})
            for label, each in self._functions.items()
        }

    def _event(self, frame: FrameType, event: str, arg: Any) -> None:
        entered = perf_counter()
        code = frame.f_code
        if code is not _DISABLE:
            # "call" and "return" are of the frame; "c_call", "c_return" and "c_exception" of a builtin function.
            label = _named(arg) if event[1] == "_" else (code.co_filename, code.co_firstlineno, code.co_name)
            if event in ("call", "c_call"):
                self._depth[label] += 1
                if self._open:
                    self._depth[self._open[-1][0], label] += 1
                self._open.append((label, entered - self._spent, [0.0]))
            elif any(each[0] == label for each in reversed(self._open)):
                while self._close(entered - self._spent) != label:
                    pass
        self._spent += perf_counter() - entered

    def _close(self, now: float) -> Label:
        label, began, inside = self._open.pop()
        total = now - began
        own = total - inside[0]
        self._depth[label] -= 1
        each = self._functions.setdefault(label, [0, 0, 0.0, 0.0])
        _count(each, 0, 1, own, total, outermost=not self._depth[label])
        callers = self._callers.setdefault(label, {})
        if self._open:
            caller, _, its = self._open[-1]
            its[0] += total
            self._depth[caller, label] -= 1
            part = callers.setdefault(caller, [0, 0, 0.0, 0.0])
            _count(part, 1, 0, own, total, outermost=not self._depth[caller, label])
        return label


_DISABLE = Tracer.disable.__code__
_METHOD, _MODULE = type(str.upper), type(sys)


def _count(entry: list[Any], primitive: int, calls: int, own: float, total: float, *, outermost: bool) -> None:
    entry[calls] += 1
    entry[2] += own
    if outermost:
        entry[primitive] += 1
        entry[3] += total


def _named(function: Any) -> Label:
    """A builtin function by the name that cProfile has for it; runs no code of its owner's."""
    owner, name = getattr(function, "__self__", None), function.__name__
    if type(function) is _METHOD:
        return "~", 0, repr(function)
    if owner is None or type(owner) is _MODULE:
        module = function.__module__
        return "~", 0, f"<built-in method {f'{module}.' if module else ''}{name}>"
    for kind in type(owner).__mro__:
        if type(method := vars(kind).get(name)) is _METHOD:
            return "~", 0, repr(method)
    return "~", 0, f"<built-in method {name}>"
