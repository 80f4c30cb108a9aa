"""Routing by hand: slots under two numberings, and deaths at any moment."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hub_rig import FakeHub, Rig  # type: ignore[import-not-found]
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anypool import LauncherUnavailable, PlanError, WorkerLost
from anypool._crew import Recalled
from anypool._routing import refusal
from anypool._wire import Kind, Message


def same(x):
    return x


def second(_, x):
    return x


# Too big to ride along with each chunk.
heavy = partial(second, bytes(40_000))


def test_a_map_gets_its_results_through_two_numberings_of_slots():
    rig = Rig(2, 3)
    assert rig.finish(rig.map(same, 50, chunksize=3)) == list(range(50))
    assert set(rig.runs.values()) == {1}


def test_what_is_called_crosses_once_to_each_hub():
    rig = Rig(2, 3)
    assert rig.finish(rig.map(heavy, 60, chunksize=2)) == list(range(60))
    assert [hub.bodies_sent for hub in rig.hubs.there.values()] == [1, 1]


def test_a_hub_answers_its_worker_that_has_forgotten_a_function():
    rig = Rig(1, 2)
    stream = rig.map(heavy, 20, chunksize=1)
    for worker in rig.hubs.there[0].crew.workers.values():
        worker.forgetful = True
    assert rig.finish(stream) == list(range(20))
    assert rig.hubs.there[0].bodies_sent == 1


def test_a_hub_asks_for_what_it_does_not_have_any_more():
    rig = Rig(1, 2)
    stream = rig.map(heavy, 20, chunksize=1)
    hub = rig.hubs.there[0]
    while hub.to_hub:
        hub.receive()
    hub.router.take(Message(Kind.DROP, digest=stream.job.body.digest))
    assert rig.finish(stream) == list(range(20))
    # Every chunk that came before the function did.
    assert hub.bodies_sent > 1


def test_the_workers_of_a_dead_hub_come_back_with_the_next_one():
    rig = Rig(2, 2)
    stream = rig.map(same, 40, chunksize=2)
    step_all(rig, 3)
    rig.hubs.kill(0)
    assert rig.finish(stream) == list(range(40))
    assert len(rig.engine.desk.slots) == 4
    assert set(rig.hubs.there) == {0, 1}


def test_a_dead_hub_costs_only_its_own_items():
    rig = Rig(2, 2)
    stream = rig.map(same, 40, chunksize=2)
    step_all(rig, 2)
    hit = {item for worker in rig.hubs.there[0].crew.workers.values() for item in worker.running}
    rig.hubs.kill(0)
    rig.finish(stream)
    assert {item for item, runs in rig.runs.items() if runs > 1} == hit
    assert hit


def test_an_item_that_never_may_run_twice_does_not_when_its_hub_dies():
    rig = Rig(2, 1)
    stream = rig.map(same, 10, chunksize=5, retries=0, on_error="return")
    step_all(rig, 3)
    hit = {item for worker in rig.hubs.there[0].crew.workers.values() for item in worker.running}
    rig.hubs.kill(0)
    results = rig.finish(stream)
    lost = [at for at, value in enumerate(results) if isinstance(value, WorkerLost)]
    # With it those of its chunk that it had perhaps begun since, for the hub may have died before it could tell.
    assert lost == list(range(lost[0], lost[0] + len(lost)))
    assert hit <= set(lost)
    assert len(lost) <= 5
    assert all(results[at].begun for at in lost)
    assert "process-0 was lost" in str(results[lost[0]])
    assert max(rig.runs.values()) == 1


def test_a_hub_that_never_gets_anywhere_is_given_up_with_its_last_words():
    rig = Rig(1, 2)
    stream = rig.map(same, 10)
    for _ in range(5):
        rig.hubs.there[0].to_owner.clear()
        rig.hubs.kill(0)
        rig.apply()
    assert isinstance(rig.engine.broken, WorkerLost)
    assert "last words" in str(rig.engine.broken)
    assert stream.broken is rig.engine.broken
    assert not rig.engine.desk.slots


def test_a_pool_goes_on_without_a_hub_that_never_gets_anywhere(caplog):
    rig = Rig(2, 2)
    for _ in range(5):
        rig.hubs.there[0].to_owner.clear()
        rig.hubs.kill(0)
        rig.apply()
    assert rig.finish(rig.map(same, 10)) == list(range(10))
    assert len(rig.engine.desk.slots) == 2


def test_a_hub_that_says_nothing_in_time_is_given_up():
    rig = Rig(1, 1)
    for call in rig.hubs.timers:
        call()
    rig.apply()
    assert isinstance(rig.engine.broken, WorkerLost)


def test_a_launcher_that_cannot_start_there_breaks_the_pool_with_its_words():
    rig = Rig(2, 2)
    rig.hubs.heard.append((0, refusal(LauncherUnavailable("no such thing here"))))
    rig.apply()
    with pytest.raises(LauncherUnavailable, match="no such thing here"):
        raise rig.engine.broken
    rig.hubs.kill(1)
    rig.apply()
    assert not [slot for slot in rig.engine.desk.slots if rig.crew.routes.places[slot].hub == 1]


def test_a_worker_that_is_not_ended_when_it_should_be_ends_with_its_hub():
    rig = Rig(2, 2)
    step_all(rig, 1)
    rig.crew.kill(0)
    before = rig.hubs.there[0]
    for call in rig.hubs.timers:
        call()
    rig.apply()
    assert rig.hubs.there[0] is not before


def test_a_hub_may_offer_more_than_was_asked_for():
    rig = Rig(2, 2, surplus=1)
    assert rig.finish(rig.map(same, 50, chunksize=1)) == list(range(50))
    assert len(rig.engine.desk.slots) == 6


def test_a_pool_grows_and_shrinks():
    rig = Rig(2, 2)
    rig.engine.resize(7)
    assert rig.finish(rig.map(same, 50, chunksize=1)) == list(range(50))
    assert len(rig.engine.desk.slots) == 7
    assert sorted(len(hub.crew.workers) for hub in rig.hubs.there.values()) == [3, 4]
    rig.engine.resize(1)
    assert rig.finish(rig.map(same, 50, chunksize=1)) == list(range(50))
    assert sum(len(hub.crew.workers) for hub in rig.hubs.there.values()) == 1


def test_an_item_that_was_sent_to_a_worker_already_dead_is_not_to_blame():
    rig = Rig(1, 1)
    assert rig.finish(rig.map(same, 3)) == [0, 1, 2]
    rig.runs.clear()
    hub = rig.hubs.there[0]
    (slot,) = hub.crew.workers
    hub.crew.die(slot)
    hub.flush()
    stream = rig.map(same, 1, retries=1)
    (lost,) = [message for message in hub.to_owner if message.kind == Kind.DIED]
    assert not lost.fields()["own"]
    assert rig.finish(stream) == [0]
    assert rig.runs == {0: 1}


def test_a_worker_that_dies_before_it_greets_is_a_false_start():
    rig = Rig(1, 1)
    for _ in range(5):
        hub = rig.hubs.there[0]
        while hub.to_hub:
            hub.receive()
        for slot in list(hub.crew.workers):
            hub.crew.die(slot)
        hub.flush()
        while hub.to_owner:
            rig.hubs.hear(0)
        rig.apply()
    assert isinstance(rig.engine.broken, WorkerLost)


def test_workers_are_renewed_after_so_many_tasks():
    rig = Rig(2, 2, quota=3)
    assert rig.finish(rig.map(same, 40)) == list(range(40))
    assert set(rig.runs.values()) == {1}


def test_chunks_that_wait_are_taken_back_from_a_hub():
    rig = Rig(1, 1)
    stream = rig.map(same, 10, chunksize=1)
    step_all(rig, 3)
    waiting = [flight.seq for flight in rig.engine.desk.slots[0].flights][1:]
    rig.engine._recall(0)
    hub = rig.hubs.there[0]
    while hub.to_hub:
        hub.receive()
    said = [message for message in hub.to_owner if message.kind == Kind.DROPPED]
    assert [crew_event for message in said for crew_event in rig.crew.routes.hear(0, message)] == [
        Recalled(0, seq) for seq in waiting
    ]
    assert rig.finish(stream) == list(range(10))


def test_a_path_begins_with_a_launcher_that_opens_channels():
    from anypool import Multiprocess, Process, get_pool

    with pytest.raises(LauncherUnavailable, match="opens no channels"):
        get_pool(Multiprocess(1, oversubscribe=True) / Process(1))


def test_options_about_tasks_belong_to_the_innermost_launcher():
    from anypool import Process, get_pool

    with pytest.raises(PlanError, match="initializer= belongs to 'process'"):
        get_pool(Process(1, initializer=same) / Process(1))


# Anything, at any moment.

ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *["receive", "step", "step", "hear", "apply"] * 4,
                "die",
                "die",
                "leave",
                "hub dies",
                "kill",
                "recall",
                "forget",
                "resize",
            ]
        ),
        st.integers(0, 11),
    ),
    max_size=120,
)


@given(
    actions=ACTIONS,
    hubs=st.integers(1, 3),
    workers=st.integers(1, 3),
    chunksize=st.sampled_from([1, 2, 5]),
    careful=st.booleans(),
    big=st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_every_item_has_its_result_and_runs_once_at_a_time_whatever_dies(
    actions, hubs, workers, chunksize, careful, big
):
    rig = Rig(hubs, workers)
    options: dict[str, Any] = {"timeout": 1e6} if careful else {}
    stream = rig.map(heavy if big else same, 30, chunksize=chunksize, retries=1000, **options)
    free = 0
    for action, at in actions:
        # More than five losses that are nobody's fault are one too many.
        free += action in ("hub dies", "kill")
        if free <= 4 or action not in ("hub dies", "kill"):
            act(rig, action, at)
    assert rig.finish(stream) == list(range(30))
    rig.engine.end(stream, kill=False)
    assert not rig.engine.desk.in_flight


@given(actions=ACTIONS, hubs=st.integers(1, 3), workers=st.integers(1, 2))
@example(actions=[("receive", 0), ("resize", 1), ("receive", 0), ("step", 1)], hubs=1, workers=1)
@settings(max_examples=150, deadline=None)
def test_an_item_never_runs_twice_if_it_may_not_whatever_dies(actions, hubs, workers):
    rig = Rig(hubs, workers)
    stream = rig.map(same, 20, chunksize=2, retries=0, on_error="return")
    for action, at in actions:
        act(rig, action, at)
    results = rig.finish(stream)
    assert len(results) == 20
    assert all(value == item or isinstance(value, WorkerLost) for item, value in enumerate(results))
    assert max(rig.runs.values()) == 1


def step_all(rig: Rig, times: int) -> None:
    for _ in range(times):
        for number, hub in rig.hubs.there.items():
            while hub.to_hub:
                hub.receive()
            for slot in list(hub.crew.workers):
                hub.crew.step(slot)
            hub.flush()
            while hub.to_owner:
                rig.hubs.hear(number)
        rig.apply()


def act(rig: Rig, action: str, at: int) -> None:
    there = list(rig.hubs.there)
    slots = list(rig.engine.desk.slots)
    number = there[at % len(there)] if there else None
    hub = rig.hubs.there[number] if number is not None else None
    if action == "apply":
        rig.apply()
    elif action == "resize":
        rig.engine.resize(1 + at % 6)
    elif action in ("kill", "recall") and slots:
        slot = slots[at % len(slots)]
        with rig.engine.section:
            if action == "recall":
                rig.engine._recall(slot)
            elif rig.engine.desk.slots[slot].flights:
                rig.engine._kill(slot, "cancelled")
    elif hub is not None and number is not None:
        act_on_hub(rig, action, at, number, hub)


def act_on_hub(rig: Rig, action: str, at: int, number: int, hub: FakeHub) -> None:
    if action == "hub dies":
        # One that has never offered anything counts as one that can't start.
        if rig.crew.routes.hubs[number].told:
            rig.hubs.kill(number)
    elif action == "receive":
        hub.receive()
    elif action == "hear":
        rig.hubs.hear(number)
    elif hub.crew.workers:
        slots = list(hub.crew.workers)
        slot = slots[at % len(slots)]
        worker = hub.crew.workers[slot]
        if action == "step":
            hub.crew.step(slot)
        elif action == "die" and worker.greeted:
            hub.crew.die(slot)
        elif action == "leave":
            hub.crew.leaving.add(slot)
        elif action == "forget":
            worker.forgetful = True
        hub.flush()
