"""Bars that callers and tasks make: what they count, when they end, and what is refused."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
from functools import partial
from typing import Any, ClassVar

import pytest
from pool_kit import everywhere, get_pool, until  # type: ignore[import-not-found]

import anypool
from anypool import _bars, _progress
from anypool._bar_views import VIEWS, View

METHODS = ("map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap")


class Recorded(View):
    """Has a place on the screen, and tells what was asked of it."""

    most = 3
    made: ClassVar[list["Recorded"]] = []

    def __init__(self, bar):
        self.bar, self.reached, self.closed = bar, [], False
        Recorded.made.append(self)

    def reach(self, done):
        self.reached.append(done)

    def close(self):
        self.closed = True


@pytest.fixture
def shown(monkeypatch):
    """The views of the bars that a test opens, where a task's bar is shown at once."""
    monkeypatch.setattr(Recorded, "made", [])
    monkeypatch.setitem(VIEWS, "log", Recorded)
    monkeypatch.setattr(_bars, "_DELAY", 0.0)
    monkeypatch.delenv(_bars.VARIABLE, raising=False)
    yield Recorded.made
    gc.collect()
    _progress.flush()
    assert _bars._open == {}


def test_a_bar_of_the_caller_counts_what_is_ticked_and_is_there_from_the_start(shown):
    with anypool.progress(10, "reading") as bar:
        (view,) = shown
        assert (view.bar.total, view.bar.label, view.bar.inner, view.reached) == (10, "reading", False, [0])
        bar.update()
        bar.update(4)
        assert (bar.done, bar.total) == (5, 10)
        assert repr(bar) == "<anypool.Progress 'reading': 5 of 10>"
        assert not view.closed
    assert (view.reached[-1], view.closed) == (5, True)
    bar.update()
    assert view.reached[-1] == 5


def test_ticks_are_sent_ten_times_a_second_and_the_rest_at_the_end(shown, clock):
    with anypool.progress(100) as bar:
        (view,) = shown
        for _ in range(5):
            clock.now += 0.045
            bar.update()
        assert view.reached == [0, 3]
        for _ in range(50):
            bar.update()
        assert view.reached == [0, 3]
    assert view.reached == [0, 3, 55]


