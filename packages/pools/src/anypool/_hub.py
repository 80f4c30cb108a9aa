"""A hub: a worker process that runs no tasks, but holds a crew of its own and passes chunks on to it."""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from anypool import _linux
from anypool._crew import Begun, Crew, Event, Replied
from anypool._inside import Threads, crew_inside
from anypool._linux import private_copy
from anypool._routing import Router, refusal
from anypool._segments import ARENA, SEGMENT, Arena, Mappings
from anypool._tails import Saying, page_of
from anypool._watch import Watch
from anypool._wire import Buffer, Decoder, Kind, Message, Ref, control, encode, granted
from anypool_serialize import loads

__all__: list[str] = []

_READ = 256 << 10
_MOST_BUFFERS = 64
# Seconds between two looks at whether a call has begun, for crews that don't tell by themselves.
_LOOK_SECONDS = 0.01
_LONGEST_WAIT = 1.0
# A thread waits so long, at most, until what it has begun is told.
_TELL_SECONDS = 0.5


def serve(reader: int, writer: int, setup: Message, arrived: Iterable[Message], decoder: Decoder) -> None:
    """Be a hub until descriptor `reader` ends; `setup` says of what, `arrived` is what came with it."""
    try:
        Hub(reader, writer, setup).serve(arrived, decoder)
    except BrokenPipeError:
        pass


class Hub:
    """The I/O of a hub: the owner's pipes on one side, the crew inside on the other."""

    def __init__(self, reader: int, writer: int, setup: Message) -> None:
        self._reader, self._writer, self._setup = reader, writer, setup
        self._mappings = Mappings()
        self._arena: Arena | None = None
        self._segments = False
        self._queue: deque[Buffer] = deque()
        self._ended = False
        self._into = [bytearray(_READ)]
        self._view = memoryview(self._into[0])
        os.set_blocking(writer, False)

    def serve(self, arrived: Iterable[Message], decoder: Decoder) -> None:
        """Start the crew inside, and route until the owner has no more."""
        fields = self._setup.fields()
        self._segments = fields["probe"] is not None and self._reaches(Ref(*fields["probe"]))
        hello = control(Kind.SLOTS, pid=os.getpid(), host=os.uname().nodename, segments=self._segments)
        try:
            packed: Any = self._setup.parts[0]
            crew = crew_inside(loads(packed), self._fetch)
            self._router = router = Router(crew, self._mappings.view)
            inside = _Polled(crew, self._reader, router) if crew.polled else _Delivered(crew, self._reader, router)
            crew.relayed.passing = inside.relay  # type: ignore[attr-defined]  # as all crews that may be inside a hub
            if isinstance(crew, Threads):
                place, hub = fields["tails"]
                page = bytes.fromhex(place)
                crew.saying = lambda inner: Saying(page, page_of(hub, router.number(inner)))
        except BaseException as error:  # noqa: BLE001 - the owner raises it
            self._refuse(error)
            return
        try:
            try:
                slots = router.start(fields["slots"], inside.deliver)
            except BaseException as error:  # noqa: BLE001 - the same
                self._refuse(error)
                return
            router.out.insert(0, _with_slots(hello, slots))
            router.greet()
            # Before a thread of it runs anything, which may end this process: that would be no false start.
            self._send()
            self._take(arrived)
            self._route(inside, decoder)
        finally:
            crew.close()

    def _refuse(self, error: BaseException) -> None:
        os.set_blocking(self._writer, True)
        self._queue.extend(encode(refusal(error)))
        self._flush()

    def _route(self, inside: _Inside, decoder: Decoder) -> None:
        input_ = select.poll()
        input_.register(self._reader, select.POLLIN)
        waiting = False
        while not self._ended:
            for event in inside.wait():
                self._router.tell(event)
            if input_.poll(0):
                self._take(decoder.feed(self._read()))
            self._send()
            if bool(self._queue) != waiting:
                waiting = not waiting
                inside.watch_writer(self._writer, waiting)

    def _read(self) -> bytes:
        count = os.readv(self._reader, self._into)
        self._ended = not count
        return bytes(self._view[:count])

    def _take(self, messages: Iterable[Message]) -> None:
        for message in messages:
            if message.kind == Kind.GRANT:
                self._granted(message)
            elif message.kind == Kind.SETUP:
                self._take_keys(message)
            else:
                self._router.take(message)

    def _granted(self, message: Message) -> None:
        if message.seq != os.getpid():
            give_back: Callable[[int, list[int]], None] | None = getattr(self._router.crew, "give_back", None)
            if give_back is not None:
                give_back(message.seq, list(granted(message)))
        elif self._arena is not None:
            for offset in granted(message):
                self._arena.free(offset)

    @staticmethod
    def _take_keys(message: Message) -> None:
        """The keys of managers, which the crew inside hands on as an owner does."""
        for module, key in message.fields().get("authkeys", {}).items():
            __import__(f"{module}.managers")
            __import__(f"{module}.process", fromlist=["process"]).current_process().authkey = bytes.fromhex(key)

    def _send(self) -> None:
        out, self._router.out = self._router.out, []
        for message in out:
            if message.kind == Kind.REPLY:
                message.parts[:] = [self._placed(part) for part in message.parts]
            self._queue.extend(encode(message))
        self._flush()

    def _flush(self) -> None:
        queue = self._queue
        while queue:
            try:
                sent = os.writev(self._writer, [*queue][:_MOST_BUFFERS])
            except BlockingIOError:
                return
            while queue and sent >= len(queue[0]):
                sent -= len(queue.popleft())
            if sent:
                queue[0] = memoryview(queue[0])[sent:]

    def _placed(self, part: Buffer | Ref) -> Buffer | Ref:
        """What threads have made goes through shared memory, too; what workers have put there is passed on."""
        if isinstance(part, Ref) or len(part) < SEGMENT or not self._segments:
            return part
        if self._arena is None:
            self._arena = Arena(ARENA)
        return self._arena.put(part) or part

    def _reaches(self, probe: Ref) -> bool:
        try:
            self._mappings.view(probe)
        except OSError:
            return False
        return True

    def _fetch(self, ref: Ref) -> Buffer:
        """As a worker does: a body is mapped, an argument copied."""
        view = self._mappings.view(ref)
        if ref.sealed:
            return view
        copy = private_copy(view)
        del view
        self._mappings.collect()
        return copy


