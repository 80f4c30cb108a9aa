"""What tasks say, beyond what every launcher owes: how much, by which ways, through which handlers of the caller."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from anypool import Pool, current_task, get_pool

LINES = 40_000
BIG = 64 << 20


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with get_pool("process:2") as pool:
        yield pool


@contextmanager
def root_handler(handler: logging.Handler, level: int) -> Iterator[None]:
    before = logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(level)
    try:
        yield
    finally:
        logging.root.setLevel(before)
        logging.root.removeHandler(handler)


class Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Counter(io.TextIOBase):
    """Counts what it is given instead of keeping it."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


def print_big() -> str:
    print("y" * BIG)
    return "done"


def print_item(item: int) -> int:
    print(f"<{item}>", end="")
    return item


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2", "process:1/thread:2"])
def test_64_megabytes_from_one_task_arrive_whole_and_hold_nobody_up(launcher: str) -> None:
    counter = Counter()
    with get_pool(launcher) as pool, redirect_stdout(counter):
        pool.map(abs, range(2), chunksize=1)
        result = pool.apipe(print_big)
        assert [pool.pipe(abs, -item) for item in range(20)] == [*range(20)]
        assert result.get(timeout=60) == "done"
    assert counter.size == BIG + 1


def test_lines_of_one_task_keep_their_order_however_many(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def count() -> None:
        for number in range(LINES):
            print(number)

    pool.pipe(count)
    assert capsys.readouterr().out == "".join(f"{number}\n" for number in range(LINES))


def test_what_a_task_says_is_there_before_its_result(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    seen = ""
    for item in pool.uimap(print_item, range(200), chunksize=1):
        seen += capsys.readouterr().out
        assert f"<{item}>" in seen


def test_a_stream_of_the_caller_is_told_whose_text_it_is(pool: Pool) -> None:
    class Labels(io.StringIO):
        def write(self, text: str) -> int:
            task = current_task()
            assert task is not None
            return super().write(f"{task.item} of {task.worker}: {text}")

    with redirect_stdout(Labels()) as labels:
        pool.map(lambda item: print("here"), range(2), chunksize=1)
    assert sorted(line.split()[0] for line in labels.getvalue().splitlines()) == ["0", "1"]
    assert {line.split()[2] for line in labels.getvalue().splitlines()} <= {"process-0:", "process-1:"}


def test_a_stream_of_the_caller_that_refuses_costs_its_text_only(pool: Pool) -> None:
    class Refusing(io.TextIOBase):
        def write(self, text: str) -> int:
            raise OSError("the disk is full")

    with redirect_stdout(Refusing()):
        assert pool.map(print_item, range(3)) == [0, 1, 2]


def test_every_way_out_of_a_worker_leads_to_the_caller(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def say() -> None:
        sys.stdout.buffer.write("bytes ä\n".encode())
        sys.stdout.write("text ä\n")
        os.write(sys.stdout.fileno(), b"descriptor\n")
        subprocess.run(["echo", "child"], check=True)
        with redirect_stdout(sys.stderr):
            print("redirected")

    pool.pipe(say)
    # What goes past the streams is the agent's, and in no order with the rest.
    pool.clear()
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == ["bytes ä", "child", "descriptor", "text ä"]
    assert err == "redirected\n"


def test_a_forked_child_of_a_task_prints_and_breaks_nothing(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def fork() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if not child:
            for _ in range(1000):
                print("the child")
            sys.stdout.flush()
            os._exit(0)
        for _ in range(1000):
            print("the parent")
        return os.waitpid(child, 0)[1]

    assert pool.pipe(fork) == 0
    assert pool.pipe(abs, -1) == 1
    pool.clear()
    out = capsys.readouterr().out.splitlines()
    assert (out.count("the child"), out.count("the parent"), len(out)) == (1000, 1000, 2000)


def test_an_initializer_prints_too(capsys: pytest.CaptureFixture[str]) -> None:
    with get_pool("process:1", initializer=print, initargs=("hello",)) as pool:
        assert pool.pipe(abs, -1) == 1
    assert capsys.readouterr().out == "hello\n"


def test_a_thread_of_a_task_says_whose_it_is(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def start(item: int) -> Any:
        found: list[Any] = []

        def run() -> None:
            found.append(current_task())
            print("from a thread")

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return found[0]

    assert [task.item for task in pool.map(start, range(4), chunksize=2)] == [*range(4)]
    assert capsys.readouterr().out == "from a thread\n" * 4


def test_what_tasks_of_tasks_print_appears_once(pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    def inner(item: int) -> int:
        print(f"inner {item}")
        logging.getLogger("inner").warning("logged %d", item)
        return item

    def outer(launcher: str) -> list[int]:
        with get_pool(launcher) as below:
            return below.map(inner, range(3))

    launchers = ["serial", "thread:2", "process:1", "multiprocess:1"]
    keeper = Keeper()
    with root_handler(keeper, logging.WARNING):
        assert pool.map(outer, launchers, chunksize=1) == [[0, 1, 2]] * 4
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(f"inner {item}" for item in range(3) for _ in "four")
    assert sorted(record.getMessage() for record in keeper.records) == sorted(
        f"logged {item}" for item in range(3) for _ in "four"
    )


def test_a_record_keeps_its_traceback_and_what_can_travel_of_its_extras(pool: Pool) -> None:
    def log() -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            generator = (item for item in "ab")
            logging.getLogger("deep.er").exception("it is %s", "so", extra={"letters": generator, "number": 7})

    keeper = Keeper()
    with root_handler(keeper, logging.INFO):
        pool.pipe(log)
    (record,) = keeper.records
    assert (record.name, record.getMessage(), record.number) == ("deep.er", "it is so", 7)  # type: ignore[attr-defined]
    assert "ValueError: broken" in str(record.exc_text)
    assert record.process != os.getpid()


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "multiprocess:1?start_method=fork"])
def test_a_handler_of_the_caller_is_called_once_whatever_a_worker_inherits(launcher: str) -> None:
    stream = io.StringIO()
    with root_handler(logging.StreamHandler(stream), logging.INFO), get_pool(launcher) as pool:
        pool.map(lambda item: logging.info("item %d", item), range(3))  # noqa: LOG015 - the root's own
    assert stream.getvalue() == "item 0\nitem 1\nitem 2\n"


def test_disabled_logging_is_disabled_in_tasks_too_and_enabled_again(pool: Pool) -> None:
    keeper = Keeper()

    def enabled(_: object = None) -> bool:
        return logging.getLogger("some").isEnabledFor(logging.ERROR)

    with root_handler(keeper, logging.INFO):
        assert pool.pipe(enabled) is True
        logging.disable(logging.CRITICAL)
        try:
            assert pool.pipe(enabled) is False
            assert pool.map(enabled, range(2)) == [False, False]
        finally:
            logging.disable(logging.NOTSET)
        assert pool.map(enabled, range(2)) == [True, True]


class OwnWarning(UserWarning):
    pass


def test_a_warning_of_a_class_of_the_users_is_caught_as_that(pool: Pool) -> None:
    with pytest.warns(OwnWarning, match="mine"):
        pool.pipe(lambda: warnings.warn("mine", OwnWarning, stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", OwnWarning)
        with pytest.raises(OwnWarning):
            pool.pipe(lambda: warnings.warn("mine", OwnWarning, stacklevel=1))


def print_much_until_struck() -> str:
    def strike(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        while True:
            print("x" * 1_000_000)
    except TimeoutError:
        return "struck"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1"])
def test_a_handler_that_strikes_in_the_midst_of_a_print_leaves_what_follows_whole(launcher: str) -> None:
    class Slow(Counter):
        def write(self, text: str) -> int:
            # Until then the worker has filled its pipe, so that the handler strikes while it waits for room.
            threading.Event().wait(0.05)
            return super().write(text)

    with redirect_stdout(Slow()), get_pool(launcher) as pool:
        assert pool.pipe(print_much_until_struck) == "struck"
        assert pool.map(abs, [-1, -2]) == [1, 2]


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "process:1/thread:1"])
def test_what_a_task_puts_in_the_place_of_a_stream_costs_nobody_more_than_its_output(launcher: str) -> None:
    class Odd:
        def flush(self) -> None:
            raise RuntimeError("odd")

    def replace(item: int) -> int:
        sys.stdout = Odd()
        return item

    with get_pool(launcher) as pool:
        assert pool.map(replace, range(3)) == [0, 1, 2]


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "parallel-python:1"])
def test_signal_handlers_and_finalizers_print_too(launcher: str, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        signal.signal(signal.SIGALRM, lambda *_: print("handler"))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for number in range(3000):
            print(number)
        signal.setitimer(signal.ITIMER_REAL, 0)

    with get_pool(launcher) as pool:
        pool.pipe(interrupted)
    # A handler may come between a number and the end of its line.
    out = capsys.readouterr().out
    assert "handler" in out
    assert out.replace("handler", "").split() == [str(number) for number in range(3000)]


@pytest.mark.parametrize("launcher", ["multiprocess:1", "parallel-python:1"])
def test_a_handler_that_exits_or_asks_its_own_pool_holds_nobody_up(launcher: str) -> None:
    class Rude(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            answers.append(record.getMessage())
            if record.levelno == logging.ERROR:
                sys.exit("a handler")
            pool.pipe(abs, -1)

    def log(item: int) -> int:
        logging.getLogger("rude").log(logging.ERROR if item else logging.WARNING, "item %d", item)
        return item

    answers: list[str] = []
    with root_handler(Rude(), logging.WARNING), get_pool(launcher) as pool:
        assert pool.map(log, range(2), chunksize=1) == [0, 1]
    assert {"item 0", "item 1"} <= set(answers)


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1", "process:1/thread:1"])
def test_a_task_that_configures_logging_by_itself_is_heard_once(launcher: str) -> None:
    def log(item: int) -> None:
        import logging

        logging.basicConfig(level=logging.INFO)
        logging.info("item %d", item)  # noqa: LOG015 - the root's own

    stream = io.StringIO()
    with root_handler(logging.StreamHandler(stream), logging.INFO), get_pool(launcher) as pool:
        pool.map(log, range(3), chunksize=1)
    assert stream.getvalue() == "item 0\nitem 1\nitem 2\n"


def test_a_character_that_a_stream_does_not_know_costs_only_itself(pool: Pool) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", write_through=True)
    with redirect_stdout(stream):
        pool.pipe(print, "before\ncafé\nafter")
    assert raw.getvalue() == b"before\ncaf\\xe9\nafter\n"


@pytest.mark.parametrize("outer", ["process:1", "multiprocess:1", "process:1/thread:1"])
def test_tasks_of_an_executor_within_a_task_are_heard(outer: str, capsys: pytest.CaptureFixture[str]) -> None:
    def say(item: int) -> int:
        print(f"inner {item}")
        return item

    def nest() -> list[int]:
        with get_pool("multiprocess:1") as below:
            return below.map(say, range(2))

    with get_pool(outer) as pool:
        assert pool.pipe(nest) == [0, 1]
    assert capsys.readouterr().out == "inner 0\ninner 1\n"


def test_what_a_thread_says_that_a_task_left_is_heard_when_the_pool_is_left(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def leave(path: Path) -> None:
        def later() -> None:
            print("later")
            sys.stdout.flush()
            path.touch()

        threading.Timer(0.2, later).start()

    with get_pool("process:1") as pool:
        pool.pipe(leave, tmp_path / "said")
        while not (tmp_path / "said").exists():
            threading.Event().wait(0.01)
    assert capsys.readouterr().out == "later\n"


def test_what_has_run_is_not_kept_for_who_asks_what_runs() -> None:
    class Item:
        pass

    alive: weakref.WeakSet[Item] = weakref.WeakSet()
    with get_pool("thread:2") as pool:
        for _ in range(4):
            items = [Item() for _ in range(4)]
            alive.update(items)
            pool.map(lambda item: None, items, chunksize=1)
    del items
    gc.collect()
    assert len(alive) == 0
