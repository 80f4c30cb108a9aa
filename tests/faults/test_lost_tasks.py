"""Tasks that exit, crash, fail, hang or are called off: each costs itself and what the caller allowed, nothing else."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from napping import ASYNCHRONOUS, OTHER_PROCESSES, nap, touch_and_nap  # type: ignore[import-not-found]

from anypool import (
    RemoteError,
    TaskTimeout,
    WorkerLost,
    get_pool,
)
from anypool._segments import SegmentLost


@pytest.mark.parametrize("raised", [SystemExit(3), SystemExit("text"), GeneratorExit()])
def test_system_exit_in_a_task_is_a_remote_error(launcher: str, raised: BaseException) -> None:
    def leave(_):
        raise raised

    with get_pool(launcher) as pool:
        with pytest.raises(RemoteError) as caught:
            pool.map(leave, [1])
        assert caught.value.type_name == type(raised).__name__
        with pytest.raises(RemoteError):
            pool.submit(leave, 1).result(10)
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
@pytest.mark.parametrize(
    "end",
    [
        lambda: os._exit(7),
        lambda: os.kill(os.getpid(), signal.SIGSEGV),
        lambda: os.kill(os.getpid(), signal.SIGKILL),
    ],
    ids=["os._exit", "segfault", "kill"],
)
def test_a_worker_that_ends_is_retried_twice_and_then_named(launcher: str, end, tmp_path) -> None:
    def note(number):
        with open(tmp_path / str(number), "a") as file:
            file.write("x")
        if number == 4:
            end()
        return number

    with get_pool(launcher) as pool:
        outcomes = pool.map(note, range(8), on_error="return")
        assert [outcome for outcome in outcomes if not isinstance(outcome, WorkerLost)] == [0, 1, 2, 3, 5, 6, 7]
        assert outcomes[4].item == 4
        assert pool.map(abs, range(5)) == list(range(5))
    if launcher == "process:2":
        # Once with others, when nobody could tell whose fault it was, or alone; then three times charged to it.
        assert (tmp_path / "4").read_text() in ("xxx", "xxxx")
        assert outcomes[4].cause in ("exited with code 7", *outcomes[4].cause.splitlines())
        assert "(3 attempts)" in str(outcomes[4])


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_retries_of_zero_begin_nothing_twice(launcher: str, tmp_path) -> None:
    def note(number):
        with open(tmp_path / str(number), "a") as file:
            file.write("x")
        if number % 7 == 3:
            os._exit(1)
        return number

    with get_pool(launcher) as pool:
        outcomes = pool.map(note, range(20), retries=0, on_error="return")
    lost = [number for number in range(20) if isinstance(outcomes[number], WorkerLost)]
    assert all(outcomes[number].begun for number in lost)
    assert set(lost) >= {3, 10, 17}
    if launcher == "process:2":
        # A standard executor breaks as a whole: what runs beside an item that ends its worker is lost with it.
        assert lost == [3, 10, 17]
    for number in range(20):
        if number in lost:
            # It may have been ended in the middle of its writing.
            noted = tmp_path / str(number)
            assert not noted.exists() or noted.read_text() in ("", "x")
        else:
            assert outcomes[number] == number
            assert (tmp_path / str(number)).read_text() == "x"


def test_an_item_that_fails_is_tried_as_often_as_asked(launcher: str, tmp_path) -> None:
    def flaky(number, folder):
        with open(Path(folder) / str(number), "a") as file:
            file.write("x")
        if len((Path(folder) / str(number)).read_text()) < 3:
            raise OSError(number)
        return number

    with get_pool(launcher) as pool:
        folder = str(tmp_path)
        assert pool.map(flaky, range(5), [folder] * 5, retries=2) == list(range(5))
        with pytest.raises(OSError):
            pool.map(flaky, [10], [folder], retries=1)
        with pytest.raises(OSError):
            pool.map(flaky, [20], [folder], retries=2, retry_on=(KeyError,))
        assert (tmp_path / "20").read_text() == "x"
        assert list(pool.imap(flaky, [30], [folder], retries=5, retry_on=OSError)) == [30]


def test_a_task_past_its_timeout_is_stopped_and_costs_only_itself(launcher: str, within) -> None:
    with get_pool(launcher) as pool:
        # What can't be killed ends by itself.
        stuck = 3 if launcher in ("serial", "thread:2") else 100
        with within(12):
            outcomes = pool.map(nap, [0, stuck, 0.01], timeout=0.3, on_error="return")
            assert outcomes[0] == 0
            assert outcomes[2] == 0.01
            assert isinstance(outcomes[1], TaskTimeout)
            assert "item 1" in str(outcomes[1])
            with pytest.raises(TimeoutError):
                pool.map(nap, [stuck], timeout=0.1)
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_the_time_to_load_a_function_is_not_its_tasks_own(launcher: str, tmp_path, monkeypatch) -> None:
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.6)\ndef same(x):\n    return x\n")
    monkeypatch.syspath_prepend(tmp_path)
    same = importlib.import_module("slow_to_import").same
    with get_pool(launcher) as pool:
        assert pool.map(same, range(4), timeout=0.3) == [0, 1, 2, 3]


class Lethal:
    def __reduce__(self):
        return os._exit, (3,)


# On multiprocess it breaks the executor, and what else may run only once is lost with it.
@pytest.mark.parametrize("launcher, retries", [("process:2", None), ("process:2", 0), ("multiprocess:2", None)])
def test_an_item_that_kills_whoever_unpickles_it_costs_only_its_chunk(launcher: str, retries: int | None) -> None:
    options: dict[str, Any] = {} if retries is None else {"retries": retries}
    with get_pool(launcher) as pool:
        items = [1, 2, 3, Lethal(), *range(20)]
        outcomes: list[Any] = pool.map(type, items, on_error="return", chunksize=3, **options)
        assert {at for at, outcome in enumerate(outcomes) if outcome is not int} <= {3, 4, 5}
        assert isinstance(outcomes[3], WorkerLost)
        with pytest.raises(WorkerLost):
            pool.submit(type, Lethal()).result(40)
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_what_has_not_begun_can_be_cancelled_and_what_runs_can_be_killed(launcher: str, wait_until, tmp_path) -> None:
    seconds = 3 if launcher.startswith("thread") else 100
    with get_pool(launcher) as pool:
        running = [pool.submit(touch_and_nap, str(tmp_path / str(at)), seconds) for at in range(len(pool))]
        wait_until(lambda: len(list(tmp_path.iterdir())) == len(pool))
        waiting = [pool.submit(nap, 0) for _ in range(50)]
        assert not running[0].cancel()
        assert waiting[-1].cancel()
        assert waiting[-1].cancelled()
        for result in running:
            assert result.kill()
            with pytest.raises((WorkerLost, CancelledError)):
                result.result(5)
        assert [result.result(10) for result in waiting[:-1]] == [0] * 49


class Losing:
    """Stands for the segments of workers: so many of them can't be opened, for this reason."""

    def __init__(self, view, count: int, reason: OSError) -> None:
        self.view, self.left, self.reason = view, count, reason

    def __call__(self, ref):
        if self.left:
            self.left -= 1
            raise SegmentLost("no segment") from self.reason
        return self.view(ref)


