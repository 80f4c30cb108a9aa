"""Desk and stream, driven by hand: whatever is lost, late or partial, each item has one outcome, and the right one."""

from __future__ import annotations

from desk_rig import Rig, play, steps  # type: ignore[import-not-found]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anypool import TaskTimeout, WorkerLost
from anypool._slot import Cause

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


sizes = st.integers(0, 40)


pools = st.integers(1, 4)


chunk_sizes = st.one_of(st.none(), st.integers(1, 12))


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.booleans(), steps)
def test_every_item_has_one_outcome_whatever_is_lost(count, workers, chunksize, ordered, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, ordered=ordered)
    play(rig, script)
    rig.check_complete()
    if ordered:
        assert [rig.index_of(value, error) for value, error in rig.seen] == list(range(count))


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.booleans(), steps)
def test_the_same_where_workers_do_not_report_their_items(count, workers, chunksize, ordered, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, ordered=ordered, reports_items=False)
    play(rig, script)
    rig.check_complete()


@EXAMPLES
@given(st.integers(1, 40), pools, chunk_sizes, st.integers(1, 6), steps)
def test_the_same_with_a_quota_for_each_worker(count, workers, chunksize, quota, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, quota=quota)
    play(rig, script)
    rig.check_complete()


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.sampled_from([None, 1, 2]), steps)
def test_only_an_item_that_met_more_deaths_than_allowed_is_lost(count, workers, chunksize, retries, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, retries=retries)
    play(rig, script)
    rig.check_complete()
    allowed = 2 if retries is None else retries
    for _, error in rig.seen:
        if isinstance(error, WorkerLost):
            assert error.item is not None
            # Losses that are nobody's fault are free five times, deaths before it began three times.
            assert rig.deaths.get(error.item, 0) > allowed or rig.losses.get(error.item, 0) > 3


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.integers(0, 40), steps)
def test_an_item_that_kills_every_worker_is_the_only_one_lost(count, workers, chunksize, culprit, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize)
    real_work = rig.work

    def work(number: int, items: int, seconds: float = 0.001) -> None:
        worker = rig.workers[number]
        if worker.pipe:
            chunk = worker.pipe[0].chunk
            first = chunk.first + worker.replied
            if first == culprit:
                rig.die(number)
                return
            if first < culprit < chunk.first + chunk.count:
                if not chunk.careful:
                    # It dies before it replies; what it did before the culprit is lost too.
                    rig.die(number)
                    return
                items = min(items, culprit - first)
        real_work(number, items, seconds)

    rig.work = work
    play(rig, script, deaths=False)
    rig.check_complete()
    lost = [error.item for _, error in rig.seen if isinstance(error, WorkerLost)]
    assert lost == ([culprit] if culprit < count else [])


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.booleans(), steps)
def test_without_retries_nothing_begins_twice(count, workers, chunksize, reports_items, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, retries=0, reports_items=reports_items)
    play(rig, script)
    rig.check_complete()
    assert all(times == 1 for times in rig.began.values())


@EXAMPLES
@given(sizes, pools, chunk_sizes, steps)
def test_what_has_not_begun_is_never_lost(count, workers, chunksize, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, retries=0)
    play(rig, script)
    for _, error in rig.seen:
        if isinstance(error, WorkerLost):
            assert error.item in rig.began or rig.losses[error.item] > 3


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.integers(0, 40), st.sampled_from([None, 0]), steps)
def test_an_item_that_kills_before_it_begins_costs_only_its_chunk(
    count, workers, chunksize, culprit, retries, script
) -> None:
    rig = Rig(count, workers, chunksize=chunksize, retries=retries)
    real_work = rig.work

    def work(number: int, items: int, seconds: float = 0.001) -> None:
        worker = rig.workers[number]
        if worker.pipe:
            chunk = worker.pipe[0].chunk
            if chunk.first <= culprit < chunk.first + chunk.count:
                rig.die(number, begun=False)
                return
        real_work(number, items, seconds)

    rig.work = work
    play(rig, script, deaths=False)
    rig.check_complete()
    lost = [error.item for _, error in rig.seen if isinstance(error, WorkerLost)]
    assert (culprit in lost) == (culprit < count)
    assert len(lost) <= (chunksize or count)


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.sets(st.integers(0, 40), max_size=6), steps)
def test_the_lowest_error_ends_a_map(count, workers, chunksize, failing, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, failing=failing, halt=True)
    play(rig, script, deaths=False)
    inside = [index for index in sorted(failing) if index < count]
    errors = [error for _, error in rig.seen if error is not None]
    if inside:
        assert errors
        assert errors[0].args == (inside[0],)
        before = [value for value, error in rig.seen[: inside[0]] if error is None]
        assert before == list(range(inside[0]))
    else:
        rig.check_complete()


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.sets(st.integers(0, 40), max_size=6), st.booleans(), steps)
def test_without_halting_each_error_has_its_place(count, workers, chunksize, failing, ordered, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, failing=failing, ordered=ordered)
    play(rig, script)
    rig.check_complete()