def test_ticks_of_many_threads_add_up(shown):
    def tick(bar):
        for _ in range(10_000):
            bar.update()

    with anypool.progress(80_000) as bar:
        threads = [threading.Thread(target=tick, args=(bar,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert bar.done == 80_000
    assert shown[0].reached[-1] == 80_000


def test_what_is_gone_through_is_ticked(shown):
    assert list(anypool.progress([5, 6, 7], "rows")) == [5, 6, 7]
    (view,) = shown
    assert (view.bar.total, view.reached[-1], view.closed) == (3, 3, True)
    endless: Any = anypool.progress(iter(int, 1))
    assert next(endless) == 0
    assert shown[1].bar.total is None
    endless.close()
    assert shown[1].closed


def test_a_bar_that_nobody_has_any_more_ends(shown):
    bar = anypool.progress(3)
    bar.update(2)
    del bar
    gc.collect()
    (view,) = shown
    assert (view.reached[-1], view.closed) == (2, True)


def test_numbers_of_other_types_are_taken(shown):
    np = pytest.importorskip("numpy")
    with anypool.progress(np.int64(7)) as bar:
        bar.update(np.int32(3))
        assert (type(bar.done), bar.done) == (int, 3)
    assert type(shown[0].bar.total) is int


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        (("reading",), TypeError, "total is a whole number"),
        ((True,), TypeError, "total is a whole number"),
        ((1.5,), TypeError, "total is a whole number"),
        ((-1,), ValueError, "at least 0"),
        ((3, 4), TypeError, "label is a text"),
        (([1], 4), TypeError, "label is a text"),
    ],
)
def test_what_makes_no_bar_is_refused_at_once(shown, arguments, error, words):
    with pytest.raises(error, match=words):
        anypool.progress(*arguments)
    with anypool.progress() as bar, pytest.raises(TypeError):
        bar.update(1.5)  # type: ignore[arg-type]
    assert len(shown) == 1


def test_a_bar_that_travels_within_its_process_is_the_same(shown):
    with anypool.progress(3) as bar:
        assert pickle.loads(pickle.dumps(bar)) is bar


def test_ticks_of_another_process_come_to_the_bar_they_are_of(shown):
    with anypool.progress(10, "given") as bar:
        home, number = bar.__reduce__()[1][0]
        _progress.ticked((home, number, 4, None, False))
        assert (bar.done, shown[0].reached[-1]) == (4, 4)
    _progress.ticked((home, number, 4, None, False))
    assert shown[0].reached[-1] == 4
    assert len(shown) == 1


def test_a_bar_of_another_process_is_opened_by_its_first_message_and_closed_by_its_last(shown):
    home = os.urandom(8)
    _progress.ticked((home, 1, 3, (5, "far", True, None, 9.0), False))
    (view,) = shown
    assert (view.bar.total, view.bar.label, view.bar.inner, view.reached) == (5, "far", True, [3])
    _progress.ticked((home, 1, 2, None, True))
    assert (view.reached[-1], view.closed) == (5, True)
    # Nobody else's number.
    _progress.ticked((home, 2, 2, None, False))
    assert len(shown) == 1


def test_only_as_many_bars_as_have_room_are_drawn_and_the_next_one_takes_the_place_of_one_that_ends(shown):
    bars = [anypool.progress(2, str(number)) for number in range(5)]
    assert [view.bar.label for view in shown] == ["0", "1", "2"]
    bars[1].close()
    assert [view.bar.label for view in shown] == ["0", "1", "2", "3"]
    bars[4].close()
    assert len(shown) == 4
    for bar in bars:
        bar.close()


def test_a_bar_of_a_task_that_is_over_soon_is_not_drawn(shown, clock, monkeypatch):
    monkeypatch.setattr(_bars, "_DELAY", 0.5)

    def quick(n):
        with anypool.progress(n) as bar:
            for _ in range(n):
                clock.now += 0.04
                bar.update()

    with get_pool("serial") as pool:
        pool.map(quick, [10])
        assert shown == []
        pool.map(quick, [20])
    assert [(view.bar.inner, view.closed) for view in shown] == [(True, True)]


def test_a_bar_that_cannot_be_shown_costs_nobody_anything(shown, monkeypatch, caplog):
    def broken(self, done):
        raise OSError("no space left")

    monkeypatch.setattr(Recorded, "reach", broken)
    with anypool.progress(3) as bar, get_pool("serial") as pool:
        pool.map(lambda _: bar.update(), range(3), progress=True)
        assert bar.done == 3
    assert ["no space left" in record.getMessage() for record in caplog.records] == [True, True]


def test_a_forked_child_leaves_its_parents_bars_alone(shown):
    with anypool.progress(3) as bar:
        if not (child := os.fork()):
            bar.update(3)
            bar.close()
            os._exit(0 if _bars._open == {} and shown[0].reached == [0] and not shown[0].closed else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert not shown[0].closed


# Of maps.


@everywhere
def test_every_map_shows_its_progress_by_the_name_of_its_function(shown, launcher):
    with get_pool(launcher) as pool:
        for method in METHODS:
            star = "star" in method
            found = getattr(pool, method)(divmod if star else abs, [(7, 2)] * 40 if star else range(40), progress=True)
            assert len(found.get(30) if method.startswith("a") else list(found)) == 40
    for view, method in zip(shown, METHODS, strict=True):
        assert (view.bar.total, view.bar.label) == (40, "divmod" if "star" in method else "abs")
        until(lambda view=view: view.closed)
        assert (view.reached[0], view.reached[-1], view.bar.inner) == (0, 40, False)


def test_a_function_without_a_name_to_show_is_called_map(shown):
    with get_pool("serial") as pool:
        pool.map(lambda x: x, [1], progress=True)
        pool.map(partial(int, base=2), ["1"], progress=True)
    assert [view.bar.label for view in shown] == ["map", "map"]


@everywhere
def test_a_function_is_told_what_is_done_and_the_total(launcher):
    told = []
    with get_pool(launcher) as pool:
        assert pool.map(abs, range(50), progress=lambda *numbers: told.append(numbers), chunksize=10) == [*range(50)]
        assert told == [(0, 50), (10, 50), (20, 50), (30, 50), (40, 50), (50, 50)]
        told.clear()
        assert sum(pool.uimap(abs, iter(range(50)), progress=lambda *numbers: told.append(numbers))) == 1225
        assert (told[0], told[-1]) == ((0, None), (50, None))
        told.clear()
        assert pool.map_reduce(abs, int.__add__, range(50), progress=lambda *numbers: told.append(numbers)) == 1225
        assert told[-1] == (50, 50)
        told.clear()
        pool.amap(abs, range(50), progress=lambda *numbers: told.append(numbers)).get(30)
        until(lambda: told[-1] == (50, 50))


def test_a_function_that_raises_is_logged_and_not_called_again(caplog):
    calls = []

    def told(*numbers):
        calls.append(numbers)
        raise ValueError("a bar of mine")

    with get_pool("serial") as pool:
        assert pool.map(abs, range(5), progress=told) == [*range(5)]
    assert calls == [(0, 5)]
    (record,) = caplog.records
    assert (record.name, record.exc_info[0]) == ("anypool", ValueError)


def test_a_bar_ends_with_its_map_however_that_ends(shown):
    def fail(x):
        raise ValueError(x)

    with get_pool("thread:2") as pool:
        with pytest.raises(ValueError):
            pool.map(fail, range(5), progress=True)
        assert [view.closed for view in shown] == [True]
        with pytest.raises(ValueError):
            pool.amap(fail, range(5), progress=True).get(30)
        until(lambda: shown[1].closed)
        stream = pool.imap(abs, range(1000), progress=True)
        next(stream)
        del stream
        gc.collect()
        assert shown[2].closed
        stream = pool.imap(abs, range(10), progress=True)
    with pytest.raises(anypool.PoolClosed):
        list(stream)
    assert shown[3].closed


def test_the_bar_of_a_map_within_a_task_is_the_tasks(shown):
    def outer(n):
        with get_pool("serial") as pool:
            return sum(pool.map(abs, range(n), progress=True))

    with get_pool("thread:2") as pool:
        assert pool.map(outer, [3, 4]) == [3, 6]
    assert all(view.bar.inner and view.closed for view in shown)


@pytest.mark.parametrize(
    "value, error, words",
    [
        ("x", ValueError, "progress is one of 'tqdm', 'rich', 'log', got 'x'"),
        ("", ValueError, "progress is one of"),
        (2, TypeError, "progress is True, False, a style or a function, got 2"),
        (None, TypeError, "progress is True"),
    ],
)
def test_a_wrong_progress_is_refused_before_input_is_read(value, error, words):
    read: list[int] = []
    with get_pool("serial") as pool, pytest.raises(error, match=words):
        pool.map(abs, map(read.append, range(3)), progress=value)
    assert read == []


def test_a_style_whose_library_is_missing_is_refused_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(_bars, "find_spec", lambda name: None)
    with get_pool("serial") as pool, pytest.raises(ImportError, match=r"pip install 'anypool\[rich\]'"):
        pool.map(abs, [1], progress="rich")


def test_the_environment_says_which_style_and_a_wrong_one_is_refused(shown, monkeypatch, capsys):
    with get_pool("serial") as pool:
        monkeypatch.setenv(_bars.VARIABLE, "none")
        assert pool.map(abs, range(3), progress=True) == [0, 1, 2]
        assert shown == []
        monkeypatch.setenv(_bars.VARIABLE, "tqdm")
        assert pool.map(abs, range(3), progress=True) == [0, 1, 2]
        assert "abs: 100%|" in capsys.readouterr().err
        monkeypatch.setenv(_bars.VARIABLE, "bar")
        with pytest.raises(ValueError, match=r"ANYPOOL_PROGRESS is one of .*'none', got 'bar'"):
            pool.map(abs, range(3), progress=True)
        with pytest.raises(ValueError, match="ANYPOOL_PROGRESS"):
            anypool.progress(3)
        # What the call says counts more.
        assert pool.map(abs, range(3), progress="log") == [0, 1, 2]
    assert len(shown) == 1


def test_progress_that_is_not_asked_for_imports_nothing():
    code = """
import sys, anypool
with anypool.get_pool("thread:2") as pool:
    pool.map(abs, range(100))
    list(pool.imap(abs, range(100), progress=False))
print([name for name in sys.modules if name.startswith(("anypool._prog", "anypool._bar", "tqdm", "rich"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_bar_may_be_used_in_a_coroutine(shown):
    async def main():
        with anypool.progress(2) as bar, get_pool("thread:2") as pool:
            await pool.amap(lambda _: bar.update(), range(2))
            return bar.done

    assert asyncio.run(main()) == 2
