"""The crew of worker processes: chunks go out by one pipe per worker, replies come back by another."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from anypool import _linux, _share
from anypool._channel import Channel
from anypool._chunk import Body, Calling, Mode
from anypool._context import Scope
from anypool._crew import Event, OfOneKind
from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._hearing import Hearing
from anypool._line import Setting, packed_initializer
from anypool._packing import DROPPED_BODY, Parcel, named_body, pack, pack_arguments, pack_body, run_message
from anypool._shield import give_back
from anypool._slot import Cause, Flight
from anypool._watch import Watch
from anypool._wire import NO_DIGEST, Kind, Message, control, grant

__all__: list[str] = []

_CLOSE_SECONDS = 10.0
# Seconds before the next worker takes the slot of one that ended before it had finished anything.
_BACK_OFF = (0.0, 0.0, 0.1, 0.2, 0.5, 1.0)
_WITH_KEYS = tuple((name, f"{name}.managers") for name in ("multiprocessing", "multiprocess"))


class ProcessCrew(Hearing, OfOneKind):
    """Workers that this machine's agent forks."""

    polled = True
    runs_here = False
    reports_items = True
    greets = True
    keeps_context = False
    tells_cpus = True

    def __init__(self, workers: int, setting: Setting) -> None:
        # First, for it may be refused when nothing is open yet.
        self._initializer = packed_initializer(setting)
        self.scope: Scope | None = None
        super().__init__(setting)
        self._workers, self._setting = workers, setting
        self._by_fd: dict[int, Channel] = {}
        # Channels to close. Whoever adds one has made it unknown here before it asks whether a thread is polling.
        self._left: deque[Channel] = deque()
        self._polling = False
        self._next_slot = self._incarnation = 0
        # Guards what waits to be written: a submitting thread and the one that polls may both write.
        self._lock = threading.RLock()
        self._watch = Watch()
        self._wake = _linux.new_event()
        self._epoll.register(self._wake, select.EPOLLIN)
        self._owner = os.getpid()
        self._closed = False

    # Starting.

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Ask the agent for the workers; they take chunks at once, which wait in their pipes."""
        try:
            return self.resize(self._workers)
        except BaseException:
            self.desert()
            raise

    def resize(self, workers: int) -> list[int]:
        """Add workers up to so many."""
        self._workers = workers
        added = []
        while len(self._channels) < workers:
            slot, self._next_slot = self._next_slot, self._next_slot + 1
            if not self.renew(slot):
                break
            added.append(slot)
        return added

    def renew(self, slot: int) -> bool:
        """Ask for a worker, after a while if the last ones ended before they did anything."""
        old = self._channels.pop(slot, None)
        if old is not None:
            self._forget(old)
        if self._failure is not None:
            return False
        self._incarnation += 1
        try:
            channel = Channel(slot, self._incarnation)
        except OSError as error:
            raise LauncherUnavailable(
                f"no descriptors left for worker {slot + 1} of {self._workers} ({error.strerror}); "
                "ask for fewer workers or raise `ulimit -n`"
            ) from error
        self._channels[slot] = channel
        self._by_fd[channel.reader] = self._by_fd[channel.writer] = channel
        self._epoll.register(channel.reader, select.EPOLLIN)
        self._write(channel, self._setup(channel))
        delay = _BACK_OFF[min(self._false_starts.get(slot, 0), len(_BACK_OFF) - 1)]
        if delay:
            self._timers.append((monotonic() + delay, lambda: self._spawn(channel)))
        else:
            self._line.spawn(channel)
        return True

    def _setup(self, channel: Channel) -> Message:
        claims = [self._owner, channel.claims_read]
        setup = control(Kind.SETUP, channel.slot, greet=True, claims=claims, probe=self._probe)
        setup.parts = list(self._initializer)
        return setup

    @property
    def _probe(self) -> list[int] | None:
        return list(self._buffers.probe) if self._buffers.probe is not None else None

    def _spawn(self, channel: Channel) -> None:
        if self._channels.get(channel.slot) is channel:
            self._line.spawn(channel)

    # Work goes out.

    @property
    def inline(self) -> int:
        """Large buffers that did not go through shared memory."""
        return self._buffers.inline

    def body(self, calling: Calling) -> Body:
        """Serialise what is called; `Unserializable` names the path from f."""
        return pack_body(calling, self._buffers.place_sealed)

    def pack(self, payload: Any, most: int) -> tuple[Parcel | None, int]:
        """Serialise items; what they refer to may change afterwards."""
        return pack(payload, most, self._buffers.place)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """Serialise one call, as far as the lane of calls does not do it."""
        body = (named_body(f) if self.scope is None else None) or self.body(Calling(f, scope=self.scope))
        mode, payload, size = pack_arguments(args, kwargs, self._buffers.place)
        return body, mode, payload, size

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Write a chunk to its worker's pipe, or queue what does not fit."""
        channel = self._channels.get(slot)
        if channel is None:
            raise WorkerLost(f"worker {slot} has ended, and no other could take its place", cause="closed", begun=False)
        message = self._run_message(channel, slot, flight, with_body)
        self._write(channel, message, claim=flight.queued and not with_body)
        self._return_segments()

    def _run_message(self, channel: Channel, slot: int, flight: Flight, with_body: bool) -> Message:
        body, again = flight.chunk.job.body, with_body
        self._introduce(channel)
        with_body = with_body or body.digest == NO_DIGEST or body.digest not in channel.known
        channel.known.add(body.digest)
        message = run_message(slot, flight, with_body, flight.chunk.careful)
        if not channel.segments:
            message.parts = self._buffers.fetched(message.parts)
        if _share.tools is not None:
            _share.tools.attach(message, flight.chunk, channel.known, channel.segments, again)
        return message

    def _return_segments(self) -> None:
        for ref in self._buffers.given_back():
            self.give_back(ref.pid, [ref.offset])

    def give_back(self, pid: int, offsets: list[int]) -> None:
        """Tell a worker that nobody uses these slots of its arena any more."""
        for channel in self._channels.values():
            if channel.pid == pid:
                self._write(channel, grant(offsets))

    def recall(self, slot: int) -> list[int]:
        """Take claims out of the pipe before the worker does; a chunk whose claim is gone is skipped there."""
        channel = self._channels.get(slot)
        return channel.recall() if channel is not None else []

    def _introduce(self, channel: Channel) -> None:
        """Managers' proxies among the arguments need the owner's key; without that module it can have none."""
        for name, managers in _WITH_KEYS:
            if managers in sys.modules and name not in channel.authkeys:
                channel.authkeys.add(name)
                key = bytes(sys.modules[f"{name}.process"].current_process().authkey)
                self._write(channel, control(Kind.SETUP, channel.slot, authkeys={name: key.hex()}))

    def _write(self, channel: Channel, message: Message, claim: bool = False) -> None:
        with self._lock:
            if channel.write(message, claim):
                self._epoll.register(channel.writer, select.EPOLLOUT)

    def release(self, body: Body) -> None:
        """Have workers forget a large body."""
        if body.size > DROPPED_BODY:
            for channel in self._channels.values():
                if body.digest in channel.known:
                    channel.known.discard(body.digest)
                    self._write(channel, Message(Kind.DROP, digest=body.digest))

    # Events come in.

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Make `poll` return."""
        if self._wake >= 0:
            _linux.set_event(self._wake)

    def fileno(self) -> int:
        """Readable when `poll` has something to do."""
        return self._epoll.fileno()

    def due(self) -> float:
        """Seconds until the next timer."""
        return 0.0 if self._late else min((at for at, _ in list(self._timers)), default=inf) - monotonic()

    def poll(self, timeout: float) -> list[Event]:
        """Read what has come from workers and agent, and write what now fits."""
        self._polling = True
        try:
            return self._poll(timeout)
        finally:
            self._polling = False
            if self._left:
                self._close_left()

    def _poll(self, timeout: float) -> list[Event]:
        events: list[Event] = []
        if self._timers:
            timeout = min(timeout, self._run_timers())
        poll = self._epoll.poll
        for fd, mask in self._watch.wait(poll, timeout) if timeout > 0 else poll(0):
            channel = self._by_fd.get(fd)
            if channel is not None:
                if channel.ended:
                    if fd == channel.writer:
                        self._epoll.unregister(fd)
                elif fd == channel.reader:
                    events += self._receive(channel)
                else:
                    self._continue(channel)
            elif fd == self._wake:
                _linux.clear_event(self._wake)
            elif fd == self._line.fileno():
                events += self._hear(mask)
        while self._late:
            events.append(self._late.popleft())
        if self.relayed.waiting:
            self._show()
        return events

    def also(self, fd: int, mask: int) -> None:
        """Have `poll` return, too, when a descriptor that is not of this crew is ready; with no mask, no more."""
        if mask:
            self._epoll.register(fd, mask)
        else:
            self._epoll.unregister(fd)

    def _run_timers(self) -> float:
        """Do what is due; the seconds until more is, none if that made events."""
        now = monotonic()
        for entry in [entry for entry in self._timers if entry[0] <= now]:
            # Never the whole list: threads that renew slots may be adding to it.
            self._timers.remove(entry)
            entry[1]()
        return 0.0 if self._late else min((entry[0] - now for entry in list(self._timers)), default=60.0)

    def _continue(self, channel: Channel) -> None:
        with self._lock:
            if channel.flush():
                self._epoll.unregister(channel.writer)

    def _forget(self, channel: Channel) -> None:
        """Close it, or have the thread that polls do so: a descriptor may be another file's as soon as it's closed."""
        for fd in (channel.reader, channel.writer):
            self._by_fd.pop(fd, None)
        self._left.append(channel)
        if self._polling:
            self.interrupt()
        else:
            self._close_left()

    def _close_left(self) -> None:
        while self._left:
            with suppress(IndexError):  # Another thread may be at it too.
                self._left.popleft().close()

    # Workers end.

    def kill(self, slot: int) -> None:
        """Have the agent end the worker: SIGTERM, then SIGKILL to its process group."""
        channel = self._channels.get(slot)
        if channel is None:
            return
        if channel.theirs:
            # Waiting for its turn to be spawned, which is for the polling thread to decide.
            self._timers.append((0.0, lambda: self._kill(channel)))
            self.interrupt()
        else:
            self._kill(channel)

    def _kill(self, channel: Channel) -> None:
        if self._channels.get(channel.slot) is not channel:
            return
        if channel.theirs:
            # The agent has not heard of it, so it would tell of no death.
            self._late.extend(self._lose(channel, Cause("ended at its owner's request", own=False)))
        else:
            self._line.kill(channel)

    def stop(self, slot: int) -> None:
        """Close an idle worker's pipes; it ends by itself."""
        channel = self._channels.pop(slot, None)
        if channel is not None:
            self._forget(channel)

    def identify(self, slot: int) -> tuple[str, str, int]:
        """Its name, this host, and its process id (0 until it has started)."""
        channel = self._channels.get(slot)
        return f"process-{slot}", os.uname().nodename, channel.pid if channel is not None else 0

    def abandon(self) -> None:
        """Give back the lock of what is written."""
        give_back(self._lock)

    def close(self) -> None:
        """Let idle workers end, kill the others, and hear the agent out."""
        if self._closed or os.getpid() != self._owner:
            return
        self._closed = True
        for channel in list(self._channels.values()):
            # What threads have said that tasks left behind.
            self._drain(channel)
            self.stop(channel.slot)
        if self.relayed.waiting:
            self._show()
        # Nobody reads it any more, so that it would keep the wait for the agent from being one.
        self._epoll.unregister(self._wake)
        try:
            self._line.say_bye(_CLOSE_SECONDS, self._show)
        finally:
            self.desert()

    def desert(self) -> None:
        """Close everything of this process; the agent ends the workers when it sees that."""
        if os.getpid() != self._owner or self._epoll.closed:
            return
        self._closed = True
        for slot in list(self._channels):
            self.stop(slot)
        self._close_left()
        # They refer to this object.
        self._timers.clear()
        self._line.close()
        self._buffers.close()
        self._epoll.close()
        wake, self._wake = self._wake, -1
        os.close(wake)
