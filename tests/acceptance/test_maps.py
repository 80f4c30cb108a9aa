"""Every map gives what the builtin gives, whatever is mapped over whatever."""

from __future__ import annotations

import functools
import math
import operator
import random
from collections.abc import Callable
from typing import Any

import pytest

from anypool import Pool, get_pool


def busy_add(x, y, delay=0.01):
    for n in range(int(1000 * abs(delay))):
        x += n
    for n in range(int(1000 * abs(delay))):
        x -= n
    return x + y


def quad_factory(a=1, b=1, c=0):
    def quad(x):
        return a * x**2 + b * x + c

    return quad


class Counter:
    def __init__(self, start):
        self.start = start

    def add(self, x):
        return self.start + x

    def __call__(self, x):
        return self.start * x

    @classmethod
    def made(cls, x):
        return cls(x).start

    @staticmethod
    def plain(x):
        return x + 0.5


def logged(f):
    @functools.wraps(f)
    def inner(*args):
        return ("logged", f(*args))

    return inner


def repeated(times):
    def decorate(f):
        @functools.wraps(f)
        def inner(x):
            for _ in range(times):
                x = f(x)
            return x

        return inner

    return decorate


class Decorator:
    def __init__(self, f):
        self.f = f
        functools.update_wrapper(self, f)

    def __call__(self, x):
        return ["decorated", self.f(x)]


@logged
def halve(x):
    return x / 2


@repeated(3)
def double(x):
    return 2 * x


@Decorator
def negate(x):
    return -x


THREE = [range(-10, 10), range(-20, 20, 2), [0.01] * 20]


@pytest.mark.parametrize("columns", [[range(-5, 15)], THREE], ids=["one iterable", "three iterables"])
def test_every_map_equals_the_builtin(pool: Pool, columns: list[Any]) -> None:
    f: Callable[..., Any] = busy_add if len(columns) > 1 else math.sin
    expected = list(map(f, *columns))
    rows = list(zip(*columns, strict=True))
    assert pool.map(f, *columns) == expected
    assert list(pool.imap(f, *columns)) == expected
    assert sorted(pool.uimap(f, *columns)) == sorted(expected)
    assert pool.amap(f, *columns).get(10) == expected
    assert pool.starmap(f, rows) == expected
    assert list(pool.istarmap(f, rows)) == expected
    assert sorted(pool.uistarmap(f, rows)) == sorted(expected)
    assert pool.astarmap(f, rows).get(10) == expected
    assert pool.map_async(f, *columns).get(10) == expected
    assert pool.starmap_async(f, rows).get(10) == expected
    assert sorted(pool.imap_unordered(f, *columns)) == sorted(expected)


@pytest.mark.parametrize("kind", [list, iter])
def test_a_row_without_arguments_is_the_error_of_its_own_item(pool: Pool, kind: Callable[[list[Any]], Any]) -> None:
    found: list[object] = pool.starmap(pow, kind([(2, 3), 5, [3, 2]]), on_error="return")
    assert (found[0], found[2]) == (8, 9)
    assert isinstance(found[1], TypeError)
    results = pool.istarmap(pow, kind([(2, 3), 5]))
    assert next(results) == 8
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        next(results)


def test_an_asynchronous_map_becomes_ready(pool: Pool) -> None:
    result = pool.amap(busy_add, range(50), range(50))
    result.wait(10)
    assert result.ready()
    assert result.successful()
    assert result.get(timeout=0) == [2 * x for x in range(50)]


@pytest.mark.parametrize(
    "f",
    [
        quad_factory(2, 0, 1),
        lambda x: x * x,
        abs,
        math.sin,
        Counter(3).add,
        Counter(3),
        Counter.made,
        Counter.plain,
        functools.partial(operator.add, 10),
        functools.partial(max, 7),
        str,
        (5).__add__,
        operator.methodcaller("__neg__"),
    ],
    ids=[
        "closure", "lambda", "builtin", "C function", "bound method", "callable instance", "class method",
        "static method", "partial", "partial of a builtin", "type", "bound slot", "methodcaller",
    ],
)  # fmt: skip
def test_any_callable_can_be_mapped(pool: Pool, f: Callable[[int], Any]) -> None:
    assert pool.map(f, range(-5, 20)) == list(map(f, range(-5, 20)))
    assert pool.pipe(f, 3) == f(3)


@pytest.mark.parametrize("f", [halve, double, negate], ids=["decorator", "decorator factory", "decorating class"])
def test_decorated_functions_can_be_mapped(pool: Pool, f: Callable[[int], Any]) -> None:
    assert pool.map(f, range(10)) == [f(x) for x in range(10)]


@pytest.mark.parametrize("chunksize", [None, 0, 1, 3, 1000])
def test_the_chunk_size_does_not_change_the_results(pool: Pool, chunksize: int | None) -> None:
    assert pool.map(abs, range(-20, 20), chunksize=chunksize) == list(map(abs, range(-20, 20)))
    assert pool.amap(abs, range(-20, 20), chunksize=chunksize).get(10) == list(map(abs, range(-20, 20)))


@pytest.mark.parametrize("method", ["imap", "uimap", "istarmap", "uistarmap", "imap_unordered"])
def test_a_stream_refuses_chunks_of_nothing(pool: Pool, method: str) -> None:
    with pytest.raises(ValueError, match="chunksize must be at least 1"):
        getattr(pool, method)(abs, [(1,)], chunksize=0)


def test_keyword_arguments_reach_every_call(pool: Pool) -> None:
    assert pool.map(int, ["11", "101"], kwargs={"base": 2}) == [3, 5]
    assert pool.pipe(int, "ff", base=16) == 255
    assert pool.apply(int, ("77",), {"base": 8}) == 63
    assert pool.apply_async(int, ("77",), {"base": 8}).get(10) == 63


def test_unequal_iterables_stop_at_the_shortest_or_raise_if_strict(pool: Pool) -> None:
    assert pool.map(operator.add, range(5), range(100)) == [0, 2, 4, 6, 8]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        pool.map(operator.add, range(5), range(100), strict=True)


def test_random_numbers_differ_from_task_to_task(launcher: str) -> None:
    # Fresh workers: what they inherited must not be the same stream in each.
    with get_pool(launcher) as fresh:
        draws = fresh.map(lambda _: random.random(), range(40), chunksize=1)
    assert len(set(draws)) == 40


def test_numpy_random_numbers_differ_from_task_to_task(launcher: str) -> None:
    def draw(_):
        import numpy as np

        return np.random.random()  # noqa: NPY002 - the one that all share

    with get_pool(launcher) as fresh:
        draws = fresh.map(draw, range(40), chunksize=1)
    assert len(set(draws)) == 40


def test_tasks_write_their_results_into_an_array_over_a_file(pool, tmp_path):
    numpy = pytest.importorskip("numpy")
    out = numpy.memmap(tmp_path / "out", dtype="i8", mode="w+", shape=(20, 2))

    def fill(at, row):
        out[at] = at
        row += 1

    pool.map(fill, range(20), out)
    assert out.tolist() == [[at + 1, at + 1] for at in range(20)]
