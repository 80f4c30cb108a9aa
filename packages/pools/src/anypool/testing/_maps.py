"""The maps: every method gives what the builtin would, and takes the options it has."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import pytest

from anypool import Pool, get_pool
from anypool.testing._base import METHODS, Kit
from anypool.testing._tasks import drawn, drawn_from_state, wait_if_first

__all__: list[str] = []

_WRONG: tuple[dict[str, Any], ...] = (
    {"chunksize": -1}, {"chunksize": "2"}, {"timeout": 0}, {"retries": 1.5}, {"on_error": "ignore"}, {"seed": "x"},
    {"profile": "x"},
)  # fmt: skip


class Maps(Kit):
    """Behaviours of the maps."""

    def test_map_returns_a_list_in_order(self, pool: Pool) -> None:
        for size in (None, 1, 7, 1000):
            assert pool.map(lambda x: x * x, range(300), chunksize=size) == [x * x for x in range(300)]

    def test_imap_streams_in_order(self, pool: Pool) -> None:
        stream = pool.imap(lambda x: -x, range(100))
        assert iter(stream) is stream
        assert list(stream) == [-x for x in range(100)]

    def test_uimap_gives_each_result_once(self, pool: Pool) -> None:
        assert sorted(pool.uimap(lambda x: -x, range(-1000, 0))) == list(range(1, 1001))

    def test_uimap_hands_out_what_is_done_while_an_earlier_item_runs(
        self, pool: Pool, path: Callable[[str], str]
    ) -> None:
        if len(pool) == 1:
            # One worker completes them in their order.
            assert list(pool.uimap(abs, [0, 1, 2], chunksize=1)) == [0, 1, 2]
            return
        stream = pool.uimap(partial(wait_if_first, path=path("go")), range(3), chunksize=1)
        first = next(stream)
        with open(path("go"), "w", encoding="utf-8"):
            assert first != 0
        assert sorted([first, *stream]) == [0, 1, 2]

    def test_amap_returns_a_result_that_comes_later(self, pool: Pool) -> None:
        result = pool.amap(abs, range(-50, 0))
        assert result.get(timeout=self.limit) == list(range(50, 0, -1))
        assert (result.ready(), result.successful(), result.done()) == (True, True, True)

    def test_several_iterables_stop_at_the_shortest(self, pool: Pool) -> None:
        assert pool.map(pow, [2, 3, 4], [5, 6]) == [32, 729]
        assert list(pool.imap(lambda a, b, c: (a, b, c), "abc", count(), [True, False])) == [
            ("a", 0, True), ("b", 1, False),
        ]  # fmt: skip

    def test_strict_refuses_iterables_of_different_length(self, pool: Pool) -> None:
        assert pool.map(pow, [2, 3], [5, 6], strict=True) == [32, 729]
        with pytest.raises(ValueError, match=r"shorter|longer"):
            pool.map(pow, [2, 3, 4], [5, 6], strict=True)

    def test_star_maps_take_tuples_of_arguments(self, pool: Pool) -> None:
        rows = [(2, 5), (3, 2)]
        assert pool.starmap(pow, rows) == [32, 9]
        assert list(pool.istarmap(pow, rows)) == [32, 9]
        assert sorted(pool.uistarmap(pow, rows)) == [9, 32]
        assert pool.astarmap(pow, rows).get(self.limit) == [32, 9]

    def test_kwargs_are_the_same_for_every_item(self, pool: Pool) -> None:
        assert pool.map(int, ["11", "101"], kwargs={"base": 2}) == [3, 5]

    def test_an_empty_input_has_an_empty_result(self, pool: Pool) -> None:
        nothing: list[int] = []
        assert pool.map(abs, nothing) == list(pool.imap(abs, nothing)) == list(pool.uimap(abs, nothing)) == []
        assert pool.amap(abs, nothing).get(self.limit) == []

    def test_closures_classes_and_methods_travel(self, pool: Pool) -> None:
        class Scale:
            def __init__(self, factor: int) -> None:
                self.factor = factor

            def times(self, x: int) -> int:
                return x * self.factor

        scale = Scale(3)
        assert pool.map(lambda x: scale.times(x), [1, 2]) == [3, 6]  # noqa: PLW0108 - a closure is what is tested
        assert pool.map(scale.times, [1, 2]) == [3, 6]
        made = pool.map(Scale, [5])
        assert type(made[0]) is Scale
        assert made[0].factor == 5

    def test_an_unknown_option_is_refused_at_the_call(self, pool: Pool) -> None:
        for method in METHODS:
            with pytest.raises(TypeError, match="chunk_size"):
                getattr(pool, method)(abs, [(1,)], chunk_size=3)

    def test_a_wrong_value_of_an_option_is_refused_at_the_call(self, pool: Pool) -> None:
        for wrong in _WRONG:
            for method in METHODS:
                with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
                    getattr(pool, method)(abs, [(1,)], **wrong)

    def test_a_seed_gives_the_numbers_that_serial_gives(self, pool: Pool) -> None:
        with get_pool("serial") as serial:
            expected = serial.map(drawn, range(40), seed=7)
        assert pool.map(drawn, range(40), seed=7) == expected
        assert pool.map(drawn, range(40), seed=7, chunksize=3) == expected
        assert list(pool.imap(drawn, range(40), seed=7)) == expected
        assert len(set(pool.map(drawn, range(40)))) == 40

    def test_a_seed_sets_the_state_of_random_and_numpy_for_tasks_in_main_threads(self, pool: Pool) -> None:
        with get_pool("serial") as serial:
            expected = [numbers for _, *numbers in serial.map(drawn_from_state, range(40), seed=7)]
        for size in (1, 7, None):
            found = pool.map(drawn_from_state, range(40), seed=7, chunksize=size)
            for (alone, *numbers), wanted in zip(found, expected, strict=True):
                # Threads that share it would draw each other's.
                assert numbers == wanted or not alone

    def test_without_a_seed_no_two_tasks_draw_the_same(self, pool: Pool) -> None:
        drawn_by_all = pool.map(drawn_from_state, range(40), chunksize=1)
        assert len({number for _, number, _ in drawn_by_all}) == 40
        assert len({number for _, _, number in drawn_by_all}) == 40

    def test_progress_is_shown_on_stderr(self, pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
        assert pool.map(abs, range(5), progress=True) == list(range(5))
        assert "5/5" in capsys.readouterr().err

    def test_the_names_of_the_standard_pool_work(self, pool: Pool) -> None:
        assert pool.apply(divmod, (7, 2)) == (3, 1)
        assert pool.apply(int, ("11",), {"base": 2}) == 3
        assert pool.apply_async(divmod, (7, 2)).get(self.limit) == (3, 1)
        assert pool.map_async(abs, [-1, -2]).get(self.limit) == [1, 2]
        assert pool.starmap_async(pow, [(2, 5)]).get(self.limit) == [32]
        assert sorted(pool.imap_unordered(abs, [-1, -2])) == [1, 2]

    def test_tasks_run_where_the_workers_are_said_to_be(self, pool: Pool) -> None:
        pids = {worker.pid for worker in pool.workers() if worker.pid is not None}
        # Some engines don't tell which process serves.
        assert not pids or set(pool.map(lambda _: os.getpid(), range(20))) <= pids
