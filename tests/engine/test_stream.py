"""What a stream reads, cuts, refuses and hands out, without workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypool import Unserializable
from anypool._chunk import Body, Calling, Direct, Job, Mode, Packed
from anypool._input import Input
from anypool._sizing import BYTES, Sizer
from anypool._stream import Stream

EXAMPLES = settings(max_examples=150, deadline=None)


def stream_over(
    *columns: Any, mode: Mode = Mode.MAP, strict: bool = False, pack: Any = lambda payload, _most: (payload, 0),
    chunksize: int | None = None,
    ordered: bool = True, halt: bool = False, early: bool = False,
) -> Stream:  # fmt: skip
    job = Job(1, mode, Body(Calling(abs)))
    source = Input(mode, columns, strict)
    return Stream(job, source, Sizer(chunksize, None), pack, ordered=ordered, halt=halt, early=early)


def read_all(stream: Stream, sizes: list[int]) -> list[Any]:
    """Cut in the given sizes, one after the other and again, until the input ends; return the chunks."""
    chunks, turn = [], 0
    while not stream.source.ended:
        cut = stream.cut(sizes[turn % len(sizes)])
        stream.append(cut)
        chunks += cut.chunks
        turn += 1
        assert turn < 10_000
    return chunks


def answer(stream: Stream, chunk: Any) -> None:
    """Settle a chunk with the numbers of its items."""
    stream.settle(chunk, 0, Direct(list(range(chunk.first, chunk.first + chunk.count))))


cuts = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@EXAMPLES
@given(st.integers(0, 60), cuts, st.booleans())
def test_chunks_cover_the_input_without_gap_or_overlap(count: int, sizes: list[int], lazy: bool) -> None:
    items: Any = iter(range(count)) if lazy else range(count)
    chunks = read_all(stream_over(items), sizes)
    at = 0
    for chunk in chunks:
        assert chunk.first == at
        assert chunk.count > 0
        at += chunk.count
    assert at == count


@EXAMPLES
@given(st.lists(st.integers(0, 20), min_size=2, max_size=3), cuts)
def test_columns_end_with_the_shortest(lengths: list[int], sizes: list[int]) -> None:
    stream = stream_over(*(range(length) for length in lengths))
    chunks = read_all(stream, sizes)
    assert sum(chunk.count for chunk in chunks) == min(lengths) == stream.read


@EXAMPLES
@given(st.lists(st.integers(0, 20), min_size=2, max_size=3), cuts)
def test_strict_columns_of_different_length_end_with_an_error_in_its_place(
    lengths: list[int], sizes: list[int]
) -> None:
    stream = stream_over(*(range(length) for length in lengths), strict=True)
    chunks = read_all(stream, sizes)
    for chunk in chunks:
        answer(stream, chunk)
    errors = [error for _, found in stream.collect() for error in found.values()]
    assert [type(error) for error in errors] == ([ValueError] if len(set(lengths)) > 1 else [])
    assert stream.finished


@EXAMPLES
@given(st.integers(0, 40), cuts, st.booleans(), st.randoms())
def test_an_input_that_raises_is_the_last_outcome(count: int, sizes: list[int], ordered: bool, chance: Any) -> None:
    def items() -> Iterator[int]:
        yield from range(count)
        raise KeyError("input")

    stream = stream_over(items(), ordered=ordered)
    chunks = read_all(stream, sizes)
    chance.shuffle(chunks)
    seen: list[Any] = []
    for chunk in [*chunks, None]:
        for values, errors in stream.collect():
            seen += [errors.get(at, value) for at, value in enumerate(values)]
        if chunk is not None:
            answer(stream, chunk)
    for values, errors in stream.collect():
        seen += [errors.get(at, value) for at, value in enumerate(values)]
    assert isinstance(seen[-1], KeyError)
    assert sorted(seen[:-1]) == list(range(count))
    assert not ordered or seen[:-1] == list(range(count))
    assert stream.finished


@EXAMPLES
@given(st.integers(1, 60), cuts, st.sets(st.integers(0, 59)), st.integers(1, 9))
def test_an_item_that_cannot_be_packed_is_refused_alone(
    count: int, sizes: list[int], bad: set[int], size_of_item: int
) -> None:
    def pack(payload: Any, _most: int) -> tuple[Any, int]:
        if any(item in bad for item in payload[0]):
            raise Unserializable("obj cannot be serialized")
        return payload, size_of_item * len(payload[0])

    stream = stream_over(iter(range(count)), pack=pack)
    for chunk in read_all(stream, sizes):
        assert not {*range(chunk.first, chunk.first + chunk.count)} & bad
        answer(stream, chunk)
    seen = [errors.get(at, value) for values, errors in stream.collect() for at, value in enumerate(values)]
    assert len(seen) == count
    for index, outcome in enumerate(seen):
        assert isinstance(outcome, Unserializable) if index in bad else outcome == index


def slowly(count: int) -> Iterator[int]:
    for item in range(count):
        time.sleep(0.006)
        yield item


def test_a_slow_input_ends_a_chunk_early_unless_its_size_was_asked_for() -> None:
    adapted = read_all(stream_over(slowly(10)), [8])
    asked = read_all(stream_over(slowly(10), chunksize=5), [5])
    assert len(adapted) > 2
    assert [chunk.count for chunk in asked] == [5, 5]


@EXAMPLES
@given(st.lists(st.sampled_from([10, 1000, BYTES // 3, 5 * BYTES, 100 * BYTES]), min_size=1, max_size=60), cuts)
def test_a_chunk_of_larger_items_than_expected_is_cut_smaller_before_it_is_copied(
    weights: list[int], sizes: list[int]
) -> None:
    def pack(payload: Any, most: int) -> tuple[Any, int]:
        size = sum(payload[0])
        return (payload if size <= most else None), size

    chunks = read_all(stream_over(weights, pack=pack), sizes)
    assert [weight for chunk in chunks for weight in chunk.payload[0]] == weights
    assert all(chunk.count == 1 or sum(chunk.payload[0]) <= 4 * BYTES for chunk in chunks)


@EXAMPLES
@given(st.integers(1, 60), cuts, st.randoms())
def test_an_ordered_stream_hands_out_in_order_and_only_without_gaps(count: int, sizes: list[int], chance: Any) -> None:
    stream = stream_over(iter(range(count)))
    chunks = read_all(stream, sizes)
    chance.shuffle(chunks)
    seen: list[int] = []
    settled: set[int] = set()
    for chunk in chunks:
        answer(stream, chunk)
        settled |= {*range(chunk.first, chunk.first + chunk.count)}
        for values, _ in stream.collect():
            seen += values
        gapless = next(at for at in range(count + 1) if at not in settled)
        assert seen == list(range(gapless))
    assert stream.finished
    assert not stream.news


@EXAMPLES
@given(st.integers(1, 60), cuts, st.randoms())
def test_a_reply_that_waits_for_others_is_unpickled_once(count: int, sizes: list[int], chance: Any) -> None:
    unpickled: list[int] = []

    def reply(first: int, length: int) -> Packed:
        def unpack() -> tuple[list[Any], dict[int, BaseException]]:
            unpickled.append(first)
            return list(range(first, first + length)), {}

        return Packed(length, 0.0, {}, 0, unpack)

    stream = stream_over(range(count), early=True)
    chunks = read_all(stream, sizes)
    chance.shuffle(chunks)
    seen: list[int] = []
    for at, chunk in enumerate(chunks):
        stream.settle(chunk, 0, reply(chunk.first, chunk.count))
        while chance.random() < 0.7 and (batch := stream.collect_one()):
            seen += batch[0]
        if chance.random() < 0.5:
            while stream.decode_early():
                pass
            assert sorted(unpickled) == sorted(chunk.first for chunk in chunks[: at + 1])
    for values, _ in stream.collect():
        seen += values
    assert seen == list(range(count))
    assert sorted(unpickled) == sorted(chunk.first for chunk in chunks)
    assert not stream.decode_early()


@EXAMPLES
@given(st.integers(1, 60), cuts, st.randoms())
def test_an_unordered_stream_hands_out_at_once(count: int, sizes: list[int], chance: Any) -> None:
    stream = stream_over(iter(range(count)), ordered=False)
    chunks = read_all(stream, sizes)
    chance.shuffle(chunks)
    seen: list[int] = []
    for chunk in chunks:
        answer(stream, chunk)
        before = len(seen)
        for values, _ in stream.collect():
            seen += values
        assert len(seen) == before + chunk.count
    assert sorted(seen) == list(range(count))


@EXAMPLES
@given(st.integers(2, 60), st.integers(0, 59), st.integers(1, 59))
def test_a_chunk_cut_by_its_numbers_keeps_them(count: int, start: int, length: int) -> None:
    stream = stream_over(range(count))
    (chunk,) = read_all(stream, [count])
    start = min(start, count - 1)
    length = min(length, count - start)
    part = chunk.part(start, length)
    again = part.part(length - 1, 1)
    assert (part.first, part.count, part.skip) == (start, length, start)
    assert (again.first, again.count, again.skip) == (start + length - 1, 1, start + length - 1)


@EXAMPLES
@given(
    st.lists(st.tuples(st.integers(1, 100_000), st.floats(1e-9, 10.0), st.integers(0, 10**9)), max_size=30),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.integers(1, 64),
)
def test_a_chunk_is_never_empty_nor_longer_than_its_time_allows(replies: Any, length: int | None, workers: int) -> None:
    sizer = Sizer(None, length)
    assert sizer.size(0, workers) == 1
    for items, seconds, size in replies:
        sizer.ran(items, seconds, size)
        chosen = sizer.size(0, workers)
        assert chosen >= 1
        assert sizer.per_item is not None
        assert chosen == 1 or chosen * sizer.per_item <= 0.0021


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_size_that_was_asked_for_is_kept(size: int) -> None:
    sizer = Sizer(size, None)
    sizer.ran(10, 5.0, 10**9)
    assert sizer.size(5, 2) == size


def test_a_jump_in_the_time_of_items_shrinks_the_chunks_at_once() -> None:
    sizer = Sizer(None, None)
    sizer.ran(10_000, 0.01, 0)
    assert sizer.size(0, 2) > 100
    sizer.ran(1, 0.01, 0)
    assert sizer.size(0, 2) == 1
