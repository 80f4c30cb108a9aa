"""What the engine talks to: slots that take chunks, and events that tell what became of them."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from anypool._chunk import Body, Calling, Mode, Outcomes
from anypool._context import Scope
from anypool._slot import Cause, Flight, Slot

__all__: list[str] = []

# As in `_chunk`: `NamedTuple` reads and compiles the types of its fields, which takes a while at the start of a pool.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Replied(NamedTuple):
        """Outcomes of the next items of a slot's chunk `seq`; `last` if it sends no more for this chunk."""

        slot: int
        seq: int
        outcomes: Outcomes
        last: bool = True

    class Ready(NamedTuple):
        """The slot's worker has started; before that it has begun nothing."""

        slot: int

    class Begun(NamedTuple):
        """The worker has started on the first item of a careful chunk; `at`: when, if that was not just now."""

        slot: int
        seq: int
        at: float | None = None

    class Needed(NamedTuple):
        """The worker lacks the function; the chunk must be sent again with its body."""

        slot: int
        seq: int

    class Recalled(NamedTuple):
        """A chunk was taken back after `recall`, by a crew that can't tell at once; its worker had not begun it."""

        slot: int
        seq: int

    class Lost(NamedTuple):
        """The slot's worker is gone; the crew waits for `renew`."""

        slot: int
        cause: Cause

    class Gained(NamedTuple):
        """A new slot takes work."""

        slot: int

    class Failed(NamedTuple):
        """No slot will take work any more, and why."""

        error: BaseException

    class Narrowed(NamedTuple):
        """Only slots with one of these sets of tags are left, for good; `error` is for maps that wait for others."""

        left: tuple[frozenset[str], ...]
        error: BaseException

    class _Info(NamedTuple):
        name: str
        host: str
        pid: int | None
        tasks: int
        busy: float
        state: str

else:
    Replied = namedtuple("Replied", ("slot", "seq", "outcomes", "last"), defaults=(True,))
    Ready = namedtuple("Ready", ("slot",))
    Begun = namedtuple("Begun", ("slot", "seq", "at"), defaults=(None,))
    Needed = namedtuple("Needed", ("slot", "seq"))
    Recalled = namedtuple("Recalled", ("slot", "seq"))
    Lost = namedtuple("Lost", ("slot", "cause"))
    Gained = namedtuple("Gained", ("slot",))
    Failed = namedtuple("Failed", ("error",))
    Narrowed = namedtuple("Narrowed", ("left", "error"))
    _Info = namedtuple("_Info", ("name", "host", "pid", "tasks", "busy", "state"))

Event = Replied | Ready | Begun | Needed | Recalled | Lost | Gained | Failed | Narrowed


class WorkerInfo(_Info):
    """One worker: `name`, `host`, `pid`, `tasks` done, `busy` seconds spent in them, `state` idle or busy.

    `pid` is None until the process has started, and where it isn't known which one serves.
    """

    __slots__ = ()

    @classmethod
    def of(cls, slot: Slot, name: str, host: str, pid: int) -> WorkerInfo:
        """What a slot and its crew know."""
        return cls(name, host, pid or None, slot.tasks, slot.busy, "busy" if slot.flights else "idle")


class Ticket(Protocol):
    """What a thread sleeps on."""

    def release(self) -> None:
        """Wake it."""


class Guest(Ticket, Protocol):
    """A worker that waits for its own pool, and takes chunks meanwhile."""

    slot: int

    def work(self, patience: float) -> None:
        """Run the next chunk that comes, or return after so many seconds, or when released."""


