"""What goes wrong in a task arrives as what it was, costs nothing else, and never hangs."""

from __future__ import annotations

import gc
import os
import re
import signal
import socket
import sys
import threading
import traceback
import weakref
from pathlib import Path
from typing import Any

import pytest

from anypool import Pool, RemoteError, Result, Unserializable, WorkerLost, get_pool


class Complaint(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)
        self.code, self.text = code, text


class Unbuildable(Exception):
    def __init__(self, needed, *, also):
        super().__init__(f"{needed} {also}")


class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class Holding(Exception):
    def __init__(self):
        super().__init__("holds a lock and a socket")
        self.lock, self.socket = threading.Lock(), socket.socket()


def iter_of(x):
    yield x


def inverse_deep_inside(x):
    def helper(y):
        return 1 / y

    return helper(x)


def complain(x):
    raise Complaint(x, "because")


def test_an_exception_keeps_its_type_its_attributes_and_its_remote_traceback(pool: Pool) -> None:
    with pytest.raises(Complaint) as caught:
        pool.map(complain, [7])
    assert (caught.value.code, caught.value.text) == (7, "because")
    with pytest.raises(ZeroDivisionError) as divided:
        pool.map(inverse_deep_inside, [1, 0])
    text = "".join(traceback.format_exception(divided.value))
    assert "in helper" in text
    assert "return 1 / y" in text


@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap", "pipe", "submit"])
def test_every_way_of_calling_raises_the_tasks_own_exception(pool: Pool, method: str) -> None:
    def use() -> None:
        answer = getattr(pool, method)(complain, 1 if method in ("pipe", "submit") else [1])
        list(answer.get(10) if isinstance(answer, Result) else answer)

    with pytest.raises(Complaint):
        use()


def test_the_other_tasks_results_can_be_had(pool: Pool) -> None:
    outcomes = pool.map(inverse_deep_inside, [1, 0, 2, 0, 4], on_error="return")
    assert [outcomes[0], outcomes[2], outcomes[4]] == [1, 0.5, 0.25]
    assert all(isinstance(outcomes[at], ZeroDivisionError) for at in (1, 3))
    results = [pool.submit(inverse_deep_inside, x) for x in (1, 0, 2)]
    assert [type(result.exception(10)) for result in results] == [type(None), ZeroDivisionError, type(None)]
    assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("name", ["Unbuildable", "Unprintable", "Holding"])
def test_an_exception_that_cannot_travel_is_described(pool: Pool, launcher: str, name: str) -> None:
    kind = {"Unbuildable": Unbuildable, "Unprintable": Unprintable, "Holding": Holding}[name]

    def fail(_):
        raise kind(1, also=2) if kind is Unbuildable else kind()

    (outcome,) = pool.map(fail, [0], on_error="return")
    if launcher.startswith(("serial", "thread")):
        assert type(outcome) is kind
    elif isinstance(outcome, RemoteError):
        assert outcome.type_name.endswith(name)
        assert "in fail" in outcome.remote_traceback
    else:
        # Its own class, if it survived the way.
        assert type(outcome) is kind
    if isinstance(outcome, Holding):
        outcome.socket.close()
    assert pool.map(abs, [-1]) == [1]


class Wordy(Exception):
    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


def raise_group(_):
    raise ExceptionGroup("both", [Wordy(1, "why"), ValueError("no")])


def test_a_group_arrives_as_one_whatever_its_exceptions_are_made_from(pool: Pool) -> None:
    codes = []
    try:
        pool.pipe(raise_group, 0)
    except* Wordy as caught:
        codes = [error.code for error in caught.exceptions if isinstance(error, Wordy)]
    except* ValueError:
        pass
    assert codes == [1]


def test_an_exception_is_a_value_and_an_argument_as_any_other(pool: Pool) -> None:
    outcomes = pool.map(lambda code: Wordy(code, "why"), [1, 2])
    assert [(type(error), error.code, str(error)) for error in outcomes] == [(Wordy, 1, "1: why"), (Wordy, 2, "2: why")]
    assert pool.map(lambda error: (str(error), error.code), outcomes) == [("1: why", 1), ("2: why", 2)]


def test_an_exceptions_own_message_is_not_made_again_from_its_message(pool: Pool) -> None:
    class Missing(Exception):
        def __init__(self, name):
            super().__init__(f"no {name}")

    def miss(name):
        raise Missing(name)

    with pytest.raises(Missing, match=r"^no bread$"):
        pool.map(miss, ["bread"])


