"""Each item is folded once and in its place, whatever becomes of its chunk; and nothing is kept that need not be."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref
from itertools import count
from operator import add
from pathlib import Path

import pytest

from anypool import Pool, TaskTimeout, Unserializable, WorkerLost, get_pool
from anypool.testing._tasks import Fate, die_at, fail_first_time, wait_for

ITEMS = range(200)
TEXT = "".join(map(str, ITEMS))
LIMIT = 20  # seconds


def test_chunks_that_come_back_in_part_have_each_item_once(somewhere: Pool, home, monkeypatch) -> None:
    # Too little for more than a few items: the rest of each chunk is given back, and cut again.
    monkeypatch.setattr("anypool._work.FOLD_BUDGET", 2e-6)
    assert somewhere.map_reduce(str, add, ITEMS, initial=">") == ">" + TEXT
    assert sum(reply.items for reply in home) == len(ITEMS)
    assert {reply.values for reply in home} == {1}
    assert len(home) > 10


def test_items_that_are_retried_are_folded_once_and_in_their_places(somewhere: Pool, tmp_path: Path, home) -> None:
    kwargs = {"folder": str(tmp_path)}
    found = somewhere.map_reduce(fail_first_time, add, range(40), kwargs=kwargs, retries=1, chunksize=8)
    assert found == "".join(map(str, range(40)))
    tries = [len(path.read_text().splitlines()) for path in tmp_path.glob("item*")]
    assert sorted(tries) == [1] * 20 + [2] * 20


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2", "process:1/process:2"])
def test_an_item_that_always_loses_its_worker_ends_the_reduction(launcher: str, tmp_path: Path) -> None:
    fate = Fate(str(tmp_path / "fate"))
    with get_pool(launcher, oversubscribe=True) as pool:
        with pytest.raises(WorkerLost):
            pool.map_reduce(die_at, add, range(40), kwargs={"fate": fate, "at": 17}, chunksize=5)
        assert pool.map_reduce(str, add, ITEMS, chunksize=5) == TEXT


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:2", "multiprocess:2"])
def test_an_item_that_takes_too_long_ends_the_reduction(launcher: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    with get_pool(launcher) as pool:
        with pytest.raises(TaskTimeout):
            pool.map_reduce(wait_for, add, [str(tmp_path), str(go)], [1, LIMIT], timeout=0.5)
        # Threads can't be stopped.
        go.touch()
        assert pool.map_reduce(str, add, ITEMS, timeout=LIMIT) == TEXT


def test_an_array_of_any_size_is_no_reason_for_short_chunks(home) -> None:
    with get_pool("process:2") as pool:
        total = pool.map_reduce(lambda _: bytearray(1 << 20), max, range(400))
    assert total == bytearray(1 << 20)
    assert len(home) < 200


def test_no_two_values_of_a_chunk_are_kept() -> None:
    alive: weakref.WeakSet[Value] = weakref.WeakSet()
    most = 0

    class Value:
        def __init__(self, number: int) -> None:
            self.number = number
            alive.add(self)

        def __add__(self, other: Value) -> Value:
            nonlocal most
            most = max(most, len(alive))
            return Value(self.number + other.number)

    with get_pool("serial") as pool:
        assert pool.map_reduce(Value, add, range(1000), chunksize=500).number == 499500
    # A fold, the next value, and perhaps that of the chunk before.
    assert most <= 3
    gc.collect()
    assert len(alive) == 0


@pytest.mark.parametrize("launcher", ["thread:2", "process:2"])
def test_input_is_read_only_so_far_ahead_of_what_is_folded(launcher: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    read_behind: list[int] = []
    enough = threading.Event()

    def numbers():
        for number in range(100):
            if not go.exists():
                read_behind.append(number)
            if number == 7:
                enough.set()
            yield number

    def first_is_late(number: int) -> int:
        if number == 0:
            wait_for(str(go), LIMIT)
        return number

    def open_it() -> None:
        enough.wait(LIMIT)
        go.touch()

    opener = threading.Thread(target=open_it)
    opener.start()
    with get_pool(launcher) as pool:
        assert pool.map_reduce(first_is_late, add, numbers(), buffersize=8, chunksize=1) == 4950
    opener.join()
    assert len(read_behind) == 8


def test_an_interrupted_reduction_over_endless_input_leaves_its_pool_usable(somewhere: Pool) -> None:
    class Enough(Exception):
        pass

    def stop_at(left: int, right: int) -> int:
        if left + right > 10_000:
            raise Enough(left + right)
        return left + right

    with pytest.raises(Enough):
        somewhere.map_reduce(abs, stop_at, count())
    assert somewhere.map_reduce(abs, add, range(10)) == 45


def test_ctrl_c_ends_a_reduction(tmp_path: Path) -> None:
    with get_pool("process:1") as pool:

        def interrupt(left: int, right: int) -> int:
            # Once: a second one would strike whatever runs after the first was raised.
            if not sent.exists():
                sent.touch()
                os.kill(home, signal.SIGINT)
            return left + right

        home, sent = os.getpid(), tmp_path / "sent"
        with pytest.raises(KeyboardInterrupt):
            pool.map_reduce(abs, interrupt, count())
        assert pool.map_reduce(abs, add, range(10)) == 45


def test_what_can_not_be_sent_is_named(tmp_path: Path) -> None:
    with get_pool("process:1") as pool:
        letters = iter(x for x in "ab")

        def next_letter(left: int, _: int) -> int:
            return left + len(next(letters))

        with pytest.raises(Unserializable, match=r"map_reduce\.op"):
            pool.map_reduce(int, next_letter, [1, 2])
        with pytest.raises(Unserializable, match="result"):
            pool.map_reduce(lambda _: (x for x in "ab"), lambda _, right: right, [1, 2, 3], chunksize=3)


@pytest.mark.parametrize("launcher", ["serial", "thread:2", "process:2", "process:1 + thread:1"])
def test_a_task_may_reduce_over_the_pool_that_runs_it(launcher: str) -> None:
    with get_pool(launcher) as pool:
        assert pool.pipe(pool.map_reduce, abs, add, range(-20, 0)) == 210


def test_a_function_is_known_apart_from_the_same_one_with_an_operator() -> None:
    with get_pool("process:1") as pool:
        assert pool.map(abs, range(5)) == list(range(5))
        assert pool.map_reduce(abs, add, range(5)) == 10
        assert pool.map_reduce(abs, max, range(5)) == 4
        assert pool.map(abs, range(5)) == list(range(5))
