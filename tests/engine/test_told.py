"""What observers are told agrees with what becomes of the items, whatever is lost, late or partial."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from desk_rig import Rig, play, steps  # type: ignore[import-not-found]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anypool._observing import Observer, Teller

EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Crew:
    """Knows its workers' names."""

    @staticmethod
    def identify(slot: int) -> tuple[str, str, int]:
        return f"w-{slot}", os.uname().nodename, 0


class Told(Teller):
    """Keeps events instead of having them told."""

    def __init__(self) -> None:
        super().__init__("rig")
        self.events: list[tuple[str, dict[str, Any]]] = []

    def tell(self, hook: str, **arguments: Any) -> None:
        self.events.append((hook.removeprefix("anypool_"), arguments))

    def of(self, hook: str) -> list[dict[str, Any]]:
        return [arguments for name, arguments in self.events if name == hook]


def observe(rig: Any) -> Told:
    told = Told()
    observer = Observer(told, Crew(), serial=False)  # type: ignore[arg-type]
    rig.desk.observer = observer
    observer.opened(rig.stream)
    return told


@EXAMPLES
@given(
    st.integers(0, 40),
    st.integers(1, 4),
    st.one_of(st.none(), st.integers(1, 12)),
    st.sets(st.integers(0, 39), max_size=8),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    steps,
)
def test_failures_chunks_and_the_end_agree_with_the_outcomes(
    count, workers, chunksize, failing, error_retries, ordered, reports_items, script
) -> None:
    rig = Rig(
        count, workers, failing=failing, chunksize=chunksize, error_retries=error_retries, ordered=ordered,
        reports_items=reports_items,
    )  # fmt: skip
    told = observe(rig)
    play(rig, script)
    rig.stream.observer.finished(rig.stream)
    rig.stream.observer.finished(rig.stream)

    failed = Counter(event["item"] for event in told.of("item_failed"))
    assert failed == Counter(rig.index_of(value, error) for value, error in rig.seen if error is not None)
    (end,) = told.of("map_finished")
    assert told.events[-1] == ("map_finished", end)
    assert (end["count"], end["errors"]) == (count, failed.total())
    # What came back in chunks: each item's outcome, but for those that a lost worker was to make, and each retried one.
    came = Counter[int]()
    for chunk in told.of("chunk_done"):
        came.update(range(chunk["first"], chunk["first"] + chunk["count"]))
    assert came.keys() <= set(range(count))
    assert set(range(count)) - came.keys() <= failed.keys()
    for item, times in came.items():
        assert times <= 1 + error_retries
        assert times == 1 or item in {event["item"] for event in told.of("item_retried")}


@EXAMPLES
@given(st.integers(1, 40), st.integers(1, 4), steps)
def test_each_loss_is_told_before_what_it_leads_to(count, workers, script) -> None:
    rig = Rig(count, workers, retries=1)
    told = observe(rig)
    play(rig, script)
    lost = False
    for hook, event in told.events:
        if hook == "worker_lost":
            lost = True
        elif hook in ("item_retried", "item_failed"):
            assert lost
            assert event["worker"].startswith("w-")
        elif hook == "worker_started":
            assert lost


def test_what_a_map_that_is_over_still_runs_is_not_told() -> None:
    rig = Rig(20, 2, chunksize=2)
    told = observe(rig)
    rig.feed()
    rig.stream.cancel()
    rig.stream.observer.finished(rig.stream)
    rig.work(0, 2)
    assert [hook for hook, _ in told.events] == ["map_finished"]
    assert told.of("map_finished")[0]["count"] == 0


@pytest.mark.parametrize("verdict", ["timeout", "cancelled"])
def test_a_loss_that_the_pool_has_caused_says_why(verdict) -> None:
    rig = Rig(4, 1, chunksize=2, timeout=1.0)
    told = observe(rig)
    rig.feed()
    rig.desk.begun(0, rig.workers[0].pipe[0].seq, rig.now)
    rig.desk.abandon(0, verdict)
    rig.die(0)
    assert [event["cause"] for event in told.of("worker_lost")] == [f"{verdict}: killed"]
