"""What a worker says of a chunk that it folds: of how many items its value is, and whether the next may run again."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from operator import add
from time import perf_counter
from typing import Any

import pytest

from anypool import _serve
from anypool._chunk import Calling, Direct, Mode
from anypool._folding import Combiner

COUNT = 10


def folded(f: Callable[[int], Any], op: Callable[[Any, Any], Any], budget: float = inf, count: int = COUNT) -> Direct:
    calling = Calling(f, retry_on=(OSError,), combiner=Combiner(op))
    return _serve.serve_here(calling, Mode.MAP, [range(COUNT)], 0, count, budget, True, 0)


def text_below(limit: int) -> Callable[[int], str]:
    def text(item: int) -> str:
        if item >= limit:
            raise OSError(item)
        return str(item)

    return text


def test_a_whole_chunk_is_one_value_of_all_its_items() -> None:
    outcomes = folded(str, add)
    assert (outcomes.values, outcomes.count, outcomes.errors) == (["0123456789"], COUNT, {})


def test_a_chunk_that_ends_early_says_of_how_many_items_its_value_is() -> None:
    outcomes = folded(str, add, budget=1e-9)
    assert 0 < outcomes.count < COUNT
    assert outcomes.values == ["0123456789"[: outcomes.count]]


@pytest.mark.parametrize("limit", range(COUNT))
def test_an_item_that_raises_may_be_retried_and_is_not_in_the_value(limit: int) -> None:
    outcomes = folded(text_below(limit), add)
    assert outcomes.values == ["0123456789"[:limit]] * (limit > 0)
    assert (outcomes.count, outcomes.errors) == (limit + 1, {limit: True})
    assert type(outcomes.exceptions[limit]) is OSError


@pytest.mark.parametrize("error", [OSError("no"), StopIteration()], ids=["error", "stop"])
def test_an_item_at_which_the_operator_raises_may_not_be_retried(error: Exception) -> None:
    def add_up_to_four(left: str, right: str) -> str:
        if right == "5":
            raise error
        return left + right

    outcomes = folded(str, add_up_to_four)
    assert (outcomes.values, outcomes.count, outcomes.errors) == (["01234"], 6, {5: False})


@pytest.mark.parametrize("look", [2, 3, 4])
def test_an_item_that_is_in_the_value_already_may_not_be_retried(look: int, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def struck() -> float:
        # A signal's handler raises between two items.
        nonlocal looks
        looks += 1
        if looks == look + 1:
            raise OSError("a handler's")
        return perf_counter()

    monkeypatch.setattr(_serve, "perf_counter", struck)
    outcomes = folded(str, add)
    assert outcomes.errors == {outcomes.count - 1: False}
