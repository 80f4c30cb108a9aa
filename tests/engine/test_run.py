"""Each item of a chunk has one outcome, its own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypool import _each
from anypool._each import run

INFINITE = float("inf")


class Struck(Exception):
    """What a signal's handler raises."""


def struck_clock(strikes: set[int]) -> Any:
    """A clock of whose readings these are struck by a signal."""
    readings = iter(range(10_000))

    def read() -> float:
        if next(readings) in strikes:
            raise Struck
        return 0.0

    return read


def fails_for(wrong: set[int]) -> Any:
    def task(number: int) -> int:
        if number in wrong:
            raise ValueError(number)
        return number

    return task


@given(st.integers(0, 300), st.sets(st.integers(0, 299), max_size=5), st.sets(st.integers(1, 30), max_size=5))
def test_what_strikes_between_two_items_moves_none_to_another_place(
    count: int, wrong: set[int], strikes: set[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_each, "perf_counter", struck_clock(strikes))
        try:
            values, errors = run(map(fails_for(wrong), range(count)), count, INFINITE, stop=False)
        except Struck:
            # While an error was looked at: all of it is lost, and none of it wrong.
            return
    assert len(values) == count
    for number, value in enumerate(values):
        if number not in errors:
            assert value == number
            assert number not in wrong
        else:
            assert value is None
            assert number in wrong or isinstance(errors[number], Struck)


def test_before_the_first_item_there_is_none_to_blame() -> None:
    def strike(*_: object) -> None:
        raise Struck

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_each, "islice", strike)
        with pytest.raises(Struck):
            run(map(abs, range(3)), 3, INFINITE, stop=False)
