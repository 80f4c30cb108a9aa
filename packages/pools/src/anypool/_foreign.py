"""What an executor that is not ours has, and what stands for one that could not be made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, NamedTuple

from anypool import _share
from anypool._buffers import Buffers
from anypool._crew import Begun, Event
from anypool._packing import run_message
from anypool._serving import addressed
from anypool._slot import Flight
from anypool._wire import Buffer, Ref, encode

__all__: list[str] = []


class Trip(NamedTuple):
    """A chunk that the executor has, if it has `taken` it; `watched`: it can say when it began."""

    slot: int
    seq: int
    taken: bool
    watched: bool
    flight: Flight


class Unmade(Executor):
    """Refuses what is sent until the next attempt to make an executor succeeds, or there were too many."""

    def __init__(self, why: BaseException) -> None:
        self._why = why

    def submit(self, _fn: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        raise BrokenExecutor(f"no executor could be made: {words(self._why)}") from self._why


def encoded(slot: int, name: str, place: bytes, flight: Flight, with_body: bool, careful: bool, again: bool) -> bytes:
    """A chunk as one message to a worker of that name; what was placed in segments is read from there.

    `place`: where the last is kept that its tasks say. `again`: it was sent before, and a worker had not all that it
    needed.
    """
    message = run_message(slot, flight, with_body, careful)
    message.parts = [Buffers.read(part) if type(part) is Ref else part for part in message.parts]
    if _share.tools is not None:
        _share.tools.attach(message, flight.chunk, again=again)
    return b"".join(encode(addressed(message, name, place)))


def no_segments(ref: Ref) -> Buffer:
    """What would read a buffer of a reply, all of which came with it."""
    raise ValueError(f"{ref} from a worker that has no segments")


def final(trip: Trip, judged: int) -> bool:
    """Whether nothing of a call that is given up will run again: it is the one that was `judged`, or unwanted."""
    chunk = trip.flight.chunk
    return chunk.lane.ended or (trip.seq == judged and chunk.count == 1)


def begins(executor: Executor, trips: dict[Future[Any], Trip]) -> list[Event]:
    """Which of the watched calls have begun."""
    begun = getattr(executor, "begun", None)
    if begun is None:
        return []
    return [Begun(trip.slot, trip.seq, at) for future, trip in trips.items() if trip.watched and (at := begun(future))]


def shut_down(executor: Executor, sent: Iterable[Future[Any]], *, wait: bool) -> None:
    """End an executor and what it has not begun; many have no `cancel_futures`, so each is taken back."""
    for future in sent:
        future.cancel()
    executor.shutdown(wait=wait)


def words(error: BaseException | None) -> str:
    """Why a slot was lost."""
    return "ended with a neighbour" if error is None else f"{type(error).__name__}: {error}"
