"""Observers are told what happens in pools, in order, on every launcher, and disturb nothing."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pluggy
import pytest
from plugin_rig import Recorder, launcher  # type: ignore[import-not-found]

import anypool
from anypool import Pool, Thread, get_pool
from anypool._plugins import Plugin

on_each = pytest.mark.parametrize("text", ["serial", "thread:2", "process:2"])
# The last takes seconds to start.
on_all = pytest.mark.parametrize("text", ["serial", "thread:2", "process:2", "multiprocess:2"])


def odd_fails(x):
    if x % 2:
        raise ValueError(x)
    return x


def fails_once(marks, x):
    """Raise the first time that it is called for an item, in whatever process."""
    mark = Path(marks, str(x))
    if not mark.exists():
        mark.touch()
        raise OSError(x)
    return x


def dies_once(marks, x):
    mark = Path(marks, str(x))
    if x == 3 and not mark.exists():
        mark.touch()
        os._exit(9)
    return x


def late_at_1(x):
    limit = time.monotonic() + 30 * (x == 1)
    while time.monotonic() < limit:
        time.sleep(0.01)


@on_all
def test_every_item_is_told_of_once_and_the_end_of_the_map_comes_last(recorder, text):
    with get_pool(text) as pool:
        pool.map(abs, range(500), chunksize=7)
    told: Counter[int] = Counter()
    for chunk in recorder.of("chunk_done"):
        told.update(range(chunk["first"], chunk["first"] + chunk["count"]))
        assert chunk["errors"] == 0
        assert chunk["seconds"] >= 0
    assert told == Counter(range(500))
    (finished,) = recorder.of("map_finished")
    assert recorder.events[-1] == ("map_finished", finished)
    assert (finished["count"], finished["errors"]) == (500, 0)
    assert finished["seconds"] > 0
    assert {arguments["map_number"] for _, arguments in recorder.events if "map_number" in arguments} == {
        finished["map_number"]
    }
    assert len({arguments["pool"] for _, arguments in recorder.events}) == 1


@on_each
def test_the_workers_that_take_tasks_are_told_before_what_they_do(recorder, text):
    with get_pool(text) as pool:
        pool.map(abs, range(200), chunksize=1)
        names = {worker.name for worker in pool.workers()}
    started = [event["worker"] for event in recorder.of("worker_started")]
    assert len(started) == len(set(started))
    assert set(started) <= names
    seen: set[str] = set()
    for hook, event in recorder.events:
        if hook == "worker_started":
            seen.add(event["worker"])
        elif hook == "chunk_done":
            assert event["worker"] in seen


def test_an_observer_that_is_registered_while_workers_start_is_told_of_their_pool(monkeypatch):
    watcher, launch = Recorder(), Thread.launch

    def launch_meanwhile(self):
        anypool.register(watcher)
        return launch(self)

    monkeypatch.setattr(Thread, "launch", launch_meanwhile)
    try:
        with get_pool("thread:2") as pool:
            pool.map(abs, range(10))
    finally:
        anypool.unregister(watcher)
    assert len(watcher.of("worker_started")) == 2
    assert len(watcher.of("map_finished")) == 1


@on_each
def test_items_that_fail_are_told_one_by_one_with_their_worker(recorder, text):
    with get_pool(text) as pool:
        pool.map(odd_fails, range(10), on_error="return")
    failed = recorder.of("item_failed")
    assert sorted(event["item"] for event in failed) == [1, 3, 5, 7, 9]
    assert all(event["worker"] for event in failed)
    assert sum(chunk["errors"] for chunk in recorder.of("chunk_done")) == 5
    assert recorder.of("map_finished")[0]["errors"] == 5
    assert recorder.of("item_retried") == []


@on_all
def test_items_that_run_again_after_an_exception_are_told_as_retried_and_not_as_failed(recorder, text, tmp_path):
    with get_pool(text) as pool:
        assert pool.map(fails_once, [str(tmp_path)] * 6, range(6), retry_on=(OSError,)) == list(range(6))
    assert sorted(event["item"] for event in recorder.of("item_retried")) == list(range(6))
    assert recorder.of("item_failed") == []
    assert (recorder.of("map_finished")[0]["count"], recorder.of("map_finished")[0]["errors"]) == (6, 0)


@on_each
def test_single_calls_are_map_0_and_are_never_finished(recorder, text):
    with get_pool(text) as pool:
        pool.pipe(abs, -1)
        with pytest.raises(ValueError, match="3"):
            pool.submit(odd_fails, 3).result(timeout=30)
    assert {chunk["map_number"] for chunk in recorder.of("chunk_done")} == {0}
    assert sum(chunk["count"] for chunk in recorder.of("chunk_done")) == 2
    assert [event["map_number"] for event in recorder.of("item_failed")] == [0]
    assert recorder.of("map_finished") == []


@on_each
def test_a_map_that_raises_is_finished_with_what_it_has(recorder, text):
    with get_pool(text) as pool, pytest.raises(ValueError, match="1"):
        pool.map(odd_fails, range(1000), chunksize=1)
    (finished,) = recorder.of("map_finished")
    assert finished["errors"] >= 1
    assert finished["count"] <= 1000
    assert 1 in {event["item"] for event in recorder.of("item_failed")}


@on_each
@pytest.mark.parametrize("method", ["imap", "uimap", "amap"])
def test_the_lazy_and_the_later_maps_are_told_as_well(recorder, text, method):
    with get_pool(text) as pool:
        result = getattr(pool, method)(abs, range(50))
        assert sorted(result.get(timeout=30) if method == "amap" else result) == list(range(50))
    assert sum(chunk["count"] for chunk in recorder.of("chunk_done")) == 50
    assert [event["count"] for event in recorder.of("map_finished")] == [50]


@on_each
def test_a_map_that_is_half_read_when_its_pool_is_left_is_finished_then(recorder, text):
    with get_pool(text) as pool:
        results = pool.imap(abs, iter(int, 1))
        assert next(results) == 0
    assert len(recorder.of("map_finished")) == 1
    del results
    with get_pool("serial") as pool:
        pool.map(abs, [1])
    assert len(recorder.of("map_finished")) == 2


@on_each
def test_leaving_a_pool_by_an_exception_has_told_everything_too(recorder, text):
    with pytest.raises(KeyError), get_pool(text) as pool:  # noqa: PT012
        pool.map(abs, range(20))
        raise KeyError
    assert sum(chunk["count"] for chunk in recorder.of("chunk_done")) == 20
    assert len(recorder.of("map_finished")) == 1


def test_an_item_that_can_not_be_sent_has_failed_without_a_worker(recorder):
    with get_pool("process:2") as pool:
        inputs: list[object] = [1, 2, (x for x in [1]), 3]
        outcomes: list[object] = pool.map(bool, inputs, on_error="return")
    assert isinstance(outcomes[2], anypool.Unserializable)
    assert [(event["item"], event["worker"]) for event in recorder.of("item_failed")] == [(2, "")]
    assert recorder.of("map_finished")[0]["count"] == 4


def test_what_the_input_raises_is_no_item_that_failed(recorder):
    def numbers():
        yield from range(5)
        raise OSError("the file is gone")

    with get_pool("thread:2") as pool, pytest.raises(OSError, match="gone"):
        pool.map(abs, numbers())
    assert recorder.of("item_failed") == []


def test_a_lost_worker_is_told_with_its_cause_and_so_is_the_one_in_its_place(recorder, tmp_path, wait_until):
    with get_pool("process:2") as pool:
        assert pool.map(dies_once, [str(tmp_path)] * 40, range(40), chunksize=1) == list(range(40))
        # Two, and the one that takes the place, which may come after all else is done.
        wait_until(lambda: pool.map(abs, [1]) and len(recorder.of("worker_started")) == 3)
    (lost,) = recorder.of("worker_lost")
    assert "9" in lost["cause"]
    assert lost["host"] == os.uname().nodename
    at = recorder.events.index(("worker_lost", lost))
    later = [event for hook, event in recorder.events[at:] if hook == "worker_started"]
    earlier = [event for hook, event in recorder.events[:at] if hook == "worker_started"]
    assert lost["worker"] in {event["worker"] for event in later}
    assert not {event["pid"] for event in later} & {event["pid"] for event in earlier}
    assert [(event["item"], event["worker"]) for event in recorder.of("item_retried")] == [(3, lost["worker"])]
    assert recorder.of("item_failed") == []


@pytest.mark.parametrize("text", ["thread:2", "process:2", "serial"])
def test_a_worker_that_is_ended_for_a_timeout_is_told_as_lost_for_that(recorder, text):
    with get_pool(text) as pool:
        outcomes = pool.map(late_at_1, range(3), timeout=0.3, on_error="return")
    assert isinstance(outcomes[1], anypool.TaskTimeout)
    (lost,) = recorder.of("worker_lost")
    assert lost["cause"].startswith("timeout: ")
    assert [event["item"] for event in recorder.of("item_failed")] == [1]
    if text == "serial":
        assert lost["worker"] == "caller"


def test_an_open_pool_is_observed_from_the_next_map_on_and_no_more_once_that_is_undone():
    observer = Recorder()
    with get_pool("process:2") as pool:
        pool.map(abs, range(10))
        anypool.register(observer)
        pool.map(abs, range(20))
        anypool.unregister(observer)
        pool.map(abs, range(30))
        anypool.register(observer)
        pool.map(abs, range(40))
    anypool.unregister(observer)
    assert [event["count"] for event in observer.of("map_finished")] == [20, 40]


def test_a_restarted_pool_keeps_its_name_and_is_observed(recorder):
    with get_pool("thread:1") as pool:
        pool.map(abs, [1])
        pool.restart()
        pool.map(abs, [1])
    assert len({event["pool"] for event in recorder.of("map_finished")}) == 1
    assert len(recorder.of("worker_started")) == 2


def test_observers_are_called_on_a_thread_of_their_own_and_may_use_the_pool():
    threads, results, used = [], [], threading.Event()

    class Curious:
        @anypool.hookimpl
        def anypool_map_finished(self, count):
            threads.append(threading.current_thread().name)
            if count == 10:
                results.append(pool.submit(abs, -5))
                used.set()

    observer = Curious()
    anypool.register(observer)
    try:
        with get_pool("process:2") as pool:
            pool.amap(abs, range(10)).get(timeout=30)
            pool.map(abs, range(11))
            assert used.wait(30)
    finally:
        anypool.unregister(observer)
    assert set(threads) == {"anypool-helper-observers"}
    assert [result.result(timeout=10) for result in results] == [5]


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_observer_that_raises_is_logged_once_and_disturbs_neither_pool_nor_others(recorder, caplog, error):
    class Broken:
        @anypool.hookimpl
        def anypool_chunk_done(self):
            raise error("broken")

        @anypool.hookimpl
        def anypool_map_finished(self):
            raise error("broken")

    observer = Broken()
    anypool.register(observer)
    try:
        with get_pool("thread:2") as pool:
            for _ in range(3):
                assert pool.map(abs, range(10), chunksize=1) == list(range(10))
    finally:
        anypool.unregister(observer)
    assert len(recorder.of("map_finished")) == 3
    (record,) = caplog.records
    assert record.name == "anypool"
    assert "Broken" in record.getMessage()
    assert record.exc_info[0] is error


@pytest.mark.parametrize(
    "end", [Pool.terminate, lambda pool: pool.__exit__(None, None, None)], ids=["terminate", "exit"]
)
def test_an_observer_that_hangs_keeps_no_result_from_coming_and_no_pool_from_ending(monkeypatch, recorder, end):
    from anypool import _observing

    monkeypatch.setattr(_observing, "_PATIENCE", 0.2)
    monkeypatch.setattr(_observing, "_hang", False)
    free = threading.Event()

    class Slow:
        @anypool.hookimpl
        def anypool_map_finished(self):
            free.wait(60)

    observer = Slow()
    anypool.register(observer)
    pool = get_pool("thread:2")
    try:
        pool.map(abs, range(10))
        told = threading.Event()
        pool.amap(abs, range(10), callback=lambda _: told.set())
        assert told.wait(10)
        end(pool)
        assert not free.is_set()
        assert recorder.of("chunk_done")
    finally:
        free.set()
        anypool.unregister(observer)


def test_events_that_nobody_takes_in_time_are_dropped_and_counted(monkeypatch, caplog):
    from anypool import _observing

    calls: list[Callable[[], object]] = []
    monkeypatch.setattr(_observing, "_MOST_WAITING", 3)
    monkeypatch.setattr(_observing.teller_thread, "call", calls.append)
    teller = _observing.Teller("thread")
    teller.observers = (Plugin(Recorder(), "a test"),)
    for number in range(5):
        teller.tell("anypool_item_failed", map_number=1, item=number, worker="")
    assert len(calls) == 1
    calls[0]()
    assert "they were not told of 2 events" in caplog.text


def test_a_misspelt_hook_is_refused_and_nothing_of_the_object_is_registered():
    class Typo:
        @anypool.hookimpl
        def anypool_chunk_don(self): ...

    observer = Typo()
    with pytest.raises(pluggy.PluginValidationError, match="anypool_chunk_don"):
        anypool.register(observer)
    with pytest.raises(ValueError, match="not registered"):
        anypool.unregister(observer)


def test_an_argument_that_the_hook_does_not_have_is_refused():
    class Wrong:
        @anypool.hookimpl
        def anypool_chunk_done(self, colour): ...

    with pytest.raises(pluggy.PluginValidationError, match="colour"):
        anypool.register(Wrong())


def test_what_has_no_marked_hooks_is_refused():
    class Unmarked:
        def anypool_chunk_done(self): ...

    with pytest.raises(ValueError, match=r"marked with anypool\.hookimpl"):
        anypool.register(Unmarked())


def test_a_class_in_place_of_an_object_is_refused():
    with pytest.raises(TypeError, match="the class Recorder"):
        anypool.register(Recorder)


def test_nobody_is_registered_twice(recorder):
    with pytest.raises(ValueError, match="registered already"):
        anypool.register(recorder)


OBSERVER = """
@anypool.hookimpl
def anypool_map_finished(pool, count):
    print("told", pool.rpartition("-")[0], count, flush=True)
