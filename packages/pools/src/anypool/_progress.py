"""Bars that a caller sees, and that tasks move on from wherever they run: `anypool.progress`."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import index, length_hint
from time import monotonic
from typing import Any, TypeVar, overload
from weakref import WeakValueDictionary

from anypool import _task
from anypool._context import is_worker
from anypool._relay import TICK, abroad, tell

__all__: list[str] = []

T = TypeVar("T")
# The process that made a bar, and the bar's number there.
Key = tuple[bytes, int]
# Total, label, whether a task made it, the style that was asked for; in a message also how many seconds ago.
Opening = tuple["int | None", str, bool, "str | None"]

# Ticks of a bar are on their way after so many seconds at the latest, if more ticks or the end of the task follow.
_SECONDS = 0.1

# For numbers only; the other orders what is sent, and is taken first.
_lock = threading.RLock()
_order = threading.RLock()
_home = os.urandom(8)
_numbers = itertools.count(1)


class _State:
    """What is known here of a bar: the ticks that nobody has added up, and what no message has told yet."""

    __slots__ = ("done", "key", "made", "opening", "ticks", "unsent")

    def __init__(self, key: Key, opening: Opening | None = None) -> None:
        self.key, self.opening, self.made = key, opening, monotonic()
        # To append takes no lock, which would cost more than all the rest.
        self.ticks: deque[int] = deque()
        self.done = self.unsent = 0

    def add_up(self) -> None:
        """With the lock held."""
        for _ in range(len(self.ticks)):
            count = self.ticks.popleft()
            self.done += count
            self.unsent += count


_states: dict[Key, _State] = {}
# Those whose object is gone, to be sent and forgotten.
_gone: deque[_State] = deque()
# The bars that are open in workers of this process, by host and process id.
of_workers: dict[tuple[str, int], set[Key]] = {}
# The bars that live: made here, or made elsewhere and given to tasks here.
_living: WeakValueDictionary[Key, Progress] = WeakValueDictionary()


class Progress:
    """A bar in the process that called the task which makes it, or in this one outside of tasks.

    It can be given to tasks, also in other processes: what all of them tick adds up. It ends at its `close`, with its
    block, and when nobody has it any more. Any thread may use it.
    """

    def __init__(self, total: int | None = None, label: str = "", *, style: str | None = None) -> None:
        total, label = _checked(total, label)
        inside = _inside()
        if style is None and not inside:
            from anypool import _bars

            _bars.check()
        self._become(_State((_home, next(_numbers)), (total, label, inside, style)), total, label, inside)
        if not inside:
            _send(self._state)

    def _become(self, state: _State, total: int | None, label: str, inside: bool) -> None:
        self._state, self._total, self._label, self._inside = state, total, label, inside
        self._note = state.ticks.append
        self._due = state.made + _SECONDS
        self._closed = False
        _states[state.key] = state
        _living[state.key] = self

    @property
    def total(self) -> int | None:
        """How many ticks there will be, if that is known."""
        return self._total

    @property
    def done(self) -> int:
        """Where it was made: the ticks that have come so far, of all tasks. In a task that it was given to: its own."""
        with _lock:
            self._state.add_up()
            return self._state.done

    def update(self, count: int = 1) -> None:
        """So many more are done; sent ten times a second, and at the end of the task.

        Of a bar that is closed nothing more is shown.
        """
        if type(count) is not int:
            count = index(count)
        self._note(count)
        now = monotonic()
        if now >= self._due:
            self._due = now + _SECONDS
            _send(self._state)

    def reach(self, done: int) -> None:
        """The same by what is done in all; less than before is ignored."""
        with _lock:
            count = done - self.done
            if count > 0:
                self._note(count)
                self._state.add_up()
        if count > 0 and monotonic() >= self._due:
            self.update(0)

    def close(self) -> None:
        """It is over, whatever is done of it; by a task that it was given to, for that task only."""
        if self._state.key[0] != _home or (_inside() and not self._inside):
            _send(self._state)
        elif not self._closed:
            self._closed = True
            _send(self._state, over=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _known, (self._state.key, self._total, self._label)

    def __repr__(self) -> str:
        of = "" if self._total is None else f" of {self._total}"
        return f"<anypool.Progress {self._label!r}: {self.done}{of}>"

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        # At the end of the process modules have lost what was in them. In a task collection may strike in the midst of
        # what is being sent: it is left to the end of the chunk.
        if not (getattr(self, "_closed", True) or ending()):
            _gone.append(self._state)
            if not _inside():
                flush()


@overload
def progress(total: int | None = None, label: str = "") -> Progress: ...
@overload
def progress(total: Iterable[T], label: str = "") -> Iterator[T]: ...
def progress(total: int | Iterable[T] | None = None, label: str = "") -> Progress | Iterator[T]:
    """A bar of so many steps, with a label, on stderr of whoever called the task; outside of tasks, of this process.

    `with anypool.progress(len(rows), "reading") as bar: ... bar.update()`. None if nobody knows how many there will be.
    An iterable instead of a number is gone through, one tick for each: `for row in anypool.progress(rows)`. Bars of
    tasks go when they are done, and are not shown in their first half second. See "Progress" in the README.
    """
    if isinstance(total, (str, bytes)) or not isinstance(total, Iterable):
        return Progress(total, label)
    _checked(None, label)
    return _through(total, label)


def _through(items: Iterable[T], label: str) -> Iterator[T]:
    with Progress(length_hint(items) or None, label) as bar:
        for item in items:
            yield item
            bar.update()


def _checked(total: object, label: object) -> tuple[int | None, str]:
    if not isinstance(label, str):
        raise TypeError(f"label is a text, got {label!r}")
    # A message takes no subclass, such as numpy's.
    label = str.__str__(label)
    if total is None:
        return None, label
    try:
        if isinstance(total, bool):
            raise TypeError
        number = index(total)  # type: ignore[arg-type]  # what has no index is refused
    except TypeError:
        raise TypeError(f"total is a whole number, None, or what to go through, got {total!r}") from None
    if number < 0:
        raise ValueError(f"total must be at least 0, got {number}")
    return number, label


def _known(key: Key, total: int | None, label: str) -> Progress:
    """The bar where it was made; elsewhere what ticks it from there, one for each process."""
    with _lock:
        known = _living.get(key)
        if known is None:
            known = Progress.__new__(Progress)
            known._become(_State(key), total, label, inside=True)  # noqa: SLF001 - our own
    return known


def _inside() -> bool:
    """Whether a task runs here."""
    return is_worker() or _task.current() is not None


def _send(state: _State, *, over: bool = False) -> None:
    """Send what there is to tell of a bar; `over`: for the last time from here."""
    with _order:
        with _lock:
            state.add_up()
            count, state.unsent = state.unsent, 0
            opening, state.opening = state.opening, None
            if over and _states.get(state.key) is state:
                del _states[state.key]
        last = over and state.key[0] == _home
        if not (count or opening or last):
            return
        if not _post((*state.key, count, opening and (*opening, monotonic() - state.made), last)):
            # A thread that a task has started can't, where the process is another's; who ends the chunk can.
            with _lock:
                state.unsent += count
                state.opening = opening
            if last:
                _gone.append(state)


def _post(message: Any) -> bool:
    if tell(TICK, message):
        return True
    if is_worker() or abroad():
        return False
    from anypool import _bars

    _bars.take(message)
    return True


def flush() -> None:
    """Send what is not on its way yet: at the end of each chunk, before its outcome."""
    for _ in range(len(_gone)):
        try:
            _send(_gone.popleft(), over=True)
        except IndexError:
            return  # Another thread was there first.
    for state in list(_states.values()):
        if state.ticks or state.unsent or state.opening:
            _send(state)


_task.at_end.append(flush)


def ticked(message: Any) -> None:
    """What a task in another process has sent, to be passed on where this one is a task itself; None: it has ended."""
    now = _task.current()
    worker = now.task[2:] if isinstance(now, _task.spoken) else ("", 0)
    if message is None:
        end_bars([worker])
        return
    home, number, count, opening, over = message
    key = home, number
    if opening or over:
        with _lock:
            bars = of_workers.setdefault(worker, set())
            (bars.add if opening and not over else bars.discard)(key)
            if not bars:
                del of_workers[worker]
    state = _states.get(key) if home == _home else None
    if state is not None:
        state.ticks.append(count)
        _send(state)
        return
    with _order:
        _post(message)


def end_bars(workers: Iterable[tuple[str, int]]) -> None:
    """These, by host and process id, have ended: so does what they have opened."""
    for worker in workers:
        for key in of_workers.pop(worker, ()):
            with _order:
                _post((*key, 0, None, True))


@contextmanager
def around_output() -> Iterator[None]:
    """For who writes to stdout or stderr in the process that shows the bars: they make room meanwhile."""
    bars = sys.modules.get("anypool._bars")
    if bars is None:
        yield
        return
    with _order, bars.aside():
        yield


class Told:
    """A function of the caller's in place of a bar: called with what is done and the total; fails only once."""

    def __init__(self, function: Callable[[int, int | None], object], total: int | None) -> None:
        self._function: Callable[[int, int | None], object] | None = function
        self._total = total
        self._done = -1
        self._lock = threading.RLock()
        self.reach(0)

    def reach(self, done: int) -> None:
        """So many are done in all."""
        with self._lock:
            if self._function is not None and done > self._done:
                self._done = done
                self._call(self._function)

    def _call(self, function: Callable[[int, int | None], object]) -> None:
        try:
            function(self._done, self._total)
        except Exception as error:
            from anypool._strike import let_through

            let_through(error)
            self._function = None
            import logging

            logging.getLogger("anypool").exception("what was given as progress= raised, and is not called again")

    def close(self) -> None:
        """It is over."""
        self._function = None

    def __enter__(self) -> Told:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def bar_of(style: Any, total: int | None, function: Callable[..., Any]) -> Progress | Told:
    """What shows the progress of a map of this function: by a checked value of `progress=`, which is not False."""
    if callable(style):
        return Told(style, total)
    name: object = getattr(function, "__name__", "")
    label = name if isinstance(name, str) and name.isidentifier() else "map"
    return Progress(total, label, style=style if isinstance(style, str) else None)


def _after_fork() -> None:
    """In a forked child all bars are its parent's, to be ticked like those of any other process."""
    global _lock, _order, _home
    _lock, _order = threading.RLock(), threading.RLock()
    _home = os.urandom(8)
    for state in _states.values():
        state.opening = None
        state.ticks.clear()
        state.unsent = 0
    _gone.clear()
    of_workers.clear()


os.register_at_fork(after_in_child=_after_fork)
Progress.__module__ = progress.__module__ = "anypool"
