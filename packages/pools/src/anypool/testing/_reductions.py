"""Reductions: what `functools.reduce` over a map gives, of which only the partial results come home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import reduce
from operator import add, iadd
from typing import Any

import pytest

from anypool import Pool
from anypool.testing._base import Kit
from anypool.testing._tasks import fail_first_time, mark, marks, told

__all__: list[str] = []

_TEXT = "".join(map(str, range(100)))


def _refuse(left: int, right: int) -> int:
    raise LookupError(left, right)


class Reductions(Kit):
    """Behaviours of `map_reduce`."""

    def test_map_reduce_folds_in_input_order_whatever_the_chunks(self, pool: Pool) -> None:
        for size in (None, 1, 2, 7, 33, 1000):
            # Text commutes as little as can be.
            assert pool.map_reduce(str, add, range(100), chunksize=size) == _TEXT
        assert pool.map_reduce(str, add, (x for x in range(100)), initial="from: ") == "from: " + _TEXT

    def test_map_reduce_takes_what_a_map_takes(self, pool: Pool) -> None:
        assert pool.map_reduce(pow, add, [2, 3, 4], [5, 6]) == 32 + 729
        assert pool.map_reduce(int, max, ["11", "101"], kwargs={"base": 2}) == 5
        assert pool.map_reduce(abs, add, range(-20, 0), timeout=self.limit) == 210
        assert pool.map_reduce(str, add, range(20), buffersize=4) == _TEXT[:30]
        with pytest.raises(ValueError, match=r"shorter|longer"):
            pool.map_reduce(pow, add, [2, 3, 4], [5, 6], strict=True)

    def test_an_operator_may_change_its_left_operand(self, pool: Pool) -> None:
        words = [f"{number % 7}" for number in range(200)]
        start: Counter[str] = Counter()
        counted = pool.map_reduce(lambda word: Counter([word]), iadd, words, initial=start, chunksize=9)
        assert counted is start
        assert counted == Counter(words)

    def test_an_empty_reduction_is_its_initial_value_or_an_error(self, pool: Pool) -> None:
        nothing: list[int] = []
        assert pool.map_reduce(abs, add, nothing, initial=7) == 7
        assert pool.map_reduce(lambda _: None, lambda _, right: right, [1, 2], initial=None) is None
        with pytest.raises(TypeError, match="empty"):
            pool.map_reduce(abs, add, nothing)

    def test_one_value_comes_home_for_each_chunk(self, pool: Pool, path: Callable[[str], str]) -> None:
        kwargs = {"path": path("sent")}
        assert pool.map_reduce(told, add, range(100), kwargs=kwargs, chunksize=10).text == _TEXT
        # None of those that pass by reference.
        assert len(marks(path("sent"))) <= 10

    def test_what_the_function_or_the_operator_raises_arrives_as_its_own_type(self, pool: Pool) -> None:
        for size in (None, 1, 10):
            with pytest.raises(ZeroDivisionError):
                pool.map_reduce(lambda x: 1 // (x - 7), add, range(20), chunksize=size)
            with pytest.raises(LookupError, match=r"\(\d+, \d+\)"):
                pool.map_reduce(abs, _refuse, range(20), chunksize=size)
        # There is nothing to fold.
        assert pool.map_reduce(abs, _refuse, [-3]) == 3

    def test_what_the_input_of_a_reduction_raises_is_raised(self, pool: Pool) -> None:
        def rows() -> Iterator[int]:
            yield from (1, 2)
            raise KeyError("row 3")

        with pytest.raises(KeyError, match="row 3"):
            pool.map_reduce(abs, add, rows(), initial=0)

    def test_an_item_that_is_retried_is_folded_once_and_in_its_place(
        self, pool: Pool, path: Callable[[str], str]
    ) -> None:
        for size in (1, 5, 100):
            # Each time in other files.
            items = range(size * 1000, size * 1000 + 30)
            kwargs = {"folder": path(".")}
            found = pool.map_reduce(fail_first_time, add, items, kwargs=kwargs, chunksize=size, retry_on=OSError)
            assert found == "".join(map(str, items))

    def test_what_an_operator_raises_is_never_retried(self, pool: Pool, path: Callable[[str], str]) -> None:
        tries = path("tries")

        def add_at_the_second_try(left: int, right: int) -> int:
            mark(tries)
            if len(marks(tries)) == 1:
                raise OSError(left, right)
            return left + right

        with pytest.raises(OSError, match="1"):
            pool.map_reduce(abs, add_at_the_second_try, [1, 2, 3], chunksize=3, retries=3, retry_on=OSError)

    def test_a_seed_gives_the_same_reduction_in_any_chunks(self, pool: Pool) -> None:
        def drawn(_: int) -> list[float]:
            from anypool import rng

            return [rng().random()]

        expected: list[Any] = reduce(add, pool.map(drawn, range(30), seed=7))
        assert pool.map_reduce(drawn, add, range(30), seed=7, chunksize=4) == expected

    def test_the_bar_of_a_reduction_shows_its_items(self, pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
        assert pool.map_reduce(str, add, range(100), progress=True, chunksize=7) == _TEXT
        assert "100/100" in capsys.readouterr().err

    def test_an_option_that_makes_no_sense_for_a_reduction_is_refused(self, pool: Pool) -> None:
        with pytest.raises(TypeError, match="on_error"):
            pool.map_reduce(abs, add, [1], on_error="return")  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="inital"):
            pool.map_reduce(abs, add, [1], inital=3)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="folds two values"):
            pool.map_reduce(abs, [1], add)  # type: ignore[call-overload]
