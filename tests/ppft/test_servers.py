"""Workers of ppservers: what is wrong is said, and what is lost runs elsewhere, in bounded time."""

import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from ppft_serving import SECRET, PpServer, free_port, secret_file, wait_until, where  # type: ignore[import-not-found]

from anypool import LauncherUnavailable, ParallelPython, Pool, WorkerLost, get_pool
from anypool._building import plan_of


@pytest.fixture
def servers() -> Iterator[Callable[..., PpServer]]:
    started: list[PpServer] = []

    def start(*args: Any, **options: Any) -> PpServer:
        started.append(PpServer(*args, **options))
        return started[-1]

    yield start
    for server in started:
        server.end()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    return str(secret_file(tmp_path))


def remote(secret: str, *servers: PpServer, workers: int = 0) -> Pool:
    addresses = tuple(server.address for server in servers)
    return get_pool("parallel-python", workers=workers, servers=addresses, secret_file=secret)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def test_all_tasks_run_at_the_server_if_there_is_no_local_worker(servers, secret):
    server = servers(2)
    with remote(secret, server) as pool:
        assert len(pool) == 2
        assert set(pool.map(where, range(8), chunksize=1)) == {server.process.pid}
        big = os.urandom(3 << 20)
        assert pool.pipe(lambda x: x[::-1], big) == big[::-1]


def test_local_workers_and_those_of_two_servers_are_one_pool(servers, secret, tmp_path):
    one, two = servers(), servers()
    with remote(secret, one, two, workers=1) as pool:
        assert len(pool) == 3

        def meet(number: int) -> int:
            (tmp_path / str(number)).touch()
            wait_until(lambda: len([*tmp_path.glob("[0-9]")]) == 3)
            return int(where())

        assert set(pool.map(meet, range(3), chunksize=1)) == {one.process.pid, two.process.pid, os.getpgid(0)}


def test_errors_prints_and_constants_are_as_with_every_launcher(servers, secret, capsys):
    def f(x: int, *, by: int) -> float:
        print("at", x)
        return x / by

    with remote(secret, servers()) as pool:
        assert pool.map(f, [1, 2], kwargs={"by": 2}) == [0.5, 1.0]
        with pytest.raises(ZeroDivisionError):
            pool.map(f, [3], kwargs={"by": 0})
        assert pool.map(lambda _: os.system("echo child"), [1]) == [0]
    assert sorted(capsys.readouterr().out.split("\n")) == ["", "at 1", "at 2", "at 3"]


def test_a_task_that_ends_its_process_costs_only_itself(servers, secret):
    def die(x: int) -> int:
        if x == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with remote(secret, servers()) as pool, within(20):
        outcomes = pool.map(die, range(4), chunksize=1, retries=0, on_error="return")
        assert isinstance(outcomes.pop(2), WorkerLost)
        assert outcomes == [0, 1, 3]
        assert pool.map(abs, [-1]) == [1]


def test_what_a_killed_server_ran_runs_elsewhere(servers, secret, tmp_path):
    stays, goes = servers(), servers()
    victim = goes.process.pid

    def f(x: int) -> int:
        if where() == victim:
            (tmp_path / "begun").touch()
            time.sleep(60)
        return x

    with remote(secret, stays, goes) as pool, within(30):
        result = pool.amap(f, range(6), chunksize=1)
        wait_until((tmp_path / "begun").exists)
        goes.end()
        assert result.get(timeout=20) == list(range(6))
        assert set(pool.map(where, range(4), chunksize=1)) == {stays.process.pid}


def test_with_the_last_server_killed_a_map_ends_with_its_reason(servers, secret, tmp_path):
    def hang(_: int) -> None:
        (tmp_path / "begun").touch()
        time.sleep(60)

    server = servers()
    with remote(secret, server) as pool, within(40):
        result = pool.amap(hang, [1, 2])
        wait_until((tmp_path / "begun").exists)
        server.end()
        with pytest.raises(WorkerLost, match=f"no ppserver can be used at {server.address}"):
            result.get(timeout=30)
        pool.terminate()


def test_a_server_that_was_lost_idle_and_came_back_is_used_without_a_loss(servers, secret):
    server = servers()
    with remote(secret, server) as pool, within(40):
        assert pool.map(abs, [-1]) == [1]
        server.end()
        again = servers(port=server.port)
        assert pool.map(where, [1], retries=0) == [again.process.pid]


def test_a_wrong_secret_is_refused_when_the_pool_is_opened(servers, tmp_path):
    server = servers()
    wrong = secret_file(tmp_path, "another")
    with within(10), pytest.raises(LauncherUnavailable, match="refuses the secret"):
        remote(wrong, server)


def test_an_unreachable_server_is_named_when_the_pool_is_opened(secret):
    address = f"127.0.0.1:{free_port()}"
    with within(10), pytest.raises(LauncherUnavailable, match=f"{address}: Connection refused"):
        get_pool("parallel-python", workers=1, servers=(address,), secret_file=secret)


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-x\r\n"])
def test_what_is_no_ppserver_is_told_in_bounded_time(secret, says):
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as connection:
                connection.sendall(says)
                with suppress(OSError):
                    connection.recv(1)

        threading.Thread(target=greet, daemon=True).start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        with within(15), pytest.raises(LauncherUnavailable, match=address):
            get_pool("parallel-python", workers=0, servers=address, secret_file=secret)


def test_a_secret_is_asked_for_and_the_public_one_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("ANYPOOL_PPFT_SECRET", raising=False)
    with pytest.raises(LauncherUnavailable, match="ANYPOOL_PPFT_SECRET"):
        get_pool("ppft", servers="127.0.0.1:6")
    public = __import__("ppft").Server.default_secret
    with pytest.raises(LauncherUnavailable, match="ppft's source"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=secret_file(tmp_path, public))
    with pytest.raises(LauncherUnavailable, match="chmod 600"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=secret_file(tmp_path, mode=0o644))
    with pytest.raises(LauncherUnavailable, match="No such file"):
        get_pool("ppft", servers="127.0.0.1:6", secret_file=str(tmp_path / "none"))


def test_the_secret_may_be_in_the_environment_and_is_nowhere_else(servers, monkeypatch):
    server = servers()
    monkeypatch.setenv("ANYPOOL_PPFT_SECRET", SECRET)
    with get_pool("parallel-python", workers=0, servers=server.address) as pool:
        assert pool.map(abs, [-1]) == [1]
        assert SECRET not in f"{pool!r} {pool.launcher!r} {pool.plan}"
        assert SECRET.encode() not in pickle.dumps(pool.launcher)


@pytest.mark.parametrize("server", ["localhost", "n1:", "n1:0", "n1:65536", "127.0.0.1:x", "*:60000"])
def test_a_server_is_named_with_its_port(server):
    with pytest.raises(ValueError, match="host and port"):
        ParallelPython(servers=(server,))


def test_a_server_elsewhere_needs_a_network_that_is_trusted():
    with pytest.raises(ValueError, match="trust_network"):
        ParallelPython(servers=("localhost:60000", "192.0.2.1:60000"))
    assert not ParallelPython(servers=("192.0.2.1:60000",), trust_network=True).on_this_machine


def test_without_servers_there_is_at_least_one_worker():
    with pytest.raises(ValueError, match="at least 1"):
        ParallelPython(workers=0)


def test_the_text_of_a_recipe_with_servers_makes_it_again():
    recipe = ParallelPython(workers=0, servers=("127.0.0.1:60000", "localhost:60001"), secret_file="/a/b")
    assert plan_of(str(recipe)).levels == (recipe,)
