"""Maps as objects that end their pool with each call."""

from __future__ import annotations

import gc
import time

import pytest

from anypool import Amap, Imap, Ismap, Map, Uimap, get_pool

NAMES = ["serial", "thread:2", "process:2", "multiprocess:2"]


def recorder(name):
    made = []

    def make():
        made.append(get_pool(name))
        return made[-1]

    return made, make


def wait_until(condition, seconds=10.0):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def is_closed(pool):
    return "closed" in repr(pool)


def odd(x):
    if x == 1:
        raise ValueError(x)
    return x


@pytest.mark.parametrize("name", NAMES)
def test_the_pool_of_a_map_ends_with_each_call(name):
    made, make = recorder(name)
    mapped = Map(make, clear=True)
    assert [mapped(abs, [-1]), mapped(abs, [-2])] == [[1], [2]]
    with pytest.raises(ValueError, match="1"):
        mapped(odd, [1])
    assert [is_closed(pool) for pool in made] == [True] * 3


@pytest.mark.parametrize("kind", [Imap, Uimap, Ismap])
@pytest.mark.parametrize("name", NAMES)
def test_the_pool_of_an_iterator_ends_when_it_is_exhausted_and_outlives_errors(kind, name):
    made, make = recorder(name)
    rows = [(x,) for x in range(4)] if kind is Ismap else range(4)
    items = kind(make, close=True)(odd, rows)
    seen: list[int] = []
    while len(seen) < 4:
        assert not is_closed(made[0])
        try:
            seen.append(next(items))
        except ValueError:
            seen.append(1)
    assert next(items, None) is None
    assert sorted(seen) == [0, 1, 2, 3]
    assert is_closed(made[0])


def test_the_workers_of_an_iterator_end_when_it_is_dropped():
    made, make = recorder("process:2")
    items = Imap(make, join=True)(abs, range(1000))
    assert next(items) == 0
    made.clear()
    from anypool._registry import pools

    before = set(pools)
    del items
    gc.collect()
    wait_until(lambda: set(pools) < before)


@pytest.mark.parametrize("name", NAMES)
def test_the_pool_of_a_result_ends_when_there_is_an_outcome(name):
    made, make = recorder(name)
    mapped = Amap(make, clear=True)
    assert mapped(abs, [-1]).get(30) == [1]
    assert isinstance(mapped(odd, [1]).exception(30), ValueError)
    wait_until(lambda: all(map(is_closed, made)))
    assert len(made) == 2


@pytest.mark.parametrize("option", ["close", "join", "clear"])
def test_a_pool_that_was_given_is_not_ended(option):
    with get_pool("serial") as pool, pytest.raises(TypeError, match="options belong to a pool that is made here"):
        Map(pool, **{option: True})