OTHER_PROCESSES = pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2"], indirect=True, scope="module")
THIS_PROCESS = pytest.mark.parametrize("launcher", ["serial", "thread:2"], indirect=True, scope="module")


@OTHER_PROCESSES
def test_what_cannot_be_sent_is_refused_with_the_path_to_it(pool: Pool) -> None:
    with socket.socket() as culprit:
        holder = {"inner": [culprit]}
        outcomes: list[Any] = pool.map(lambda x: type(x).__name__, [1, holder, 3], on_error="return")
        assert [outcomes[0], outcomes[2]] == ["int", "int"]
        assert isinstance(outcomes[1], Unserializable)
        assert "['inner'][0]" in str(outcomes[1])
        with pytest.raises(TypeError, match="culprit"):
            pool.map(lambda x: culprit, [1])
        with pytest.raises(Unserializable):
            pool.submit(id, culprit).result(10)
        with pytest.raises(Unserializable):
            pool.pipe(id, culprit)
    assert pool.map(abs, [-1]) == [1]


@THIS_PROCESS
def test_what_passes_by_reference_need_not_be_fit_for_sending(pool: Pool) -> None:
    with socket.socket() as culprit:
        assert pool.map(lambda x: x is culprit, [1, culprit, 3]) == [False, True, False]
        assert pool.pipe(lambda: culprit) is culprit
        assert pool.submit(id, culprit).result(10) == id(culprit)
    assert list(pool.pipe(iter_of, 1)) == [1]


@OTHER_PROCESSES
def test_a_result_that_cannot_be_sent_is_that_items_error(pool: Pool) -> None:
    outcomes = pool.map(lambda x: iter_of(x) if x == 1 else x, range(3), on_error="return")
    assert [outcomes[0], outcomes[2]] == [0, 2]
    assert isinstance(outcomes[1], Unserializable)
    with pytest.raises(Unserializable):
        pool.pipe(iter_of, 1)


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1"])
def test_a_result_that_no_memory_is_left_to_send_is_that_items_error(launcher: str) -> None:
    def large(number: int) -> bytes:
        if not number:
            return b""
        import resource

        # What is there for the pickle is less than half of what it takes, whatever else the worker frees meanwhile.
        result = bytes(70 << 20)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20), resource.RLIM_INFINITY))
        return result

    with get_pool(launcher) as pool:
        outcomes: list[Any] = list(pool.map(large, [0, 1, 0], chunksize=3, on_error="return"))
        assert [outcomes[0], outcomes[2]] == [b"", b""]
        assert isinstance(outcomes[1], MemoryError)
    with get_pool(launcher) as pool, pytest.raises(MemoryError):
        pool.pipe(large, 1)


class Tracked:
    def __init__(self, held: Any = None) -> None:
        tracked().add(self)
        self.held = held


def tracked() -> Any:
    import builtins
    import weakref

    return vars(builtins).setdefault("_tracked_by_a_test", weakref.WeakSet())


def one_that_raises(x):
    if x == 1:
        raise Complaint(x, "because")
    return Tracked()


def one_that_cannot_be_sent(x):
    return Tracked(iter_of(x) if x == 1 else None)


@pytest.mark.parametrize("launcher", ["process:1", "multiprocess:1"])
@pytest.mark.parametrize("task", [one_that_raises, one_that_cannot_be_sent])
def test_an_error_keeps_no_value_of_its_chunk_in_the_worker(launcher: str, task) -> None:
    with get_pool(launcher) as pool:
        pool.pipe(gc.disable)
        pool.map(task, range(3), chunksize=3, on_error="return")
        assert pool.pipe(lambda: len(tracked())) == 0


@OTHER_PROCESSES
@pytest.mark.parametrize("how", [Pool.pipe, Pool.map, Pool.imap, Pool.uimap])
def test_an_error_that_was_handled_keeps_nothing_of_the_frames_it_went_through(pool: Pool, how) -> None:
    def through() -> None:
        held = Tracked()
        refs.append(weakref.ref(held))
        list(how(pool, complain, (1,)))

    refs: list[weakref.ref[Tracked]] = []
    gc.disable()
    try:
        with pytest.raises(Complaint) as caught:
            through()
        del caught
        assert refs[0]() is None
    finally:
        gc.enable()


