"""What tasks of this process print, log, warn of and tick, on its way to whoever called them."""

from __future__ import annotations

import io
import marshal
import os
import sys
from _thread import allocate_lock
from collections import deque

from anypool import _task
from anypool._wire import Kind, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TextIO

__all__: list[str] = []

# Values are part of the format. Bytes of a stream; plain values of a progress bar; the text of a record and its pickle.
OUT, ERR, TICK, LOG, WARNING = 1, 2, 3, 4, 5
_PIECE = 64 << 10
# Bytes of output that a chunk's reply carries at most; of more the oldest is dropped.
_MOST = 256 << 20

# Kind, index of the item or None, and what it says.
Entry = tuple[int, "int | None", "Any"]

_speaker: Speaker | None = None
_begun: list[bool] = []


def tell(kind: int, payload: object) -> bool:
    """In a task that runs in another process than its caller: have `payload`, of plain values, handed to the caller.

    In order with what the task prints. False where the caller is this process: do it here.
    """
    now = _task.runs_here()
    if now is not None and now.said is not None:
        now.said.append((kind, now.index, payload))
        return True
    if _speaker is None:
        return False
    _speaker.say((kind, now.index if now is not None else None, payload))
    return True


def relayed(entries: list[Entry], host: str = "") -> Message:
    """The message that carries them, and says of which process; of which host, if that may be another."""
    return Message(Kind.RELAY, seq=os.getpid(), count=len(entries), meta=host.encode(), parts=[marshal.dumps(entries)])


class Speaker:
    """Writes each entry at once, so that a task which dies has said it; a pipe that is full makes its task wait.

    `send` writes a message. Any thread may say something, also a signal's handler within another entry or a reply.
    """

    def __init__(self, send: Callable[[Message], None]) -> None:
        self._send = send
        self._entries: deque[Entry] = deque()
        self._lock = allocate_lock()

    def say(self, entry: Entry) -> None:
        """Say it now, or have whoever writes do so next."""
        self._entries.append(entry)
        self.go_on()

    def go_on(self) -> None:
        """Say what is left."""
        while self._entries and self._lock.acquire(blocking=False):
            try:
                while self._entries:
                    self._send(relayed([self._entries.popleft()]))
            finally:
                self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self._entries:
            self.go_on()


class _Pipe(io.RawIOBase):
    """The raw end of a stream; what no task says goes on to where the stream led before."""

    def __init__(self, kind: int, before: TextIO | None) -> None:
        super().__init__()
        self._kind, self._before = kind, before

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        for at in range(0, len(view), _PIECE):
            piece = bytes(view[at : at + _PIECE])
            if not tell(self._kind, piece):
                self._instead(piece.decode(errors="backslashreplace"))
        return len(view)

    def _instead(self, text: str) -> None:
        if self._before is not None:
            self._before.write(text)
            self._before.flush()

    def fileno(self) -> int:
        return super().fileno() if self._before is None else self._before.fileno()

    def isatty(self) -> bool:
        return self._before is not None and self._before.isatty()


def _stream(kind: int, before: TextIO | None) -> TextIO:
    """A text stream whose lines are told as they end."""
    pipe: Any = _Pipe(kind, before)
    return io.TextIOWrapper(io.BufferedWriter(pipe), "utf-8", "backslashreplace", line_buffering=True)


def begin(speaker: Speaker | None) -> None:
    """Relay from now on what is written to the standard streams, and warnings."""
    global _speaker
    _speaker = speaker
    if not _begun:
        _begun.append(True)
        sys.stdout = _stream(OUT, sys.stdout)
        sys.stderr = _stream(ERR, sys.stderr)
        _watch_warnings()


def abroad() -> bool:
    """Whether this process has run tasks of another's."""
    return bool(_begun)


def flush() -> None:
    """What a task has printed is said before its outcome is; user code may have closed or replaced a stream."""
    for end in _task.at_end:
        end()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, ValueError, OSError):
        return


def end() -> None:
    """Relay no more: what is written goes to the process' own descriptors."""
    global _speaker
    _speaker = None


# A forked child shares the pipe, in which only whole messages are of use.
os.register_at_fork(after_in_child=end)


def _watch_warnings() -> None:
    import warnings

    before = warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        said = None if file is not None else _warnings().warned(message, category, filename, lineno)
        if said is None or not tell(WARNING, said):
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def _warnings() -> Any:
    return __import__("anypool._relay_warnings", fromlist=["warned"])


def trimmed(said: list[Entry]) -> list[Entry]:
    """What a reply can carry of it: the end, and how much of its beginning is missing."""
    held = 0
    for at in range(len(said) - 1, -1, -1):
        held += len(said[at][2]) if said[at][0] in (OUT, ERR) else 0
        if held > _MOST:
            gone = sum(len(payload) for kind, _, payload in said[: at + 1] if kind in (OUT, ERR))
            rest = [entry for entry in said[: at + 1] if entry[0] not in (OUT, ERR)]
            return [*rest, (ERR, None, b"[... %d bytes of output dropped ...]\n" % gone), *said[at + 1 :]]
    return said
