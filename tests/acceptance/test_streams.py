"""Streams read as far as they need to, deliver while they read, and stop when nobody listens."""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from anypool import Pool, get_pool


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Source:
    """An endless input that remembers how far it was read."""

    def __init__(self, make=lambda number: number):
        self.read = 0
        self._make = make

    def __iter__(self):
        for number in itertools.count():
            self.read = number + 1
            yield self._make(number)


@pytest.mark.parametrize("method", ["imap", "uimap", "istarmap", "uistarmap"])
def test_an_infinite_input_streams_with_bounded_memory(pool: Pool, method: str) -> None:
    source = Source(lambda number: (bytes([number % 256]) * 40_000,))
    stream = getattr(pool, method)(lambda item: len(item), source)
    for _ in range(1500):
        next(stream)
    before = resident_bytes()
    for _ in range(10_000):
        next(stream)
    assert resident_bytes() - before < 128 << 20
    # 400 MB have passed; while the consumer waits for a slow item, finished ones may be held back, but not without end.
    assert source.read - 11_500 < 300_000


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_the_first_result_comes_while_the_input_is_still_being_read(pool: Pool, method: str) -> None:
    source = Source()
    stream = getattr(pool, method)(abs, source)
    next(stream)
    assert source.read < 300_000


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_what_is_there_is_handed_out_before_a_slow_input_is_read_on(pool: Pool, method: str) -> None:
    def slowly(number: int) -> int:
        time.sleep(0.05)
        return number

    source = Source(slowly)
    stream = getattr(pool, method)(abs, source)
    leads = []
    for taken in range(1, 12):
        next(stream)
        leads.append(source.read - taken)
    # A busy machine may delay some, but not most of them.
    assert sorted(leads)[len(leads) // 2] <= 1


def test_a_serial_stream_reads_and_runs_as_the_builtin_does() -> None:
    def told(kind: str, number: int) -> int:
        done.append((kind, number))
        return number

    done: list[tuple[str, int]] = []
    with get_pool("serial") as pool:
        for number in pool.imap(lambda x: told("run", x), (told("read", number) for number in range(3))):
            told("taken", number)
    assert done == [(kind, number) for number in range(3) for kind in ("read", "run", "taken")]


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_buffersize_limits_how_far_the_input_is_read(pool: Pool, method: str) -> None:
    source = Source()
    stream = getattr(pool, method)(abs, source, buffersize=5)
    for taken in range(1, 200):
        next(stream)
        assert source.read <= taken + 5


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_results_do_not_wait_for_an_input_that_is_slower_than_the_work(pool: Pool, method: str) -> None:
    pool.map(abs, range(10_000))  # So that it's known how quick the work is.

    def slowly(number: int) -> int:
        time.sleep(0.02)
        return number

    source = Source(slowly)
    stream = getattr(pool, method)(abs, source)
    for taken in range(1, 40):
        next(stream)
        assert source.read < taken + 20


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_items_that_suddenly_are_large_are_not_read_far_ahead(pool: Pool, method: str) -> None:
    source = Source(lambda number: bytes(1_000_000 if number > 20_000 else 1))
    stream = getattr(pool, method)(len, source)
    for _ in range(20_001):
        next(stream)
    assert source.read < 20_300


def test_slow_items_run_beside_each_other_although_the_last_map_of_them_was_quick(launcher: str) -> None:
    if launcher == "serial":
        return

    def meet(path):
        """Done when all four are there."""
        if path is not None:
            (path / str(os.getpid() + threading.get_ident())).touch()
            limit = time.monotonic() + 20
            while len(list(path.iterdir())) < 4:
                assert time.monotonic() < limit, "they run one after the other"
                time.sleep(0.005)

    with get_pool(launcher.partition(":")[0] + ":4") as pool, tempfile.TemporaryDirectory() as folder:
        pool.map(meet, [None] * 1000)
        assert pool.map(meet, iter([Path(folder)] * 4)) == [None] * 4


def test_a_range_longer_than_any_list_streams(pool: Pool) -> None:
    assert list(itertools.islice(pool.imap(abs, range(-(10**30), 0)), 3)) == [10**30, 10**30 - 1, 10**30 - 2]


def test_nothing_is_read_before_it_can_be_used(pool: Pool) -> None:
    source = Source()
    stream = pool.imap(abs, source)
    paused = source.read
    for _ in range(10):
        next(stream)
    seen = source.read
    time.sleep(0.05)  # What must not happen has no condition to wait for.
    assert source.read == seen
    assert paused < 1000


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_leaving_a_stream_early_stops_its_work(pool: Pool, launcher: str, tmp_path, method: str) -> None:
    def note(number):
        if number > 20:
            time.sleep(0.002)
        (tmp_path / str(number)).touch()
        return number

    for count, _ in enumerate(getattr(pool, method)(note, Source()), 1):
        if count == 10:
            break
    assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    begun = len(list(tmp_path.iterdir()))
    assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    time.sleep(0.02)  # As above.
    assert len(list(tmp_path.iterdir())) - begun <= 30
    time.sleep(0.1)
    quiet = len(list(tmp_path.iterdir()))
    time.sleep(0.05)
    assert len(list(tmp_path.iterdir())) == quiet


def test_serial_computes_each_item_when_it_is_asked_for() -> None:
    from anypool import get_pool

    seen: list[int] = []

    def note(x):
        seen.append(x)
        return x

    stream = get_pool("serial").imap(note, itertools.count())
    assert seen == []
    assert next(stream) == 0
    assert next(stream) == 1
    assert seen == [0, 1]


def test_a_stream_may_be_shared_by_threads(pool: Pool) -> None:
    import threading

    stream = pool.imap(lambda x: x, range(3000))
    taken: list[list[int]] = []

    def take():
        taken.append(list(stream))

    threads = [threading.Thread(target=take, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(itertools.chain(*taken)) == list(range(3000))


def test_who_waits_may_look_while_outcomes_arrive(pool: Pool) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(150):
            assert list(pool.imap(abs, iter(range(68)), chunksize=11)) == list(range(68))
    finally:
        sys.setswitchinterval(interval)


def test_an_input_that_asks_for_its_own_maps_results_is_told_so(pool: Pool) -> None:
    def feed():
        yield 1
        yield next(items)

    items = pool.imap(abs, feed(), buffersize=1)
    with pytest.raises(RuntimeError, match="asks for the map's own results"):
        list(items)
