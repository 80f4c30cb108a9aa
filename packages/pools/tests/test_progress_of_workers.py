"""What tasks in worker processes tick, and what becomes of their bars when the workers end."""

from __future__ import annotations

import os
import threading
import time

import pytest
from pool_kit import get_pool, until  # type: ignore[import-not-found]

import anypool
from anypool import _bars, _progress


@pytest.fixture
def opened(monkeypatch):
    """The bars that have been open in this process, by their labels."""
    seen: dict[str, _bars.Bar] = {}

    monkeypatch.setenv(_bars.VARIABLE, "none")
    before = _bars.Bar.__init__

    def noted(self, *opening):
        before(self, *opening)
        seen[self.label] = self

    monkeypatch.setattr(_bars.Bar, "__init__", noted)
    yield seen
    _bars.close_all()


def open_labels():
    return {bar.label for bar in _bars._open.values()}


def stuck(item, path):
    bar = anypool.progress(10, f"item {item}")
    time.sleep(0.15)
    bar.update(3)
    while not os.path.exists(path):
        time.sleep(0.01)
    if item == 0:
        os._exit(3)
    bar.update(7)
    return item


@pytest.mark.parametrize("launcher", ["process:2", "process:1/process:2"])
def test_the_bar_of_a_worker_that_dies_ends_while_the_others_go_on(launcher, opened, tmp_path):
    with get_pool(launcher) as pool:
        result = pool.amap(stuck, [0, 1], [str(tmp_path / "dead"), str(tmp_path / "go")], retries=0, on_error="return")
        until(lambda: open_labels() == {"item 0", "item 1"} and opened["item 1"].done == 3)
        (tmp_path / "dead").touch()
        until(lambda: open_labels() == {"item 1"})
        (tmp_path / "go").touch()
        lost, one = result.get(30)
    assert (type(lost), one, opened["item 1"].done, open_labels()) == (anypool.WorkerLost, 1, 10, set())


@pytest.mark.parametrize("launcher", ["process:2", "process:1/process:2"])
def test_the_bars_of_workers_that_are_terminated_end(launcher, opened, tmp_path):
    pool = get_pool(launcher)
    result = pool.amap(stuck, [1, 2], [str(tmp_path / "never")] * 2)
    until(lambda: open_labels() == {"item 1", "item 2"})
    pool.terminate()
    until(lambda: not open_labels())
    assert result.cancelled()


def test_the_bar_of_an_item_past_its_timeout_ends(opened, tmp_path):
    with get_pool("process:1") as pool, pytest.raises(anypool.TaskTimeout):
        pool.map(stuck, [1], [str(tmp_path / "never")], timeout=0.5)
    assert "item 1" in opened
    until(lambda: not open_labels())


def deep(item, bar):
    with anypool.progress(2, f"deep {item}") as own:
        own.update(2)
    bar.update()
    return item


def outer(item, bar):
    with anypool.get_pool() as pool, anypool.progress(4, f"outer {item}") as own:
        pool.map(deep, range(4 * item, 4 * item + 4), [bar] * 4)
        pool.map(lambda _: own.update(), range(4))
        assert own.done == 4
        return pool.launcher.name


@pytest.mark.parametrize("inner", ["process:1", "thread:2"])
def test_bars_of_tasks_of_tasks_are_shown_by_the_outermost_caller(inner, opened):
    with get_pool("process:1", inner) as pool, anypool.progress(4, "all") as bar:
        assert pool.pipe(outer, 0, bar) == inner.partition(":")[0]
        assert bar.done == 4
    deep_ones = {f"deep {item}": 2 for item in range(4)}
    assert {label: bar.done for label, bar in opened.items()} == {"all": 4, "outer 0": 4, **deep_ones}
    assert open_labels() == set()


def in_threads(n, bar):
    with anypool.progress(n, "own") as own:

        def tick():
            for _ in range(n // 4):
                bar.update()
                own.update()

        threads = [threading.Thread(target=tick) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    return n


@pytest.mark.parametrize("launcher", ["serial", "thread:1", "process:1", "multiprocess:1", "process:1/thread:1"])
def test_threads_of_a_task_tick_too(launcher, opened):
    with get_pool(launcher) as pool, anypool.progress(400, "all") as bar:
        assert pool.pipe(in_threads, 400, bar) == 400
        assert bar.done == 400
    assert opened["own"].done == 400
    assert open_labels() == set()


def busy(count, bar):
    for _ in range(count):
        bar.update()
    return count


def test_many_ticks_are_few_messages(opened, monkeypatch):
    arrived = []
    before = _progress.ticked

    def noted(message):
        arrived.append(message)
        before(message)

    monkeypatch.setattr(_progress, "ticked", noted)
    with get_pool("process:1") as pool, anypool.progress(300_000) as bar:
        pool.map(busy, [300_000], [bar])
        assert bar.done == 300_000
    seconds = 60
    assert 0 < len(arrived) < 10 * seconds


def test_a_worker_that_a_task_forks_ticks_nothing(opened):
    def task(bar):
        if not (child := os.fork()):
            bar.update(100)
            bar.close()
            os._exit(0)
        os.waitpid(child, 0)
        bar.update()

    with get_pool("process:1") as pool, anypool.progress(5) as bar:
        pool.pipe(task, bar)
        assert bar.done == 1