def _with_slots(hello: Message, slots: list[int]) -> Message:
    fields = hello.fields()
    return control(Kind.SLOTS, **fields, slots=slots)


class _Inside:
    """How to wait for the crew inside and for the owner at the same time."""

    def __init__(self, crew: Any, router: Router) -> None:
        self._crew, self._router = crew, router

    def deliver(self, events: list[Event]) -> None:
        """What a crew has to tell by itself."""

    def relay(self, slot: int, message: Message) -> None:
        """Pass on what a task has said."""
        self._router.relay(slot, message)

    def wait(self) -> list[Event]:
        """What has happened; returns early when the owner says something."""
        raise NotImplementedError

    def watch_writer(self, fd: int, on: bool) -> None:
        """Return, too, when the owner's pipe takes more."""
        raise NotImplementedError


class _Polled(_Inside):
    """A crew that is asked: it watches the owner's pipes along with its own."""

    def __init__(self, crew: Any, reader: int, router: Router) -> None:
        super().__init__(crew, router)
        crew.also(reader, select.EPOLLIN)

    def wait(self) -> list[Event]:
        events: list[Event] = self._crew.poll(_LONGEST_WAIT)
        return events

    def watch_writer(self, fd: int, on: bool) -> None:
        self._crew.also(fd, select.EPOLLOUT if on else 0)


class _Delivered(_Inside):
    """A crew that delivers from threads of its own."""

    def __init__(self, crew: Crew, reader: int, router: Router) -> None:
        super().__init__(crew, router)
        self._said: deque[tuple[int, Message]] = deque()
        self._events: deque[tuple[Event, threading.Lock | None]] = deque()
        self._tickets: list[threading.Lock] = []
        self._wake = _linux.new_event()
        self._epoll = select.epoll()
        self._epoll.register(reader, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._watch = Watch()

    def deliver(self, events: list[Event]) -> None:
        for event in events:
            ticket = None
            if isinstance(event, Begun) or (isinstance(event, Replied) and not event.last):
                # The next item may hold the interpreter's lock for ever: the owner has to know before that it began.
                ticket = threading.Lock()
                ticket.acquire()
            self._events.append((event, ticket))
            _linux.set_event(self._wake)
            if ticket is not None:
                ticket.acquire(timeout=_TELL_SECONDS)

    def relay(self, slot: int, message: Message) -> None:
        self._said.append((slot, message))
        _linux.set_event(self._wake)

    def wait(self) -> list[Event]:
        while self._tickets:
            self._tickets.pop().release()
        asked = not self._crew.reports_items and self._router.busy
        if self._wake in dict(self._watch.wait(self._epoll.poll, _LOOK_SECONDS if asked else _LONGEST_WAIT)):
            _linux.clear_event(self._wake)
        found: list[Event] = self._crew.poll(0.0)
        # First, how many have come: what was said before them is there by now.
        for _ in range(len(self._events)):
            event, ticket = self._events.popleft()
            while self._said:
                super().relay(*self._said.popleft())
            found.append(event)
            if ticket is not None:
                # Once it has been sent.
                self._tickets.append(ticket)
        return found

    def watch_writer(self, fd: int, on: bool) -> None:
        if on:
            self._epoll.register(fd, select.EPOLLOUT)
        else:
            self._epoll.unregister(fd)