@OTHER_PROCESSES
@pytest.mark.parametrize("how", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(3)])
def test_a_worker_that_dies_names_its_task(pool: Pool, how) -> None:
    with pytest.raises(WorkerLost) as lost:
        pool.map(lambda x: how() if x == 3 else x, range(6))
    assert lost.value.item == 3
    assert "item 3" in str(lost.value)
    assert lost.value.cause
    assert pool.map(abs, range(-3, 3)) == list(map(abs, range(-3, 3)))
    with pytest.raises(WorkerLost):
        pool.pipe(how)
    assert pool.pipe(abs, -1) == 1


def test_a_process_that_dies_tells_how_and_what_it_last_said() -> None:
    def shout(x):
        os.write(2, b"last words\n")
        os.kill(os.getpid(), signal.SIGSEGV)

    with get_pool("process:2") as pool, pytest.raises(WorkerLost) as lost:
        pool.map(shout, [0], retries=0)
    assert "SIGSEGV" in lost.value.cause
    assert "last words" in lost.value.stderr
    assert lost.value.begun
    assert lost.value.host == socket.gethostname()


def test_what_is_no_function_is_refused_at_the_call(pool: Pool) -> None:
    for name in ("map", "imap", "uimap", "amap", "pipe", "submit"):
        with pytest.raises(TypeError):
            getattr(pool, name)(3, [1])


class Unloadable:
    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        return (int, ("not a number",)) if self.how == "reduce" else (Unloadable, (self.how,), {"state": 1})

    def __setstate__(self, state: Any) -> None:
        raise ValueError("no state")


def unloadable(at: int) -> Any:
    return {7: Unloadable("reduce"), 50: [Unloadable("state")], 90: {"in": Unloadable("reduce")}}.get(at, at)


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2"])
def test_an_object_that_cannot_be_rebuilt_costs_only_its_own_item(launcher: str) -> None:
    things = [unloadable(i) for i in range(100)]
    with get_pool(launcher) as pool:
        outcomes: dict[str, list[Any]] = {
            "results": pool.map(unloadable, range(100), on_error="return"),
            "arguments": pool.map(lambda _: None, things, on_error="return"),
            "rows": pool.starmap(lambda *_: None, [(thing, 1) for thing in things], on_error="return"),
            "calls": [result.exception(20) for result in [pool.submit(unloadable, i) for i in range(100)]],
            "streamed": list(pool.imap(unloadable, range(100), on_error="return", chunksize=100)),
        }
    for what, values in outcomes.items():
        assert [at for at, value in enumerate(values) if isinstance(value, ValueError)] == [7, 50, 90], what


class Unpicklable:
    """Raises when it is rebuilt."""

    def __init__(self, rebuild: Any, *args: Any) -> None:
        self.rebuild, self.args = rebuild, args

    def __reduce__(self) -> Any:
        return self.rebuild, self.args


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2"])
@pytest.mark.parametrize(
    "rebuild, expected",
    [((next, iter(())), RuntimeError), ((sys.exit, 3), RemoteError)],
    ids=["StopIteration", "SystemExit"],
)
def test_what_is_raised_to_rebuild_an_object_is_its_items_error(launcher: str, rebuild: Any, expected: type) -> None:
    def give(x: int) -> Any:
        return Unpicklable(*rebuild) if x == 3 else x

    with get_pool(launcher) as pool:
        for outcomes in (
            pool.map(give, range(6), on_error="return"),
            list(pool.imap(give, range(6), on_error="return")),
            pool.map(type, [Unpicklable(*rebuild) if x == 3 else x for x in range(6)], on_error="return"),
        ):
            assert [type(outcome) is not expected for outcome in outcomes] == [True, True, True, False, True, True]
        with pytest.raises(expected):
            pool.submit(type, Unpicklable(*rebuild)).result(20)
        with pytest.raises(expected):
            list(pool.imap(give, [3]))


class Reading(ValueError):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lines = (line for line in text)


@pytest.mark.parametrize("launcher", ["process:2", "multiprocess:2"])
def test_an_exception_that_cannot_be_sent_says_why(launcher: str) -> None:
    def fail(text: str) -> None:
        raise Reading(text)

    with get_pool(launcher) as pool, pytest.raises(RemoteError, match="Reading: bad input") as caught:
        pool.pipe(fail, "bad input")
    assert re.search(r"Reading itself can't be sent: .*lines", str(caught.value.__cause__), re.DOTALL)
