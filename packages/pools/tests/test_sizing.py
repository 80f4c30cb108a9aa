"""How many items go into a chunk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anypool._sizing import BYTES, BulkSizer, Pace, Paces, Sizer

lengths = st.none() | st.integers(0, 10_000)
workers = st.integers(1, 64)
seconds = st.floats(1e-9, 100)


@given(lengths, workers)
def test_of_an_unknown_function_one_item_is_tried(length: int | None, workers: int) -> None:
    assert Sizer(None, length).size(0, workers) == 1


@given(st.integers(1, 1000), lengths, workers)
def test_a_fixed_size_is_kept(fixed: int, length: int | None, workers: int) -> None:
    sizer = Sizer(fixed, length)
    sizer.ran(fixed, 5.0, 1 << 30)
    assert sizer.size(0, workers) == fixed


@given(seconds, workers, st.sampled_from([Sizer, BulkSizer]))
def test_the_items_of_a_chunk_take_the_target_time_or_of_a_map_begin_in_it(
    per_item: float, workers: int, kind: type[Sizer]
) -> None:
    sizer = kind(None, None)
    for _ in range(50):
        items = sizer.size(0, workers)
        sizer.ran(items, items * per_item, items)
    whole, target = (items - 1, 0.004) if kind is BulkSizer else (items, 0.002)
    assert items == 1 or whole * per_item <= target * 1.001
    assert items <= BYTES


@given(seconds, st.integers(1, 10_000), workers)
def test_what_an_earlier_map_took_never_costs_a_worker_its_share(pace: float, length: int, workers: int) -> None:
    assert BulkSizer(None, length, Pace(pace)).size(0, workers) <= -(-length // workers)


@given(seconds, seconds, lengths, workers)
def test_what_an_earlier_map_took_is_forgotten_once_this_one_is_measured(
    pace: float, per_item: float, length: int | None, workers: int
) -> None:
    seeded, fresh = Sizer(None, length, Pace(pace, 1e6, 1e6)), Sizer(None, length)
    for sizer in (seeded, fresh):
        sizer.packed(1, 5)
        sizer.ran(1, per_item, 10)
    assert seeded.size(1, workers) == fresh.size(1, workers)


@given(st.integers(1, 1000), workers)
def test_chunks_of_a_remembered_pace_are_light_until_it_is_confirmed(size: int, workers: int) -> None:
    assert Sizer(None, 10_000_000, Pace(1e-9, size, 1)).size(0, workers) <= 64
    sizer = BulkSizer(None, 10_000_000, Pace(1e-9, size, 1))
    assert sizer.size(0, workers) * size <= 32 << 10
    sizer.ran(1000, 1e-6, 1000)
    assert sizer.size(1000, workers) * size > 32 << 10


@given(st.integers(BYTES, 100 * BYTES), workers)
def test_items_that_were_large_in_an_earlier_map_are_not_gathered(size: int, workers: int) -> None:
    paces = Paces()
    first = Sizer(None, None)
    first.packed(1, size)
    first.ran(1, 1e-7, 10)
    paces.learn("function", first)
    assert Sizer(None, 10_000, paces.of("function")).size(0, workers) == 1
    assert paces.of("another") is None


@given(seconds, st.integers(1, 4096), workers)
def test_input_that_is_read_ahead_goes_into_growing_chunks_whatever_an_earlier_map_took(
    pace: float, index: int, workers: int
) -> None:
    assert Sizer(None, None, Pace(pace)).ahead(index, workers) == index


@given(seconds, workers)
def test_of_an_input_without_a_length_one_item_is_tried_whatever_an_earlier_map_took(pace: float, workers: int) -> None:
    assert Sizer(None, None, Pace(pace)).size(0, workers) == 1