"""


def test_an_observer_that_comes_with_a_launcher_sees_the_pools_of_that_launcher_only(site):
    site.add("plug_one", launcher("one") + OBSERVER, "one")
    said = site.says("""
        import anypool
        with anypool.get_pool("one:2") as one, anypool.get_pool("thread:2") as other:
            one.map(abs, range(10))
            other.map(abs, range(20))
    """)
    assert said == "told one 10"


def test_it_does_so_when_the_launcher_is_given_as_an_object(site):
    site.add("plug_one", launcher("one") + OBSERVER, "one")
    said = site.says("""
        import anypool, plug_one
        with anypool.get_pool(plug_one.Own(2)) as pool:
            pool.map(abs, range(10))
    """)
    assert said == "told one 10"


def test_registered_as_well_it_sees_all_pools_and_is_told_once(site):
    site.add("plug_one", launcher("one") + OBSERVER, "one")
    said = site.says("""
        import anypool
        with anypool.get_pool("one:2") as one:
            import plug_one
            anypool.register(plug_one)
            one.map(abs, range(10))
        with anypool.get_pool("thread:2") as other:
            other.map(abs, range(20))
    """)
    assert said == "told one 10\ntold thread 20"


@pytest.mark.parametrize("text", ["serial", "thread:2", "process:2"])
def test_an_observer_that_the_configuration_names_is_told_of_all_pools(site, text):
    site.add("watcher", f"import anypool, sys\n{OBSERVER}\nme = sys.modules[__name__]")
    site.write("anypool.toml", 'observers = ["watcher:me"]\n')
    said = site.says(f"import anypool\nwith anypool.get_pool({text!r}) as pool: pool.map(abs, range(10))")
    assert said == f"told {text.partition(':')[0]} 10"


NO_OBSERVERS = {
    "nothing_there:x": "ModuleNotFoundError", "watcher:nothing": "AttributeError", "watcher:plain": "ValueError",
    "leaves:x": "SystemExit: 3",
}  # fmt: skip


@pytest.mark.parametrize("named", NO_OBSERVERS)
def test_a_configured_observer_that_is_none_is_an_error_each_time_before_any_worker_starts(site, named):
    site.add("watcher", "plain = object()")
    site.add("leaves", "raise SystemExit(3)")
    path = site.write("anypool.toml", f'observers = ["{named}"]\n')
    first, second = site.says("""
        import anypool
        for _ in range(2):
            try:
                anypool.get_pool("process:2")
            except anypool.PlanError as error:
                print(error)
    """).splitlines()
    assert first == second
    assert first.startswith(f"{path}: observers: expected package.module:object")
    assert f"got {named!r}: {NO_OBSERVERS[named]}" in first


def test_what_looks_like_a_configuration_and_is_a_pipe_keeps_nobody_waiting(site):
    os.mkfifo(site.write("pyproject.toml", "").with_name("anypool.toml"))
    site.says("import anypool\nwith anypool.get_pool('thread:1') as pool: pool.map(abs, range(10))")
