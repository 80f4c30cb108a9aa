"""Maps say by tags which workers they are for."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from anypool import Process, Thread, WorkerLost, get_pool

LIMIT = 30  # seconds


def where(_):
    time.sleep(0.002)
    return os.getpid()


def test_needs_and_tags_choose_the_group(owner):
    with get_pool("process:1?tags=gpu,big + thread:1?tags=small") as pool:
        (process,) = set(pool.map(where, range(20), needs="big"))
        assert process != owner
        assert set(pool.map(where, range(20), needs="small")) == {owner}
        assert set(pool.map(where, range(20), needs=("gpu", "big"))) == {process}
        assert set(pool.map(where, range(20), tags=["big", "other"])) == {process}
        assert set(pool.map(where, range(200), tags={"big", "small"})) == {process, owner}
        assert set(pool.map(where, range(200), needs=(), tags=())) == {process, owner}


def test_every_kind_of_map_takes_them(owner):
    with get_pool("process:1 + thread:1?tags=here") as pool:
        assert set(pool.imap(where, range(9), needs="here")) == {owner}
        assert set(pool.uimap(where, range(9), needs="here")) == {owner}
        assert set(pool.amap(where, range(9), needs="here").get(LIMIT)) == {owner}
        assert set(pool.starmap(where, [(x,) for x in range(9)], tags="here")) == {owner}


@pytest.mark.parametrize("text", ["process:1?tags=gpu", "thread:1?tags=gpu", "serial?tags=gpu"])
def test_a_pool_that_is_no_mix_has_its_launchers_tags(text):
    with get_pool(text) as pool:
        assert pool.map(abs, [-1], needs="gpu") == [1]
        with pytest.raises(ValueError, match=r"needs='cpu'; the tags of its workers are 'gpu'"):
            pool.map(abs, [-1], needs="cpu")


def test_a_map_that_no_group_can_serve_is_refused_with_the_tags_that_exist():
    with get_pool("thread:1?tags=a,b + thread:1?tags=c") as pool:
        for options in ({"needs": ("a", "c")}, {"tags": "d"}, {"needs": "a", "tags": "c"}):
            with pytest.raises(ValueError, match="the tags of its workers are 'a', 'b'; 'c'"):
                pool.map(abs, [1], **options)
        with pytest.raises(ValueError, match="tags='x'"):
            pool.imap(abs, [1], tags="x")
    with get_pool("thread:1") as pool, pytest.raises(ValueError, match="workers are none"):
        pool.map(abs, [1], needs="a")


@pytest.mark.parametrize("wrong", [3, [""], [1], b"a"])
def test_tags_are_names(wrong):
    with get_pool("thread:1?tags=a") as pool:
        for name in ("needs", "tags"):
            with pytest.raises(TypeError, match=f"{name} is a name or a tuple of names"):
                pool.map(abs, [1], **{name: wrong})


def test_a_map_that_waits_for_its_group_leaves_the_others_to_other_maps(wait_until):
    with get_pool("process:1?tags=slow + thread:1?tags=fast") as pool:
        waiting = pool.amap(time.sleep, [0.2] * 15, needs="slow")
        wait_until(lambda: pool.stats()["in_flight"])
        started = time.monotonic()
        assert pool.map(abs, range(100), needs="fast") == list(range(100))
        assert pool.map(abs, range(100)) == list(range(100))
        assert not waiting.ready() or time.monotonic() - started > 3
        assert waiting.get(LIMIT) == [None] * 15


def refuse():
    raise ValueError("no card in this machine")


def test_a_map_whose_only_group_is_lost_ends_with_the_reason():
    with get_pool(Process(1, tags=("gpu",), initializer=refuse) + Thread(1)) as pool:
        with pytest.raises(WorkerLost, match="no card in this machine"):
            pool.map(where, range(10_000), needs="gpu")
        with pytest.raises(WorkerLost, match="no card in this machine"):
            pool.amap(where, range(10), needs="gpu").get(LIMIT)
        assert pool.map(abs, range(10)) == list(range(10))


def test_an_item_lost_by_its_group_runs_again_there(tmp_path, owner):
    mark = tmp_path / "died"

    def die_once(x):
        if x == 3 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    with get_pool("process:1?tags=p + thread:1") as pool:
        pids = pool.map(die_once, range(6), needs="p")
        assert mark.exists()
        assert owner not in pids


def test_a_task_that_waits_for_its_own_group_takes_part_itself():
    with get_pool("process:1 + thread:1?tags=t") as pool:

        def inner(x):
            return sum(pool.map(abs, range(x), needs="t")), threading.current_thread().name

        results = pool.map(inner, range(20), needs="t")
    assert results == [(sum(range(x)), "anypool-thread-0") for x in range(20)]
