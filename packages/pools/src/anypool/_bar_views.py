"""How a bar looks: drawn by tqdm or by rich, as lines of a log, or not at all."""

from __future__ import annotations

import logging
import sys
import warnings
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypool._bars import Bar

__all__: list[str] = []

# Seconds between two lines of a log at least, and after how many one is written though less than a tenth is new.
_SOONEST, _LATEST = 5.0, 60.0
# Between two drawings.
_REDRAW = 0.1


class View(ABC):
    """Of one bar; called with the lock of all bars held. `most`: how many have room on the screen; 0: it takes none."""

    most = 0

    @abstractmethod
    def __init__(self, bar: Bar) -> None:
        pass

    @abstractmethod
    def reach(self, done: int) -> None:
        """So many are done."""

    @abstractmethod
    def close(self) -> None:
        """It is over, and stays on the screen unless a task made it."""

    def aside(self) -> AbstractContextManager[object]:
        """Make room for what is written meanwhile, for all of this kind."""
        return nullcontext()


class Tqdm(View):
    """By tqdm, in a terminal or a notebook, in line with the caller's own bars of tqdm."""

    most = 20

    def __init__(self, bar: Bar) -> None:
        self._bar = _tqdm()(
            total=bar.total, desc=bar.label or None, leave=not bar.inner, initial=bar.done, mininterval=_REDRAW,
            miniters=1, dynamic_ncols=True,
        )  # fmt: skip

    def reach(self, done: int) -> None:
        bar = self._bar
        bar.update(done - bar.n)
        if done == bar.total and bar.last_print_n != done:
            bar.refresh()

    def close(self) -> None:
        bar = self._bar
        if bar.leave and not bar.gui:
            # By itself it would move the cursor, from where the others, if some are open, know their places.
            line = bar.format_meter(**{**bar.format_dict, "rate": None})
            with self.aside():
                bar.fp.write(f"{line}\n")
            bar.leave = False
        bar.close()
        if not bar.gui:
            # Of any but the first bar it leaves the cursor where the line ended.
            bar.fp.write("\r")

    def aside(self) -> AbstractContextManager[object]:
        found: AbstractContextManager[object] = _tqdm().external_write_mode()
        return found


@cache
def _tqdm() -> Any:
    with warnings.catch_warnings():
        # In a notebook without ipywidgets it says so, and draws with text; that will do.
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
    from tqdm.std import tqdm as base

    # One for all, the caller's own included.
    base.get_lock()
    # Its thread looks after bars that are updated in steps too large; these are not.
    return type("tqdm", (tqdm,), {"monitor_interval": 0})


class Rich(View):
    """By rich; all of them together are one picture, which is there as long as one of them is."""

    # Drawn as a whole each time.
    most = 10
    _picture: Any = None
    _views = 0
    _drawn = 0.0

    def __init__(self, bar: Bar) -> None:
        self._leave = not bar.inner
        if Rich._picture is None:
            Rich._picture = _picture()
            Rich._picture.start()
        Rich._views += 1
        self._task = Rich._picture.add_task(bar.label, total=bar.total, completed=bar.done)

    def reach(self, done: int) -> None:
        now = monotonic()
        redraw = now - Rich._drawn >= 2 * _REDRAW
        if redraw:
            Rich._drawn = now
        Rich._picture.update(self._task, completed=done, refresh=redraw)

    def close(self) -> None:
        picture = Rich._picture
        if self._leave:
            (task,) = (task for task in picture.tasks if task.id == self._task)
            picture.stop_task(self._task)
            picture.console.print(picture.make_tasks_table([task]))
        picture.remove_task(self._task)
        Rich._views -= 1
        if Rich._views:
            picture.refresh()
        else:
            Rich._picture = None
            picture.stop()


def _picture() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    # What goes to stdout is written above the bars if that is the same terminal.
    both = console.is_terminal and sys.stdout is not None and sys.stdout.isatty()
    # Not drawn by a thread: who prints a line and who draws would come between each other.
    return Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(), console=console, auto_refresh=False, transient=True, redirect_stdout=both,
    )  # fmt: skip


class Log(View):
    """Lines by the logger `anypool.progress` at INFO, or plain ones on stderr where it has none to take them.

    A line for each tenth, or each minute, at most every five seconds, and one at the end. The bars of tasks have one
    line in five seconds all together; the end of one that has had none is told at DEBUG only.
    """

    # When the last of a task's bars was written.
    _inner_said = 0.0

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._said = bar.opened
        self._told = -1

    def reach(self, done: int) -> None:
        now = monotonic()
        passed = now - self._said
        if passed < _SOONEST or not self._may(now):
            return
        total, told = self._bar.total, max(self._told, 0)
        if done - told >= (told if total is None else total / 10) or passed >= _LATEST:
            self._say(logging.INFO)

    def close(self) -> None:
        if self._told != self._bar.done:
            self._say(logging.INFO if not self._bar.inner or (self._told >= 0 and self._may(monotonic())) else
                      logging.DEBUG)  # fmt: skip

    def _may(self, now: float) -> bool:
        return not self._bar.inner or now - Log._inner_said >= _SOONEST

    def _say(self, level: int) -> None:
        from tqdm.std import tqdm

        bar, now = self._bar, monotonic()
        self._said, self._told = now, bar.done
        if bar.inner and level == logging.INFO:
            Log._inner_said = now
        line = tqdm.format_meter(bar.done, bar.total, now - bar.opened, ncols=0, prefix=bar.label)
        logger = logging.getLogger("anypool.progress")
        if logger.isEnabledFor(level) and logger.hasHandlers():
            logger.log(level, line)
        elif level == logging.INFO and sys.stderr is not None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()


class Nothing(View):
    """Not at all."""

    def __init__(self, bar: Bar) -> None:
        pass

    def reach(self, done: int) -> None:
        pass

    def close(self) -> None:
        pass


VIEWS: dict[str, type[View]] = {"tqdm": Tqdm, "rich": Rich, "log": Log, "none": Nothing}
