"""Results as arguments: a call that begins once they are there, with their values in their places.

Until then it is nowhere but in `Calls.held`, and costs no worker. What it waits for says so to `Held`, with any locks
held; all else is done by a thread of its own, one call after the other. So chains of any length don't recurse, and a
user's callback that keeps the helper holds up none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

from anypool import _share
from anypool._calls import Call
from anypool._chunk import failed
from anypool._errors import InputFailed, RemoteTraceback
from anypool._helper import Helper
from anypool._result import Result, settle, tell
from anypool._strike import let_through

if TYPE_CHECKING:
    from anypool._engine import Engine

__all__: list[str] = []

_starter = Helper("anypool-helper-inputs")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def inputs_among(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Result[Any]]:
    """The results among arguments, each once."""
    return list(dict.fromkeys(arg for arg in (*args, *kwargs.values()) if isinstance(arg, Result)))


def call_with(
    engine: Engine,
    submit: Callable[[Call], None],
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    inputs: list[Result[Any]],
) -> Result[Any]:
    """As `call`; who waits for the outcome anyway waits for the inputs first."""
    held = Held(engine, f, args, kwargs)
    if engine.crew.runs_here or submit == engine.answer:
        for each in inputs:
            each.wait()
    elif not all(each.ready() for each in inputs):
        return held.hold(inputs)
    return held.begin(submit)


class Held:
    """One call that waits: told of each of its inputs, and of its own end, as `concurrent.futures.wait` is."""

    def __init__(self, engine: Engine, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.result: Result[Any] = Result(engine)
        self._engine, self._f, self._given = engine, f, (args, kwargs)
        # A dict, for what is taken out of it is taken out once, whoever else does so at the time.
        self._missing: dict[Result[Any], None] = {}
        self._begun = False

    def hold(self, inputs: list[Result[Any]]) -> Result[Any]:
        """Begin once all of these have outcomes."""
        result, self._missing = self.result, dict.fromkeys(inputs)
        engine = self._engine
        try:
            engine.calls.held.add(self)
            if engine.broken is not None:
                engine.nudge()
            tell(result, self)
            for each in (result, *inputs):
                _starter.watch(each._engine)  # type: ignore[arg-type]  # noqa: SLF001 - all owners are engines
            for each in inputs:
                if not tell(each, self):
                    self.add_result(each)
        except BaseException:
            # An interrupt, with all this half done, so it may not have been told.
            result.kill()
            _starter.call(self._begin)
            raise
        return result

    def add_result(self, ended: Result[Any]) -> None:
        """An input has an outcome; with its locks held."""
        if self._missing.pop(ended, self) is None and not self._missing:
            _starter.call(self._begin)

    add_exception = add_result

    def add_cancelled(self, ended: Result[Any]) -> None:
        """The same for an input that was cancelled, or this call itself was."""
        if ended in self._missing:
            self.add_result(ended)
        else:
            _starter.call(self._begin)

    def _begin(self) -> None:
        # Two inputs may both have been the last one, and it is cancelled now or later.
        if self._begun:
            return
        self._begun = True
        try:
            self.begin(self._engine.submit)
            self._engine.watch()
        except BaseException as error:  # noqa: BLE001 - on this thread it's nobody else's
            self._fail(error)
        self._leave()

    def begin(self, submit: Callable[[Call], None]) -> Result[Any]:
        """Submit it with the values of its inputs, which are there."""
        engine, result = self._engine, self.result
        (args, kwargs), self._given = self._given, ((), {})
        try:
            if result.ready():
                return result
            args = tuple(_value(self._f, at, arg) for at, arg in enumerate(args))
            kwargs = {name: _value(self._f, name, arg) for name, arg in kwargs.items()}
            if _share.tools is not None:
                args, kwargs = _share.tools.opened_call(args, kwargs, _share.by_reference(engine.crew))
            packed = engine.crew.pack_call(self._f, args, kwargs)
        except Exception as error:  # noqa: BLE001 - an input's, or what can't be serialised
            let_through(error)
            self._fail(error)
            return result
        try:
            submit(Call(*packed, result))
        except BaseException:
            result.kill()
            raise
        return result

    def _fail(self, error: BaseException) -> None:
        with self._engine.section:
            settle([self.result], failed(error))

    def _leave(self) -> None:
        """It is a call like others now, or none; only now, or a pool that drains might see it nowhere for a moment."""
        engine = self._engine
        with engine.section:
            engine.calls.held.discard(self)
            ended = self.result.ready()
            # Its inputs may live on for long, and know of this.
            self._missing = {}
            del self.result
        if ended:
            engine.nudge()


def _value(f: Callable[..., Any], place: int | str, arg: Any) -> Any:
    if not isinstance(arg, Result):
        return arg
    error = CancelledError("it was cancelled") if arg.cancelled() else arg.exception(0)
    if error is None:
        return arg.result(0)
    what = "an input of the call that was to give it failed"
    if not isinstance(error, InputFailed) or isinstance(error.__cause__, RemoteTraceback | None):
        what = "the call that was to give it failed"
    else:
        # What began it, or the last of a thousand would have a thousand causes.
        error = error.__cause__
    name = getattr(f, "__qualname__", type(f).__name__)
    which = f"argument {place} of {name}()" if isinstance(place, int) else f"argument {place}= of {name}()"
    raise InputFailed(f"{which} did not come: {what}, {type(error).__name__}: {error}", argument=place) from error
