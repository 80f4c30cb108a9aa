"""Workers of ppservers: what is wrong is said, and what is lost runs elsewhere, in bounded time."""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ppft_serving import free_port, is_alive, remote, wait_until, where, within  # type: ignore[import-not-found]

from anypool import LauncherUnavailable, ParallelPython, WorkerLost, get_pool
from anypool._ppft import crew, discovery


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


@pytest.mark.parametrize("goes_by", ["end", "stop"])
def test_what_a_server_ran_that_is_killed_or_hangs_runs_elsewhere(servers, secret, tmp_path, goes_by):
    stays, goes = servers(), servers()
    victim = goes.process.pid

    def f(x: int) -> int:
        if where() == victim:
            (tmp_path / "begun").touch()
            time.sleep(60)
        return x

    with remote(secret, stays, goes) as pool, within(40):
        result = pool.amap(f, range(6), chunksize=1)
        wait_until((tmp_path / "begun").exists)
        getattr(goes, goes_by)()
        assert result.get(timeout=30) == list(range(6))
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


@pytest.mark.slow
def test_what_ran_beyond_a_network_that_is_gone_runs_elsewhere(servers, links, secret, tmp_path):
    stays, far = servers(), servers()
    link, victim = links(far.port), far.process.pid

    def f(x: int) -> int:
        if where() == victim:
            (tmp_path / "begun").touch()
            time.sleep(60)
        return x

    addresses = (stays.address, link.address)
    with get_pool("parallel-python", workers=0, servers=addresses, secret_file=secret) as pool, within(40):
        result = pool.amap(f, range(6), chunksize=1)
        wait_until((tmp_path / "begun").exists)
        link.cut = True
        assert result.get(timeout=30) == list(range(6))


def test_a_function_crosses_to_a_server_once(servers, links, secret):
    server = servers(3)
    link = links(server.port)
    ballast = os.urandom(1 << 20)

    def f(x: int) -> tuple[int, int]:
        time.sleep(0.02)
        return len(ballast), os.getpid()

    with get_pool("parallel-python", workers=0, servers=link.address, secret_file=secret) as pool:
        outcomes = pool.map(f, range(30), chunksize=1)
        assert {size for size, _ in outcomes} == {1 << 20}
        assert len({pid for _, pid in outcomes}) > 1
        assert 1 << 20 < link.sent < 3 << 19


def test_a_server_may_be_added_to_a_pool_that_works(servers, secret):
    one, two = servers(), servers(2)
    with remote(secret, one) as pool:
        assert pool.map(abs, [-1]) == [1]
        assert pool.add_server(two.address) == 2
        assert len(pool) == len(pool.workers()) == 3

        def slow(_: int) -> int:
            time.sleep(0.05)
            return int(where())

        assert set(pool.map(slow, range(12), chunksize=1)) == {one.process.pid, two.process.pid}
        with pytest.raises(ValueError, match="already"):
            pool.add_server(two.address)
        with pytest.raises(LauncherUnavailable, match="Connection refused"):
            pool.add_server(f"127.0.0.1:{free_port()}")
        pool.restart()
        assert len(pool) == 3


def test_a_local_pool_may_be_given_a_server(servers, secret):
    server = servers()
    with get_pool("parallel-python:1", secret_file=secret) as pool:
        pool.add_server(server.address)
        assert len(pool) == 2

        def slow(_: int) -> int:
            time.sleep(0.05)
            return int(where())

        assert set(pool.map(slow, range(8), chunksize=1)) == {server.process.pid, os.getpgid(0)}


def test_a_change_of_size_ends_local_workers_though_servers_joined_later(servers, secret):
    server = servers()
    with get_pool("parallel-python:2", secret_file=secret) as pool:
        assert pool.map(abs, [-1]) == [1]
        pool.add_server(server.address)
        pool.resize(1)
        wait_until(lambda: len(pool.workers()) == 2)
        assert sorted(worker.name.partition("@")[2] for worker in pool.workers()) == ["", server.address]


def test_a_server_is_used_once_by_whatever_name(servers, secret):
    port = servers().port
    with get_pool("parallel-python", workers=0, servers=f"localhost:{port}", secret_file=secret) as pool:
        assert pool.map(abs, [-1]) == [1]
        crew: Any = pool._engine().crew
        crew._discovered(("127.0.0.1", port))
        assert len(pool.workers()) == 1
        with pytest.raises(ValueError, match="by another name"):
            pool.add_server(f"127.0.0.1:{port}")
        assert pool.map(abs, [-1]) == [1]


def test_what_a_task_at_a_server_has_started_ends_with_the_pool(servers, secret):
    def start() -> int:
        return os.posix_spawnp("sleep", ["sleep", "60"], os.environ)

    with remote(secret, servers()) as pool:
        pid = pool.pipe(start)
        assert is_alive(pid)
    wait_until(lambda: not is_alive(pid))


def test_a_task_at_a_server_has_no_pipe_of_its_workers_or_of_another_pools(servers, secret):
    def pipes(pid: int) -> set[str]:
        found = set()
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(file))
        return {each for each in found if each.startswith("pipe:")}

    server = servers()
    with remote(secret, server) as one, remote(secret, server) as two:
        first, second = (pool.pipe(lambda: pipes(os.getpid()) & pipes(os.getppid())) for pool in (one, two))
        assert (len(first), len(second), first & second) == (2, 2, set())


