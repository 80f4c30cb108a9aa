"""Errors: they arrive as what they were, from where they were, in their place, and cost nothing else."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from anypool import Pool, RemoteError, Result, Unserializable
from anypool.testing._base import Kit
from anypool.testing._terms import copies

__all__: list[str] = []


def _complaining() -> tuple[type[Exception], Callable[[int], int]]:
    """An exception that can't be made from its text alone, and a task that raises it for odd items."""

    class Complaint(Exception):
        def __init__(self, code: int, text: str) -> None:
            super().__init__(code, text)
            self.code, self.text = code, text

    def complain(x: int) -> int:
        if x % 2:
            raise Complaint(x, "odd")
        return x

    return Complaint, complain


def iter_of_nothing() -> Iterator[int]:
    """A generator, which nothing can send."""
    nothing: tuple[int, ...] = ()
    return (each for each in nothing)


class Errors(Kit):
    """Behaviours of errors."""

    def test_an_exception_keeps_its_type_and_its_attributes(self, pool: Pool) -> None:
        kind, complain = _complaining()
        with pytest.raises(kind) as caught:
            pool.map(complain, [7])
        assert (vars(caught.value)["code"], vars(caught.value)["text"]) == (7, "odd")

    def test_an_exception_shows_where_on_the_worker_it_was_raised(self, pool: Pool) -> None:
        def inverse(x: int) -> float:
            def helper_of_the_task(y: int) -> float:
                return 1 / y

            return helper_of_the_task(x)

        with pytest.raises(ZeroDivisionError) as caught:
            pool.map(inverse, [0])
        text = "".join(traceback.format_exception(caught.value))
        assert "in helper_of_the_task" in text
        assert "return 1 / y" in text

    def test_the_cause_of_an_exception_shows_in_its_text(self, pool: Pool) -> None:
        def fail(x: int) -> None:
            try:
                names: dict[int, str] = {}
                names[x]
            except KeyError as error:
                raise ValueError("no such item") from error

        with pytest.raises(ValueError, match="no such item") as caught:
            pool.pipe(fail, 77)
        assert "KeyError: 77" in "".join(traceback.format_exception(caught.value))

    def test_every_way_of_calling_raises_the_tasks_own_exception(self, pool: Pool) -> None:
        kind, complain = _complaining()

        def values(answer: Any) -> None:
            found = answer.get(self.limit) if isinstance(answer, Result) else answer
            list(found)

        for method in (pool.map, pool.imap, pool.uimap, pool.amap):
            with pytest.raises(kind):
                values(method(complain, [1]))
        for call in (pool.pipe, pool.apipe, pool.submit):
            with pytest.raises(kind):
                values(call(complain, 1))

    def test_an_exception_can_be_returned_in_its_items_place(self, pool: Pool) -> None:
        kind, complain = _complaining()
        outcomes: list[Any] = pool.map(complain, range(6), on_error="return")
        assert outcomes[::2] == [0, 2, 4]
        assert [type(outcome) for outcome in outcomes[1::2]] == [kind] * 3

    def test_map_raises_the_exception_of_the_first_item_that_has_one(self, pool: Pool) -> None:
        kind, complain = _complaining()
        for size in (None, 1):
            with pytest.raises(kind) as caught:
                pool.map(complain, [0, 2, 5, 7, 9], chunksize=size)
            assert vars(caught.value)["code"] == 5

    def test_imap_raises_an_exception_in_its_place_and_goes_on(self, pool: Pool) -> None:
        kind, complain = _complaining()
        stream = pool.imap(complain, range(4))
        assert next(stream) == 0
        with pytest.raises(kind):
            next(stream)
        assert next(stream) == 2
        with pytest.raises(kind):
            next(stream)
        with pytest.raises(StopIteration):
            next(stream)

    def test_an_exception_that_cannot_be_rebuilt_is_described(self, pool: Pool) -> None:
        class Unbuildable(Exception):
            def __init__(self, needed: int, *, also: int) -> None:
                super().__init__(f"{needed} and {also}")
                self.source = (each for each in (needed, also))

        def fail(_: int) -> None:
            raise Unbuildable(1, also=2)

        outcomes: list[Any] = pool.map(fail, [0], on_error="return")
        assert isinstance(outcomes[0], (Unbuildable, RemoteError))
        assert "1 and 2" in str(outcomes[0])
        assert pool.map(abs, [-1]) == [1]

    def test_a_task_that_exits_ends_itself_only(self, pool: Pool) -> None:
        outcomes: list[Any] = pool.map(sys.exit, [3], on_error="return")
        assert isinstance(outcomes[0], RemoteError)
        assert outcomes[0].type_name.endswith("SystemExit")
        assert pool.map(abs, [-1]) == [1]

    def test_stop_iteration_does_not_end_a_stream_in_silence(self, pool: Pool) -> None:
        def stop(_: int) -> None:
            raise StopIteration

        with pytest.raises(RuntimeError, match="StopIteration"):
            list(pool.imap(stop, range(3)))

    @copies
    def test_an_argument_that_cannot_be_sent_is_refused_in_its_place(self, pool: Pool) -> None:
        items: list[Any] = [1, iter_of_nothing(), 3]
        outcomes: list[Any] = pool.map(lambda item: str(type(item)), items, on_error="return")
        assert isinstance(outcomes[1], Unserializable)
        assert outcomes[::2] == ["<class 'int'>"] * 2

    @copies
    def test_a_function_that_cannot_be_sent_is_refused_with_the_path_to_why(self, pool: Pool) -> None:
        source = iter_of_nothing()
        with pytest.raises(Unserializable, match="source"):
            pool.map(lambda _: next(source), [1])

    @copies
    def test_a_result_that_cannot_be_sent_is_the_items_error(self, pool: Pool) -> None:
        outcomes: list[Any] = pool.map(lambda item: (each for each in (item,)), [1], on_error="return")
        assert isinstance(outcomes[0], Unserializable)
        assert pool.map(abs, [-1]) == [1]

    def test_the_pool_is_as_good_as_new_after_many_errors(self, pool: Pool) -> None:
        _, complain = _complaining()
        for _ in range(20):
            pool.map(complain, range(20), on_error="return")
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
