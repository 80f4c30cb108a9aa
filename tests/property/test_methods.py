"""Every method on every launcher against the builtin, for inputs that nobody thought of."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anypool import Pool, Result

EXAMPLES = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
MAPS = ["map", "imap", "uimap", "amap", "map_async", "imap_unordered"]
STARMAPS = ["starmap", "istarmap", "uistarmap", "astarmap", "starmap_async"]
UNORDERED = {"uimap", "uistarmap", "imap_unordered"}
HALTING = {"map", "starmap", "amap", "astarmap", "map_async", "starmap_async"}


class Bad(Exception):
    pass


def tuple_of(*args):
    return args


def picky(*args):
    """Raises for every item that contains a 13, and says which."""
    if 13 in args:
        raise Bad(args)
    return args


Outcome = tuple[str, Any]


def outcomes(answer: Any) -> list[Outcome]:
    """All values and exceptions of one answer, in the order they come."""
    if isinstance(answer, Result):
        try:
            return [("value", value) for value in answer.get(20)]
        except Bad as error:
            return [("error", error.args)]
    seen: list[Outcome] = []
    stream = iter(answer)
    while True:
        try:
            seen.append(("value", next(stream)))
        except StopIteration:
            return seen
        except Bad as error:
            seen.append(("error", error.args))


def attempt(call: Callable[[], Any]) -> list[Outcome]:
    try:
        return outcomes(call())
    except Bad as error:
        return [("error", error.args)]


def expected(f: Callable[..., Any], rows: Iterable[tuple[Any, ...]], method: str) -> list[Outcome]:
    seen: list[Outcome] = []
    for row in rows:
        try:
            seen.append(("value", f(*row)))
        except Bad as error:
            if method in HALTING:
                return [("error", error.args)]
            seen.append(("error", error.args))
    return seen


def compare(method: str, got: list[Outcome], wanted: list[Outcome]) -> None:
    if method in UNORDERED:
        assert sorted(map(repr, got)) == sorted(map(repr, wanted))
    else:
        assert got == wanted


columns = st.lists(st.lists(st.integers(0, 20), max_size=60), min_size=1, max_size=3)
chunks = st.one_of(st.none(), st.integers(1, 70))


@pytest.mark.parametrize("method", MAPS)
def test_a_map_over_columns_is_the_builtin_map(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(columns, chunks)
    def check(lists: list[list[int]], chunksize: int | None) -> None:
        got = attempt(lambda: getattr(pool, method)(picky, *lists, chunksize=chunksize))
        compare(method, got, expected(picky, zip(*lists, strict=False), method))

    check()


@pytest.mark.parametrize("method", STARMAPS)
def test_a_map_over_rows_is_the_builtin_starmap(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(st.lists(st.lists(st.integers(0, 20), max_size=3).map(tuple), max_size=60), chunks)
    def check(rows: list[tuple[int, ...]], chunksize: int | None) -> None:
        got = attempt(lambda: getattr(pool, method)(picky, rows, chunksize=chunksize))
        compare(method, got, expected(picky, rows, method))

    check()


@pytest.mark.parametrize("method", MAPS + STARMAPS)
def test_exceptions_in_place_of_items_keep_every_item(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(st.lists(st.integers(8, 16), max_size=60), chunks)
    def check(items: list[int], chunksize: int | None) -> None:
        given_items: Any = [(item,) for item in items] if method in STARMAPS else items
        answer = getattr(pool, method)(picky, given_items, chunksize=chunksize, on_error="return")
        listed = list(answer.get(20) if isinstance(answer, Result) else answer)
        shown = [repr(entry) for entry in listed]
        wanted = [repr(Bad((item,)) if item == 13 else (item,)) for item in items]
        assert (sorted(shown), sorted(wanted))[0] == sorted(wanted)
        if method not in UNORDERED:
            assert shown == wanted

    check()


@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap"])
def test_an_input_that_raises_delivers_what_came_before(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(st.integers(0, 80), chunks)
    def check(length: int, chunksize: int | None) -> None:
        def items() -> Iterator[int]:
            yield from range(100, 100 + length)
            raise Bad("input")

        got = attempt(lambda: getattr(pool, method)(tuple_of, items(), chunksize=chunksize))
        before: list[Outcome] = [("value", (100 + at,)) for at in range(length)]
        if method in HALTING:
            before = []
        compare(method, got[:-1], before)
        assert got[-1] == ("error", ("input",))

    check()


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_retry_budget_changes_nothing_for_functions_that_always_do_the_same(pool: Pool, retries: int) -> None:
    @EXAMPLES
    @given(st.lists(st.integers(8, 16), max_size=30), chunks)
    def check(items: list[int], chunksize: int | None) -> None:
        got = attempt(lambda: pool.map(picky, items, chunksize=chunksize, retries=retries))
        compare("map", got, expected(picky, [(item,) for item in items], "map"))
        got = attempt(lambda: pool.imap(picky, items, chunksize=chunksize, retries=retries))
        compare("imap", got, expected(picky, [(item,) for item in items], "imap"))

    check()


@pytest.mark.parametrize("method", ["imap", "uimap"])
def test_a_small_buffer_changes_only_the_speed(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(st.lists(st.integers(8, 16), max_size=40), chunks, st.integers(1, 9))
    def check(items: list[int], chunksize: int | None, buffersize: int) -> None:
        answer = getattr(pool, method)(picky, items, chunksize=chunksize, buffersize=buffersize)
        compare(method, outcomes(answer), expected(picky, [(item,) for item in items], method))

    check()


@pytest.mark.parametrize("method", ["pipe", "submit", "apipe", "apply", "apply_async"])
def test_a_call_is_the_call(pool: Pool, method: str) -> None:
    @EXAMPLES
    @given(st.lists(st.one_of(st.integers(0, 20), st.text(max_size=5), st.binary(max_size=5)), max_size=4))
    def check(args: list[Any]) -> None:
        def made() -> Any:
            if method.startswith("apply"):
                return getattr(pool, method)(picky, args)
            return getattr(pool, method)(picky, *args)

        try:
            answer = made()
            got: Outcome = ("value", answer.get(20) if isinstance(answer, Result) else answer)
        except Bad as error:
            got = ("error", error.args)
        assert [got] == expected(picky, [tuple(args)], "map")

    check()


@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize(
    "make",
    [
        lambda: "some text, grüße",
        lambda: "",
        lambda: b"bytes",
        lambda: {"a": 1, "b": 2},
        lambda: {"a": 1}.items(),
        lambda: {3, 1, 2},
        lambda: io.StringIO("one\ntwo\nthree"),
        lambda: iter(()),
        lambda: range(0),
        lambda: (x for x in "gen"),
        lambda: zip("ab", "cd", strict=True),
        lambda: itertools.chain([1], (2,), {3}),
        lambda: enumerate("xy"),
        lambda: reversed([1, 2]),
        lambda: memoryview(b"view"),
    ],
    ids=[
        "text", "no text", "bytes", "dict", "items", "set", "file", "exhausted", "empty range", "generator",
        "zip", "chain", "enumerate", "reversed", "memoryview",
    ],
)  # fmt: skip
def test_whatever_can_be_iterated_can_be_mapped(pool: Pool, method: str, make: Callable[[], Iterable[Any]]) -> None:
    got = attempt(lambda: getattr(pool, method)(tuple_of, make()))
    compare(method, got, [("value", value) for value in map(tuple_of, make())])


@pytest.mark.parametrize("method", MAPS)
def test_an_iterator_shared_by_two_columns_is_read_as_the_builtin_reads_it(pool: Pool, method: str) -> None:
    one, two = iter(range(11)), iter(range(11))
    got = attempt(lambda: getattr(pool, method)(tuple_of, one, one))
    compare(method, got, [("value", value) for value in map(tuple_of, two, two)])


@pytest.mark.parametrize("method", MAPS + STARMAPS)
def test_no_iterable_at_all_is_a_type_error(pool: Pool, method: str) -> None:
    with pytest.raises(TypeError):
        getattr(pool, method)(tuple_of)


@pytest.mark.parametrize("method", MAPS + STARMAPS)
@pytest.mark.parametrize("what", [5, None, object()], ids=["number", "None", "object"])
def test_what_cannot_be_iterated_is_a_type_error_at_the_call(pool: Pool, method: str, what: object) -> None:
    with pytest.raises(TypeError):
        getattr(pool, method)(tuple_of, what)


@pytest.mark.parametrize("method", STARMAPS)
def test_a_row_that_is_no_row_is_that_items_type_error(pool: Pool, method: str) -> None:
    with pytest.raises(TypeError):
        outcomes(getattr(pool, method)(tuple_of, [(1,), 2]))


@pytest.mark.parametrize("method", MAPS)
def test_a_generator_is_not_read_further_than_needed_for_an_error_at_the_call(pool: Pool, method: str) -> None:
    source = iter(range(10))
    with pytest.raises(TypeError):
        getattr(pool, method)(tuple_of, source, unknown=1)
    with pytest.raises(TypeError):
        getattr(pool, method)(None, source)
    assert next(source) == 0


@pytest.mark.parametrize("length", [0, 1, 2, 3, 99, 100, 101, 5000])
def test_any_length_comes_back_whole(pool: Pool, length: int) -> None:
    assert pool.map(abs, range(-length, 0)) == list(range(length, 0, -1))
    assert list(pool.imap(abs, iter(range(-length, 0)))) == list(range(length, 0, -1))
    assert sorted(pool.uimap(abs, range(-length, 0))) == list(range(1, length + 1))