class Crew(Protocol):
    """The workers of one pool.

    A `polled` crew hands out its events when asked (`poll`), and whoever waits for the pool asks. Others call `deliver`
    from threads of their own, holding no lock; `poll` asks them, with the engine's lock held and without waiting, for
    what they have not delivered. `send`, `recall`, `kill`, `renew`, `stop` and `resize` are called with
    the engine's lock held and must not block; `body` and `pack` without it, for they run user code. A crew that
    `runs_here` runs tasks in `poll`, where Ctrl-C is the task's. One that doesn't report items can't be asked for
    careful chunks. One that `greets` delivers `Ready` for each worker. One that `keeps_context` runs each chunk in a
    copy of the caller's context variables. One that `tells_cpus` has workers that know from their start how many are
    theirs. `scope` is what holds in its tasks and goes along with what is called, set by the pool.

    A polled crew may be waited for together with others, see `Waitable`. One whose slots differ has a method
    `terms(slot)`, which returns their `Terms`. One with slots that end after all others when there are to be fewer has
    their numbers in `lasting`. One over standard executors says so by `on_executor = True`.
    One that may be inside a hub has an attribute `unopened`; once that is set, outcomes in `Replied` are `Unopened`. If
    it `takes_refs`, what lies in segments reaches its workers as references, else the hub opens them; it may then have
    `give_back(pid, offsets)` for arena slots of its workers. If it is polled, `also(fd, mask)` has `poll` return when
    that descriptor is ready.
    """

    polled: bool
    runs_here: bool
    reports_items: bool
    greets: bool
    keeps_context: bool
    tells_cpus: bool
    scope: Scope | None

    @property
    def inline(self) -> int:
        """Large buffers that found no place in shared memory, so far."""

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """Start the workers; return the slots."""

    def body(self, calling: Calling) -> Body:
        """What is called, in the form that this crew's workers take."""

    def pack(self, payload: Any, most: int) -> tuple[Any, int]:
        """A payload in the form that this crew's workers take, None if above `most` bytes, and its size in bytes."""

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """What is called, and its arguments: (args, kwargs) in `Mode.CALL`, or bare args to be packed with others'."""

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Give a chunk to a slot."""

    def recall(self, slot: int) -> list[int]:
        """Take back chunks that were sent to a slot and that its worker has not begun.

        Returns their numbers, as far as that can be told at once; `Recalled` follows for the others.
        """

    def poll(self, timeout: float) -> list[Event]:
        """Wait for events up to so many seconds; called by one thread at a time."""

    def lend(self) -> Guest | None:
        """A slot for the calling thread if it is one of this crew's own workers."""

    def interrupt(self) -> None:
        """Make `poll` return early; may be called from a signal handler."""

    def kill(self, slot: int) -> None:
        """End the slot's worker whatever it does; `Lost` follows."""

    def renew(self, slot: int) -> bool:
        """Put a new worker into the slot of a lost one; false if the slot is gone until `Gained`."""

    def stop(self, slot: int) -> None:
        """End an idle slot's worker for good: there are to be fewer."""

    def give_up(self, slot: int) -> None:
        """The same, since no worker can be had for the slot."""

    def resize(self, workers: int) -> list[int]:
        """Add slots up to so many; return the new ones."""

    def release(self, body: Body) -> None:
        """A map has ended: workers may forget its function."""

    def identify(self, slot: int) -> tuple[str, str, int]:
        """Name, host and process id of a slot's worker."""

    def abandon(self) -> None:
        """Give back the locks that the calling thread holds: an exception of a handler struck where it took them."""

    def close(self) -> None:
        """End all workers, idle or not, and wait for that; at most 10 s. Idempotent."""

    def desert(self) -> None:
        """Have them end without waiting for that, for finalizers."""


class Waitable(Protocol):
    """A polled crew as a group of a mix."""

    def fileno(self) -> int:
        """What is readable when `poll` has something to do."""

    def due(self) -> float:
        """Seconds until `poll` has to be called even if nothing is readable."""


class OfOneKind:
    """A crew that may grow again whenever it is told to: fewer workers are fewer, whatever the reason."""

    def stop(self, slot: int) -> None:
        """End an idle slot's worker."""
        raise NotImplementedError

    def give_up(self, slot: int) -> None:
        """The same."""
        self.stop(slot)
