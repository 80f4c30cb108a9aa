"""Workers and hubs that die: only what they ran is lost, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from anypool import AnypoolError, Pool, TaskTimeout, WorkerLost, get_pool
from anypool._segments import SegmentLost

TASKS = 1000
MORE_SEEDS = [pytest.param(seed, marks=pytest.mark.soak) for seed in range(2, 12)]


def opened(text: str) -> Pool:
    return get_pool(text, oversubscribe=True)


def hubs_of(pool: Pool) -> list[int]:
    engine = pool._made
    assert engine is not None
    channels = list(engine.crew.hubs._channels.values())  # type: ignore[attr-defined]
    return [channel.pid for channel in channels if channel.pid]


def workers_of(pool: Pool) -> list[int]:
    return [worker.pid for worker in pool.workers() if worker.pid]


@contextmanager
def killing(victims: Callable[[], list[int]], times: int, seed: int) -> Iterator[list[int]]:
    """Kill one of them at random moments, so many times, while the block runs."""
    chance, over = random.Random(seed), threading.Event()
    killed: list[int] = []

    def kill() -> None:
        while len(killed) < times and not over.wait(chance.uniform(0.02, 0.25)):
            if alive := victims():
                with suppress(ProcessLookupError):
                    os.kill(pid := chance.choice(alive), signal.SIGKILL)
                    killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def slowly(x):
    time.sleep(0.003)
    return x * x


@pytest.mark.parametrize("seed", [1, *MORE_SEEDS])
def test_all_results_are_right_though_workers_are_killed_at_random(seed):
    with opened("process:2/process:3") as pool:
        with killing(lambda: workers_of(pool), 8, seed) as killed:
            assert pool.map(slowly, range(TASKS), retries=10) == [x * x for x in range(TASKS)]
        assert killed
        assert len(pool.workers()) == 6
        assert pool.map(abs, range(20)) == list(range(20))


@pytest.mark.parametrize("text", ["process:2/process:3", "process:2/thread:4"])
@pytest.mark.parametrize("seed", [1, *MORE_SEEDS])
def test_all_results_are_right_though_hubs_are_killed_at_random(text, seed):
    with opened(text) as pool:
        with killing(lambda: hubs_of(pool), 4, seed) as killed:
            assert list(pool.imap(slowly, range(TASKS), retries=10)) == [x * x for x in range(TASKS)]
        assert killed
        assert pool.map(abs, range(20)) == list(range(20))
        assert len(pool.workers()) == len(pool)


def test_each_result_comes_once_though_hubs_and_workers_are_killed():
    with opened("process:2/process:3") as pool, killing(lambda: workers_of(pool) + hubs_of(pool), 8, seed=4):
        counted = Counter(pool.uimap(slowly, range(TASKS), retries=10))
    assert counted == Counter({x * x: 1 for x in range(TASKS)})


def test_nothing_runs_twice_that_may_not_though_hubs_are_killed(tmp_path):
    def once(x):
        with open(tmp_path / str(x), "ab") as file:
            file.write(b"x")
        time.sleep(0.002)
        return x

    with opened("process:2/process:2") as pool, killing(lambda: hubs_of(pool), 3, seed=5):
        results = pool.map(once, range(300), retries=0, on_error="return")
    # Of one that was killed between opening its file and writing there is an empty one.
    assert all(path.stat().st_size <= 1 for path in tmp_path.iterdir())
    assert all(value == x or (isinstance(value, WorkerLost) and value.begun) for x, value in enumerate(results))


def touch_and_nap(path, seconds):
    Path(path).touch()
    time.sleep(seconds)
    return seconds


def test_a_dead_hub_leaves_what_runs_elsewhere_alone(tmp_path, wait_until):
    def note(x):
        with open(tmp_path / str(x), "ab") as file:
            file.write(b"x")
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return os.getpid()

    with opened("process:2/process:1") as pool:
        pool.map(abs, [1])
        results = [pool.submit(note, x) for x in range(2)]
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        os.kill(hubs_of(pool)[0], signal.SIGKILL)
        wait_until(lambda: 2 in [path.stat().st_size for path in tmp_path.iterdir()], what="that one runs again")
        (tmp_path / "go").touch()
        assert all(result.result(10) for result in results)
        assert sorted(path.stat().st_size for path in tmp_path.iterdir() if path.name != "go") == [1, 2]


def test_a_task_that_kills_its_worker_is_named_with_its_last_words():
    def die(x):
        if x == 7:
            os.write(2, b"the last words")
            os._exit(3)
        return x

    with opened("process:2/process:2") as pool:
        results = pool.map(die, range(20), on_error="return")
        assert [x for x, value in enumerate(results) if value != x] == [7]
        error = results[7]
    assert isinstance(error, WorkerLost)
    assert "exited with code 3" in str(error)
    assert error.item == 7
    assert error.worker.startswith("process-")
    assert "/process-" in error.worker
    assert "the last words" in error.stderr


def big(x):
    return bytes([x]) * 1_000_000


def test_a_result_that_ended_with_its_worker_is_made_again(monkeypatch):
    with opened("process:1/process:2") as pool:
        pool.map(abs, [1])
        mappings = pool._made.crew.hubs._buffers._mappings  # type: ignore[union-attr]
        view, left = mappings.view, [2]

        def gone(ref):
            if left[0]:
                left[0] -= 1
                raise SegmentLost("gone")
            return view(ref)

        monkeypatch.setattr(mappings, "view", gone)
        hubs = hubs_of(pool)
        assert pool.map(big, range(6), chunksize=1) == [big(x) for x in range(6)]
        assert left == [0]
        assert hubs_of(pool) == hubs


@pytest.mark.parametrize("text", ["process:2/process:2", "process:2/thread:2"])
def test_a_timeout_ends_one_inner_worker_only(text, within):
    with opened(text) as pool:
        pool.map(slowly, range(20))
        before, hubs = workers_of(pool), hubs_of(pool)
        with within(6):
            results = pool.map(time.sleep, [0.01, 3, *[0.01] * 10], timeout=0.5, on_error="return")
        assert [type(value) for value in results] == [type(None), TaskTimeout, *[type(None)] * 10]
        assert hubs_of(pool) == hubs
        assert len(set(before) - set(workers_of(pool))) == (1 if text.endswith("process:2") else 0)


def test_a_call_that_is_stopped_costs_its_worker_only(tmp_path, wait_until):
    with opened("process:2/process:2") as pool:
        result = pool.submit(touch_and_nap, tmp_path / "begun", 60)
        wait_until((tmp_path / "begun").exists)
        hubs = hubs_of(pool)
        assert result.kill()
        with pytest.raises(WorkerLost):
            result.result(5)
        assert pool.map(slowly, range(50)) == [x * x for x in range(50)]
        assert hubs_of(pool) == hubs


def test_a_call_that_ends_its_hub_each_time_costs_itself_only():
    # One slot, so that it is the first thing that each new hub is given.
    with opened("process:1/thread:1") as pool:
        lost, others = pool.submit(os._exit, 3), [pool.submit(abs, -x) for x in range(20)]
        assert [other.result(30) for other in others] == list(range(20))
        assert isinstance(lost.exception(30), WorkerLost)
        assert pool.map(abs, range(-20, 0)) == list(range(20, 0, -1))


def wait_for_the_others(x, folder, others):
    """Item 200, behind which others are on their way, ends once all others have; whether it saw that."""
    if x != 200:
        (folder / str(x)).touch()
        return True
    limit = time.monotonic() + 20
    while len(list(folder.iterdir())) < others and time.monotonic() < limit:
        time.sleep(0.01)
    return len(list(folder.iterdir())) == others


@pytest.mark.parametrize("text", ["process:2/process:2", "process:2/thread:2"])
def test_what_waits_behind_a_slow_item_runs_elsewhere(text, tmp_path):
    with opened(text) as pool:
        options = {"folder": tmp_path, "others": 399}
        assert pool.map(wait_for_the_others, range(400), kwargs=options, chunksize=1) == [True] * 400


def hold(x):
    """Item 3 holds the interpreter's lock for a long time."""
    return sum(range(10**10)) if x == 3 else x


