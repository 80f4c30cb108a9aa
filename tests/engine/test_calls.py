"""Single calls that wait together travel together, and each is settled once whatever happens to their worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypool import Result, WorkerLost, _calls
from anypool._calls import Call, Calls
from anypool._chunk import Body, Calling, Direct, Mode
from anypool._desk import Desk
from anypool._result import settle
from anypool._slot import Cause, Flight

EXAMPLES = settings(max_examples=200, deadline=None)
CRASH = Cause("killed", own=True, worker="w", host="h")
BODIES = [Body(Calling(f), key=f) for f in (abs, len, repr)]


class Owner:
    """As much of an engine as a result needs to be cancelled."""

    section = nullcontext()


class Answer(Result[Any]):
    """A result that keeps all that it is told."""

    def __init__(self, number: int) -> None:
        owner: Any = Owner()
        super().__init__(owner)
        self.number = number
        self.told: list[Any] = []

    def hear(self, outcomes: Any, at: int) -> None:
        values, errors = outcomes.decode()
        self.told.append(errors.get(at, values[at]))


@pytest.fixture(autouse=True, scope="module")
def _answers_of_a_chunk_hear_what_they_are_told() -> Iterator[None]:
    def settle_and_tell(answers: list[Answer], outcomes: Any) -> None:
        for at, answer in enumerate(answers):
            answer.hear(outcomes, at)
        settle(answers, outcomes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_calls, "settle", settle_and_tell)
        yield


class Rig:
    """A desk whose only lane is that of calls, and workers that do what they are told."""

    def __init__(self, workers: int) -> None:
        self.calls, self.desk = Calls(), Desk()
        self.desk.add_lane(self.calls)
        self.pipes: dict[int, deque[Flight]] = {number: deque() for number in range(workers)}
        for number in self.pipes:
            self.desk.add_slot(number)
        self.answers: list[Answer] = []
        self.now = 0.0

    def submit(self, body: int, size: int = 10) -> None:
        answer = Answer(len(self.answers))
        self.answers.append(answer)
        self.calls.add(Call(BODIES[body], Mode.CALL, answer.number, size, answer))

    def flow(self) -> None:
        self.now += 0.001
        for slot, flight in self.desk.assign(self.now):
            assert len({id(call.body.calling.function) for call in flight.chunk.extra}) == 1
            self.pipes[slot.number].append(flight)

    def work(self, number: int, calls: int) -> None:
        pipe = self.pipes[number]
        if pipe:
            flight = pipe.popleft()
            chunk = flight.chunk
            count = min(calls, chunk.count)
            numbers = chunk.payload[chunk.skip : chunk.skip + count]
            self.desk.replied(number, flight.seq, Direct(list(numbers), seconds=1e-5 * count), True, self.now)

    def die(self, number: int) -> None:
        for flight in list(self.pipes[number])[:1]:
            if flight.chunk.careful:
                self.desk.begun(number, flight.seq, self.now)
        self.pipes[number].clear()
        self.desk.lost(number, CRASH)
        self.desk.renewed(number)

    def finish(self) -> None:
        for _ in range(20 * len(self.answers) + 20):
            self.flow()
            for number in self.pipes:
                self.work(number, 1000)
        assert not self.calls.waiting
        assert self.calls.unsettled == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "flow", "work", "die", "cancel"]),
        st.integers(0, 2),
        st.integers(1, 9),
    ),
    max_size=80,
)


@EXAMPLES
@given(st.integers(1, 3), steps)
def test_each_call_is_settled_once_with_its_own_value(workers: int, script: list[tuple[str, int, int]]) -> None:
    rig = Rig(workers)
    for what, which, much in script:
        if what == "submit":
            rig.submit(which, 100_000 if much == 9 else 10)
        elif what == "flow":
            rig.flow()
        elif what == "work":
            rig.work(which % workers, much)
        elif what == "die":
            rig.die(which % workers)
        elif rig.answers:
            rig.answers[much % len(rig.answers)].cancel()
    rig.finish()
    for answer in rig.answers:
        if answer.cancelled():
            assert answer.told == []
            continue
        (outcome,) = answer.told
        assert outcome == answer.number or isinstance(outcome, WorkerLost)


@EXAMPLES
@given(st.integers(1, 3), st.integers(1, 40))
def test_a_call_that_ends_every_worker_costs_only_itself(workers: int, count: int) -> None:
    rig = Rig(workers)
    culprit = count // 2
    for _ in range(count):
        rig.submit(0)
    for _ in range(100 * count):
        rig.flow()
        for number, pipe in rig.pipes.items():
            if not pipe:
                continue
            chunk = pipe[0].chunk
            numbers = chunk.payload[chunk.skip : chunk.skip + chunk.count]
            if culprit in numbers and (numbers[0] == culprit or not chunk.careful):
                rig.die(number)
            else:
                rig.work(number, numbers.index(culprit) if culprit in numbers else chunk.count)
        if not rig.calls.unsettled:
            break
    assert rig.calls.unsettled == 0
    for answer in rig.answers:
        (outcome,) = answer.told
        assert isinstance(outcome, WorkerLost) if answer.number == culprit else outcome == answer.number


def test_cancelling_gives_up_what_waits_and_nothing_else() -> None:
    rig = Rig(1)
    for _ in range(10):
        rig.submit(0)
    rig.flow()
    flying = sum(flight.chunk.count for flight in rig.pipes[0])
    dropped = rig.calls.cancel()
    assert len(dropped) == 10 - flying
    assert rig.calls.unsettled == flying
    rig.finish()
    assert sum(answer.ready() for answer in rig.answers) == flying


def test_a_broken_pool_settles_what_waits() -> None:
    rig = Rig(1)
    for _ in range(5):
        rig.submit(0)
    rig.calls.fail(RuntimeError("no workers"))
    assert rig.calls.unsettled == 0
    assert [type(answer.told[0]) for answer in rig.answers] == [RuntimeError] * 5