def mappings_of(pool: Any) -> Any:
    return pool._engine().crew._buffers._mappings


def big(x: int) -> bytes:
    return bytes([x]) * 1_000_000


def test_a_result_that_is_lost_with_its_worker_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with get_pool("process:2") as pool:
        mappings = mappings_of(pool)
        monkeypatch.setattr(mappings, "view", Losing(mappings.view, 3, FileNotFoundError(errno.ENOENT, "gone")))
        assert pool.map(big, range(6), chunksize=1) == [big(x) for x in range(6)]
        assert mappings.view.left == 0


def test_a_lost_result_of_a_task_that_may_run_only_once_is_a_lost_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with get_pool("process:1") as pool:
        mappings = mappings_of(pool)
        monkeypatch.setattr(mappings, "view", Losing(mappings.view, 1, FileNotFoundError(errno.ENOENT, "gone")))
        outcomes: list[Any] = pool.map(big, range(3), retries=0, on_error="return")
        lost, *rest = outcomes
        assert isinstance(lost, WorkerLost)
        assert lost.begun
        assert rest == [big(1), big(2)]


@pytest.mark.parametrize("reason", [errno.ENOMEM, errno.EMFILE])
def test_a_result_that_can_not_be_mapped_is_read(reason: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with get_pool("process:2") as pool:
        mappings = mappings_of(pool)
        monkeypatch.setattr(mappings, "view", Losing(mappings.view, 4, OSError(reason, os.strerror(reason))))
        pool.map(abs, range(4), chunksize=1)
        pids = [worker.pid for worker in pool.workers()]
        assert pool.map(big, range(6), chunksize=1) == [big(x) for x in range(6)]
        assert [worker.pid for worker in pool.workers()] == pids


def run_and_die(path):
    with Path(path).open("ab") as file:
        file.write(b".")
    os._exit(3)


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
@pytest.mark.parametrize("retries", [0, 1, None])
def test_an_item_that_kills_its_worker_runs_as_often_as_its_retries_allow(launcher: str, retries, tmp_path) -> None:
    path = tmp_path / "runs"
    with get_pool(launcher) as pool, pytest.raises(WorkerLost):
        pool.map(run_and_die, [path], retries=retries)
    assert path.stat().st_size == 1 + (2 if retries is None else retries)


def work_or_die(role, folder):
    if role == "works":
        (folder / "begun").touch()
        time.sleep(20)
    while not (folder / "begun").exists():
        time.sleep(0.005)
    os._exit(3)


def test_the_end_of_a_worker_that_has_just_started_is_noticed_while_another_one_works(tmp_path, within) -> None:
    with within(15), get_pool("multiprocess:2") as pool:
        roles = ["works", "dies"]
        outcomes = pool.map(work_or_die, roles, [tmp_path] * 2, chunksize=1, retries=0, on_error="return")
        assert [type(outcome) for outcome in outcomes] == [WorkerLost, WorkerLost]
