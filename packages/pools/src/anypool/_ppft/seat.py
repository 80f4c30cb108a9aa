"""One slot of a crew of ppft's workers: a thread that has its worker run what comes, one chunk after the other."""

from __future__ import annotations

import logging
import threading
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

from anypool import _share
from anypool._chunk import failed
from anypool._crew import Begun, Lost, Replied
from anypool._foreign import no_segments
from anypool._outcomes import Unopened, unpack_reply
from anypool._slot import Cause, Flight
from anypool._wire import INLINE, Decoder, Kind

if TYPE_CHECKING:
    from anypool._ppft.crew import PpftCrew

__all__: list[str] = []

# What comes through a seat's queue beside the numbers of chunks.
END, RENEW, KILL = "end", "renew", "kill"
# Of a seat's number a message has two bytes, which nobody reads.
SLOTS = (1 << 16) - 1


class Lacking(Exception):
    """The worker does not know the function that it was to call, or can't open what is `shared` with it."""

    def __init__(self, shared: bool) -> None:
        super().__init__(shared)
        self.shared = shared


class Seat:
    """What local workers and those of servers have in common.

    All that happens to the worker does so in the thread, which exists as long as the seat: Python 3.12 starts none once
    the interpreter is ending. What is sent to a worker that is lost comes before the `RENEW` that follows the loss,
    and is left out, for with the loss it went back.
    """

    node = "local"

    def __init__(self, crew: PpftCrew, number: int) -> None:
        self.number = number
        self._crew = crew
        self._queue: SimpleQueue[Any] = SimpleQueue()
        # Sent, and not yet taken by the thread.
        self._waiting: dict[int, Flight] = {}
        self._usable = self._killed = False
        self._thread = threading.Thread(target=self._work, name=f"anypool-ppft-{number}", daemon=True)

    def begin(self) -> None:
        """Have the thread start, and then a worker."""
        self._queue.put(RENEW)
        self._thread.start()

    # Called with the engine's lock held.

    def send(self, flight: Flight) -> None:
        """Give it a chunk."""
        self._waiting[flight.seq] = flight
        self._queue.put(flight.seq)

    def recall(self) -> list[int]:
        """Take back what the thread has not taken."""
        return [seq for seq in list(self._waiting) if self._waiting.pop(seq, None) is not None]

    def kill(self) -> None:
        """End the worker, or what it does, whatever that is."""
        self._killed = True
        self._strike()
        self._queue.put(KILL)

    def renew(self) -> bool:
        """Whether there is to be another worker, or the same again."""
        self._killed = False
        self._queue.put(RENEW)
        return True

    def end(self) -> None:
        """End it for good, whatever it does."""
        self._queue.put(END)
        self._strike()

    def join_thread(self, seconds: float) -> None:
        """Wait for the end."""
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(0.0, seconds))

    def identify(self) -> tuple[str, str, int]:
        """The worker's name, host and process id."""
        raise NotImplementedError

    def _strike(self) -> None:
        """Have the thread see that its worker is not to go on."""
        raise NotImplementedError

    # In the thread.

    def _work(self) -> None:
        while (what := self._queue.get()) != END:
            try:
                self._take(what)
            except BaseException as error:  # What the seat has must go back, and somebody be told.
                logging.getLogger("anypool").exception("a worker of ppft")
                self._break()
                self._lose(Cause(f"{type(error).__name__}: {error}", own=False))
        self._shut()

    def _take(self, what: Any) -> None:
        if what == RENEW:
            self._usable = self._reopen()
        elif what == KILL:
            if self._usable and self._killed:
                self._lose_as_asked()
        elif (flight := self._waiting.pop(what, None)) is None or not self._usable:
            return
        elif self._killed:
            self._lose_as_asked()
        else:
            self._run(flight)

    def _run(self, flight: Flight) -> None:
        raise NotImplementedError

    def _reopen(self) -> bool:
        """Have a worker that can be used; whether there is one."""
        raise NotImplementedError

    def _break(self) -> None:
        """Use the worker no more: nobody knows what it will say next."""
        raise NotImplementedError

    def _shut(self) -> None:
        raise NotImplementedError

    def _begun(self, flight: Flight) -> None:
        flight.begun = monotonic()
        if flight.chunk.careful or self._crew.unopened:
            # Somebody may have to look when its time is over; and a hub's owner asks nobody else.
            self._tell([Begun(self.number, flight.seq, flight.begun)])

    def _lose(self, cause: Cause) -> None:
        self._usable = False
        worker, host, _ = self.identify()
        self._tell([Lost(self.number, cause._replace(worker=worker, host=host))])

    def _lose_as_asked(self, stderr: str = "") -> None:
        self._lose(Cause("ended at its owner's request", own=False, stderr=stderr))

    def _lose_for_want(self) -> None:
        """It was given all that it can be given, so that another one should have the chunk."""
        self._lose(Cause("the worker lacks what it was sent", own=False))

    def _failed(self, flight: Flight, error: Exception) -> None:
        """It could not even be sent."""
        self._tell([Replied(self.number, flight.seq, failed(error, flight.chunk.count))])

    def _reply(self, flight: Flight, data: bytes) -> None:
        """Tell what came of a chunk; `Lacking` if that is nothing for want of the function."""
        messages = Decoder().feed(data)
        while messages[0].kind == Kind.RELAY:
            self._crew.relayed.put(self.number, messages.pop(0))
        self._crew.relayed.show_aside(self._crew.identify)
        if messages[0].kind == Kind.NEED:
            shared = bool(messages[0].flags & INLINE)
            if shared and _share.tools is not None:
                _share.tools.far(flight.chunk)
            raise Lacking(shared)
        outcomes: list[Any]
        if self._crew.unopened:
            outcomes = [Unopened(each) for each in messages]
        else:
            outcomes = [unpack_reply(each, no_segments) for each in messages]
        self._crew.count(self.node, sum(each.count for each in outcomes))
        self._tell([Replied(self.number, flight.seq, each, each is outcomes[-1]) for each in outcomes])

    def _tell(self, events: list[Any]) -> None:
        self._crew.tell(events)
