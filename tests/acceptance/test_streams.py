"""Streams read as far as they need to, deliver while they read, and stop when nobody listens."""

from __future__ import annotations

import itertools
import os
import sys
import time

import pytest

from anypool import Pool


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
    source = Source(lambda number: (bytes([number % 256]) * 2000,))
    stream = getattr(pool, method)(lambda item: len(item), source)
    for _ in range(3000):
        next(stream)
    before = resident_bytes()
    for _ in range(20_000):
        next(stream)
    assert resident_bytes() - before < 64 << 20
    # 40 MB have passed; while the consumer waits for a slow item, finished ones may be held back, but not without end.
    assert source.read - 23_000 < 300_000


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_the_first_result_comes_while_the_input_is_still_being_read(pool: Pool, method: str) -> None:
    source = Source()
    stream = getattr(pool, method)(abs, source)
    next(stream)
    assert source.read < 300_000


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_buffersize_limits_how_far_the_input_is_read(pool: Pool, method: str) -> None:
    source = Source()
    stream = getattr(pool, method)(abs, source, buffersize=5)
    for taken in range(1, 200):
        next(stream)
        assert source.read <= taken + 5


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
