"""Hubs that are processes of this machine: channels like those of workers, each with many slots behind it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

from anypool._channel import Channel
from anypool._channels import ProcessCrew
from anypool._crew import Event, Failed
from anypool._errors import WorkerLost
from anypool._line import Setting
from anypool._slot import Flight
from anypool._wire import CLAIM, INLINE, Buffer, Kind, Message, Ref

__all__: list[str] = []

# The first message to a hub, given a segment that it should be able to open.
Greeting = Callable[[int, list[int] | None], Message]


class ProcessHubs(ProcessCrew):
    """A crew whose slots are hubs: it starts and ends them, and moves messages. What these say is for who owns it."""

    def __init__(self, count: int, setting: Setting, greeting: Greeting) -> None:
        # Messages and the hubs that they came from.
        self.heard: deque[tuple[int, Message]] = deque()
        self._greeting = greeting
        super().__init__(count, setting)

    def _setup(self, channel: Channel) -> Message:
        return self._greeting(channel.slot, self._probe)

    def _understand(self, channel: Channel, message: Message) -> Event | None:
        if message.kind == Kind.NEED and message.flags & INLINE:
            channel.segments = False
        self.heard.append((channel.slot, message))
        return None

    def introduced(self, hub: int, pid: int, segments: bool) -> None:
        """The hub is up."""
        channel = self._channels.get(hub)
        if channel is not None:
            channel.pid, channel.segments = pid, segments
            channel.greeted = channel.answered = True
            self._agents_lost = 0

    def run(self, hub: int, slot: int, flight: Flight, with_body: bool) -> None:
        """Give a chunk to one of a hub's slots; what is called goes along if the hub has not had it yet."""
        channel = self._channels.get(hub)
        if channel is None:
            raise WorkerLost("its hub has ended, and no other could take its place", cause="closed", begun=False)
        message = self._run_message(channel, slot, flight, with_body)
        message.flags |= CLAIM if flight.queued and not with_body else 0
        self._write(channel, message)

    def tell(self, hub: int, message: Message) -> None:
        """Send a message to a hub; one that has ended will be told everything anew."""
        channel = self._channels.get(hub)
        if channel is not None and not channel.lost:
            self._write(channel, message)

    def is_at(self, hub: int, pid: int) -> bool:
        """Whether a hub is this process."""
        channel = self._channels.get(hub)
        return channel is not None and channel.pid == pid

    def given_back(self) -> list[tuple[int, int]]:
        """Slots of arenas that nobody uses any more: whose, and where."""
        return [(ref.pid, ref.offset) for ref in self._buffers.given_back()]

    def forget(self, pid: int) -> None:
        """A process behind a hub has ended, and its segments with it."""
        self._buffers.forget(pid)

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something when so many seconds have passed, by who polls then."""
        self._timers.append((monotonic() + seconds, call))

    def fail(self, failure: Failed) -> None:
        """No hub takes the place of one that ends from now on."""
        self._failure = failure

    def fetcher(self, message: Message) -> Callable[[Ref], Buffer]:
        """What gives the segments of a reply. Raises `SegmentLost` if they ended with their process."""
        return self._buffers.fetcher(message)
