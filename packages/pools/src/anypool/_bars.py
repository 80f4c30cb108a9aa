"""The bars that are open in the process that shows them, and in which style each of them is shown."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from time import monotonic
from typing import TYPE_CHECKING, Any

from anypool._bar_lines import Lines, lines
from anypool._strike import let_through

if TYPE_CHECKING:
    from anypool._bar_views import View
    from anypool._progress import Key

__all__: list[str] = []

STYLES = ("tqdm", "rich", "log")
VARIABLE = "ANYPOOL_PROGRESS"
# For so many seconds a task's bar is not drawn.
_DELAY = 0.5


class Bar:
    """One that is open. `inner`: a task made it, so it goes when it is done."""

    view: View | None = None
    failed = False

    def __init__(self, total: int | None, label: str, inner: bool, style: str | None, age: float) -> None:
        self.total, self.inner, self.style = total, inner, style
        self.label = " ".join("".join(char if char.isprintable() else " " for char in label).split())
        self.done = 0
        self.opened = monotonic() - age


_lock = threading.RLock()
_open: dict[Key, Bar] = {}
# Of these, those that have a place on the screen, and those that may get one later.
_drawn: list[Bar] = []
_waiting: deque[Bar] = deque()
_messages: deque[Any] = deque()
_lines: Lines | None = None
_busy = _room = False
# What was open when this process was forked is the parent's: never closed here.
_parents: list[object] = []


def take(message: Any) -> None:
    """What `anypool._progress` sends: a bar that may be new, how much more of it is done, whether it is over."""
    global _busy
    with _lock:
        _messages.append(message)
        # A signal's handler, or collection, may come here in the midst of another.
        if _busy:
            return
        _busy = True
        try:
            while _messages:
                _take(_messages.popleft())
        finally:
            _busy = False


def _take(message: Any) -> None:
    home, number, count, opening, over = message
    key = home, number
    bar = _open.get(key)
    if bar is None:
        if opening is None:
            return
        bar = _open[key] = Bar(*opening)
        _waiting.append(bar)
    bar.done += count
    if bar.view is not None:
        _attempt(bar, _reach)
    _begin()
    if over:
        _end(key)
        _begin()


def _begin() -> None:
    """Show those that wait, in their order; whoever ticks does that, for they may not tick again soon."""
    while _waiting:
        bar = _waiting[0]
        _attempt(bar, _open_view)
        if bar.view is None and not bar.failed:
            return
        _waiting.popleft()


def _open_view(bar: Bar) -> None:
    global _lines
    from anypool._bar_views import VIEWS

    kind = VIEWS[bar.style or _usual()]
    if kind.most and (len(_drawn) >= kind.most or (bar.inner and monotonic() - bar.opened < _DELAY)):
        return
    bar.view = kind(bar)
    if kind.most:
        _drawn.append(bar)
        if len(_drawn) == 1:
            _lines = lines()
    bar.view.reach(bar.done)


def _reach(bar: Bar) -> None:
    assert bar.view is not None
    bar.view.reach(bar.done)


def _end(key: Key) -> None:
    bar = _open.pop(key)
    if bar in _waiting:
        _waiting.remove(bar)
    if bar in _drawn:
        _drawn.remove(bar)
        if not _drawn and _lines is not None:
            # The other way round than they came: a view may have another stream in its place as well.
            _lines.leave()
    if bar.view is not None:
        # Also one that could not be drawn at a time: it may have taken the cursor or a stream.
        bar.failed = False
        _attempt(bar, _close)


def _close(bar: Bar) -> None:
    assert bar.view is not None
    bar.view.close()


def _attempt(bar: Bar, act: Callable[[Bar], None]) -> None:
    """What can't be shown costs nobody more than its bar."""
    if bar.failed:
        return
    try:
        act(bar)
    except Exception as error:  # noqa: BLE001 - of another library, or of the stream
        let_through(error)
        bar.failed = True
        import logging

        # Nor may the stream be there on which that is said.
        with suppress(Exception):
            logging.getLogger("anypool").warning(
                "a progress bar can't be shown: %s: %s", type(error).__name__, str(error)
            )


def _usual() -> str:
    """The style of what says none: that of the bars which are drawn already, or two would draw over each other."""
    for bar in _drawn:
        if bar.style is not None:
            return bar.style
    asked = os.environ.get(VARIABLE)
    if asked:
        return style_asked(asked, VARIABLE) if asked != "none" else "none"
    if sys.stderr is None:
        return "none"
    return "tqdm" if sys.stderr.isatty() or _in_notebook() else "log"


def _in_notebook() -> bool:
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def style_asked(value: str, who: str) -> str:
    """A style by its name; `ValueError` if there is none of that name, `ImportError` if what it needs is missing."""
    if value not in STYLES:
        known = ", ".join(map(repr, STYLES))
        also = ", 'none'" if who == VARIABLE else ""
        raise ValueError(f"{who} is one of {known}{also}, got {value!r}")
    if value == "rich" and find_spec("rich") is None:
        raise ModuleNotFoundError(f"{who}='rich' needs a library that is missing: pip install 'anypool[rich]'")
    return value


def check() -> None:
    """Have what is wrong in the environment raised where a bar is asked for."""
    asked = os.environ.get(VARIABLE)
    if asked and asked != "none":
        style_asked(asked, VARIABLE)


@contextmanager
def aside() -> Iterator[None]:
    """Bars make room for what is written within the block, which may be written by way of another."""
    global _room
    with _lock, ExitStack() as stack:
        if not _room:
            _room = True
            stack.callback(_room_is_over)
            for view in {type(bar.view): bar.view for bar in _drawn if bar.view is not None}.values():
                stack.enter_context(view.aside())
        yield


def _room_is_over() -> None:
    global _room
    _room = False


def close_all() -> None:
    """The process ends; a terminal is left as it was found, and bars at what was done."""
    if (progress := sys.modules.get("anypool._progress")) is not None:
        progress.flush()
    with _lock:
        for key in list(_open):
            _end(key)


def _after_fork() -> None:
    global _open, _drawn, _waiting, _lock, _busy, _room
    _parents.append(_open)
    _open, _drawn, _waiting, _lock = {}, [], deque(), threading.RLock()
    _messages.clear()
    _busy = _room = False


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close_all)
