"""The answer to an asynchronous call: a standard future that drives its pool while somebody waits for it."""

# ruff: noqa: SLF001  its own, in functions that are for the engine

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, SupportsIndex, TypeVar

from anypool._errors import Unserializable
from anypool._helper import helper
from anypool._shield import Section, give_back

if TYPE_CHECKING:
    from anypool._chunk import Outcomes

__all__: list[str] = []

T = TypeVar("T")

# Reentrant, since the collector may run a `__del__` that asks for a result while it is held.
_making = threading.RLock()
_CANCELLED = frozenset({"CANCELLED", "CANCELLED_AND_NOTIFIED"})
_ENDED = _CANCELLED | {"FINISHED"}


def _renew() -> None:
    global _making
    _making = threading.RLock()


os.register_at_fork(after_in_child=_renew)


class Owner(Protocol):
    """What a result has to be able to ask: its pool's engine."""

    section: Section

    def drive(self, done: Callable[[], bool], deadline: float | None = None) -> bool:
        """Move work on until `done()`; false if `deadline` (monotonic) comes first."""

    def stop_call(self, result: Result[Any]) -> bool:
        """Kill the worker that runs a call; true if the call will not give a value."""


class _OnLoop:
    """What `asyncio.wait` adds to each future; it has to be called by the thread of its loop, where it is added."""

    def __init__(self, fn: Callable[[Any], object]) -> None:
        import asyncio

        self._fn, self._loop = fn, asyncio.get_running_loop()

    def __eq__(self, other: object) -> bool:
        return self._fn == other

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, result: Future[Any]) -> None:
        # It may be just being taken back, and its loop be closed.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._fn, result)


