"""One owner as its agent sees it: what it asks for, its workers, and what it is told."""

from __future__ import annotations

import os
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_NOSIGNAL, SCM_RIGHTS, SOL_SOCKET, socket
from collections import deque
from collections.abc import Callable

from anypool import _linux
from anypool._linux import close_all
from anypool._loop import READ, WRITE, Loop
from anypool._wire import OPTIONAL, Buffer, Decoder, Kind, Message, WireError, control, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any, ClassVar, Protocol
else:
    import _signal as signal

    Protocol = object

__all__: list[str] = []

_RELAY_LIMIT = 1 << 20
_TAIL = 64 << 10
_TOLD = 4096
_CHUNK = 64 << 10
_ANCILLARY = CMSG_SPACE(64 * 4)
_POLL_MEMORY = 0.2
GRACE = 0.5


def received_descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """The descriptors that came with a message."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            found.extend(memoryview(data[: len(data) // 4 * 4]).cast("i"))
    return found


class Worker:
    """A forked child: where it belongs, its output, and what is known about its end."""

    __slots__ = ("door", "number", "outputs", "pid", "reason", "seq", "session", "slot", "tail")

    def __init__(self, number: int, slot: int, seq: int, session: Session, door: socket) -> None:
        self.pid = 0
        self.number, self.slot, self.seq = number, slot, seq
        self.session = session
        self.door: socket | None = door
        self.outputs: dict[int, int] = {}
        self.tail = b""
        self.reason = ""

    def signal(self, number: int) -> None:
        """Signal the worker and its process group; until it is reaped the numbers are its own."""
        for send in (os.killpg, os.kill):
            try:
                send(self.pid, number)
            except OSError:
                pass  # It has not made its group yet, or all of it has ended, or it has become another user's.


class Outbox:
    """What waits for an owner to read it: output of workers is bounded, everything else is kept."""

    def __init__(self) -> None:
        self._queue: deque[tuple[bytes, int]] = deque()
        self._relayed = 0
        self._dropped = 0
        self._current = memoryview(b"")

    def put(self, message: Message, output: int = 0) -> None:
        """Append; `output` is the number of bytes of a worker's output in it, which may be dropped."""
        self._queue.append((b"".join(encode(message)), output))
        if output:
            self._relayed += len(self._queue[-1][0])
            while self._relayed > _RELAY_LIMIT:
                self._drop_oldest()

    def _drop_oldest(self) -> None:
        at = next(index for index, (_, output) in enumerate(self._queue) if output)
        data, output = self._queue[at]
        del self._queue[at]
        self._relayed -= len(data)
        self._dropped += output

    def head(self) -> memoryview:
        """The bytes to send next; empty when there are none."""
        if not self._current and self._dropped:
            notice = f"[... {self._dropped} bytes of output dropped ...]\n".encode()
            self._dropped = 0
            self._current = memoryview(b"".join(encode(_relay(0, 0, 2, notice))))
        elif not self._current and self._queue:
            data, output = self._queue.popleft()
            if output:
                self._relayed -= len(data)
            self._current = memoryview(data)
        return self._current

    def sent(self, count: int) -> None:
        """So many bytes of the head have left."""
        self._current = self._current[count:]


class Host(Protocol):
    """What a session needs of the agent that it belongs to."""

    loop: Loop
    sessions: set[Session]

    def spawn(self, session: Session, slot: int, seq: int, reader: int, writer: int) -> Worker:
        """Fork a worker. In the child this raises `Born`; an `OSError` means that nothing was started."""


