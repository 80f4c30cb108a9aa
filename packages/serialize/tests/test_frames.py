"""Data goes as pickle sends it; large buffers go beside it."""

import pickle
import sys
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import anypool_serialize
from anypool_serialize import Frames, TooLarge, copy, dumps, loads

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(plain)
def test_plain_data_makes_a_round_trip_and_its_bytes_are_those_of_pickle(obj):
    frames = dumps(obj)
    assert frames.buffers == ()
    assert frames.header == pickle.dumps(obj, 5)
    assert loads(frames) == obj


def test_instances_of_importable_classes_are_written_as_pickle_writes_them():
    obj = [date(2026, 1, 2), Decimal("1.5"), OrderedDict(a=1), PurePosixPath("/x"), np.float64, sys.getsizeof]
    assert dumps(obj).header == pickle.dumps(obj, 5)


def test_frames_are_a_pair_of_header_and_buffers():
    header, buffers = dumps([1])
    assert isinstance(header, bytes)
    assert buffers == ()
    assert repr(Frames(b"", ())).startswith("Frames(header=b''")
    assert Frames.__module__ == "anypool_serialize"


def test_only_buffers_from_the_threshold_on_leave_the_header():
    small, large = np.zeros(10, "u1"), np.arange(65536, dtype="u1")
    frames = dumps([small, large])
    assert [buffer.raw().nbytes for buffer in frames.buffers] == [65536]
    assert len(frames.header) < 1000
    assert len(dumps([small, large], oob=1).buffers) == 2
    assert dumps([small, large], oob=1 << 40).buffers == ()
    back = loads(frames)
    assert (back[0] == small).all()
    assert (back[1] == large).all()


def test_an_array_is_built_on_the_buffer_that_was_given():
    array = np.arange(100_000.0)
    header, (buffer,) = dumps(array)
    memory = bytearray(buffer)
    back = loads(memoryview(header), [memoryview(memory)])
    back[0] = 7.0
    assert np.frombuffer(memory)[0] == 7.0
    assert array[0] == 0.0


def test_loads_takes_any_bytes_and_any_iterable_of_buffers():
    header, buffers = dumps(np.ones(100_000))
    for form in (bytes, bytearray, memoryview):
        assert loads(form(header), iter(buffers)).sum() == 100_000


def test_a_copy_shares_no_memory():
    array = np.zeros(100_000)
    twin = copy(array)
    twin[0] = 1
    assert array[0] == 0
    assert twin.flags.writeable


def test_memory_views_keep_format_shape_and_size():
    view = np.arange(100_000, dtype="i4").data
    frames = dumps(view)
    assert len(frames.buffers) == 1
    back = loads(frames)
    assert (back.format, back.shape, back[7]) == ("i", (100_000,), 7)


def test_large_objects_arrive_whole():
    obj = {"text": "x" * 200_000, "raw": bytes(300_000), "many": list(range(50_000))}
    assert copy(obj) == obj


@pytest.mark.parametrize("obj", [1, (1, 2), lambda: 1, anypool_serialize, int])
def test_pickles_says_yes(obj):
    assert anypool_serialize.pickles(obj)


def test_pickles_says_no_and_raises_nothing():
    class Odd:
        def __reduce__(self):
            return int, ("no number",)

    assert not anypool_serialize.pickles(n for n in "")
    assert not anypool_serialize.pickles(Odd())


def test_a_size_that_is_no_number_is_refused_at_once() -> None:
    wrong: Any = "x"
    with pytest.raises(TypeError, match="oob is a number of bytes, got 'x'"):
        dumps(1, oob=wrong)
    numpys: Any = np.int64(3)
    assert dumps(1, oob=numpys).buffers == ()


@pytest.mark.parametrize("large", [bytes, bytearray, np.zeros], ids=["bytes", "bytearray", "array"])
def test_what_takes_too_many_bytes_is_not_written_to_its_end(large):
    made = []

    class Item:
        def __reduce__(self):
            made.append(1)
            return tuple, ([large(100_000)],)

    items = [Item() for _ in range(1000)]
    with pytest.raises(TooLarge, match="1000000 bytes"):
        dumps(items, most=1_000_000)
    assert len(made) < 20
    assert len(loads(dumps(items[:5], most=5_000_000))) == 5


def test_many_small_objects_may_be_too_large_together():
    with pytest.raises(TooLarge):
        dumps([float(x) for x in range(100_000)], most=500_000)
    assert dumps([1, 2], most=100) == dumps([1, 2])
