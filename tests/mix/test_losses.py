"""Workers of a mix die, and whole groups: what they had runs elsewhere, and who is missing is told."""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

import pytest

import anypool
from anypool import Launcher, LauncherUnavailable, Mixed, Process, TaskTimeout, Thread, WorkerLost

LIMIT = 40  # seconds
# What a checker would refuse is looked at, too.
get_pool: Any = anypool.get_pool


class Broken(Launcher):
    """A launcher whose workers can't be started."""

    name = "broken"

    def launch(self):
        raise LauncherUnavailable("the host is down; wake it up")


class HalfBroken(Process):
    """Workers that can be asked for, and then fail."""

    def launch(self):
        crew = super().launch()

        def start(_deliver):
            crew.desert()
            raise OSError("no room")

        crew.start = start  # type: ignore[method-assign]
        return crew


def refuse():
    raise ValueError("not here")


def nap(x):
    time.sleep(0.01)
    return x, os.getpid()


def die_of_seven(x):
    if x == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_a_killed_worker_costs_nothing_and_is_replaced(wait_until):
    with get_pool("process:1 + process:1") as pool:
        before = pool.pipe(abs, -1), [worker.pid for worker in pool.workers()]
        later = pool.amap(nap, range(200))
        wait_until(lambda: min(worker.tasks for worker in pool.workers()) > 5, LIMIT)
        os.kill(pool.workers()[1].pid, signal.SIGKILL)
        assert [x for x, _ in later.get(LIMIT)] == list(range(200))
        assert len(pool.workers()) == 2
        assert pool.workers()[0].pid == before[1][0]


def test_an_item_that_kills_is_the_only_one_lost_whatever_the_other_group_is(mix):
    if "process" not in mix:
        mix = "process:1 + thread:1?tags=safe"
    options = {} if mix == "process:1 + process:1" else {"needs": "p"}
    text = mix.replace("process:1", "process:1?tags=p", 1).replace("multiprocess:1?tags=p", "multiprocess:1")
    with get_pool(text) as pool:
        kept = pool.map(die_of_seven, range(20), on_error="return", **options)
        assert kept[:7] + kept[8:] == [*range(7), *range(8, 20)]
        assert isinstance(kept[7], WorkerLost)
        assert kept[7].worker[:2] in ("0:", "1:")
        assert pool.map(abs, range(5)) == list(range(5))


def test_a_group_that_cannot_start_is_reported_and_the_others_work(caplog):
    with pytest.warns(RuntimeWarning, match="0:broken:1 .* could not start.* the host is down") as told:
        pool = get_pool(Broken(1) + Thread(1))
    with pool:
        assert told[0].filename == __file__
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "the host is down" in caplog.text
        assert pool.map(abs, [-1]) == [1]
        assert pool.stats()["lost"] == {"0:broken:1": "the host is down; wake it up"}
        assert [worker.name for worker in pool.workers()] == ["1:thread-0"]


def test_a_group_that_fails_while_it_starts_leaves_nothing():
    with pytest.warns(RuntimeWarning, match="OSError: no room"):
        pool = get_pool(HalfBroken(1) + Process(1))
    with pool:
        assert pool.map(abs, [-1]) == [1]


def test_no_group_at_all_is_an_error_that_names_each_cause():
    with pytest.raises(
        LauncherUnavailable, match=r"0:broken:1: the host is down.*1:broken:1: the host is down"
    ) as told:
        get_pool(Broken(1) + Broken(1))
    assert isinstance(told.value.__cause__, LauncherUnavailable)


def test_too_few_workers_at_the_start_are_an_error_and_what_had_started_ends():
    with pytest.raises(LauncherUnavailable, match=r"has 1 workers, fewer than min_workers=2.*0:broken:1: the host"):
        get_pool(Broken(1) + Process(1), min_workers=2)


