"""The crew of worker processes: one pipe each way per worker, and a line to the agent that forks and reaps them."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from anypool_serialize import Unserializable, dumps, loads

from anypool import _linux
from anypool._agents import AgentLost, Control, open_control
from anypool._buffers import Buffers
from anypool._chunk import Body, Calling
from anypool._crew import Begun, Event, Failed, Lost, Needed, Replied
from anypool._desk import Cause, Flight
from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._packing import Parcel, pack, pack_body, pack_call, run_message
from anypool._serve import unpack_reply
from anypool._wire import (
    CLAIM,
    INLINE,
    NO_DIGEST,
    PARTIAL,
    Decoder,
    Kind,
    Message,
    Ref,
    WireError,
    control,
    encode,
    grant,
)

__all__: list[str] = []

_READ = 256 << 10
_PIPE = 256 << 10
# One write up to here: joining costs less than a second system call.
_JOIN = 64 << 10
# Workers forget the body of a map that has ended if it is larger than this.
_DROPPED_BODY = 1 << 20
_CLOSE_SECONDS = 10.0
_BYE_SECONDS = 5.0
_GRACE = 0.5
# Seconds before the next worker takes the slot of one that ended before it had finished anything.
_BACK_OFF = (0.0, 0.0, 0.1, 0.2, 0.5, 1.0)
_MOST_AGENTS = 5
# A worker that has closed its pipe has this long to end by itself.
_LINGER = 1.0
_WITH_KEYS = (("multiprocessing", "multiprocessing.process"), ("multiprocess", "multiprocess.process"))


@dataclass(frozen=True)
class Setting:
    """What workers start with; `env` is added to the owner's environment, `memory` is a limit in bytes."""

    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    memory: int | None = None