class Result(Future[T], Generic[T]):
    """A `concurrent.futures.Future` that can also be awaited, and has the names that other pools use.

    `get(timeout)` is `result(timeout)`; `ready()`, `wait(timeout)` and `successful()` are those of the standard pool.
    The value is unpickled by the thread that asks for it first. Callbacks run on a thread of the library's own; those
    added to a result that is done, at once, and those of a cancelled one by whoever cancels it.
    Waiting drives the pool, so results come fastest to who waits; while nobody does, a helper keeps work moving.
    """

    # Not made by the base's constructor: most are waited for by driving, and what that makes takes longer than all
    # the rest. The lists come with the condition, which is held by whoever adds to them.
    _result: T | None = None
    _exception: BaseException | None = None
    _waiters: Any = ()
    _done_callbacks: Any = ()
    _lazy_condition: threading.Condition | None = None
    _outcomes: Outcomes | None = None
    _at = 0

    def __init__(self, engine: Owner) -> None:
        self._state = "PENDING"
        self._engine = engine

    if not TYPE_CHECKING:  # To a checker it's the base's attribute, or `concurrent.futures.wait` wouldn't take it.

        @property
        def _condition(self) -> threading.Condition:
            """What the base class and the functions of `concurrent.futures` wait on, made when first asked for.

            The state changes with it held, or while there is none.
            """
            condition = self._lazy_condition
            if condition is None:
                try:
                    with _making:
                        condition = self._lazy_condition
                        if condition is None:
                            self._waiters, self._done_callbacks = [], []
                            condition = self._lazy_condition = threading.Condition()
                except BaseException:
                    # As in `settle`.
                    give_back(_making)
                    raise
            return condition

    def cancel(self) -> bool:
        """Withdraw it if it has not been sent; false if it has. `kill()` stops it all the same."""
        with self._engine.section:
            if self._state in ("RUNNING", "FINISHED"):
                return False
            news = revoke(self)
        if news:
            announce(self)
        return True

    def _tell(self, condition: threading.Condition, failed: bool) -> None:
        # Whoever holds the condition may be counting the results that are done, to be told of the others.
        with condition:
            self._state = "FINISHED"
            for waiter in self._waiters:
                (waiter.add_exception if failed else waiter.add_result)(self)
            condition.notify_all()
        if self._done_callbacks:
            helper.call(self._invoke_callbacks)  # type: ignore[attr-defined]

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(self)` on the helper thread once done, or here and now if it is done already."""
        helper.start()
        super().add_done_callback(_OnLoop(fn) if getattr(fn, "__module__", None) == "asyncio.tasks" else fn)

    def remove_done_callback(self, fn: Callable[[Future[T]], object]) -> int:
        """Take back what `add_done_callback(fn)` has added; how often that was. `asyncio.wait` asks for it."""
        with self._condition:
            kept = [added for added in self._done_callbacks if added != fn]
            removed = len(self._done_callbacks) - len(kept)
            self._done_callbacks = kept
        return removed

    def _drive(self, timeout: float | None) -> None:
        if self._state not in _ENDED:
            deadline = None if timeout is None else time.monotonic() + timeout
            if not self._engine.drive(lambda: self._state in _ENDED, deadline):
                raise TimeoutError(f"no result within {timeout:g} s; the call goes on")

    def _decode(self) -> None:
        outcomes = self._outcomes
        if outcomes is None:
            return
        # Two threads may both do this, and set the same.
        values, errors = outcomes.decode()
        self._result, self._exception = values[self._at], errors.get(self._at)
        self._outcomes = None

    def result(self, timeout: float | None = None) -> T:
        """The value, or the task's own exception; `TimeoutError` after `timeout` seconds, the task going on."""
        if self._state != "FINISHED":
            self._drive(timeout)
        if self._outcomes is not None:
            self._decode()
        if self._state in _CANCELLED:
            raise CancelledError
        if self._exception is None:
            return self._result  # type: ignore[return-value]
        try:
            raise self._exception
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642 - or the traceback would hold the result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """The task's exception, None if it has none; `TimeoutError` as for `result`."""
        self._drive(timeout)
        self._decode()
        return super().exception(0)

    get = result

    def __repr__(self) -> str:
        # The base's shows the type of a value that may not be here yet.
        return f"<anypool.Result at {id(self):#x}, {self._state.lower().replace('_', ' ')}>"

    def ready(self) -> bool:
        """Whether there is an outcome."""
        return self._state in _ENDED

    def wait(self, timeout: float | None = None) -> None:
        """Return when there is an outcome, or after `timeout` seconds in any case."""
        try:
            self._drive(timeout)
        except TimeoutError:
            return

    def successful(self) -> bool:
        """Whether the call returned normally; `ValueError` while it has not."""
        if not self.ready():
            raise ValueError(f"{self!r} is not ready; wait() first")
        return not self.cancelled() and self.exception(0) is None

    def kill(self) -> bool:
        """Stop the task even if it runs, by replacing its worker; true if it will not give a value.

        What else the worker had in hand runs again elsewhere.
        """
        if self.cancel():
            return True
        return self.cancelled() if self.ready() else self._engine.stop_call(self)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        # The advice for it, `anypool_serialize` knows.
        raise TypeError("it stands for a value that is to come, and nobody waits for it there")

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()


# What the engine does with results, which is for nobody else: so these are no methods.


def begin(result: Result[Any]) -> bool:
    """It is about to be sent; false if it was cancelled. The engine's lock is held, as by `cancel`."""
    if result._state == "PENDING":
        result._state = "RUNNING"
        return True
    return result._state not in _CANCELLED


def revoke(result: Result[Any]) -> bool:
    """Become cancelled, begun or not; true if that is news. The engine's lock is held; `announce` comes after."""
    if result._state in _ENDED:
        return False
    result._state = "CANCELLED"
    return True


def announce(result: Result[Any]) -> None:
    """Wake who waits for a result that was cancelled."""
    with result._condition:
        result._condition.notify_all()
    result._invoke_callbacks()  # type: ignore[attr-defined]
    result.set_running_or_notify_cancel()


def settle(results: Iterable[Result[Any]], outcomes: Outcomes) -> None:
    """Give results their outcomes, in order; called once for each."""
    observed: list[tuple[Result[Any], threading.Condition]] = []
    try:
        with _making:
            for at, result in enumerate(results):
                if result._state in _ENDED:
                    continue
                result._outcomes, result._at = outcomes, at
                if result._lazy_condition is None:
                    result._state = "FINISHED"
                else:
                    observed.append((result, result._lazy_condition))
    except BaseException:
        # The exception of a signal's handler that strikes on the way out of `with` leaves the lock taken, and all of
        # this process need it.
        give_back(_making)
        raise
    for result, condition in observed:
        result._tell(condition, result._at in outcomes.errors)


def tell(result: Result[Any], waiter: object) -> bool:
    """Have a waiter told of the outcome, as those of `concurrent.futures` are; false if it is there already."""
    with result._condition:
        if result._state in _ENDED:
            return False
        result._waiters.append(waiter)
        return True


def refuse(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise if a result is among arguments that are to be sent: only its value can be."""
    for arg in (*args, *kwargs.values()) if kwargs else args:
        if type(arg) is Result:
            raise Unserializable("a Result can't be sent, and is the value of another one; return its value instead")


def call_back(
    result: Result[Any],
    callback: Callable[[Any], object] | None,
    error_callback: Callable[[BaseException], object] | None,
) -> None:
    """Have the one called with the value, or the other with the exception; neither if it is cancelled."""
    if callback is None and error_callback is None:
        return

    def ended(future: Any) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is None and callback is not None:
            callback(future.result())
        elif error is not None and error_callback is not None:
            error_callback(error)

    result.add_done_callback(ended)