@pytest.mark.parametrize("kind", [Process, Thread])
def test_a_group_whose_initializer_fails_is_given_up_and_the_other_does_all(kind, caplog, wait_until):
    with get_pool(kind(1, initializer=refuse) + Process(1)) as pool:
        assert pool.map(abs, range(100)) == list(range(100))
        wait_until(lambda: pool.stats()["lost"] and len(pool.workers()) == 1, LIMIT)
        assert "ValueError: not here" in next(iter(pool.stats()["lost"].values()))
        wait_until(lambda: "is gone" in caplog.text)
        assert pool.map(abs, range(100)) == list(range(100))


def test_fewer_than_min_workers_end_the_maps_and_say_why():
    crippled = Mixed(groups=(Process(1, initializer=refuse), Process(1)), min_workers=2)
    with get_pool(crippled) as pool:
        with pytest.raises(WorkerLost, match=r"1 workers are left, fewer than min_workers=2.*ValueError: not here"):
            pool.map(nap, range(10_000))
        with pytest.raises(WorkerLost, match="min_workers=2"):
            pool.map(abs, [1])


def test_a_group_lost_in_the_middle_of_a_map_costs_no_item(monkeypatch, wait_until):
    # Its agent is lost for good: no other one can be started.
    with get_pool("process:1 + thread:1") as pool:
        later = pool.amap(nap, range(300))
        wait_until(lambda: min(worker.tasks for worker in pool.workers()) > 5, LIMIT)
        crew = pool._made.crew._groups[0].crew
        monkeypatch.setattr(crew._line, "reconnect", refuse)
        monkeypatch.setattr("anypool._hearing._AGENT_BACK_OFF", 0.01)
        os.kill(agent_of(pool.workers()[0].pid), signal.SIGKILL)
        assert [x for x, _ in later.get(LIMIT)] == list(range(300))
        wait_until(lambda: [worker.name for worker in pool.workers()] == ["1:thread-0"])
        assert "agent was lost" in pool.stats()["lost"]["0:process:1"]


def agent_of(pid):
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return int(stat.read().rpartition(b")")[2].split()[1])


def test_workers_that_never_start_are_given_up_for_good(caplog, wait_until):
    with get_pool(Process(1, initializer=os._exit, initargs=(3,)) + Thread(1)) as pool:
        assert pool.map(abs, range(50)) == list(range(50))
        wait_until(lambda: pool.stats()["lost"], LIMIT)
        assert "exited with code 3" in next(iter(pool.stats()["lost"].values()))
        assert pool.map(abs, range(50)) == list(range(50))


@pytest.mark.parametrize("text", ["process:1 + thread:1", "process:1 + multiprocess:1"])
def test_a_stuck_task_is_stopped_in_whichever_group_it_runs(text):
    def maybe_stuck(x):
        if x % 5 == 4:
            for _ in range(400):
                time.sleep(0.01)
        return x

    with get_pool(text) as pool:
        kept = pool.map(maybe_stuck, range(10), timeout=1.5, on_error="return")
        assert [type(value) for value in kept] == [int, int, int, int, TaskTimeout] * 2


def test_without_retries_nothing_runs_twice_though_a_group_dies(tmp_path, wait_until):
    def note(x):
        (tmp_path / f"{x}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(0.01)
        return x

    with get_pool("process:1 + process:1") as pool:
        later = pool.amap(note, range(100), retries=0, on_error="return")
        wait_until(lambda: len(list(tmp_path.iterdir())) > 20, LIMIT)
        os.kill(pool.workers()[0].pid, signal.SIGKILL)
        kept = later.get(LIMIT)
    starts = [int(path.name.partition("-")[0]) for path in tmp_path.iterdir()]
    assert sorted(starts) == list(range(100))
    lost = [value for value in kept if isinstance(value, WorkerLost)]
    assert len(lost) <= 1
    assert [value for value in kept if not isinstance(value, WorkerLost)] == [
        x for x in range(100) if not any(x == error.item for error in lost)
    ]


def test_a_worker_is_replaced_after_its_tasks_in_the_group_that_says_so():
    with get_pool("process:1?max_tasks_per_worker=5 + process:1") as pool:
        pids = {pid for _, pid in pool.map(nap, range(100))}
        assert len(pids) > 2
        assert len(pool.workers()) == 2
