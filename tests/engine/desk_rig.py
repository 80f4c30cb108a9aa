"""Desk and stream with workers that do what they are told, for the tests beside."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import strategies as st

from anypool import TaskTimeout, WorkerLost
from anypool._chunk import Body, Calling, Direct, Job, Mode
from anypool._desk import Desk
from anypool._input import Input
from anypool._sizing import Sizer
from anypool._slot import Cause, Flight, Terms
from anypool._stream import Stream

CRASH = Cause("killed", own=True, worker="w", host="h")


AGENT = Cause("agent lost", own=False, worker="w", host="h")


class Failing(Exception):
    pass


class Worker:
    """What a real worker would know: the chunks in its pipe, and how far it is with the first."""

    def __init__(self) -> None:
        self.pipe: deque[Flight] = deque()
        self.told_begun = False
        self.replied = 0


class Rig:
    """A desk with one stream over numbered items, workers that do what they are told, and a clock moved by hand."""

    def __init__(
        self,
        count: int,
        workers: int,
        *,
        failing: Iterable[int] = (),
        ordered: bool = True,
        halt: bool = False,
        retries: int | None = None,
        error_retries: int = 0,
        chunksize: int | None = None,
        buffersize: int | None = None,
        timeout: float | None = None,
        quota: int | None = None,
        reports_items: bool = True,
    ) -> None:
        self.count, self.failing = count, set(failing)
        self.now = 0.0
        self.began: dict[int, int] = {}
        # By item: how often its worker died while it ran, by its own fault, and for other reasons.
        self.deaths: dict[int, int] = {}
        self.losses: dict[int, int] = {}
        self.seen: list[tuple[int | None, Any]] = []
        self.desk = Desk(Terms(quota, reports_items))
        self.workers = {number: Worker() for number in range(workers)}
        for number in self.workers:
            self.desk.add_slot(number)
        lost_retries = 2 if retries is None else retries
        careful = timeout is not None or lost_retries == 0
        fixed = 1 if careful and not reports_items else chunksize
        job = Job(
            1, Mode.MAP, Body(Calling(abs)), stop=halt, careful=careful, timeout=timeout, lost_retries=lost_retries
        )
        self.stream = Stream(
            job,
            Input(Mode.MAP, (iter(range(count)),), strict=False),
            Sizer(fixed, None),
            lambda payload, _most: (payload, 0),
            ordered=ordered,
            halt=halt,
            error_retries=error_retries,
            buffersize=buffersize,
        )
        self.retryable = error_retries > 0
        self.desk.add_lane(self.stream)

    # What the engine does.

    def feed(self, waiting: bool = True) -> None:
        while count := self.stream.wanted(self.desk.room(), len(self.desk.slots), waiting):
            self.stream.append(self.stream.cut(count))
            self.flow()
        self.flow()

    def flow(self) -> None:
        for slot, flight in self.desk.assign(self.now):
            self.workers[slot.number].pipe.append(flight)
        for slot in self.desk.used_up():
            self.workers[slot.number] = Worker()
            self.desk.renewed(slot.number)

    def collect(self) -> None:
        for values, errors in self.stream.collect():
            for at, value in enumerate(values):
                self.seen.append((value, errors.get(at)))

    # What workers do.

    def work(self, number: int, items: int, seconds: float = 0.001) -> None:
        """Run up to so many items of the first chunk in the pipe, and send their outcomes home."""
        worker = self.workers[number]
        if not worker.pipe:
            return
        flight = worker.pipe[0]
        chunk = flight.chunk
        if chunk.careful and not worker.told_begun:
            worker.told_begun = True
            self.desk.begun(number, flight.seq, self.now)
        left = chunk.count - worker.replied
        done, stopped = 0, False
        values: list[int | None] = []
        exceptions: dict[int, BaseException] = {}
        while done < min(max(items, 1), left) and not stopped:
            index = chunk.first + worker.replied + done
            self.began[index] = self.began.get(index, 0) + 1
            if index in self.failing:
                values.append(None)
                exceptions[done] = Failing(index)
                stopped = chunk.job.stop
            else:
                values.append(index)
            done += 1
        outcomes = Direct(values, exceptions, seconds * done, dict.fromkeys(exceptions, self.retryable))
        worker.replied += done
        # Only careful chunks come home in several replies; of others the rest goes back to the stream.
        last = not chunk.careful or stopped or worker.replied == chunk.count
        if last:
            worker.pipe.popleft()
            worker.told_begun, worker.replied = False, 0
        self.desk.replied(number, flight.seq, outcomes, last, self.now)

    def die(self, number: int, cause: Cause = CRASH, begun: bool = True) -> None:
        """The worker is gone, in the middle of the next item if it has begun it."""
        worker = self.workers[number]
        # A worker that has sent an outcome of a careful chunk is in the next item at once.
        if worker.pipe and (begun or worker.told_begun):
            flight = worker.pipe[0]
            index = flight.chunk.first + worker.replied
            if flight.chunk.careful and not worker.told_begun:
                self.desk.begun(number, flight.seq, self.now)
            self.began[index] = self.began.get(index, 0) + 1
            own = cause.own and self.desk.slots[number].verdict is None
            met = self.deaths if own else self.losses
            met[index] = met.get(index, 0) + 1
        elif worker.pipe:
            # What killed it may have been to unpickle the chunk; of a lone item nobody knows whether it had begun.
            chunk = worker.pipe[0].chunk
            own = cause.own and self.desk.slots[number].verdict is None
            met = self.deaths if own and chunk.count == 1 and not chunk.careful else self.losses
            for index in range(chunk.first, chunk.first + chunk.count):
                met[index] = met.get(index, 0) + 1
        self.workers[number] = Worker()
        self.desk.lost(number, cause)
        self.desk.renewed(number)

    def look(self, seconds: float, left: int) -> None:
        """After so long take back what waits behind slow chunks, except `left` that workers were faster to take."""
        self.now += seconds
        for number in self.desk.stuck(self.now):
            pipe = self.workers[number].pipe
            while len(pipe) > left:
                self.desk.recalled(number, pipe.pop().seq)

    def late(self, number: int, seq: int) -> None:
        """A reply of a worker that is gone, or a second one for the same chunk."""
        self.desk.replied(number, seq, Direct(["late"]), True, self.now)

    def finish(self) -> None:
        """Let everybody work until nothing is left to do; fail if that does not end."""
        for _ in range(50 * (self.count + 10)):
            self.feed()
            self.collect()
            if self.stream.finished and not self.stream.news:
                return
            for number in self.workers:
                self.work(number, 1000)
            self.flow()
        pytest.fail("the map does not end")

    # What must hold at the end.

    def check_complete(self) -> None:
        assert self.stream.settled == self.count == len(self.seen)
        outcomes = sorted(self.index_of(value, error) for value, error in self.seen)
        assert outcomes == list(range(self.count))
        assert self.desk.in_flight == 0
        for value, error in self.seen:
            if isinstance(error, Failing):
                assert error.args[0] in self.failing
            elif error is None:
                assert value not in self.failing

    @staticmethod
    def index_of(value: int | None, error: Any) -> int:
        if isinstance(error, Failing):
            return int(error.args[0])
        if isinstance(error, WorkerLost):
            assert error.item is not None
            return error.item
        if isinstance(error, TaskTimeout):
            return int(str(error).split()[1])
        assert value is not None
        return value


_STEPS = ["work", "work", "work", "die", "die unbegun", "agent", "late", "feed", "collect", "kill", "look"]
steps = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(_STEPS),
        st.integers(1, 9),
    ),
    max_size=60,
)


def play(rig: Rig, script: list[tuple[int, str, int]], *, deaths: bool = True) -> None:
    """Have it all happen, with the engine's own part after each step, then let the rest go well."""
    rig.feed()
    old: list[int] = []
    for who, what, much in script:
        number = who % len(rig.workers)
        rig.now += 0.001 * much
        old += [flight.seq for flight in rig.workers[number].pipe]
        if what == "work":
            rig.work(number, much)
        elif what == "die" and deaths:
            rig.die(number)
        elif what == "die unbegun" and deaths:
            rig.die(number, begun=False)
        elif what == "agent" and deaths:
            for every in list(rig.workers):
                rig.die(every, AGENT)
        elif what == "kill" and deaths:
            rig.desk.abandon(number, "cancelled")
            rig.die(number)
        elif what == "look":
            rig.look(0.1, left=much % 2)
        elif what == "late" and old:
            current = {flight.seq for worker in rig.workers.values() for flight in worker.pipe}
            stale = [seq for seq in old if seq not in current]
            if stale:
                rig.late(number, stale[much % len(stale)])
        elif what == "feed":
            rig.feed(waiting=much > 4)
        elif what == "collect":
            rig.collect()
        rig.flow()
    rig.finish()
