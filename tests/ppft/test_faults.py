"""What goes wrong at one end of ppft's protocol costs what it concerns, and nothing else."""

import errno
import os
import queue
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ppft_serving import wait_until  # type: ignore[import-not-found]

from anypool import LauncherUnavailable, ParallelPython
from anypool._crew import Lost
from anypool._joining import Joins
from anypool._ppft import here, server, serving, there, wire, worker
from anypool._ppft import seat as seats
from anypool._ppft.address import Address, read_secret
from anypool._ppft.crew import begin_with
from anypool._ppft.discovery import Discovery
from anypool._ppft.guard import Guard, is_open

HERE = Address("127.0.0.1", 60000)


@contextmanager
def connection():
    """Both ends of one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        near = socket.create_connection(listening.getsockname())
        far, _ = listening.accept()
        with near, far:
            yield near, far


@contextmanager
def seat_at_a_server():
    """A seat whose thread never begins, and what it tells."""
    told: list[Any] = []
    forgotten: list[bool] = []
    crew: Any = SimpleNamespace(
        tell=told.extend,
        closed=False,
        unopened=False,
        session=b"",
        tails=SimpleNamespace(place=None, last=lambda _: ""),
    )
    kept = SimpleNamespace(place_of=lambda *_: (1, 2), forget=lambda *_: forgotten.append(True))
    seat = there.RemoteSeat(
        crew,
        0,
        SimpleNamespace(address=HERE, bodies=kept, workers=1, look=lambda: None),  # type: ignore[arg-type]
    )
    seat._usable = True
    seat.connection = SimpleNamespace(close=lambda: None, names=("127.0.0.1", 1))  # type: ignore[assignment]
    yield seat, told, forgotten
    seat.abandon()


def a_flight():
    chunk = SimpleNamespace(
        careful=False, count=1, job=SimpleNamespace(body=SimpleNamespace(digest=b"d" * 16), timeout=None)
    )
    return SimpleNamespace(begun=1.0, seq=0, chunk=chunk)


@pytest.mark.parametrize("stream", [None, object()])
def test_a_reply_counts_whatever_stands_in_for_standard_output(monkeypatch, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    wire.show("")
    wire.show("said")
    monkeypatch.delattr(sys, "stdout")
    wire.show("said")


def test_what_a_caller_that_has_gone_left_in_the_queue_is_not_begun():
    with connection() as (caller, _):
        name = caller.getsockname()
        guard = Guard.__new__(Guard)
        guard._parent = os.getpid()
        assert is_open(os.getpid(), name)
        caller.close()
        wait_until(lambda: not is_open(os.getpid(), name))
        outcome, printed = guard.call(b"", name, False, None, None)
        assert (outcome, printed) == (("unbegun", "its caller had gone before it began"), "")


@pytest.mark.parametrize("said", [("gone", "no process could be started"), ("ended", "a worker ended"), ("held", "")])
def test_a_server_that_does_not_hold_a_function_is_given_it_with_each_chunk(said):
    body: Any = SimpleNamespace(digest=b"d" * 16, parcel=SimpleNamespace(parts=[b"function"]))
    assert server.Bodies().place_of(body, SimpleNamespace(is_over=False, ask=lambda _: said)) is None


def test_a_worker_without_a_descriptor_for_a_function_does_not_hold_it(monkeypatch):
    def fail(_):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr("anypool._linux.new_segment", fail)
    assert worker.hold(b"data", b"digest") == ""


def test_a_process_that_can_not_be_started_leaves_no_pipe_behind(monkeypatch):
    def fail():
        raise OSError(errno.EAGAIN, "too many")

    monkeypatch.setattr(os, "fork", fail)
    before = os.listdir("/proc/self/fd")
    for _ in range(2):
        with pytest.raises(OSError, match="too many"):
            Guard(1.0)
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("kind, begun", [("unbegun", None), ("gone", 1.0)])
def test_what_a_server_did_not_begin_is_told_as_that(kind, begun):
    with seat_at_a_server() as (seat, told, _):
        flight = a_flight()
        assert seat._lacking(flight, kind, "no process could be started") is None
        assert flight.begun == begun
        assert isinstance(told[0], Lost)
        assert not told[0].cause.own


@pytest.mark.parametrize("shared", [True, False])
def test_a_chunk_for_which_all_was_sent_in_vain_is_given_back_and_only_a_function_is_forgotten(monkeypatch, shared):
    def lack(*_):
        raise seats.Lacking(shared)

    monkeypatch.setattr(there, "encoded", lambda *_: b"")
    monkeypatch.setattr(there.RemoteSeat, "_outcome", lambda *_: ("done", b""))
    monkeypatch.setattr(there.RemoteSeat, "_reply", lack)
    with seat_at_a_server() as (seat, told, forgotten):
        seat._run_at(seat.connection, a_flight())
        assert [(type(each), each.cause.text) for each in told] == [(Lost, "the worker lacks what it was sent")]
        assert bool(forgotten) is not shared


def test_a_seat_that_has_ended_writes_to_no_file_that_has_its_descriptor_now():
    with seat_at_a_server() as (seat, *_):
        seat._shut()
        reads, writes = os.pipe()
        try:
            os.set_blocking(reads, False)
            seat._strike()
            seat._shut()
            with pytest.raises(BlockingIOError):
                os.read(reads, 1)
        finally:
            os.close(reads)
            os.close(writes)


def test_a_seat_that_could_not_begin_leaves_no_descriptor_behind():
    before = os.listdir("/proc/self/fd")
    with seat_at_a_server() as (seat, *_):
        seat.connection.cut = lambda: None
        seat.end()
        assert os.listdir("/proc/self/fd") == before
        assert seat.connection is None


def test_a_server_without_a_descriptor_or_a_thread_for_a_client_goes_on(monkeypatch):
    served: queue.SimpleQueue[Any] = queue.SimpleQueue()
    start: Any = vars(serving)["start_thread"]
    monkeypatch.setattr(serving, "_LOOK_SECONDS", 0)

    def listening(accept) -> Any:
        return SimpleNamespace(accept=accept)

    def no_descriptor():
        raise OSError(errno.EMFILE, "too many")

    def no_thread(*_):
        raise RuntimeError("can't start new thread")

    with connection() as (near, far):
        serving._accept(listening(no_descriptor), served.put)
        monkeypatch.setattr(serving, "start_thread", no_thread)
        serving._accept(listening(lambda: (far, None)), served.put)
        assert near.recv(1) == b""
    monkeypatch.setattr(serving, "start_thread", start)
    serving._accept(listening(lambda: (far, None)), served.put)
    assert served.get(timeout=10) is far


def test_who_shows_the_secret_byte_by_byte_is_heard_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(serving, "_GREET_SECONDS", 0.3)
    strange = serving.Server.__new__(serving.Server)
    strange.secret = "secret"
    with connection() as (near, far):
        over = threading.Event()

        def drip():
            near.sendall((1 << 9).to_bytes(8, "big"))
            while not over.wait(0.05):
                near.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(TimeoutError):
                strange._greet(wire.Line(far))
        finally:
            over.set()
            thread.join()


def test_a_stranger_who_announces_a_huge_message_is_not_waited_for():
    strange = serving.Server.__new__(serving.Server)
    strange.secret = "secret"
    with connection() as (near, far):
        near.sendall((1 << 40).to_bytes(8, "big"))
        with pytest.raises(ValueError, match="no ppserver"):
            strange._greet(wire.Line(far))


def test_a_servers_worker_is_started_until_it_starts(monkeypatch):
    monkeypatch.setattr(serving, "_LOOK_SECONDS", 0)
    left = [OSError(errno.EAGAIN, "too many"), RuntimeError("Communication pipe read error")]

    def start():
        if left:
            raise left.pop()
        started.append(True)

    started: list[bool] = []
    worker = SimpleNamespace(t=SimpleNamespace(close=lambda: None), pid=2**22 + 1, start=start)
    watched = serving._Watched(worker)
    watched._ended = True
    watched.free()
    assert started == [True]


def test_what_is_no_text_in_the_search_path_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", ["", Path("/other"), None, "/some"])
    monkeypatch.chdir(tmp_path)
    assert begin_with(b"", 1.0, None, {}).path == [str(tmp_path), "/some"]


@pytest.fixture
def lone_server(monkeypatch):
    monkeypatch.setattr(server, "_BACK_OFF", (0.0,) * server.ATTEMPTS)
    monkeypatch.setattr(server, "_PATIENCE", 0.0)
    numbers = iter(range(9))
    crew = SimpleNamespace(
        closed=False, ending=threading.Event(), reckon=lambda: None, new_number=lambda: next(numbers)
    )
    return server.Server(crew, HERE, "")  # type: ignore[arg-type]


def test_a_server_that_is_refused_is_told_once(lone_server, caplog):
    lone_server.refuse("it has another Python")
    lone_server.refuse("it has another Python")
    assert [each.getMessage() for each in caplog.records] == [
        "the ppserver at 127.0.0.1:60000 can't run tasks: it has another Python; it is left out"
    ]


def test_a_server_that_does_not_come_back_is_told_once(lone_server, caplog, monkeypatch):
    def fail():
        raise LauncherUnavailable("there is none")

    monkeypatch.setattr(lone_server, "_connect", fail)
    for _ in range(server.ATTEMPTS + 2):
        lone_server._join_again()
    assert [each.getMessage() for each in caplog.records] == ["there is none; it is tried again every 0 s"]


def test_a_server_with_more_workers_than_there_are_descriptors_is_given_back(lone_server, monkeypatch):
    closed: list[int] = []
    connections = [SimpleNamespace(close=lambda number=number: closed.append(number)) for number in range(2)]
    seat, left = there.RemoteSeat, [True]

    def seat_or_none(*args):
        if left:
            left.pop()
            return seat(*args)
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(lone_server, "_connect", lambda: connections)
    monkeypatch.setattr(server, "RemoteSeat", seat_or_none)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LauncherUnavailable, match="more workers than this process can use: too many"):
        lone_server.join()
    assert set(closed) == {0, 1}
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("count", [b"0", b"-1", b"65536", b"9" * 40])
def test_a_server_with_a_number_of_workers_that_can_not_be_is_refused(count):
    with pytest.raises(LauncherUnavailable, match=f"it says that it has {count.decode()} workers"):
        wire.workers_of(SimpleNamespace(told=lambda: count), HERE)  # type: ignore[arg-type]
    assert wire.workers_of(SimpleNamespace(told=lambda: b"65535"), HERE) == 65535  # type: ignore[arg-type]


def test_a_server_that_is_added_while_another_one_is_stays(monkeypatch):
    waiting = ["127.0.0.1:2"]

    def add_server(*_):
        while waiting:
            growing.add_server(waiting.pop())
        return 1

    growing: Any = Joins()
    growing.launcher, growing._size = ParallelPython(1), 1
    growing._engine = lambda timeout=None: SimpleNamespace(crew=SimpleNamespace(add_server=add_server))
    monkeypatch.setattr("anypool._ppft.address.read_secret", lambda _: "")
    growing.add_server("127.0.0.1:1")
    assert (growing.launcher.servers, growing._size) == (("127.0.0.1:2", "127.0.0.1:1"), 3)


def test_whatever_a_discovered_server_raises_costs_that_one_only(caplog):
    def fail(_):
        raise KeyError("anything")

    found = Discovery.__new__(Discovery)
    found._port, found._refused, found._found = HERE, {}, fail
    found._try(HERE)
    found._try(HERE)
    assert len(caplog.records) == 1


def test_a_local_worker_that_does_not_start_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(here, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(here, "_START_SECONDS", 0.05)
    monkeypatch.setattr(here.Worker, "has_ended", lambda _: False)
    reads, writes = os.pipe()
    worker = here.Worker.__new__(here.Worker)
    worker.process = SimpleNamespace(stdout=reads)  # type: ignore[assignment]
    started = time.monotonic()
    try:
        with pytest.raises(OSError, match=r"it did not start within 0\.05 s"):
            worker.greet()
        assert time.monotonic() - started < 5
    finally:
        os.close(reads)
        os.close(writes)


def test_a_secret_in_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "secret", 0o600)
    with pytest.raises(LauncherUnavailable, match="is no file"):
        read_secret(str(tmp_path / "secret"))


def test_a_secret_of_somebody_else_is_refused_in_words_that_help(tmp_path, monkeypatch):
    (tmp_path / "secret").touch(0o600)
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    with pytest.raises(LauncherUnavailable, match="has to be yours alone: chown and chmod 600"):
        read_secret(str(tmp_path / "secret"))
