"""What the process crew hears: outcomes from its workers, and from the agent which of them have ended."""

from __future__ import annotations

import os
import select
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import cast

from anypool._buffers import Buffers
from anypool._channel import Channel
from anypool._chunk import Outcomes
from anypool._control import START_LIMIT, AgentLost
from anypool._crew import Begun, Event, Failed, Lost, Needed, Ready, Replied
from anypool._errors import LauncherUnavailable, WorkerLost
from anypool._line import Line, Setting, cause_of
from anypool._linux import readable
from anypool._outcomes import Unopened, plain_reply, unpack_reply
from anypool._relayed import Relayed
from anypool._segments import SegmentLost
from anypool._slot import Cause
from anypool._strike import let_through
from anypool._wire import INLINE, PARTIAL, Kind, Message, WireError
from anypool_serialize import loads

__all__: list[str] = []

_READ = 256 << 10
# Characters of a dead worker's last lines.
_TOLD = 4096
_MOST_AGENTS = 5
# Seconds until another agent is tried when one could not be started.
_AGENT_BACK_OFF = 0.25
# A worker that has closed its pipe has this long to end by itself.
_LINGER = 1.0


class Hearing(ABC):
    """The listening half of a process crew.

    A hub has replies left `unopened`, and passes references to segments on to workers, who open them: `takes_refs`.
    """

    takes_refs = True
    unopened = False

    def __init__(self, setting: Setting) -> None:
        self._channels: dict[int, Channel] = {}
        self._timers: list[tuple[float, Callable[[], None]]] = []
        # Events that came of a timer.
        self._late: deque[Event] = deque()
        self._false_starts: dict[int, int] = {}
        self._agents_lost = 0
        # What an initializer raised: no worker takes the place of one that ends after that.
        self._failure: Failed | None = None
        self._buffers = Buffers()
        self._epoll = select.epoll()
        self.relayed = Relayed()
        try:
            self._line = Line(self._epoll, setting, self.relayed)
        except BaseException:
            self._epoll.close()
            self._buffers.close()
            raise
        self._expect_agent()
        # A read into fresh memory of this size would cost a mapping and its page faults each time, 14 us.
        self._read_into = [bytearray(_READ)]
        self._read_view = memoryview(self._read_into[0])

    @abstractmethod
    def identify(self, slot: int) -> tuple[str, str, int]:
        """Name, host and process id of a slot's worker."""

    def _show(self) -> None:
        self.relayed.show(self.identify)

    @abstractmethod
    def _kill(self, channel: Channel) -> None:
        """Have the agent end the worker."""

    def _receive(self, channel: Channel) -> list[Event]:
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
                    events.append(event)  # noqa: PERF401 - what comes before an error is kept
        except WireError:
            # User code wrote to the pipe; nothing that follows can be read.
            self._epoll.unregister(channel.reader)
            channel.ended = True
            self._kill(channel)
        except SegmentLost as error:
            # The worker has ended since, and the result with it; the item that it was is not to blame.
            self._kill(channel)
            worker, host = f"process-{channel.slot}", os.uname().nodename
            events += self._lose(channel, Cause(f"ended before its result was read ({error})", False, worker, host))
        return events

    def _understand(self, channel: Channel, message: Message) -> Event | None:
        slot = channel.slot
        if message.kind == Kind.REPLY:
            channel.answered = True
            if self.relayed.tails:
                self.relayed.tails.pop(slot, None)
            if message.flags & PARTIAL and not message.count:
                return Begun(slot, message.seq)
            if self.unopened:
                found: Outcomes = Unopened(message)
            else:
                found = plain_reply(message) or unpack_reply(message, self._buffers.fetcher(message))
            return Replied(slot, message.seq, found, not message.flags & PARTIAL)
        if message.kind == Kind.NEED:
            channel.segments = channel.segments and not message.flags & INLINE
            return Needed(slot, message.seq)
        if message.kind == Kind.HELLO:
            told = message.fields()
            channel.pid, channel.segments, channel.claims = told["pid"], told["segments"], told["claims"]
            channel.greeted = True
            self._agents_lost = 0
            if message.parts:
                error = loads(cast("bytes", message.parts[0])).rebuild()
                failure = WorkerLost(f"the initializer raised {type(error).__name__}: {error}", cause="initializer")
                failure.__cause__ = error
                self._failure = Failed(failure)
                return self._failure
            return Ready(slot)
        if message.kind == Kind.RELAY:
            self.relayed.put(slot, message)
        return None

    def _expect_agent(self) -> None:
        """Give it up if it has done nothing in time: one that says nothing makes nothing readable."""
        self._timers.append((monotonic() + START_LIMIT, self._give_up_agent))

    def _give_up_agent(self) -> None:
        try:
            self._line.expire()
        except AgentLost:
            self._late.extend(self._agent_lost())
        except LauncherUnavailable as error:
            self._line.leave()
            self._late.append(Failed(error))

    def _hear(self, mask: int) -> list[Event]:
        try:
            messages = self._line.hear(mask)
        except AgentLost:
            return self._agent_lost()
        except LauncherUnavailable as error:
            self._line.leave()
            return [Failed(error)]
        events: list[Event] = []
        if messages:
            # It has forked a worker, or said why it could not.
            for entry in [entry for entry in self._timers if entry[1] == self._give_up_agent]:
                self._timers.remove(entry)
        for message in messages:
            if message.kind == Kind.DIED:
                events += self._died(message)
            elif message.kind == Kind.SLOTS:
                channel = self._channels.get(message.slot)
                if channel is not None and channel.incarnation == message.seq:
                    channel.pid = message.fields()["pid"]
        return events

    def _died(self, message: Message) -> list[Event]:
        channel = self._channels.get(message.slot)
        if channel is None or channel.incarnation != message.seq:
            return []
        told = message.fields()
        events = self._drain(channel)
        if channel.lost:
            return events
        cause = Cause(
            cause_of(told),
            worker=f"process-{channel.slot}",
            host=os.uname().nodename,
            stderr=(self.relayed.tail(channel.slot) + told["stderr"])[-_TOLD:],
        )
        return events + self._lose(channel, cause)

    def _drain(self, channel: Channel) -> list[Event]:
        events: list[Event] = []
        while not channel.ended:
            before = len(events)
            events += self._receive(channel)
            if len(events) == before and not readable(channel.reader, 0):
                break
        return events

    def _lose(self, channel: Channel, cause: Cause) -> list[Event]:
        slot = channel.slot
        self._false_starts[slot] = 0 if channel.answered else self._false_starts.get(slot, 0) + 1
        self._buffers.forget(channel.pid)
        self.relayed.ended(slot, os.uname().nodename, channel.pid)
        channel.lost = True
        # It is forgotten by `renew` or `stop`, under the lock of those who might be writing to it.
        if not channel.ended:
            channel.ended = True
            self._epoll.unregister(channel.reader)
        # What the loss gives back to its lane has to fail as well.
        return [Lost(slot, cause), self._failure] if self._failure is not None else [Lost(slot, cause)]

    def _agent_lost(self) -> list[Event]:
        self._agents_lost += 1
        if self._agents_lost >= _MOST_AGENTS:
            self._line.leave()
            return [Failed(WorkerLost(f"the agent was lost {_MOST_AGENTS} times in a row", cause="agent lost"))]
        try:
            self._line.reconnect()
            self._expect_agent()
        except Exception as error:  # noqa: BLE001 - those who wait for the lost workers must hear of it, not who polls
            let_through(error)
            return self._no_agent(error)
        events: list[Event] = []
        for channel in list(self._channels.values()):
            events += self._drain(channel)
            if not channel.lost:
                events += self._lose(channel, Cause("its agent was lost", own=False))
        return events

    def _no_agent(self, error: Exception) -> list[Event]:
        """Try again after a while: processes, memory or descriptors may have run short for a moment only."""
        if self._agents_lost < _MOST_AGENTS - 1:
            self._timers.append((monotonic() + _AGENT_BACK_OFF, lambda: self._late.extend(self._agent_lost())))
            return []
        failure = WorkerLost(f"the agent was lost, and no other could be started: {error}", cause="agent lost")
        failure.__cause__ = error
        return [Failed(failure)]