@EXAMPLES
@given(sizes, pools, chunk_sizes, st.sets(st.integers(0, 40), max_size=4), st.integers(1, 3), steps)
def test_an_error_is_retried_as_often_as_asked(count, workers, chunksize, failing, retries, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, failing=failing, error_retries=retries)
    play(rig, script, deaths=False)
    rig.check_complete()
    for index in range(count):
        assert rig.began[index] == (1 + retries if index in failing else 1)


@EXAMPLES
@given(st.integers(0, 200), pools, chunk_sizes, st.integers(1, 20), steps)
def test_no_more_is_read_ahead_than_the_buffer_holds(count, workers, chunksize, buffersize, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, buffersize=buffersize)
    rig.feed()
    for who, what, much in script:
        if what == "collect":
            rig.collect()
        elif what == "feed":
            rig.feed(waiting=much > 4)
        else:
            rig.work(who % workers, much)
            rig.flow()
        assert rig.stream.read - len(rig.seen) <= buffersize
    rig.finish()
    rig.check_complete()


@EXAMPLES
@given(pools, chunk_sizes, steps)
def test_a_consumer_that_pauses_stops_the_reading(workers, chunksize, script) -> None:
    rig = Rig(10**6, workers, chunksize=chunksize)
    rig.feed(waiting=False)
    for who, what, much in script:
        if what in ("work", "feed"):
            rig.work(who % workers, much)
            rig.feed(waiting=False)
        size = rig.stream.sizer.size(rig.stream.read, workers)
        assert rig.stream.read <= 4 * workers * max(size, chunksize or 1, 64)


@EXAMPLES
@given(sizes, pools, steps)
def test_a_cancelled_stream_gives_out_nothing_more(count, workers, script) -> None:
    rig = Rig(count, workers, chunksize=3)
    rig.feed()
    half = len(script) // 2
    for who, what, much in script[:half]:
        if what == "work":
            rig.work(who % workers, much)
        rig.feed()
    rig.stream.cancel()
    pending = rig.desk.in_flight
    for who, what, much in script[half:]:
        if what == "work":
            rig.work(who % workers, much)
        elif what == "die":
            rig.die(who % workers)
        rig.feed()
        assert rig.desk.in_flight <= pending
        pending = rig.desk.in_flight


@EXAMPLES
@given(st.integers(1, 30), pools, chunk_sizes, st.integers(0, 29), steps)
def test_a_task_past_its_timeout_costs_only_itself(count, workers, chunksize, slow, script) -> None:
    rig = Rig(count, workers, chunksize=chunksize, timeout=1.0)
    real_work = rig.work
    killed: list[int] = []

    def work(number: int, items: int, seconds: float = 0.001) -> None:
        worker = rig.workers[number]
        if worker.pipe and worker.pipe[0].chunk.first + worker.replied == slow:
            flight = worker.pipe[0]
            worker.told_begun = True
            rig.desk.begun(number, flight.seq, rig.now)
            rig.began[slow] = rig.began.get(slow, 0) + 1
            assert rig.desk.overdue(rig.now + 0.5) == []
            rig.now += 1.5
            for late in rig.desk.overdue(rig.now):
                assert rig.desk.abandon(late, "timeout")
                killed.append(late)
                rig.die(late, begun=False)
            return
        limit = slow - (worker.pipe[0].chunk.first + worker.replied) if worker.pipe else 0
        real_work(number, min(items, limit) if limit > 0 else items, seconds)

    rig.work = work
    rig.feed()
    rig.finish()
    rig.check_complete()
    timed_out = [rig.index_of(None, error) for _, error in rig.seen if isinstance(error, TaskTimeout)]
    assert timed_out == ([slow] if slow < count else [])
    assert not [error for _, error in rig.seen if isinstance(error, WorkerLost)]


