"""From a method's arguments to a stream, and from its outcomes to what the method returns."""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from anypool import _share
from anypool._calls import Call
from anypool._chunk import BUDGET, Calling, Job, Mode, Packed, failed
from anypool._engine import Engine
from anypool._feeding import feed
from anypool._input import Input, Numbered
from anypool._iterate import Batches, Items
from anypool._options import Options
from anypool._place import Place, listed
from anypool._profile import Profile
from anypool._result import Result, begin, settle
from anypool._sizing import FOLD_BUDGET, BulkSizer, FoldSizer, Sizer
from anypool._stream import Stream
from anypool._strike import let_through

if TYPE_CHECKING:
    from anypool._folding import Combiner
    from anypool._progress import Progress, Told
    from anypool._seeding import Seeding

__all__: list[str] = []

R = TypeVar("R")

_numbers = itertools.count(1)


def open_stream(
    engine: Engine,
    mode: Mode,
    f: Callable[..., Any],
    iterables: tuple[Any, ...],
    options: Options,
    *,
    ordered: bool,
) -> Stream:
    """Check what was given, serialise f, and have the engine serve the map."""
    if not callable(f):
        raise TypeError(f"the first argument is what to call, got {f!r}")
    if not iterables:
        raise TypeError("a map needs at least one iterable")
    _check_iterables(iterables)
    if options.place is not None:
        _check_place(engine, options.place)
    stream = _stream(engine, mode, f, iterables, options, ordered)
    stream.profile = options.profile if isinstance(options.profile, Profile) else None
    try:
        engine.open(stream)
    except BaseException:
        # An interrupt on the way out, when the engine has it already.
        engine.end(stream, kill=False)
        raise
    return stream


def _stream(
    engine: Engine, mode: Mode, f: Callable[..., Any], iterables: tuple[Any, ...], options: Options, ordered: bool
) -> Stream:
    crew = engine.crew
    length = _shortest(iterables)
    source = (Input if options.seed is None else Numbered)(mode, iterables, options.strict)
    combiner = None if options.op is None else _combiner(options.op)
    profiled, kwargs = bool(options.profile), options.kwargs
    if _share.tools is not None and kwargs:
        kwargs = _share.tools.opened_kwargs(kwargs, _share.by_reference(crew))
    body = crew.body(Calling(f, kwargs, options.retry_on, _seeding(options), crew.scope, combiner, profiled))
    careful = options.timeout is not None or options.lost_retries == 0
    fixed = options.chunksize
    if (crew.runs_here and options.lazy) or (careful and not crew.reports_items):
        fixed = 1
    job = Job(
        next(_numbers),
        mode,
        body,
        stop=options.halt,
        budget=float("inf") if fixed is not None else BUDGET if combiner is None else FOLD_BUDGET,
        careful=careful,
        timeout=options.timeout,
        lost_retries=options.lost_retries,
        retry_late=options.retry_late,
        context=contextvars.copy_context() if crew.keeps_context else None,
    )
    sizer = Sizer if options.lazy else BulkSizer if combiner is None else FoldSizer
    return Stream(
        job,
        source,
        sizer(fixed, length, engine.paces.of(body.key)),
        _share.packing(crew, mode),
        early=not options.lazy,
        ordered=ordered,
        halt=options.halt,
        error_retries=options.error_retries,
        buffersize=options.buffersize,
        place=options.place,
    )


def _seeding(options: Options) -> Seeding | None:
    if options.seed is None:
        return None
    # Not at the top: its imports take a twentieth of the start of a pool.
    from anypool._seeding import Seeding

    return Seeding(options.seed)


def _combiner(op: Callable[[Any, Any], Any]) -> Combiner:
    # As there.
    from anypool._folding import Combiner

    return Combiner(op)


def _check_iterables(iterables: tuple[Any, ...]) -> None:
    """Say what is meant by a number where the standard pools take a chunk size."""
    for at, iterable in enumerate(iterables[1:], 2):
        if isinstance(iterable, int):
            raise TypeError(f"iterable {at} is {iterable!r}; a chunk size is given by keyword, chunksize={iterable!r}")


def _check_place(engine: Engine, place: Place) -> None:
    """Refuse a map that no worker is meant for."""
    if not any(map(place.takes, engine.kinds)):
        there = "; ".join(listed(tags) or "none" for tags in dict.fromkeys(engine.kinds))
        raise ValueError(f"no workers of this pool are meant by {place}; the tags of its workers are {there}")


def _shortest(iterables: tuple[Any, ...]) -> int | None:
    """How many items there will be, if all the iterables know their length."""
    try:
        return min(map(len, iterables))
    except Exception as error:  # noqa: BLE001 - the user's own, and only a hint
        let_through(error)
        return None