class Session:
    """Serves one control socket until its owner says goodbye, or is gone."""

    def __init__(self, agent: Host, sock: socket, owner: int, inside: Worker | None) -> None:
        self.agent, self.inside = agent, inside
        self.workers: dict[tuple[int, int], Worker] = {}
        self.setup: dict[str, Any] = {}
        self._socket, self._owner = sock, owner
        self._decoder, self._outbox = Decoder(), Outbox()
        self._fds: deque[int] = deque()
        self._open = True
        self._closing = self._answered = self._polling = self._blocked = False
        sock.setblocking(False)
        agent.loop.watch(sock.fileno(), self._on_socket)
        agent.loop.watch(owner, lambda events: self.lost())
        self.tell(control(Kind.WELCOME, pid=os.getpid()))

    def _on_socket(self, events: int) -> None:
        if events & ~WRITE:
            self._read()
        if self._open and events & WRITE:
            self._flush()

    def _read(self) -> None:
        try:
            data, ancillary, _, _ = self._socket.recvmsg(_CHUNK, _ANCILLARY, MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        self._fds.extend(received_descriptors(ancillary))
        if not data:
            self.lost()
            return
        try:
            for message in self._decoder.feed(data):
                if self._open:
                    self._handle(message)
        except (WireError, ValueError, TypeError, KeyError, IndexError) as error:
            _complain(f"anypool agent: an owner's message can't be read: {error}\n")
            self.lost()

    def _handle(self, message: Message) -> None:
        handler = self._HANDLERS.get(message.kind)
        if handler is not None:
            handler(self, message)
        elif not message.flags & OPTIONAL:
            raise WireError(f"kind {message.kind} is unknown here")

    def _on_setup(self, message: Message) -> None:
        self.setup = message.fields()

    def _on_spawn(self, message: Message) -> None:
        reader, writer = self._fds.popleft(), self._fds.popleft()
        try:
            if self._closing:
                raise OSError("the pool is closing")
            worker = self.agent.spawn(self, message.slot, message.seq, reader, writer)
        except OSError as error:
            self._tell_death(message.slot, message.seq, None, f"fork failed: {error.strerror or error}", b"")
        else:
            self.workers[worker.slot, worker.seq] = worker
            self._numbered(control(Kind.SLOTS, worker.slot, pid=worker.pid), worker.seq)
            self._watch_memory()
        # Not in a `finally`: in the forked child they stay open.
        close_all([reader, writer])

    def _on_kill(self, message: Message) -> None:
        worker = self.workers.get((message.slot, message.seq))
        if worker is not None:
            self.kill(worker, "ended at its owner's request", message.fields().get("grace", GRACE))

    def _on_bye(self, message: Message) -> None:
        self._closing = True
        self.agent.loop.after(message.fields().get("grace", 5.0), self._end_of_grace)
        self._leave_if_done()

    _HANDLERS: ClassVar[dict[int, Callable[[Session, Message], None]]] = {
        Kind.SETUP: _on_setup,
        Kind.SPAWN: _on_spawn,
        Kind.KILL: _on_kill,
        Kind.BYE: _on_bye,
    }

    def _end_of_grace(self) -> None:
        for worker in list(self.workers.values()):
            self.kill(worker, "did not end in time", GRACE)

    def kill(self, worker: Worker, reason: str, grace: float) -> None:
        """End a worker: SIGTERM, `grace` seconds later SIGKILL, both to its process group."""
        worker.reason = worker.reason or reason
        worker.signal(signal.SIGTERM if grace > 0 else signal.SIGKILL)
        if grace > 0:
            self.agent.loop.after(grace, lambda: self._kill_now(worker))

    def _kill_now(self, worker: Worker) -> None:
        if self.workers.get((worker.slot, worker.seq)) is worker:
            worker.signal(signal.SIGKILL)

    def _watch_memory(self) -> None:
        if self.setup.get("memory_limit") and not self._polling:
            self._polling = True
            self.agent.loop.after(_POLL_MEMORY, self._poll_memory)

    def _poll_memory(self) -> None:
        self._polling = False
        limit = self.setup.get("memory_limit")
        if not limit or not self.workers:
            return
        for worker in list(self.workers.values()):
            resident = _linux.private_memory(worker.pid)
            if resident > limit and not worker.reason:
                self.kill(worker, f"memory limit of {limit} bytes exceeded ({resident} resident)", 0)
        self._watch_memory()

    def output(self, worker: Worker, stream: int, data: bytes) -> None:
        """Keep the end of what a worker wrote, pass all of it on."""
        if stream == 2:
            worker.tail = (worker.tail + data)[-_TAIL:]
        if self._open:
            self._outbox.put(_relay(worker.slot, worker.seq, stream, data), len(data))
            self._flush()

    def died(self, worker: Worker, status: int) -> None:
        """A worker has been reaped."""
        del self.workers[worker.slot, worker.seq]
        self._tell_death(worker.slot, worker.seq, status, worker.reason, worker.tail)
        self._leave_if_done()

    def _tell_death(self, slot: int, seq: int, status: int | None, reason: str, tail: bytes) -> None:
        code = None if status is None else os.waitstatus_to_exitcode(status)
        by_signal = code is not None and code < 0
        message = control(
            Kind.DIED,
            slot,
            exit=None if by_signal else code,
            signal=-code if code is not None and by_signal else None,
            reason=reason,
            stderr=tail[-_TOLD:].decode(errors="replace"),
        )
        self._numbered(message, seq)

    def _numbered(self, message: Message, seq: int) -> None:
        message.seq = seq
        self.tell(message)

    def tell(self, message: Message) -> None:
        """Send a message that is never dropped."""
        if self._open:
            self._outbox.put(message)
            self._flush()

    def _flush(self) -> None:
        try:
            while head := self._outbox.head():
                self._outbox.sent(self._socket.send(head, MSG_NOSIGNAL))
        except BlockingIOError:
            pass
        except OSError:
            self.agent.loop.after(0, self.lost)
            return
        blocked = bool(self._outbox.head())
        if blocked != self._blocked:
            self._blocked = blocked
            self.agent.loop.change(self._socket.fileno(), READ | WRITE if blocked else READ)
        if self._answered and not blocked:
            self._close()

    def _leave_if_done(self) -> None:
        if self._open and self._closing and not self.workers and not self._answered:
            self._answered = True
            self.tell(Message(Kind.BYE))

    def lost(self) -> None:
        """The owner is gone, or can't be understood: its workers end now."""
        for worker in self.workers.values():
            worker.reason = "its owner is gone"
            worker.signal(signal.SIGKILL)
        self._close()

    def _close(self) -> None:
        if self._open:
            self._open = False
            self.agent.loop.unwatch(self._socket.fileno())
            self.agent.loop.unwatch(self._owner)
            self.abandon()
            self.agent.sessions.discard(self)

    def abandon(self) -> None:
        """Close the descriptors and nothing else."""
        self._socket.close()
        close_all([*self._fds, self._owner])
        self._fds.clear()


def _complain(text: str) -> None:
    try:
        os.write(2, text.encode(errors="backslashreplace"))
    except OSError:
        pass


def _relay(slot: int, seq: int, stream: int, data: Buffer) -> Message:
    message = control(Kind.RELAY, slot, stream=stream)
    message.seq, message.parts = seq, [data]
    return message