def test_two_streams_take_turns() -> None:
    rig = Rig(100, 1, chunksize=1)
    other = Rig(100, 1, chunksize=1)
    rig.desk.add_lane(other.stream)
    turns = []
    for stream in (rig.stream, other.stream):
        stream.append(stream.cut(1))
        stream.append(stream.cut(1))
    rig.stream.sizer.per_item = other.stream.sizer.per_item = 1e-4
    for _ in range(4):
        rig.flow()
        worker = rig.workers[0]
        turns.append(worker.pipe[0].chunk.lane is rig.stream)
        rig.work(0, 1)
    assert turns in ([True, False, True, False], [False, True, False, True])


def test_a_slot_that_is_to_go_gets_no_new_work_and_goes_when_idle() -> None:
    rig = Rig(20, 3, chunksize=1)
    rig.feed()
    rig.desk.shrink(1)
    assert len(rig.desk.left()) == 0
    for number in (1, 2):
        while rig.workers[number].pipe:
            rig.work(number, 1)
        rig.flow()
        assert not rig.workers[number].pipe
    assert {slot.number for slot in rig.desk.left()} == {1, 2}
    del rig.workers[1], rig.workers[2]
    rig.finish()
    rig.check_complete()


def test_a_chunk_recalled_before_it_began_runs_elsewhere() -> None:
    rig = Rig(30, 2, chunksize=2)
    rig.stream.sizer.per_item = 1e-4
    rig.feed()
    stuck = rig.workers[0]
    assert len(stuck.pipe) == 2
    queued = stuck.pipe.pop()
    rig.desk.recalled(0, queued.seq)
    rig.desk.recalled(0, queued.seq)
    rig.finish()
    rig.check_complete()
    assert set(rig.began.values()) == {1}


def test_a_worker_that_lacks_the_function_is_asked_again_without_an_attempt() -> None:
    rig = Rig(5, 1, chunksize=5)
    rig.feed()
    (flight,) = rig.workers[0].pipe
    assert rig.desk.needs(0, flight.seq) is flight
    assert rig.desk.needs(0, flight.seq + 1) is None
    rig.finish()
    rig.check_complete()
    assert set(rig.began.values()) == {1}


@EXAMPLES
@given(pools, st.integers(1, 4), steps)
def test_a_worker_from_which_all_was_taken_back_works_on(workers, chunksize, script) -> None:
    rig = Rig(60, workers, chunksize=chunksize)
    rig.stream.sizer.per_item = 1e-4
    rig.feed()
    for number in rig.workers:
        assert len(rig.workers[number].pipe) == 2 or rig.stream.read == 60
    rig.look(0.1, left=0)
    play(rig, script)
    rig.check_complete()


def test_what_may_begin_once_counts_as_begun_where_nobody_heard_that_it_had_not() -> None:
    rig = Rig(4, 1, chunksize=4, retries=0)
    rig.feed()
    rig.desk.lost(0, Cause("the way to it was lost", own=False, heard=False))
    (batch,) = rig.stream.collect()
    assert [type(error) for error in batch[1].values()] == [WorkerLost] * 4
    assert all(error.begun for error in batch[1].values() if isinstance(error, WorkerLost))
    assert rig.stream.settled == 4


def test_what_may_begin_again_does_so_wherever_it_was_lost() -> None:
    rig = Rig(4, 1, chunksize=4)
    rig.feed()
    rig.workers[0].pipe.clear()
    rig.desk.lost(0, Cause("the way to it was lost", own=False, heard=False))
    rig.desk.renewed(0)
    rig.finish()
    rig.check_complete()
