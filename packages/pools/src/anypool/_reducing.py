"""`map_reduce`: what a checker infers, and the partial results folded by the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, TypeVar, Unpack, overload

from anypool._chunk import Mode
from anypool._mapping import Many
from anypool._options import Options, ReduceNeededKwargs, ReduceOptions
from anypool._profile import Profiled
from anypool._share import Shares
from anypool._work import open_stream, run_through

__all__: list[str] = []

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
R = TypeVar("R")
Operator = Callable[[Any, Any], Any]
# There is no value so far; None may be one.
_NOTHING: Any = object()


class Reduces(Profiled, Shares):
    """`map_reduce`, for who has an engine; the overloads are as for the maps.

    f alone says what the result is. To a checker `operator.add` takes and returns anything, and an `initial` that is
    `Counter()` counts nothing; it would say the same of the result.
    """

    @overload
    def map_reduce(
        self,
        f: Callable[[A], R],
        op: Operator,
        a: Iterable[A],
        /,
        *,
        initial: Any = ...,
        **options: Unpack[ReduceOptions],
    ) -> R: ...
    @overload
    def map_reduce(
        self,
        f: Callable[[A, B], R],
        op: Operator,
        a: Iterable[A],
        b: Iterable[B],
        /,
        *,
        initial: Any = ...,
        **options: Unpack[ReduceOptions],
    ) -> R: ...
    @overload
    def map_reduce(
        self,
        f: Callable[[A, B, C], R],
        op: Operator,
        a: Iterable[A],
        b: Iterable[B],
        c: Iterable[C],
        /,
        *,
        initial: Any = ...,
        **options: Unpack[ReduceOptions],
    ) -> R: ...
    @overload
    def map_reduce(
        self,
        f: Callable[..., R],
        op: Operator,
        a: Many,
        b: Many,
        c: Many,
        d: Many,
        /,
        *more: Many,
        initial: Any = ...,
        **options: Unpack[ReduceOptions],
    ) -> R: ...
    @overload
    def map_reduce(
        self,
        f: Callable[..., R],
        op: Operator,
        /,
        *iterables: Many,
        initial: Any = ...,
        **options: Unpack[ReduceNeededKwargs],
    ) -> R: ...
    def map_reduce(
        self,
        f: Callable[..., R],
        op: Operator,
        /,
        *iterables: Many,
        initial: Any = _NOTHING,
        **options: Any,
    ) -> R:
        """`functools.reduce(op, map(f, *iterables), initial)`, folded on the workers: `op` has to be associative.

        A worker sends home one value for each chunk, the fold of its items; the caller folds these, in input order, so
        `op` need not be commutative. It may change its left operand if f returns a new object each time. Without
        `initial`, which is on the left of everything, empty input is a `TypeError`. What op raises is raised, and never
        retried. Options as for `map`, but for `on_error`; with `timeout`, or `retries=0`, each item is a chunk.
        """
        if not callable(op):
            raise TypeError(f"the second argument is what folds two values into one, got {op!r}")
        checked = Options("map_reduce", options, op=op)
        engine = self._engine_for(checked)
        so_far: Any = initial

        def fold(values: list[Any]) -> None:
            nonlocal so_far
            so_far = reduce(op, values) if so_far is _NOTHING and values else reduce(op, values, so_far)

        run_through(engine, open_stream(engine, Mode.MAP, f, iterables, checked, ordered=True), checked, fold)
        if so_far is _NOTHING:
            raise TypeError("map_reduce() of empty input with no initial value")
        result: R = so_far
        return result