def run_map(engine: Engine, stream: Stream, options: Options) -> list[Any]:
    """The list of results; raises what ended the map."""
    results: list[Any] = []
    run_through(engine, stream, options, results.extend)
    return results


def run_through(engine: Engine, stream: Stream, options: Options, keep: Callable[[list[Any]], object]) -> None:
    """Feed, drive and collect until all results were handed to `keep` in their order; raises what ended the map."""
    keep_errors = options.on_error == "return"
    kill = True
    moved = _moved(engine, stream)
    try:
        with _bar(options, stream) if options.progress else nullcontext() as bar:
            while True:
                feed(engine, stream)
                if batch := stream.collect_one():
                    values, errors = batch
                    if errors and (error := _place(values, errors, keep_errors, stream)) is not None:
                        raise error
                    keep(values)
                    if bar is not None:
                        bar.reach(stream.consumed)
                    engine.glance()
                elif stream.finished and not stream.news:
                    break
                elif stream.decode_early():
                    engine.glance()
                else:
                    engine.drive(moved)
        kill = False
        if stream.broken is not None:
            raise stream.broken
    except Exception:
        kill = False
        raise
    finally:
        engine.end(stream, kill)
        # A traceback holds this frame, and would with it hold the error, and all callers' frames.
        stream = moved = batch = errors = error = None  # type: ignore[assignment]


def _moved(engine: Engine, stream: Stream) -> Callable[[], bool]:
    # With variables of its own: whoever was struck while it waited may be asked for ever.
    return lambda: stream.progress or stream.finished or engine.hungry(stream)


def _place(values: list[Any], errors: dict[int, BaseException], keep: bool, stream: Stream) -> BaseException | None:
    """Put errors that are kept among the values; return the first that ends the map."""
    for at, error in sorted(errors.items()):
        # What the input itself raises is no item's error.
        if not keep or error is stream.source.error:
            return error
        values[at] = error
    return None


def _bar(options: Options, stream: Stream) -> Progress | Told:
    from anypool._progress import bar_of  # Only who asks for a bar waits for its import.

    return bar_of(options.progress, stream.sizer.length, stream.job.body.calling.function)


def iterate(engine: Engine, stream: Stream, options: Options, closed: Callable[[], bool]) -> Iterator[Any]:
    """An iterator over the results of a stream."""
    bar = _bar(options, stream) if options.progress else None
    batches = Batches(engine, stream, options.on_error == "return", closed, bar)
    return Items.from_iterable(batches)


def gather_later(engine: Engine, stream: Stream, options: Options) -> Result[list[Any]]:
    """Read all of the input now; the result is settled when the last outcome is there."""
    keep_errors = options.on_error == "return"
    result: Result[list[Any]] = Result(engine)
    begin(result)
    if options.progress:
        bar = _bar(options, stream)
        stream.watcher = bar.reach

        def over(_: object) -> None:
            bar.reach(stream.settled)
            bar.close()

        result.add_done_callback(over)

    def unpack() -> tuple[list[Any], dict[int, BaseException]]:
        results: list[Any] = []
        try:
            for values, errors in stream.collect():
                if errors and (error := _place(values, errors, keep_errors, stream)) is not None:
                    return [None], {0: error}
                results += values
        except BaseException as broken:  # noqa: BLE001 - this is the result
            return [None], {0: broken}
        return ([results], {}) if stream.broken is None else ([None], {0: stream.broken})

    try:
        while not stream.source.ended:
            engine.put(stream, stream.cut(stream.sizer.ahead(stream.read, engine.desk.workers(stream.place))))
        engine.gather(stream, result, Packed(1, 0.0, {}, 0, unpack))
    except BaseException:
        engine.end(stream, kill=True)
        raise
    return result


def call(
    engine: Engine,
    submit: Callable[[Call], None],
    f: Callable[..., R],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Result[R]:
    """Have one call made and submitted; what can't be serialised, f or an argument, is the result's exception."""
    if not callable(f):
        raise TypeError(f"the first argument is what to call, got {f!r}")
    try:
        if _share.tools is not None:
            args, kwargs = _share.tools.opened_call(args, kwargs, _share.by_reference(engine.crew))
        body, mode, payload, size = engine.crew.pack_call(f, args, kwargs)
    except Exception as error:  # noqa: BLE001 - the standard's way: in the future
        let_through(error)
        from anypool._inputs import call_with, inputs_among  # Hardly ever needed.

        inputs = inputs_among(args, kwargs)
        return call_with(engine, submit, f, args, kwargs, inputs) if inputs else _refused(engine, error)
    result: Result[R] = Result(engine)
    try:
        submit(Call(body, mode, payload, size, result))
    except BaseException:
        # An interrupt on the way out, when the call may run already.
        result.kill()
        raise
    return result


def _refused(engine: Engine, error: Exception) -> Result[Any]:
    result: Result[Any] = Result(engine)
    settle([result], failed(error))
    return result
