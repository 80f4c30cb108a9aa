"""`seed=` gives each item random streams of its own, the same wherever, whenever and beside whatever it runs."""

# ruff: noqa: NPY002 - numpy's state that all of a process share is what is tested

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from numpy import random as legacy

import anypool
from anypool import Pool, Unserializable, get_pool
from anypool.launchers.multiprocess import Multiprocess


def draw(x: int) -> tuple[int, float, float]:
    return x, anypool.rng().random(), anypool.rng().random()


def draw_standard(x: int) -> tuple[int, float, float]:
    from numpy import random as legacy

    return x, random.random(), float(legacy.rand())


@pytest.fixture(scope="module")
def serial() -> Pool:
    return get_pool("serial")


@pytest.mark.parametrize("options", [{}, {"chunksize": 1}, {"chunksize": 7}, {"timeout": 60}], ids=str)
def test_the_same_seed_gives_the_same_streams(pool: Pool, serial: Pool, options: dict[str, Any]) -> None:
    expected = serial.map(draw, range(20), seed=5)
    assert pool.map(draw, range(20), seed=5, **options) == expected
    assert list(pool.imap(draw, iter(range(20)), seed=5, **options)) == expected
    assert sorted(pool.uistarmap(draw, [(x,) for x in range(20)], seed=5, **options)) == expected
    assert pool.amap(draw, range(20), seed=5, **options).get() == expected


def test_random_and_numpy_draw_from_it_too_where_tasks_run_in_a_main_thread(launcher: str, serial: Pool) -> None:
    expected = serial.map(draw_standard, range(6), seed=5)
    # Its workers have not imported numpy when the first item begins.
    with get_pool(launcher) as fresh:
        drawn = fresh.map(draw_standard, range(6), seed=5, chunksize=1)
    if fresh.launcher.name == "thread":
        assert not set(drawn) & set(expected)
    else:
        assert drawn == expected


def test_streams_differ_between_items_seeds_and_generators(pool: Pool) -> None:
    numbers = [
        number for seed in (0, 1, -1, 2**70) for row in pool.map(draw, range(5), seed=seed) for number in row[1:]
    ]
    numbers += [number for row in pool.map(draw_standard, range(5), seed=1) for number in row[1:]]
    assert len(set(numbers)) == 50


def test_the_state_that_a_process_shares_is_left_as_it_was() -> None:
    with get_pool("serial") as pool:
        before = random.getstate(), str(legacy.get_state())
        pool.map(draw_standard, range(3), seed=1)
        pool.map(lambda x: 1 // x, range(3), seed=1, on_error="return")
        assert (random.getstate(), str(legacy.get_state())) == before


def test_an_item_that_runs_again_draws_the_same(pool: Pool, serial: Pool, tmp_path: Path) -> None:
    def fails_once(x: int) -> tuple[int, float, float]:
        drawn, mark = draw(x), tmp_path / str(x)
        if not mark.exists():
            mark.touch()
            raise OSError(x)
        return drawn

    assert pool.map(fails_once, range(5), seed=3, retries=1) == serial.map(draw, range(5), seed=3)


def test_a_seeded_map_in_a_seeded_task_has_streams_of_its_own(pool: Pool, serial: Pool) -> None:
    def outer(x: int) -> list[tuple[int, float, float]]:
        with get_pool("serial") as inner:
            return inner.map(draw, range(3), seed=9)

    rows = pool.map(outer, range(3), seed=1)
    assert rows == serial.map(outer, range(3), seed=1)
    assert len({numbers for row in rows for numbers in row}) == 9


def test_several_iterables_and_kwargs_keep_their_places(pool: Pool) -> None:
    def area(width: int, height: int, *, scale: int) -> int:
        return width * height * scale

    assert pool.map(area, [1, 2], [3, 4], seed=1, kwargs={"scale": 10}, strict=True) == [30, 80]
    assert pool.starmap(area, [[1, 3], (2, 4)], seed=1, kwargs={"scale": 10}) == [30, 80]
    assert pool.map(abs, [], seed=1) == []


def test_outside_of_a_seeded_map_each_call_is_fresh(pool: Pool) -> None:
    here = {anypool.rng().random() for _ in range(5)}
    there = pool.map(lambda _: anypool.rng().random(), range(5))
    assert len(here.union(there)) == 10


def test_the_path_to_what_cannot_be_sent_is_the_one_without_a_seed() -> None:
    sent: list[Any] = [1, (x for x in [1])]
    with get_pool("process:1") as pool:
        with pytest.raises(Unserializable) as plain:
            pool.map(abs, sent)
        with pytest.raises(Unserializable) as seeded:
            pool.map(abs, sent, seed=1)
    assert str(seeded.value) == str(plain.value)


@pytest.mark.parametrize("seed", [1.5, "1", True, b"1"])
def test_a_seed_is_a_whole_number(pool: Pool, seed: Any) -> None:
    with pytest.raises(TypeError, match="seed is a whole number or None"):
        pool.map(abs, [1], seed=seed)


def test_forked_workers_do_not_share_the_owners_numpy_stream() -> None:
    legacy.rand()
    with get_pool(Multiprocess(workers=2, start_method="fork")) as pool:
        draws = pool.map(lambda _: float(legacy.rand()), range(20), chunksize=1)
    assert len(set(draws)) == 20