class _Channel:
    """One worker's pipes, and what its owner knows of it."""

    def __init__(self, slot: int, incarnation: int) -> None:
        self.slot, self.incarnation = slot, incarnation
        self.reader = self.writer = self.claims_read = self.claims_write = -1
        self.theirs: list[int] = []
        try:
            self._open()
        except OSError:
            self.close()
            raise
        for fd in (self.writer, self.reader):
            os.set_blocking(fd, False)
            _linux.set_pipe_size(fd, _PIPE)
        self.decoder = Decoder()
        self.out: deque[memoryview] = deque()
        self.known: set[bytes] = set()
        self.authkeys: set[str] = set()
        self.busy = 0
        self.segments = True
        self.claims = False
        self.pid = 0
        self.answered = False
        self.ended = False

    def _open(self) -> None:
        task_end, self.writer = os.pipe()
        self.theirs.append(task_end)
        self.reader, result_end = os.pipe()
        self.theirs.append(result_end)
        # A queued chunk has a claim in this pipe, which worker and owner both may take, whoever comes first.
        self.claims_read, self.claims_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def close(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []
        for fd in (self.reader, self.writer, self.claims_read, self.claims_write):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = self.claims_read = self.claims_write = -1


class ProcessCrew:
    """Workers that this machine's agent forks."""

    polled = True
    runs_here = False
    reports_items = True
    kind = "process"

    def __init__(self, workers: int, setting: Setting) -> None:
        self._workers, self._setting = workers, setting
        self._initializer = _packed_initializer(setting)
        self._channels: dict[int, _Channel] = {}
        self._by_fd: dict[int, _Channel] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._false_starts: dict[int, int] = {}
        self._next_slot = self._incarnation = self._agents_lost = 0
        self._control_lock = threading.Lock()
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._relayed: deque[tuple[int, bytes]] = deque()
        self._owner = os.getpid()
        self._closed = False
        self._buffers = Buffers()
        # A read into fresh memory of this size would cost a mapping and its page faults each time, 14 us.
        self._read_into = [bytearray(_READ)]
        self._read_view = memoryview(self._read_into[0])
        self._control = self._connect()

    # Starting.

    def _connect(self) -> Control:
        setting = self._setting
        environment = dict(os.environ)
        environment.update(setting.env or {})
        line = open_control(environment if setting.env else None)
        self._epoll.register(line.fileno(), select.EPOLLIN)
        line.send(control(
            Kind.SETUP, sys_path=[os.path.abspath(entry) for entry in sys.path], argv=sys.argv[:1],
            cwd=os.path.abspath(setting.cwd) if setting.cwd else _folder(), env=environment, umask=_umask(),
            affinity=sorted(os.sched_getaffinity(0)), memory_limit=setting.memory,
        ))  # fmt: skip
        return line

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Ask the agent for the workers; they take chunks at once, which wait in their pipes."""
        try:
            return self.resize(self._workers)
        except BaseException:
            self.desert()
            raise

    def resize(self, workers: int) -> list[int]:
        """Add workers up to so many."""
        added = []
        while len(self._channels) < workers:
            slot, self._next_slot = self._next_slot, self._next_slot + 1
            self.renew(slot)
            added.append(slot)
        return added

    def renew(self, slot: int) -> bool:
        """Ask for a worker, after a while if the last ones ended before they did anything."""
        old = self._channels.get(slot)
        if old is not None:
            self._forget(old)
        self._incarnation += 1
        try:
            channel = _Channel(slot, self._incarnation)
        except OSError as error:
            raise LauncherUnavailable(
                f"no descriptors left for worker {slot + 1} of {self._workers} ({error.strerror}); "
                "ask for fewer workers or raise `ulimit -n`"
            ) from error
        self._channels[slot] = channel
        self._by_fd[channel.reader] = self._by_fd[channel.writer] = channel
        self._epoll.register(channel.reader, select.EPOLLIN)
        probe = self._buffers.probe
        setup = control(Kind.SETUP, slot, greet=True, claims=[self._owner, channel.claims_read], probe=probe)
        setup.parts = list(self._initializer)
        self._write(channel, setup)
        delay = _BACK_OFF[min(self._false_starts.get(slot, 0), len(_BACK_OFF) - 1)]
        if delay:
            self._timers.append((monotonic() + delay, lambda: self._spawn(channel)))
        else:
            self._spawn(channel)
        return True

    def _spawn(self, channel: _Channel) -> None:
        if channel.theirs:
            fds, channel.theirs = channel.theirs, []
            with self._control_lock:
                self._control.send(Message(Kind.SPAWN, slot=channel.slot, seq=channel.incarnation), fds)
                self._watch_control()

    def _watch_control(self) -> None:
        mask = select.EPOLLIN | (select.EPOLLOUT if self._control.pending else 0)
        if self._control.fileno() >= 0:
            self._epoll.modify(self._control.fileno(), mask)

    # Work goes out.

    def body(self, calling: Calling) -> Body:
        """Serialise what is called; `Unserializable` names the path from f."""
        return pack_body(calling, self._buffers.place_sealed)

    def pack(self, payload: Any) -> tuple[Parcel, int]:
        """Serialise items; what they refer to may change afterwards."""
        return pack(payload, self._buffers.place)

    def pack_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Parcel, int]:
        """Serialise the arguments of one call."""
        return pack_call(args, kwargs, self._buffers.place)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Write a chunk to its worker's pipe, or queue what does not fit."""
        channel, body = self._channels[slot], flight.chunk.job.body
        self._introduce(channel)
        again = with_body
        with_body = with_body or body.digest == NO_DIGEST or body.digest not in channel.known
        channel.known.add(body.digest)
        message = run_message(slot, flight, with_body)
        if not channel.segments:
            message.parts = [Buffers.read(part) if isinstance(part, Ref) else part for part in message.parts]
        for ref in self._buffers.given_back():
            self._give_back(ref)
        if channel.busy and not again:
            message.flags = CLAIM
            os.write(channel.claims_write, flight.seq.to_bytes(8, "little"))
        channel.busy += 1
        self._write(channel, message)

    def _give_back(self, ref: Ref) -> None:
        for channel in self._channels.values():
            if channel.pid == ref.pid:
                self._write(channel, grant([ref.offset]))

    def recall(self, slot: int) -> list[int]:
        """Take claims out of the pipe before the worker does; a chunk whose claim is gone is skipped there."""
        channel = self._channels[slot]
        if not channel.claims:
            return []
        taken = []
        try:
            while claim := os.read(channel.claims_read, 8):
                taken.append(int.from_bytes(claim, "little"))
        except BlockingIOError:
            pass
        channel.busy -= len(taken)
        return taken

    def _introduce(self, channel: _Channel) -> None:
        """Managers' proxies among the arguments need the owner's key; it's known only once it has such a module."""
        for name, module in _WITH_KEYS:
            if name not in channel.authkeys and module in sys.modules:
                channel.authkeys.add(name)
                key = bytes(sys.modules[module].current_process().authkey)
                self._write(channel, control(Kind.SETUP, channel.slot, authkeys={name: key.hex()}))

    def _write(self, channel: _Channel, message: Message) -> None:
        buffers = encode(message)
        if len(buffers) > 1 and sum(map(len, buffers)) <= _JOIN:
            buffers = [b"".join(buffers)]
        queued = bool(channel.out)
        channel.out.extend(map(memoryview, buffers))
        if not queued:
            self._flush(channel)
            if channel.out:
                self._epoll.register(channel.writer, select.EPOLLOUT)

    @staticmethod
    def _flush(channel: _Channel) -> None:
        out = channel.out
        while out:
            try:
                sent = os.writev(channel.writer, [*out][:64]) if len(out) > 1 else os.write(channel.writer, out[0])
            except BlockingIOError:
                return
            except OSError:
                out.clear()  # The worker is gone; the agent says so, and the chunks go elsewhere.
                return
            while out and sent >= len(out[0]):
                sent -= len(out.popleft())
            if sent:
                out[0] = out[0][sent:]

    def release(self, body: Body) -> None:
        """Have workers forget a large body."""
        if body.size > _DROPPED_BODY:
            for channel in self._channels.values():
                if body.digest in channel.known:
                    channel.known.discard(body.digest)
                    self._write(channel, Message(Kind.DROP, digest=body.digest))

    # Events come in.

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Make `poll` return."""
        os.eventfd_write(self._wake, 1)

    def poll(self, timeout: float) -> list[Event]:
        """Read what has come from workers and agent, and write what now fits."""
        events: list[Event] = []
        if self._timers:
            timeout = min(timeout, self._run_timers())
        for fd, mask in self._epoll.poll(max(timeout, 0.0)):
            channel = self._by_fd.get(fd)
            if channel is not None:
                if fd == channel.reader:
                    events += self._receive(channel)
                else:
                    self._continue(channel)
            elif fd == self._wake:
                os.eventfd_read(self._wake)
            elif fd == self._control.fileno():
                events += self._hear(mask)
        if self._relayed:
            self._show()
        return events

    def _run_timers(self) -> float:
        now = monotonic()
        due = [entry for entry in self._timers if entry[0] <= now]
        self._timers = [entry for entry in self._timers if entry[0] > now]
        for _, action in due:
            action()
        return min((entry[0] - now for entry in self._timers), default=60.0)

    def _continue(self, channel: _Channel) -> None:
        self._flush(channel)
        if not channel.out:
            self._epoll.unregister(channel.writer)

    def _receive(self, channel: _Channel) -> list[Event]:
        try:
            count = os.readv(channel.reader, self._read_into)
        except BlockingIOError:
            return []
        if not count:
            self._epoll.unregister(channel.reader)
            channel.ended = True
            # Only the agent knows whether the process has ended too; user code may close any descriptor.
            self._timers.append((monotonic() + _LINGER, lambda: self._kill(channel)))
            return []
        events: list[Event] = []
        try:
            for message in channel.decoder.feed(bytes(self._read_view[:count])):
                if (event := self._understand(channel, message)) is not None:
                    events.append(event)
        except WireError:
            # User code wrote to the pipe; nothing that follows can be read.
            self._epoll.unregister(channel.reader)
            channel.ended = True
            self._kill(channel)
        return events

    def _understand(self, channel: _Channel, message: Message) -> Event | None:
        slot = channel.slot
        if message.kind == Kind.REPLY:
            channel.answered = True
            if not message.flags & PARTIAL:
                channel.busy -= 1
            if message.flags & PARTIAL and not message.count:
                return Begun(slot, message.seq)
            return Replied(slot, message.seq, unpack_reply(message, self._buffers.fetcher(message)), not message.flags & PARTIAL)
        if message.kind == Kind.NEED:
            channel.busy -= 1
            channel.segments = channel.segments and not message.flags & INLINE
            return Needed(slot, message.seq)
        if message.kind == Kind.HELLO:
            told = message.json()
            channel.pid, channel.segments, channel.claims = told["pid"], told["segments"], told["claims"]
            self._agents_lost = 0
            if message.parts:
                error = loads(message.parts[0]).rebuild()
                failure = WorkerLost(f"the initializer raised {type(error).__name__}: {error}", cause="initializer")
                failure.__cause__ = error
                return Failed(failure)
        return None

    def _hear(self, mask: int) -> list[Event]:
        try:
            with self._control_lock:
                if mask & select.EPOLLOUT:
                    self._control.flush()
                    self._watch_control()
                messages = self._control.receive() if mask & ~select.EPOLLOUT else []
        except AgentLost:
            return self._agent_lost()
        except LauncherUnavailable as error:
            self._epoll.unregister(self._control.fileno())
            return [Failed(error)]
        events: list[Event] = []
        for message in messages:
            if message.kind == Kind.RELAY:
                part = message.parts[0]
                assert not isinstance(part, Ref)
                self._relayed.append((message.json()["stream"], bytes(part)))
            elif message.kind == Kind.DIED:
                events += self._died(message)
            elif message.kind == Kind.SLOTS:
                channel = self._channels.get(message.slot)
                if channel is not None and channel.incarnation == message.seq:
                    channel.pid = message.json()["pid"]
        return events

    def _died(self, message: Message) -> list[Event]:
        channel = self._channels.get(message.slot)
        if channel is None or channel.incarnation != message.seq:
            return []
        told = message.json()
        events = self._drain(channel)
        cause = Cause(
            _cause_text(told), worker=f"process-{channel.slot}", host=os.uname().nodename, stderr=told["stderr"]
        )
        return [*events, self._lose(channel, cause)]

    def _drain(self, channel: _Channel) -> list[Event]:
        events: list[Event] = []
        while not channel.ended:
            before = len(events)
            events += self._receive(channel)
            if len(events) == before and not _readable(channel.reader):
                break
        return events

    def _lose(self, channel: _Channel, cause: Cause) -> Event:
        slot = channel.slot
        self._false_starts[slot] = 0 if channel.answered else self._false_starts.get(slot, 0) + 1
        self._forget(channel)
        self._buffers.forget(channel.pid)
        return Lost(slot, cause)

    def _agent_lost(self) -> list[Event]:
        self._agents_lost += 1
        with self._control_lock:
            self._epoll.unregister(self._control.fileno())
            self._control.close()
            if self._agents_lost >= _MOST_AGENTS:
                return [Failed(WorkerLost(f"the agent was lost {_MOST_AGENTS} times in a row", cause="agent lost"))]
            self._control = self._connect()
        events: list[Event] = []
        for channel in list(self._channels.values()):
            events += self._drain(channel)
            events.append(self._lose(channel, Cause("its agent was lost", own=False)))
        return events

    def _forget(self, channel: _Channel) -> None:
        for fd in (channel.reader, channel.writer):
            self._by_fd.pop(fd, None)
        channel.close()

    def _show(self) -> None:
        """Hand on what workers printed; a stream that is gone or refuses costs the text, not the map."""
        while self._relayed:
            stream, data = self._relayed.popleft()
            out = sys.stdout if stream == 1 else sys.stderr
            try:
                out.write(data.decode(errors="backslashreplace"))
                out.flush()
            except (OSError, ValueError, AttributeError):
                continue

    # Workers end.

    def kill(self, slot: int) -> None:
        """Have the agent end the worker: SIGTERM, then SIGKILL to its process group."""
        channel = self._channels.get(slot)
        if channel is not None:
            self._kill(channel)

    def _kill(self, channel: _Channel) -> None:
        if self._channels.get(channel.slot) is not channel:
            return
        message = control(Kind.KILL, channel.slot, grace=_GRACE)
        message.seq = channel.incarnation
        with self._control_lock:
            self._control.send(message)
            self._watch_control()

    def stop(self, slot: int) -> None:
        """Close an idle worker's pipes; it ends by itself."""
        channel = self._channels.pop(slot, None)
        if channel is not None:
            self._forget(channel)

    def identify(self, slot: int) -> tuple[str, str, int]:
        """Its name, this host, and its process id (0 until it has started)."""
        channel = self._channels.get(slot)
        return f"process-{slot}", os.uname().nodename, channel.pid if channel is not None else 0

    def close(self) -> None:
        """Let idle workers end, kill the others, and hear the agent out."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        for slot in list(self._channels):
            self.stop(slot)
        deadline = monotonic() + _CLOSE_SECONDS
        try:
            self._say_bye(deadline)
        except (AgentLost, LauncherUnavailable):
            pass
        finally:
            self.desert()

    def _say_bye(self, deadline: float) -> None:
        self._control.send(control(Kind.BYE, grace=_BYE_SECONDS))
        while monotonic() < deadline:
            self._control.flush()
            for message in self._control.receive():
                if message.kind == Kind.RELAY:
                    part = message.parts[0]
                    assert not isinstance(part, Ref)
                    self._relayed.append((message.json()["stream"], bytes(part)))
                elif message.kind == Kind.BYE:
                    return
            self._show()
            self._epoll.poll(0.1)

    def desert(self) -> None:
        """Close everything of this process; the agent ends the workers when it sees that."""
        if os.getpid() != self._owner or self._epoll.closed:
            return
        self._closed = True
        self._show()
        for slot in list(self._channels):
            self.stop(slot)
        self._control.close()
        self._buffers.close()
        self._epoll.close()
        os.close(self._wake)


def _packed_initializer(setting: Setting) -> list[bytes]:
    if setting.initializer is None:
        return []
    try:
        return [dumps((setting.initializer, setting.initargs), oob=1 << 62).header]
    except Unserializable as error:
        raise Unserializable(f"the initializer can't be sent to workers: {error}") from error


def _readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def _cause_text(told: dict[str, Any]) -> str:
    if told["reason"]:
        return str(told["reason"])
    if told["signal"] is not None:
        import signal

        try:
            name = signal.Signals(told["signal"]).name
        except ValueError:
            name = "unknown"
        hint = ", perhaps out of memory" if told["signal"] == signal.SIGKILL else ""
        return f"killed by signal {told['signal']} ({name}{hint})"
    return f"exited with code {told['exit']}"


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _umask() -> int | None:
    # Asking os.umask means changing it for a moment, under other threads' feet.
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return next((int(line.split()[1], 8) for line in status if line.startswith("Umask")), None)
    except OSError:
        return None
