"""What tasks have said, as it arrives with their caller: kept in order, and handed to the caller's own handlers."""

from __future__ import annotations

import codecs
import marshal
import sys
from collections import deque, namedtuple
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

from anypool._relay import ERR, LOG, OUT, TICK, WARNING, Entry, wording
from anypool._strike import let_through
from anypool._task import Task, current, runs_here, spoken
from anypool._wire import Message

__all__: list[str] = []

_Decoder = codecs.getincrementaldecoder("utf-8")
# Bytes of what a worker said last that are kept for the error of its death.
_TAIL = 4096
# Which of their warnings have been shown, of modules that only workers have imported.
_elsewhere: dict[str, dict[str, Any]] = {}

# Name, host and process id of a slot's worker.
Identify = Callable[[int], tuple[str, str, int]]


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    from anypool._crew import Crew

    class _Said(NamedTuple):
        """What a worker's process has said at a time; `host` if it is not the one that the crew knows of."""

        slot: int
        pid: int
        host: str
        entries: list[Entry]

else:
    _Said = namedtuple("_Said", ("slot", "pid", "host", "entries"))


class Relayed:
    """One crew's: who hears it puts it here, and shows it once no lock is held."""

    def __init__(self) -> None:
        self.waiting: deque[_Said] = deque()
        # The task that has opened the pool, to whose caller its own tasks' output goes on.
        self._outer = runs_here()
        # What comes in pieces may be cut within a character.
        self._decoders: dict[tuple[int, int], codecs.IncrementalDecoder] = {}
        self.tails: dict[int, bytes] = {}
        self._complained = False
        # By host and process id, where tasks have had bars.
        self.processes: set[Any] = set()
        self._ticked = False
        # What a hub does with a worker's message instead of showing it.
        self.passing: Callable[[int, Message], None] | None = None

    def put(self, slot: int, message: Message) -> None:
        """A RELAY message of a slot's worker."""
        part: Any = message.parts[0]
        entries: list[Entry] = marshal.loads(part)  # noqa: S302 - no more trusted than results
        for entry in entries:
            if entry[0] == TICK:
                self._ticked = True
            else:
                self.tails[slot] = (self.tails.get(slot, b"") + wording(entry))[-_TAIL:]
        if self.passing is not None:
            self.passing(slot, message)
            return
        self.waiting.append(_Said(slot, message.seq, bytes(message.meta).decode(), entries))

    def ended(self, slot: int, host: str, pid: int) -> None:
        """A worker has ended; so have the bars that its tasks have opened."""
        if self._ticked and self.passing is None:
            self.waiting.append(_Said(slot, pid, host, [(TICK, None, None)]))

    def put_output(self, slot: int, kind: int, data: bytes) -> None:
        """What came out of a worker process by its descriptors, past its tasks' streams."""
        self.waiting.append(_Said(slot, 0, "", [(kind, None, data)]))

    def tail(self, slot: int) -> str:
        """What the slot's worker has said since its last reply; asked for when it has died."""
        for kind in (OUT, ERR):
            self._decoders.pop((slot, kind), None)
        return self.tails.pop(slot, b"").decode(errors="replace")

    def show(self, identify: Identify) -> None:
        """Hand on all that waits; a stream or handler that refuses costs what it was given, not the map.

        Lines that follow each other go to their stream as one text.
        """
        # Whose last lines these are: slot, process, host, stream, item.
        whose: tuple[int, int, str, int, int | None] | None = None
        pieces: list[bytes] = []
        while self.waiting:
            try:
                slot, pid, host, entries = self.waiting.popleft()
            except IndexError:
                break  # Another thread was there first.
            for kind, index, payload in entries:
                if (slot, pid, host, kind, index) != whose:
                    self._print(identify, whose, pieces)
                    whose, pieces = (slot, pid, host, kind, index), []
                if kind in (OUT, ERR):
                    pieces.append(payload)
                else:
                    self._show(identify, whose, payload)
        self._print(identify, whose, pieces)

    def show_aside(self, identify: Identify) -> None:
        """The same in a thread that is not the caller's but brings results: nothing that a handler raises ends it."""
        try:
            self.show(identify)
        except BaseException as error:  # noqa: BLE001 - whatever it is
            with spoken(Task(None, "", "", 0), None), suppress(BaseException):
                self._complain(error)

    def _print(self, identify: Identify, whose: Any, pieces: list[bytes]) -> None:
        if pieces:
            self._show(identify, whose, self._decoded(whose[0], whose[3], b"".join(pieces)))

    def _show(self, identify: Identify, whose: Any, payload: Any) -> None:
        slot, of, where, kind, index = whose
        try:
            name, host, pid = identify(slot)
            task = Task(index, name, where or host, of or pid)
            if kind == TICK:
                self.processes.add(task[2:])
            with spoken(task, self._outer):
                self._hand_on(kind, payload)
        except Exception as error:  # noqa: BLE001 - the user's own stream or handler, or none
            let_through(error)

    def _hand_on(self, kind: int, payload: Any) -> None:
        try:
            with _room(kind):
                _SHOW[kind](payload)
        except Exception as error:  # noqa: BLE001 - as above
            let_through(error)
            self._complain(error)

    def _complain(self, error: BaseException) -> None:
        """Once, lest a stream that is full fills another."""
        if not self._complained:
            self._complained = True
            import logging

            with suppress(Exception):
                text = "what a task said could not be handed on: %s: %s"
                logging.getLogger("anypool").warning(text, type(error).__name__, str(error))

    def _decoded(self, slot: int, kind: int, data: bytes) -> str:
        decoder = self._decoders.get((slot, kind))
        if decoder is None:
            decoder = self._decoders[slot, kind] = _Decoder("backslashreplace")
        return decoder.decode(data)


