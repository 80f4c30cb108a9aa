"""The desk's rules for slots that differ: without processes and without a clock."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypool import WorkerLost
from anypool._chunk import Body, Calling, Chunk, Job, Mode, Outcomes, failed
from anypool._chunk import Lane as Chunks
from anypool._desk import Desk
from anypool._place import Place
from anypool._slot import Cause, Terms

GPU, CPU = Terms(tags=frozenset({"gpu", "big"})), Terms(tags=frozenset({"cpu"}))
SILENT = Terms(reports_items=False, tags=frozenset({"far"}))
CRASH = Cause("killed", own=True)


class Lane(Chunks):
    """Chunks of an item each, taken in order; what became of them."""

    def __init__(self, count: int, place: Place | None = None) -> None:
        self.place = place
        job = Job(1, Mode.MAP, Body(Calling(abs)))
        self.ready = deque(Chunk(job, self, at, 1, [[at]]) for at in range(count))
        for chunk in self.ready:
            chunk.expected = 0.001
        self.settled: list[int] = []
        self.workers: list[int] = []

    @property
    def ended(self) -> bool:
        return False

    @property
    def queued(self) -> bool:
        return bool(self.ready)

    waiting = queued

    def take(self, workers: int) -> Chunk | None:
        self.workers.append(workers)
        return self.ready.popleft() if self.ready else None

    def give_back(self, chunk: Chunk) -> None:
        self.ready.appendleft(chunk)

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        self.settled += range(chunk.first + offset, chunk.first + offset + outcomes.count)

    def charge(self, index: int, own: bool = True) -> int:
        return 1

    def retried(self, index: int) -> None:
        return


def desk_of(*terms: Terms) -> Desk:
    desk = Desk(terms_of=lambda number: terms[number])
    for number in range(len(terms)):
        desk.add_slot(number)
    return desk


def sent(desk: Desk) -> list[tuple[int, Chunks]]:
    return [(slot.number, flight.chunk.lane) for slot, flight in desk.assign(0.0)]


def answer(desk: Desk, number: int) -> None:
    flight = desk.slots[number].flights[0]
    desk.replied(number, flight.seq, failed(KeyError(), flight.chunk.count), True, 0.0)


@pytest.mark.parametrize(
    "place, takes",
    [
        (Place(), {0, 1}),
        (Place(needs=frozenset({"gpu"})), {0}),
        (Place(needs=frozenset({"gpu", "big"})), {0}),
        (Place(needs=frozenset({"gpu", "cpu"})), set()),
        (Place(tags=frozenset({"gpu", "cpu"})), {0, 1}),
        (Place(tags=frozenset({"cpu", "none"})), {1}),
        (Place(needs=frozenset({"big"}), tags=frozenset({"cpu"})), set()),
    ],
)
def test_a_map_goes_where_all_that_it_needs_and_one_of_its_tags_is(place, takes):
    desk = desk_of(GPU, CPU)
    lane = Lane(10, place)
    desk.add_lane(lane)
    assert {number for number, _ in sent(desk)} == takes
    assert desk.room(place) == 0


def test_a_map_that_waits_for_its_group_does_not_hold_others_back():
    desk = desk_of(GPU, CPU)
    picky, other = Lane(10, Place(needs=frozenset({"gpu"}))), Lane(10)
    desk.add_lane(picky)
    desk.add_lane(other)
    desk.slots[0].closing = True
    assert sent(desk) == [(1, other), (1, other)]
    answer(desk, 1)
    assert sent(desk) == [(1, other)]
    desk.slots[0].closing = False
    assert {lane for _, lane in sent(desk)} == {picky, other}


def test_maps_for_one_group_share_it_in_turns():
    desk = desk_of(GPU, CPU)
    lanes = [Lane(10, Place(needs=frozenset({"gpu"}))), Lane(10, Place(tags=frozenset({"big"})))]
    for lane in lanes:
        desk.add_lane(lane)
    assert [lane for _, lane in sent(desk)] == lanes


def test_chunks_are_cut_for_the_workers_that_a_map_may_use():
    desk = desk_of(GPU, GPU, CPU)
    lane = Lane(1, Place(needs=frozenset({"gpu"})))
    desk.add_lane(lane)
    sent(desk)
    assert lane.workers == [2]
    assert (desk.workers(None), desk.workers(Place(needs=frozenset({"none"})))) == (3, 1)


def test_room_counts_only_the_workers_that_a_map_may_use():
    desk = desk_of(GPU, CPU, CPU)
    assert (desk.room(), desk.room(Place(needs=frozenset({"gpu"})))) == (3, 1)


def test_what_is_lost_goes_to_a_worker_of_the_same_place_only():
    desk = desk_of(GPU, CPU, GPU)
    lane = Lane(1, Place(needs=frozenset({"gpu"})))
    desk.add_lane(lane)
    assert sent(desk) == [(0, lane)]
    desk.lost(0, CRASH)
    del desk.slots[0]
    assert sent(desk) == [(2, lane)]


def test_a_map_whose_last_group_is_gone_is_told():
    desk = desk_of(GPU, CPU)
    lanes = Lane(1, Place(needs=frozenset({"gpu"}))), Lane(1, Place(tags=frozenset({"cpu", "gpu"}))), Lane(1)
    for lane in lanes:
        desk.add_lane(lane)
    gone = WorkerLost("gone")
    assert desk.narrow([CPU.tags], gone) == [lanes[0]]
    assert desk.unserved(Lane(1, Place(needs=frozenset({"gpu"})))) is gone
    assert desk.unserved(Lane(1)) is desk.unserved(lanes[1]) is None


def test_a_quota_is_that_of_its_own_group():
    desk = desk_of(Terms(quota=2), Terms())
    lane = Lane(20)
    desk.add_lane(lane)
    for _ in range(2):
        sent(desk)
        answer(desk, 0)
        answer(desk, 1)
    assert [slot.number for slot in desk.used_up()] == [0]
    desk.renewed(0)
    assert desk.used_up() == []
    assert (desk.slots[0].quota, desk.slots[1].quota) == (2, None)


def test_only_a_worker_that_greets_is_awaited():
    desk = desk_of(Terms(greets=True), Terms())
    assert [slot.ready for slot in desk.slots.values()] == [False, True]
    desk.ready(0)
    desk.renewed(0)
    desk.renewed(1)
    assert [slot.ready for slot in desk.slots.values()] == [False, True]


def test_a_suspect_waits_for_its_own_group_only_and_runs_at_once_where_items_are_reported():
    desk = desk_of(SILENT, SILENT, GPU)
    busy, suspect = Lane(1, Place(needs=frozenset({"far"}))), Lane(1)
    suspect.ready[0].losses = 1
    desk.add_lane(busy)
    assert sent(desk) == [(0, busy)]
    desk.add_lane(suspect)
    assert sent(desk) == [(2, suspect)]


def test_a_suspect_keeps_its_own_group_from_other_work_but_no_other_group():
    desk = desk_of(SILENT, SILENT, GPU)
    suspect = Lane(1, Place(needs=frozenset({"far"})))
    suspect.ready[0].losses = 1
    desk.add_lane(suspect)
    assert sent(desk) == [(0, suspect)]
    other = Lane(10)
    desk.add_lane(other)
    assert {number for number, _ in sent(desk)} == {2}
    answer(desk, 0)
    assert {number for number, _ in sent(desk)} == {0, 1}


places = st.sampled_from(
    [None, Place(needs=frozenset({"gpu"})), Place(tags=frozenset({"cpu", "far"})), Place(needs=frozenset({"far"}))]
)
steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["answer", "answer", "lose", "kill"])), max_size=40)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(places, st.integers(0, 12)), max_size=5), steps)
def test_every_item_comes_once_and_only_where_its_map_may_run(maps, script):
    terms = GPU, CPU, SILENT, Terms(quota=3, tags=frozenset({"cpu"}))
    desk = desk_of(*terms)
    lanes = [Lane(count, place) for place, count in maps]
    totals = [len(lane.ready) for lane in lanes]
    for lane in lanes:
        desk.add_lane(lane)

    def flow() -> None:
        for slot, flight in desk.assign(0.0):
            place = flight.chunk.lane.place
            assert place is None or place.takes(slot.terms.tags)
        for slot in desk.used_up():
            desk.renewed(slot.number)

    flow()
    for number, what in script:
        if what == "answer" and desk.slots[number].flights:
            answer(desk, number)
        elif what != "answer":
            if what == "kill":
                desk.abandon(number, "cancelled")
            desk.lost(number, CRASH)
            desk.renewed(number)
        flow()
    for _ in range(200):
        for number in desk.slots:
            if desk.slots[number].flights:
                answer(desk, number)
        flow()
    assert [sorted(lane.settled) for lane in lanes] == [list(range(total)) for total in totals]
    assert desk.in_flight == 0
