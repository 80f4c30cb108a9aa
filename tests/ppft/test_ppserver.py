"""The command `anypool ppserver`."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ppft_serving import SECRET, secret_file, wait_until  # type: ignore[import-not-found]

from anypool import WorkerLost, get_pool
from anypool.__main__ import main

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def secret(tmp_path: Path) -> str:
    return str(secret_file(tmp_path))


@pytest.fixture
def start(secret: str) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-m", "anypool", "ppserver", "--secret-file", secret, *options]
        server = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
        )
        started.append(server)
        return server

    yield start
    for server in started:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


def where(server: subprocess.Popen[str]) -> str:
    assert server.stdout is not None
    return server.stdout.readline().removeprefix("ppserver at ").partition(",")[0]


def test_it_prints_its_port_and_serves_so_many_workers(start: Start, secret: str) -> None:
    server = start("--workers", "2")
    with get_pool("parallel-python", workers=0, servers=where(server), secret_file=secret) as pool:
        assert len(pool) == 2
        assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    assert SECRET not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_it_ends_when_nobody_is_there_and_takes_its_pid_file_along(start: Start, secret: str, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    server = start("--workers", "1", "--exit-after", "1", "--pid-file", str(file))
    address = where(server)
    assert int(file.read_text()) == server.pid
    with get_pool("parallel-python", workers=0, servers=address, secret_file=secret) as pool:
        assert pool.map(abs, [-1]) == [1]
        with pytest.raises(subprocess.TimeoutExpired):
            server.wait(2)
    assert server.wait(20) == 0
    assert not file.exists()


def test_it_prints_what_was_done_when_it_gets_the_signal(start: Start, secret: str) -> None:
    server = start("--workers", "1")
    with get_pool("parallel-python", workers=0, servers=where(server), secret_file=secret) as pool:
        pool.map(abs, range(3), chunksize=1)
        server.send_signal(signal.SIGUSR1)
        assert server.stdout is not None
        assert "Job execution statistics" in server.stdout.readline()
    server.terminate()
    assert server.wait(20) == 0


def test_a_worker_that_is_killed_is_replaced_and_its_caller_told(start: Start, secret: str) -> None:
    def end(_: int) -> None:
        os.kill(os.getppid(), signal.SIGKILL)

    server = start("--workers", "1")
    with get_pool("parallel-python", workers=0, servers=where(server), secret_file=secret) as pool:
        with pytest.raises(WorkerLost):
            pool.map(end, [1], retries=0)
        assert pool.map(abs, [-1]) == [1]


def test_it_is_found_where_it_says_that_it_is(start: Start, secret: str) -> None:
    with get_pool("parallel-python:1", discover=(found := f"127.0.0.1:{_free()}"), secret_file=secret) as pool:
        where(start("--workers", "1", "--discover", "--port", found.rpartition(":")[2]))
        wait_until(lambda: len(pool) == 2)


def test_a_port_that_is_taken_or_of_the_network_is_refused(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        _, said = (server := start("--port", str(taken.getsockname()[1]))).communicate(timeout=30)
    assert (server.returncode, "Address already in use" in said) == (1, True)
    _, said = (server := start("--host", "0.0.0.0")).communicate(timeout=30)
    assert (server.returncode, "--trust-network" in said) == (1, True)


@pytest.mark.parametrize(
    "option, said",
    [
        (("--port", "70000"), "--port is from 0 to 65535, got 70000"),
        (("--port", "-1"), "--port is from 0 to 65535, got -1"),
        (("--workers", "0"), "--workers is at least 1, got 0"),
        (("--workers", "-1"), "--workers is at least 1, got -1"),
    ],
)
def test_a_number_that_can_not_be_is_refused_in_one_line(
    option: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ppserver", *option]) == 1
    assert capsys.readouterr().err == f"anypool: {said}\n"


def test_only_so_many_are_heard_that_have_not_shown_the_secret(start: Start, secret: str) -> None:
    host, _, port = (address := where(start("--workers", "1"))).rpartition(":")
    strangers = []
    try:
        for _ in range(32):
            strangers.append(socket.create_connection((host, int(port)), 20))
            assert strangers[-1].recv(1)
        with socket.create_connection((host, int(port)), 20) as one_more:
            assert not one_more.recv(1)
        strangers.pop().close()
        wait_until(lambda: _is_heard(host, int(port)))
    finally:
        for each in strangers:
            each.close()
    with get_pool("parallel-python", workers=0, servers=address, secret_file=secret) as pool:
        assert pool.map(abs, [-1]) == [1]


def _is_heard(host: str, port: int) -> bool:
    with socket.create_connection((host, port), 20) as stranger:
        return bool(stranger.recv(1))


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
