"""What tasks of this process print, log, warn of and tick, on its way to whoever called them."""

from __future__ import annotations

import io
import marshal
import os
import sys
from _thread import allocate_lock
from collections import deque

from anypool import _task
from anypool._imported import Finder
from anypool._wire import Kind, Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import Any, TextIO
else:
    import _signal as signal

__all__: list[str] = []

# Values are part of the format. Bytes of a stream; plain values of a progress bar; the text of a record and its pickle.
OUT, ERR, TICK, LOG, WARNING = 1, 2, 3, 4, 5
_PIECE = 64 << 10
# A pipe takes so much whole or not at all, a message's head included; and how a worker ends that can't go on.
_AT_ONCE, _TORN = 3900, 70
# Bytes of output that a chunk's reply carries at most; of more the oldest is dropped.
_MOST = 256 << 20

# Kind, index of the item or None, and what it says.
Entry = tuple[int, "int | None", "Any"]

_speaker: Speaker | None = None
_begun: list[bool] = []
_beginning = allocate_lock()


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


def wording(entry: Entry) -> bytes:
    """What it adds to the last that a task has said."""
    kind, _, payload = entry
    if kind in (OUT, ERR):
        return payload  # type: ignore[no-any-return]
    return b"" if kind == TICK else f"{payload[0].rstrip()}\n".encode(errors="replace")


def relayed(entries: list[Entry], host: str = "") -> Message:
    """The message that carries them, and says of which process; of which host, if that may be another."""
    return Message(
        Kind.RELAY, seq=os.getpid(), count=len(entries), meta=host.encode(), parts=[marshal.dumps([*entries])]
    )


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
                    message = relayed([self._entries.popleft()])
                    (self._send if len(message.parts[0]) < _AT_ONCE else self._send_whole)(message)
            finally:
                self._lock.release()

    def _send_whole(self, message: Message) -> None:
        """Write what a pipe may take in pieces: an exception of a signal's handler must not come between them."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self._send(message)
        except OSError:
            raise
        except BaseException:  # noqa: BLE001 - whatever it is
            # Raised by another thread's doing. What came next would be taken for the rest of this.
            os._exit(_TORN)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        if self._entries:
            self.go_on()


class _Pipe(io.RawIOBase):
    """The raw end of a stream; what no task says goes on to where the stream led before."""

    # Asked for at each flush, and so at each reply: half of what that costs if the base class is asked.
    closed = False

    def __init__(self, kind: int, before: TextIO | None) -> None:
        super().__init__()
        self._kind, self._before = kind, before
        self.name = getattr(before, "name", "<stdout>" if kind == OUT else "<stderr>")

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
        try:
            return super().fileno() if self._before is None else self._before.fileno()
        except io.UnsupportedOperation:
            # Who runs the tasks keeps what they print in memory; the process' own descriptors are there all the same.
            return self._kind

    def isatty(self) -> bool:
        return self._before is not None and self._before.isatty()


def _stream(kind: int, before: TextIO | None, at_once: bool) -> TextIO:
    """A text stream whose lines are told as they end, or else whatever is written `at_once`.

    Without a `BufferedWriter`, whose lock would be held meanwhile: a signal's handler or a `__del__` may print as well.
    """
    pipe: Any = _Pipe(kind, before)
    return io.TextIOWrapper(pipe, "utf-8", "backslashreplace", line_buffering=True, write_through=at_once)


def begin(speaker: Speaker | None, *, forked: bool = False) -> None:
    """Relay from now on what is written to the standard streams, warnings and records; `forked`: from the caller."""
    global _speaker
    _speaker = speaker
    if _begun:
        return
    with _beginning:
        # Two threads of an executor's process may have their first tasks together.
        if not _begun:
            # Threads of one process have the streams together, and what waited in them for a line's end would be said
            # by whoever writes next; a process of one worker says a line at a time.
            at_once = speaker is None
            sys.stdout = _stream(OUT, sys.stdout, at_once)
            sys.stderr = _stream(ERR, sys.stderr, at_once)
            _watch_warnings()
            if "logging" in sys.modules:
                _rare("_relay_log").install(forked)
            else:
                # To import it takes 15 ms, for which no worker waits that logs nothing.
                Finder("logging", lambda _: _rare("_relay_log").install(forked=False)).begin()
            _begun.append(True)


def abroad() -> bool:
    """Whether this process has run tasks of another's."""
    return bool(_begun)


def flush() -> None:
    """What a task has printed is said before its outcome is; user code may have closed or replaced a stream."""
    for end in _task.at_end:
        end()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S112 - whatever it is that a task has put there
            continue


def end() -> None:
    """Relay no more: what is written goes to the process' own descriptors."""
    global _speaker, _beginning
    _speaker, _beginning = None, allocate_lock()


# A forked child shares the pipe, in which only whole messages are of use.
os.register_at_fork(after_in_child=end)


def _watch_warnings() -> None:
    import warnings

    before = warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        said = None if file is not None else _rare("_relay_warnings").warned(message, category, filename, lineno)
        if said is None or not tell(WARNING, said):
            before(message, category, filename, lineno, file, line)

    warnings.showwarning = show


def _rare(module: str) -> Any:
    return __import__(f"anypool.{module}", fromlist=[module])


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
