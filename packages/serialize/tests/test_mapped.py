"""Arrays over files: they stay over their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anypool_serialize import copy

numpy = pytest.importorskip("numpy")


@pytest.fixture
def table(tmp_path: Path) -> Any:
    array = numpy.memmap(tmp_path / "table", dtype="i4", mode="w+", shape=(6, 4))
    array[:] = numpy.arange(24).reshape(6, 4)
    return array


@pytest.mark.parametrize(
    "part",
    [
        lambda table: table,
        lambda table: table[2:5],
        lambda table: table[:, 1],
        lambda table: table[::-1, ::2],
        lambda table: table.T,
        lambda table: table[1:][1:, 2:],
        lambda table: table.view("u1"),
    ],
)
def test_what_is_written_to_the_far_array_is_written_here(table, part):
    near = part(table)
    far = copy(near)
    assert type(far) is numpy.memmap
    assert far.dtype == near.dtype
    assert numpy.array_equal(far, near)
    before = table.copy()
    far[...] = 99
    assert (near == 99).all()
    assert (table != before).sum() == near.nbytes // 4


def test_a_far_array_travels_on(table):
    copy(copy(table[3:]))[0, 0] = -1
    assert table[3, 0] == -1


def test_one_that_begins_within_its_file_is_found_there(tmp_path):
    (tmp_path / "file").write_bytes(b"head" + bytes(range(8)))
    array = numpy.memmap(tmp_path / "file", dtype="u1", mode="r+", offset=4)
    far = copy(array[2:])
    far[0] = 99
    assert list(array) == [0, 1, 99, 3, 4, 5, 6, 7]


def test_one_that_may_only_be_read_stays_so(tmp_path, table):
    table.flush()
    far = copy(numpy.memmap(table.filename, dtype="i4", mode="r"))
    assert not far.flags.writeable
    assert far[5] == 5


def test_what_is_not_shared_here_is_not_shared_there(table):
    table.flush()
    own = numpy.memmap(table.filename, dtype="i4", mode="c")
    own[0] = 5
    far = copy(own)
    assert far[0] == 5
    far[0] = 6
    assert own[0] == 5


def test_one_whose_file_is_gone_arrives_as_data(table):
    Path(table.filename).unlink()
    assert numpy.array_equal(copy(table), table)


def test_results_of_arithmetic_are_data(table):
    far = copy(table + 1)
    far[0, 0] = 50
    assert table[0, 0] == 0
    assert copy(table.sum()) == table.sum()
