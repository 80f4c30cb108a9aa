"""What several threads of one process must not do to each other, and what ends in one must not to what goes on."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

import pytest

from anypool import Thread, WorkerLost, _listening, _relay_warnings, current_task, get_pool
from anypool._bar_lines import Lines
from anypool._chunk import Calling, Chunk, Outcomes
from anypool._local import ThreadCrew
from anypool._serve import Server
from anypool._wire import Buffer
from anypool_serialize import dumps

LIMIT = 10.0


def together(*calls: Callable[[], object]) -> None:
    """Make these calls in a thread each."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()


@dataclass(frozen=True)
class Failing(Thread):
    """Threads of which the first to get a chunk ends by a fault that is not the task's."""

    def launch(self) -> ThreadCrew:
        calls = count()

        class Crew(ThreadCrew):
            def run_chunk(self, chunk: Chunk) -> Outcomes:
                if next(calls) == 0:
                    raise LookupError("out of order")
                return super().run_chunk(chunk)

        return Crew(self.size, None, ())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_costs_only_the_chunk_it_had() -> None:
    with get_pool(Failing(2)) as pool:
        assert pool.map(abs, range(-9, 0), chunksize=1, retries=1) == list(range(9, 0, -1))
        assert len(pool) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_says_why() -> None:
    with get_pool(Failing(1)) as pool, pytest.raises(WorkerLost, match="out of order"):
        pool.map(abs, [-1], retries=0)


def test_no_thread_of_a_hub_goes_on_before_what_its_caller_listens_to_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    heard = []

    def listen(packed: bytes | None) -> None:
        heard.append(packed)
        begun.set()
        assert go_on.wait(LIMIT)

    monkeypatch.setattr(_relay_warnings, "listen", listen)
    server = Server()
    first, second = (threading.Thread(target=server._hear, args=(b"levels",)) for _ in range(2))
    first.start()
    assert begun.wait(LIMIT)
    second.start()
    second.join(0.1)
    waited = second.is_alive()
    go_on.set()
    for thread in (first, second):
        thread.join(LIMIT)
    assert waited
    assert heard == [b"levels"]


def test_who_asks_what_is_listened_to_while_that_is_packed_gets_what_holds_now(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = _listening.listening()
    packing, go_on, found = threading.Event(), threading.Event(), list[Any]()
    pickled = _listening._pickled

    def slowly(levels: Any) -> bytes:
        packing.set()
        assert go_on.wait(LIMIT)
        return pickled(levels)

    monkeypatch.setattr(_listening, "_pickled", slowly)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ImportWarning)
        threads = [threading.Thread(target=lambda: found.append(_listening.listening())) for _ in range(2)]
        threads[0].start()
        assert packing.wait(LIMIT)
        threads[1].start()
        threads[1].join(0.1)
        early = [*found]
        go_on.set()
        for thread in threads:
            thread.join(LIMIT)
    assert early == []
    assert found[0] == found[1] != before


class Meeting:
    """Arrives only once two threads unpickle it."""

    barrier = threading.Barrier(2)

    def __reduce__(self) -> tuple[Any, ...]:
        return _met, ()


def _met() -> Callable[[], None]:
    Meeting.barrier.wait(LIMIT)
    return _met  # type: ignore[return-value]


def test_a_function_that_two_threads_load_at_once_is_kept_and_counted_once() -> None:
    parts: list[Buffer] = [dumps(tuple(Calling(Meeting()))).header]  # type: ignore[arg-type]
    server, found = Server(), list[Any]()

    def load() -> None:
        found.append(server._calling(b"digest", [*parts], lambda ref: b""))

    together(load, load)
    assert found[0] is found[1]
    assert server._held == sum(map(len, parts))
    server.drop(b"digest")
    assert (server._held, server._bodies) == (0, {})


def test_who_prints_by_tqdm_while_a_bar_is_drawn_does_not_wait_for_who_draws_it() -> None:
    from tqdm import tqdm

    drawing = threading.Lock()
    screen = io.StringIO()
    lines = Lines(screen, lambda: drawing)
    with drawing:

        def write() -> None:
            with tqdm.get_lock():
                lines.write("said\n")

        together(write)
    assert screen.getvalue() == "said\n"
    together(lambda: lines.write("more\n"))
    assert screen.getvalue() == "said\nmore\n"