def _room(kind: int) -> AbstractContextManager[object]:
    """Bars that are drawn make room for what is written; there are none where nobody has imported them."""
    progress = sys.modules.get("anypool._progress") if kind != TICK else None
    return nullcontext() if progress is None else progress.around_output()


def _print(text: str) -> None:
    _write(sys.stdout, text)


def _complain(text: str) -> None:
    _write(sys.stderr, text)


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        # One character that the stream does not know costs no more than itself.
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
    stream.flush()


def _log(said: tuple[str, bytes]) -> None:
    import logging

    from anypool_serialize import loads

    try:
        record = logging.makeLogRecord(loads(said[1]))
    except Exception as error:  # noqa: BLE001 - something of it is known only where it was made
        let_through(error)
        level, name, text = said[0].split(":", 2)
        number = logging.getLevelName(level)
        record = logging.makeLogRecord(
            {"name": name, "levelno": number if isinstance(number, int) else logging.WARNING, "msg": text}
        )
    # Levels have their names here.
    record.levelname = logging.getLevelName(record.levelno)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _warn(said: tuple[str, bytes]) -> None:
    import warnings

    from anypool_serialize import loads

    try:
        message, category, filename, lineno, module = loads(said[1])
    except Exception as error:  # noqa: BLE001 - as with a record
        let_through(error)
        _complain(said[0])
        return
    if module is None:
        warnings.showwarning(message, category, filename, lineno)
        return
    # Each worker knows only what it has shown itself.
    marks = getattr(sys.modules.get(module), "__dict__", None)
    if marks is None:
        marks = _elsewhere.setdefault(module, {})
    registry = marks.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, category, filename, lineno, module, registry)


def _tick(said: Any) -> None:
    from anypool import _progress

    _progress.ticked(said)


_SHOW: dict[int, Callable[[Any], None]] = {OUT: _print, ERR: _complain, LOG: _log, WARNING: _warn, TICK: _tick}


def handing_on(crew: Crew) -> bool:
    """Whether output is handed on here, in a thread of this crew's by which its results come."""
    return not crew.polled and hasattr(crew, "relayed") and type(current()) is spoken


def ender(crew: Crew, slots: Iterable[int]) -> Callable[[], None]:
    """What is to be called once these workers are gone: bars that their tasks have left open end with them."""
    # There once a task has had a bar.
    progress = sys.modules.get("anypool._progress")
    if progress is None:
        return lambda: None
    workers = {crew.identify(slot)[1:] for slot in slots} | getattr(getattr(crew, "relayed", None), "processes", set())
    return lambda: progress.end_bars(workers)