def test_only_pools_of_parallel_python_are_given_servers():
    with get_pool("serial") as pool, pytest.raises(TypeError, match="parallel-python"):
        pool.add_server("127.0.0.1:60000")


def test_a_server_that_starts_later_is_discovered_and_one_that_leaves_costs_nothing(servers, secret, monkeypatch):
    port = free_port()
    # As often as that, for the test's sake.
    monkeypatch.setattr(discovery, "_ASK_SECONDS", 0.5)
    with get_pool("parallel-python:1", discover=f"127.0.0.1:{port}", secret_file=secret) as pool, within(60):
        assert pool.map(abs, [-1]) == [1]
        server = servers(1, port, options=["-a", "-b", "127.255.255.255"])
        wait_until(lambda: len(pool) == 2, 30)

        def slow(_: int) -> int:
            time.sleep(0.02)
            return int(where())

        assert set(pool.map(slow, range(20), chunksize=1)) == {server.process.pid, os.getpgid(0)}
        server.end()
        assert set(pool.map(slow, range(20), chunksize=1)) == {os.getpgid(0)}
        wait_until(lambda: len(pool) == len(pool.workers()) == 1, 30)


def test_where_no_server_is_discovered_a_pool_of_none_is_refused(secret, monkeypatch):
    monkeypatch.setattr(crew, "_DISCOVERY_SECONDS", 1.5)
    with within(30), pytest.raises(LauncherUnavailable, match=r"within 1\.5 s"):
        get_pool("parallel-python", workers=0, discover=f"127.0.0.1:{free_port()}", secret_file=secret)


@pytest.mark.parametrize("port", ["60000", "n1:60000", "192.0.2.1:60000", "127.0.0.1:0"])
def test_servers_are_discovered_on_a_port_of_the_network_or_of_this_machine(port):
    with pytest.raises(ValueError, match="port"):
        ParallelPython(discover=port, trust_network=True)


def test_to_listen_to_a_network_it_must_be_trusted():
    with pytest.raises(ValueError, match="trust_network"):
        ParallelPython(discover="*:60000")


def test_it_is_told_how_many_tasks_each_server_did(servers, secret):
    one, two = servers(), servers()
    with remote(secret, one, two, workers=1) as pool:
        pool.map(lambda _: time.sleep(0.02), range(30), chunksize=1)
        assert len(pool.workers()) == 3
        two.end()
        pool.map(abs, range(20))
        nodes = pool.stats()["nodes"]
        assert set(nodes) == {"local", one.address, two.address}
        assert sum(nodes.values()) == pool.stats()["tasks"] == 50


def test_a_task_that_is_given_up_ends_at_the_server(servers, secret, tmp_path):
    def hang(x: str) -> None:
        Path(x).write_text(str(os.getpid()))
        time.sleep(60)

    file = tmp_path / "pid"
    with remote(secret, servers()) as pool:
        result = pool.submit(hang, str(file))
        wait_until(lambda: file.exists() and bool(file.read_text()))
        pid = int(file.read_text())
        result.kill()
        wait_until(lambda: not is_alive(pid))
        assert pool.map(abs, [-1]) == [1]
        pool.submit(hang, str(file))
        wait_until(lambda: file.read_text() not in ("", str(pid)))
        pool.terminate()
        wait_until(lambda: not is_alive(int(file.read_text())))


def test_pools_at_one_server_have_processes_of_their_own(servers, secret):
    server = servers()
    with remote(secret, server) as one, remote(secret, server) as two:
        assert one.pipe(os.getpid) == one.pipe(os.getpid) != two.pipe(os.getpid)


def test_a_task_at_a_server_may_use_the_pool_that_runs_it(servers, secret):
    with remote(secret, servers()) as pool, within(40):
        assert pool.map(lambda pool: pool.map(abs, [-1, -2]), [pool]) == [[1, 2]]


def test_a_server_whose_anypool_is_another_one_is_refused_in_words(servers, secret, tmp_path):
    (tmp_path / "anypool").mkdir()
    (tmp_path / "anypool" / "__init__.py").write_text("raise ImportError('it is not installed here')")
    server = servers(path=os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
    with remote(secret, server) as pool, within(30):
        with pytest.raises(WorkerLost, match="it is not installed here"):
            pool.map(abs, range(3))
        pool.terminate()


@pytest.mark.parametrize(
    "option", [{"env": {"A": "b"}}, {"initializer": print}, {"cwd": "."}, {"max_tasks_per_worker": 1}]
)
def test_what_only_local_workers_can_begin_with_is_refused_with_servers(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))}= is for workers that are started here"):
        ParallelPython(servers=("127.0.0.1:60000",), **option)


def test_a_server_that_was_lost_idle_and_came_back_is_used_without_a_loss(servers, secret):
    server = servers()
    with remote(secret, server) as pool, within(40):
        assert pool.map(abs, [-1]) == [1]
        server.end()
        again = servers(port=server.port)
        assert pool.map(where, [1], retries=0) == [again.process.pid]