def test_of_a_line_that_ends_after_the_bars_nothing_is_lost_or_doubled() -> None:
    screen = io.StringIO()
    lines = Lines(screen, nullcontext)
    lines.write("be")
    assert screen.getvalue() == ""
    lines.leave()
    lines.write("gun\n")
    assert screen.getvalue() == "begun\n"


def _pieces(item: int, barrier: Any) -> int:
    for turn in range(4):
        if turn % 2 == item:
            print(f"<{item}.{turn}>", end="" if item == 0 else "\n")
        barrier.wait(LIMIT)
    return item


def test_what_threads_of_a_hub_print_in_turns_is_of_who_printed_it() -> None:
    def task(item: int) -> int:
        import builtins

        return _pieces(item, builtins.__dict__.setdefault("met", threading.Barrier(2)))

    class Labelled(io.TextIOBase):
        said: ClassVar[list[tuple[int | None, str]]] = []

        def write(self, text: str) -> int:
            task = current_task()
            self.said.append((None if task is None else task.item, text))
            return len(text)

    with get_pool("process:1/thread:2") as pool, redirect_stdout(Labelled()):
        assert pool.map(task, range(2), chunksize=1) == [0, 1]
    whole = {item: "".join(text for of, text in Labelled.said if of == item) for item in (0, 1)}
    assert whole == {0: "<0.0><0.2>", 1: "<1.1>\n<1.3>\n"}


def test_a_record_that_can_not_be_rebuilt_here_arrives_as_its_text(caplog: pytest.LogCaptureFixture) -> None:
    def task(item: int) -> int:
        import sys
        import types

        module = sys.modules["only_there"] = types.ModuleType("only_there")
        exec("class Extra: pass", module.__dict__)
        logging.getLogger("far.away").warning("item %d: cold", item, extra={"more": module.Extra()})
        return item

    with get_pool("process:1") as pool, caplog.at_level(logging.INFO):
        assert pool.map(task, [7]) == [7]
    assert [(each.name, each.levelno, each.getMessage()) for each in caplog.records] == [
        ("far.away", logging.WARNING, "item 7: cold")
    ]


def test_a_large_function_is_not_kept_by_threads_of_a_mix_when_its_map_is_over() -> None:
    from anypool._copying import CopyingThreadCrew

    crew = CopyingThreadCrew(1, None, ())
    body = crew.body(Calling(bytes(3 << 20).startswith))
    crew._server._calling(body.digest, [*body.parcel.parts], lambda ref: b"")
    assert crew._server._held > 3 << 20
    crew.release(body)
    assert crew._server._held == 0


def test_the_end_of_a_thread_of_a_hub_is_not_that_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from anypool import TaskTimeout

    with get_pool("process:1/thread:2") as pool:
        assert pool.map(abs, [-1, -2], chunksize=1) == [1, 2]
        hubs = pool._engine().crew.hubs  # type: ignore[attr-defined]
        forgotten: list[int] = []
        monkeypatch.setattr(hubs, "forget", forgotten.append)

        def task(item: int) -> int:
            if item == 0:
                threading.Event().wait(60)
            return item

        outcomes: list[Any] = pool.map(task, range(3), chunksize=1, timeout=0.3, retries=0, on_error="return")
        assert isinstance(outcomes[0], TaskTimeout)
        assert outcomes[1:] == [1, 2]
        assert forgotten == []


def test_a_handler_that_strikes_where_a_serial_task_begins_leaves_the_callers_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from anypool import _context

    begin = _context.entered.__enter__

    def struck(self: _context.entered) -> None:
        begin(self)
        raise KeyboardInterrupt

    before = _context.scope()
    with get_pool("serial") as pool:
        monkeypatch.setattr(_context.entered, "__enter__", struck)
        with pytest.raises(KeyboardInterrupt):
            pool.map(abs, [1])
    assert (_context.scope(), current_task()) == (before, None)
