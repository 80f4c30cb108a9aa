"""The methods for one call: what a checker infers of f, and which way each goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from anypool._engine import Engine
from anypool._helper import helper
from anypool._result import Result, call_back
from anypool._work import call

if TYPE_CHECKING:
    from anypool._sharing import Shared

    Given = Result[Any] | Shared[Any]

__all__: list[str] = []

P = ParamSpec("P")
R = TypeVar("R")


class SingleCalls:
    """All calls, for who has an engine.

    What a checker can't see: that a `Result` or a `Shared` is given for its value, unless it is one of the first two
    arguments.
    """

    def _engine(self, timeout: float | None = None) -> Engine:
        raise NotImplementedError

    @overload
    def pipe(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def pipe(self, f: Callable[..., R], given: Given, /, *args: Any, **kwargs: Any) -> R: ...  # type: ignore[overload-cannot-match]
    @overload
    def pipe(self, f: Callable[..., R], _: Any, given: Given, /, *args: Any, **kwargs: Any) -> R: ...  # type: ignore[overload-cannot-match]
    def pipe(self, f: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
        """`f(*args, **kwargs)` on a worker; returns its value or raises its exception. A `Result` is its value."""
        engine = self._engine()
        # No name for the result: the traceback would hold it.
        return call(engine, engine.answer, f, args, kwargs).result()

    @overload
    def apipe(self, f: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Result[R]: ...
    @overload
    def apipe(self, f: Callable[..., R], given: Given, /, *args: Any, **kwargs: Any) -> Result[R]: ...  # type: ignore[overload-cannot-match]
    @overload
    def apipe(self, f: Callable[..., R], _: Any, given: Given, /, *args: Any, **kwargs: Any) -> Result[R]: ...  # type: ignore[overload-cannot-match]
    def apipe(self, f: Callable[..., R], /, *args: Any, **kwargs: Any) -> Result[R]:
        """`pipe` as a `Result`. What can't be serialised is the result's exception; f that is no function is raised.

        A `Result` among the arguments, of any pool, stands for its value: the call begins when all of them are there,
        and occupies no worker before. If one fails or is cancelled it is `InputFailed`.
        """
        engine = self._engine()
        result = call(engine, engine.submit, f, args, kwargs)
        if engine.crew.runs_here:
            engine.drive(result.ready)
            return result
        # What `watch` looks at first, without a call for each of a million.
        if (helper.parked or not engine.watched) and not result.ready():
            engine.watch()
        return result

    submit = apipe

    def apply(self, f: Callable[..., R], /, args: Iterable[Any] = (), kwds: Mapping[str, Any] | None = None) -> R:
        """`pipe` with the arguments as a tuple and a dict."""
        return self.pipe(f, *args, **(kwds or {}))

    def apply_async(
        self,
        f: Callable[..., R],
        /,
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] | None = None,
        callback: Callable[[R], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> Result[R]:
        """`apipe` with the arguments as a tuple and a dict; callbacks get value or exception, see `Result`."""
        result = self.apipe(f, *args, **(kwds or {}))
        call_back(result, callback, error_callback)
        return result
