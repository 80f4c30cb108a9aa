"""Where items are not reported, a chunk that met a broken executor runs alone: soon, whatever else there is to do."""

from __future__ import annotations

from typing import Any

from desk_rig import AGENT, Rig  # type: ignore[import-not-found]
from hypothesis import given, settings
from hypothesis import strategies as st

from anypool._chunk import Body, Calling, Chunk, Direct, Job, Mode, Outcomes


class Endless:
    """The lane of another map, which always has a chunk."""

    ended = False
    queued = waiting = True
    place: Any = None

    def __init__(self) -> None:
        self.job = Job(2, Mode.MAP, Body(Calling(abs)))
        self.taken = 0

    def take(self, workers: int) -> Chunk:
        self.taken += 1
        chunk = Chunk(self.job, self, self.taken, 1, [[1]])
        chunk.expected = 0.001
        return chunk

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        pass

    def give_back(self, chunk: Chunk) -> None:
        pass

    def retried(self, index: int) -> None:
        pass

    def charge(self, index: int, own: bool = True) -> int:
        return 0


def answer(rig: Rig, number: int) -> None:
    """The slot's oldest chunk is done, and what there is room for is sent."""
    flight = rig.desk.slots[number].flights[0]
    rig.now += 0.001
    values: list[object] = list(range(flight.chunk.first, flight.chunk.first + flight.chunk.count))
    rig.desk.replied(number, flight.seq, Direct(values, seconds=0.001), True, rig.now)
    rig.feed()


def lose(rig: Rig, number: int) -> None:
    rig.desk.lost(number, AGENT)
    rig.desk.renewed(number)
    rig.feed()


def check_alone(rig: Rig) -> None:
    flights = [flight for slot in rig.desk.slots.values() for flight in slot.flights]
    assert len(flights) == rig.desk.in_flight
    assert len(flights) == 1 or not any(flight.chunk.losses for flight in flights)


def test_a_suspect_is_sent_as_soon_as_what_runs_beside_it_has_ended() -> None:
    rig = Rig(1, 2, reports_items=False, chunksize=1)
    lane = Endless()
    rig.feed()
    rig.desk.add_lane(lane)
    rig.feed()
    lose(rig, 0)
    taken = lane.taken
    while rig.desk.slots[1].flights and not rig.stream.finished:
        answer(rig, 1)
        check_alone(rig)
    (flight,) = rig.desk.slots[0].flights
    assert flight.chunk.lane is rig.stream
    # One chunk may have been taken, and given back, to find the suspect.
    assert lane.taken <= taken + 1
    answer(rig, 0)
    assert rig.stream.finished
    assert all(slot.flights for slot in rig.desk.slots.values())


def test_what_waits_for_a_suspect_goes_on_when_its_map_is_given_up() -> None:
    rig = Rig(1, 2, reports_items=False, chunksize=1)
    rig.feed()
    rig.desk.add_lane(Endless())
    rig.feed()
    lose(rig, 0)
    rig.stream.cancel()
    rig.desk.remove_lane(rig.stream)
    while rig.desk.slots[1].flights:
        answer(rig, 1)
        if rig.desk.slots[0].flights:
            break
    assert all(slot.flights for slot in rig.desk.slots.values())


events = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["answer"] * 4 + ["lose", "late"])), max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), events)
def test_a_map_ends_beside_one_that_never_does_whatever_both_lose(count, workers, chunksize, script) -> None:
    rig = Rig(count, workers, reports_items=False, chunksize=chunksize)
    rig.desk.add_lane(Endless())
    rig.feed()
    for who, what in script:
        number = who % workers
        flights = rig.desk.slots[number].flights
        if what == "lose":
            lose(rig, number)
        elif what == "late" and flights:
            rig.late(number, flights[0].seq + 1000)
        elif flights:
            answer(rig, number)
        check_alone(rig)
    # Each chunk may have to wait until all slots are empty, and for a turn of the other map after that.
    for _ in range(20 * (count + 1)):
        for number in range(workers):
            if rig.desk.slots[number].flights:
                answer(rig, number)
            check_alone(rig)
        rig.collect()
    assert rig.stream.finished
