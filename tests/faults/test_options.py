"""Options are checked at the call; those of workers do what they say; managers and output reach the other side."""

from __future__ import annotations

import functools
import importlib
import os
import sys
import threading
import time
from typing import Any

import pytest

from anypool import (
    LauncherUnavailable,
    WorkerLost,
    get_pool,
)

ASYNCHRONOUS = ["thread:2", "process:2", "multiprocess:2"]


@pytest.mark.parametrize(
    "method",
    ["map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap", "map_async", "imap_unordered"],
)
def test_an_unknown_option_is_refused_at_the_call(launcher: str, method: str) -> None:
    with get_pool(launcher) as pool, pytest.raises(TypeError, match="chunk_size"):
        getattr(pool, method)(abs, [(1,)], chunk_size=3)


@pytest.mark.parametrize("bad", [{"chunksize": "2"}, {"timeout": "soon"}, {"retries": 1.5}, {"on_error": "ignore"}])
def test_an_option_of_the_wrong_kind_is_refused_at_the_call(launcher: str, bad: dict[str, Any]) -> None:
    with get_pool(launcher) as pool:
        for method in (pool.map, pool.imap, pool.uimap, pool.amap):
            with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
                method(abs, [1], **bad)


def test_an_option_that_the_launcher_lacks_is_refused_before_anything_starts(launcher: str) -> None:
    with pytest.raises(TypeError, match="colour"):
        get_pool(launcher, colour="red")


@pytest.mark.parametrize("text", ["proces", "process:x", "process:", "", ":3", "process:0", "process:-1"])
def test_a_text_that_names_no_launcher_is_refused_in_words(text: str) -> None:
    with pytest.raises((ValueError, LookupError)) as caught:
        get_pool(text)
    assert str(caught.value)


def test_a_launcher_that_cannot_run_here_says_what_to_do(run_script) -> None:
    text = """
        import sys
        sys.modules["multiprocess"] = None
        from anypool import LauncherUnavailable, get_pool
        try:
            get_pool("multiprocess:2")
        except LauncherUnavailable as error:
            print("pip install" in str(error))
    """
    assert run_script(text) == "True\n"
    assert issubclass(LauncherUnavailable, RuntimeError)


def test_a_worker_is_replaced_after_so_many_tasks() -> None:
    with get_pool("process:2", max_tasks_per_worker=5) as pool:
        pids = pool.map(lambda _: os.getpid(), range(40), chunksize=1)
    assert max(map(pids.count, pids)) <= 5
    assert len(set(pids)) >= 8


def test_a_worker_that_takes_too_much_memory_is_ended_and_named() -> None:
    def hoard(_):
        held = [bytearray(b"x" * (64 << 20)) for _ in range(8)]
        time.sleep(5)
        return len(held)

    with get_pool("process:1", max_memory_per_worker=200 << 20) as pool:
        with pytest.raises(WorkerLost, match="memory"):
            pool.map(hoard, [1], retries=0)
        assert pool.map(abs, [-1]) == [1]


def test_workers_start_with_the_environment_and_folder_that_were_asked_for(tmp_path) -> None:
    class Text(str):  # as numpy's is
        __slots__ = ()

    with get_pool("process:1", env={Text("FRUIT"): Text("apple")}, cwd=tmp_path) as pool:
        assert pool.pipe(lambda: os.environ["FRUIT"]) == "apple"
        assert pool.pipe(lambda: os.environ["PATH"]) == os.environ["PATH"]
        assert pool.pipe(os.getcwd) == str(tmp_path)
    assert "FRUIT" not in os.environ


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_an_initializer_that_raises_ends_the_maps_and_is_named(launcher: str, within) -> None:
    def fail():
        raise RuntimeError("no licence")

    with within(20), pytest.raises(Exception, match=r"no licence|initializer"):  # noqa: SIM117 - the pool is inside
        with get_pool(launcher, initializer=fail) as pool:
            pool.map(abs, range(10))


def test_what_a_worker_prints_reaches_the_callers_streams(run_script, start_script) -> None:
    text = """
        import os, sys
        from anypool import get_pool
        def shout(x):
            print("out", x)
            print("err", x, file=sys.stderr)
            os.write(1, b"raw\\n")
        with get_pool("process:1") as pool:
            pool.map(shout, [1, 2])
    """
    code, out, err = start_script(text).finish()
    assert code == 0
    assert sorted(out.split("\n")) == ["", "out 1", "out 2", "raw", "raw"]
    assert sorted(err.split("\n")) == ["", "err 1", "err 2"]


@pytest.mark.parametrize("module", ["multiprocessing", "multiprocess"])
def test_managers_proxies_are_task_arguments(launcher: str, module: str) -> None:
    managers = importlib.import_module(module)

    def add(number, total, lock, queue, stop):
        with lock:
            total.value += number
        queue.put(number)
        return stop.is_set()

    with managers.Manager() as manager, get_pool(launcher) as pool:
        total, lock, queue, stop = manager.Value("i", 0), manager.Lock(), manager.Queue(), manager.Event()
        add_here = functools.partial(add, total=total, lock=lock, queue=queue, stop=stop)
        assert pool.map(add_here, range(10)) == [False] * 10
        assert total.value == 45
        assert sorted(queue.get(timeout=5) for _ in range(10)) == list(range(10))
    assert threading.active_count() < 20
    assert sys.modules[module] is managers