def test_a_thread_that_holds_the_interpreter_past_its_timeout_ends_with_its_hub(within):
    with opened("process:2/thread:2") as pool, within(15):
        # That a hub imports this module takes longer than the timeout where there is much else to do.
        pool.map(hold, [0] * 200, chunksize=1)
        results = pool.map(hold, range(8), timeout=0.5, on_error="return")
        assert isinstance(results[3], TaskTimeout)
        # Its neighbours in the same process could not go on either, and end with it if they are late.
        assert all(value == x or isinstance(value, AnypoolError) for x, value in enumerate(results)), results
        assert pool.map(abs, range(20)) == list(range(20))


@pytest.mark.parametrize("text", ["process:2/process:2", "process:2/thread:2", "process:2/process:1/process:2"])
def test_leaving_by_an_exception_ends_what_runs(text, within, wait_until, tmp_path):
    # Threads can't be ended by us; they go with their hub.
    with within(12), pytest.raises(KeyError), opened(text) as pool:  # noqa: PT012 - leaving is the test
        pool.submit(touch_and_nap, tmp_path / "begun", 100)
        wait_until((tmp_path / "begun").exists)
        raise KeyError("mine")


@pytest.mark.parametrize("text", ["process:2/process:2", "process:2/thread:2"])
def test_all_ends_with_its_owner(text, start_script, wait_until):
    script = start_script(
        f"""
        import time
        from anypool import get_pool
        pool = get_pool({text!r}, oversubscribe=True)
        pool.map(abs, range(10))
        calls = [pool.submit(time.sleep, 100) for _ in range(8)]
        print("up", flush=True)
        time.sleep(100)
        """
    )
    assert script.line() == "up"
    assert script.descendants()
    script.process.kill()
    wait_until(lambda: not script.descendants(), 3, "the end of all workers")


def test_ctrl_c_ends_a_map_and_the_pool_goes_on(start_script):
    script = start_script(
        """
        import time
        from anypool import get_pool
        with get_pool("process:2/process:2", oversubscribe=True) as pool:
            pool.map(abs, range(10))
            print("up", flush=True)
            try:
                pool.map(time.sleep, [60] * 8)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            print(pool.map(abs, range(3)), flush=True)
        """
    )
    assert script.line() == "up"
    time.sleep(0.3)
    script.process.send_signal(signal.SIGINT)
    assert script.line() == "interrupted"
    assert script.line() == "[0, 1, 2]"
    assert script.finish()[0] == 0
    assert not script.descendants()


def test_a_forgotten_path_ends_by_itself(wait_until):
    import gc

    pool = opened("process:1/process:2")
    pool.map(abs, range(10))
    pids = workers_of(pool) + hubs_of(pool)
    del pool
    gc.collect()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), 5, "their end")
