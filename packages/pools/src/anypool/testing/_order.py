"""Streams and sizes: what is read when, and that much, large and little all arrive."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

import pytest

from anypool import Pool
from anypool.testing._base import Kit

__all__: list[str] = []

_BIG = 50_000_000  # bytes
_MANY = 10_000


class _Source:
    """An endless input that remembers how far it was read."""

    def __init__(self) -> None:
        self.read = 0

    def __iter__(self) -> Iterator[int]:
        for number in count():
            self.read = number + 1
            yield number


class Order(Kit):
    """Behaviours of streams, and of many and large items."""

    def test_an_endless_input_can_be_mapped(self, pool: Pool) -> None:
        for stream in (pool.imap(abs, count()), pool.uimap(abs, count())):
            assert len(set(islice(stream, 100))) == 100

    def test_a_stream_is_left_early_and_the_pool_goes_on(self, pool: Pool) -> None:
        for number in pool.imap(abs, count()):
            if number == 10:
                break
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))

    def test_nothing_is_read_while_nobody_asks(self, pool: Pool) -> None:
        source = _Source()
        stream = pool.imap(abs, source)
        list(islice(stream, 10))
        read = source.read
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        assert source.read == read

    def test_buffersize_bounds_how_far_the_input_is_read(self, pool: Pool) -> None:
        for method in (pool.imap, pool.uimap):
            source = _Source()
            stream = method(abs, source, buffersize=5)
            for taken in range(1, 60):
                next(stream)
                assert source.read <= taken + 5

    def test_what_the_input_raises_comes_after_the_results_before_it(self, pool: Pool) -> None:
        def rows() -> Iterator[int]:
            yield from (-1, -2)
            raise KeyError("row 3")

        stream = pool.imap(abs, rows())
        assert (next(stream), next(stream)) == (1, 2)
        with pytest.raises(KeyError, match="row 3"):
            next(stream)
        with pytest.raises(KeyError, match="row 3"):
            pool.map(abs, rows())

    def test_two_streams_are_read_in_turn(self, pool: Pool) -> None:
        streams = pool.imap(abs, range(500)), pool.imap(lambda x: -x, range(500))
        assert list(zip(*streams, strict=True)) == [(x, -x) for x in range(500)]

    def test_ten_thousand_tiny_tasks_arrive_in_order(self, pool: Pool) -> None:
        assert pool.map(lambda x: x + 1, range(_MANY)) == list(range(1, _MANY + 1))
        assert list(pool.imap(lambda x: x + 1, range(_MANY))) == list(range(1, _MANY + 1))

    def test_a_thousand_single_calls_have_their_own_results(self, pool: Pool) -> None:
        results = [pool.submit(abs, -number) for number in range(1000)]
        assert [result.result(self.limit) for result in results] == list(range(1000))

    def test_fifty_megabytes_go_there_and_back(self, pool: Pool) -> None:
        assert pool.map(len, [bytes(_BIG), b"x"]) == [_BIG, 1]
        assert len(pool.pipe(bytes, _BIG)) == _BIG

    def test_chunks_of_every_size_have_every_item_once(self, pool: Pool) -> None:
        for size in (1, 2, 3, 10, 33, 100):
            assert sorted(pool.uimap(abs, range(100), chunksize=size)) == list(range(100))
