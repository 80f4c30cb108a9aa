"""Workers, agents and owners that die, and users who fork, close and signal as they like."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from anypool import Pool, WorkerLost, get_pool


def children_of(parent: int) -> list[int]:
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
            if fields[1] == str(parent) and fields[0] != "Z":
                found.append(int(name))
    return found


def agents_here() -> list[int]:
    agents = []
    for pid in children_of(os.getpid()):
        with suppress(OSError):
            if b"anypool._agent" in Path(f"/proc/{pid}/cmdline").read_bytes():
                agents.append(pid)
    return agents


def agent_of(pool: Pool) -> int:
    """The agent, once the pool has noticed that it needs another one."""
    limit = time.monotonic() + 10
    while not (agents := agents_here()):
        assert pool.map(abs, range(10)) == list(range(10))
        assert time.monotonic() < limit
    (agent,) = agents
    return agent


def kill_agent(agent: int) -> None:
    """Kill an agent and wait for its end, so that the next one seen is another."""
    os.kill(agent, signal.SIGKILL)
    limit = time.monotonic() + 10
    while agent in agents_here():
        assert time.monotonic() < limit
        time.sleep(0.001)


def pids_of(pool: Pool) -> list[int]:
    """The processes of the workers that are known to have started."""
    return [worker.pid for worker in pool.workers() if worker.pid]


class Killer(threading.Thread):
    """Kills so many of a pool's workers, at random moments."""

    def __init__(self, pool: Pool, count: int, longest_pause: float) -> None:
        super().__init__(daemon=True)
        self._pool, self._left, self._longest = pool, count, longest_pause
        self._random = random.Random(count)
        self.enough = threading.Event()

    def run(self) -> None:
        while self._left and not self.enough.wait(self._random.uniform(0.001, self._longest)):
            pids = pids_of(self._pool)
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(self._random.choice(pids), signal.SIGKILL)
                    self._left -= 1

    @property
    def killed_all(self) -> bool:
        return not self._left


@pytest.mark.parametrize("method", ["map", "imap", "uimap", "amap"])
def test_ten_killed_workers_cost_a_thousand_tasks_nothing(method: str) -> None:
    def work(number):
        time.sleep(0.001)
        return number * number

    with get_pool("process:4", oversubscribe=True) as pool:
        killer = Killer(pool, 10, 0.03)
        killer.start()
        answer = getattr(pool, method)(work, range(1000))
        got = answer.get(30) if method == "amap" else list(answer)
        killer.enough.set()
        killer.join(10)
        assert killer.killed_all
        assert (sorted(got) if method == "uimap" else got) == [number * number for number in range(1000)]
        assert len(pool) == len(pool.workers()) == 4
        assert pool.map(abs, range(50)) == list(range(50))


def test_calls_survive_killed_workers() -> None:
    def work(number):
        time.sleep(0.001)
        return -number

    with get_pool("process:4", oversubscribe=True) as pool:
        killer = Killer(pool, 8, 0.03)
        killer.start()
        results = [pool.submit(work, number) for number in range(600)]
        assert [result.result(30) for result in results] == [-number for number in range(600)]
        killer.enough.set()
        killer.join(10)


def deadly(number):
    if number == 77:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_an_item_that_always_kills_its_worker_costs_only_itself() -> None:
    with get_pool("process:2") as pool:
        outcomes = pool.map(deadly, range(200), on_error="return")
    assert isinstance(outcomes[77], WorkerLost)
    assert [x for x in outcomes if not isinstance(x, WorkerLost)] == [x for x in range(200) if x != 77]


HOLD = """
    import ctypes, sys, time
    from anypool import get_pool
    def hold(path):
        open(path, "w").close()
        ctypes.PyDLL(None).sleep(100)      # PyDLL keeps the GIL
    def nap(path):
        open(path, "w").close()
        time.sleep(100)
    task = {"hold": hold, "nap": nap}[sys.argv[2]]
    pool = get_pool(sys.argv[1])
    if sys.argv[3] == "waiting":
        pool.map(task, ["begun"] * 4)
    else:
        results = [pool.submit(task, "begun") for _ in range(4)]
        time.sleep(100)
"""


@pytest.mark.parametrize("launcher, task", [("process:2", "hold"), ("process:2", "nap"), ("multiprocess:2", "nap")])
@pytest.mark.parametrize("owner", ["waiting", "busy"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_when_the_owner_is_killed_everybody_is_gone(
    launcher: str, task: str, owner: str, number: int, start_script, wait_until
) -> None:
    script = start_script(HOLD, launcher, task, owner)
    folder = Path(os.readlink(f"/proc/{script.process.pid}/cwd"))
    wait_until((folder / "begun").exists, 15)
    assert len(script.descendants()) >= 2
    script.process.send_signal(number)
    assert script.process.wait(5) == -number
    wait_until(lambda: not script.descendants(), 3, "the end of workers and agent")


def test_when_the_owner_is_killed_the_pools_of_its_tasks_are_gone_too(start_script, wait_until) -> None:
    script = start_script(
        """
        import time
        from anypool import get_pool
        def inner(path):
            open(path, "w").close()
            time.sleep(100)
        def outer(x):
            with get_pool("process:2", oversubscribe=True) as own:
                own.map(inner, ["begun"] * 2)
        with get_pool("process:2") as pool:
            pool.map(outer, range(2))
        """
    )
    folder = Path(os.readlink(f"/proc/{script.process.pid}/cwd"))
    wait_until((folder / "begun").exists, 15)
    script.process.kill()
    script.process.wait(5)
    wait_until(lambda: not script.descendants(), 3, "the end of workers and agent")


@pytest.mark.parametrize("turns", [1, 4])
def test_when_the_agent_is_killed_the_map_ends_right(turns: int) -> None:
    def work(number):
        time.sleep(0.001)
        return number + 1

    with get_pool("process:2") as pool:
        for _ in range(turns):
            killer = threading.Timer(0.05, kill_agent, [agent_of(pool)])
            killer.start()
            assert pool.map(work, range(300)) == list(range(1, 301))
            killer.join(10)
        kill_agent(agent_of(pool))
        assert pool.pipe(abs, -1) == 1
        kill_agent(agent_of(pool))
        assert pool.submit(abs, -1).result(10) == 1


def test_an_agent_that_is_killed_before_it_answers_is_started_again() -> None:
    for _ in range(5):
        with get_pool("process:2") as pool:
            for agent in agents_here():
                os.kill(agent, signal.SIGKILL)
            assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))


def test_a_stopped_worker_is_not_declared_dead(wait_until) -> None:
    with get_pool("process:1") as pool:
        pool.map(abs, [1])
        (pid,) = pids_of(pool)
        os.kill(pid, signal.SIGSTOP)
        result = pool.submit(os.getpid)
        with pytest.raises(TimeoutError):
            result.result(0.3)
        os.kill(pid, signal.SIGCONT)
        assert result.result(10) == pid


def test_a_forked_child_that_keeps_descriptors_open_disturbs_nothing(wait_until) -> None:
    release, hold = os.pipe()
    with get_pool("process:2") as pool:
        pool.map(abs, [1])
        child = os.fork()
        if child == 0:
            os.close(hold)
            os.read(release, 1)  # Until the parent lets go.
            os._exit(0)
        try:
            os.kill(pids_of(pool)[0], signal.SIGKILL)
            assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
            workers = [worker.pid for worker in pool.workers()]
            pool.close()
            pool.join()
            wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 3)
        finally:
            os.close(hold)
            os.close(release)
            os.waitpid(child, 0)


def test_a_task_whose_child_keeps_descriptors_open_disturbs_nothing() -> None:
    def leave_a_child(seconds):
        child = os.fork()
        if child == 0:
            time.sleep(seconds)
            os._exit(0)
        return child

    with get_pool("process:2") as pool:
        children = pool.map(leave_a_child, [100] * 2)
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        started = time.monotonic()
    assert time.monotonic() - started < 8
    for child in children:
        # A descendant of a task ends with its worker, where the system can tell.
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_a_forked_child_of_the_owner_may_use_the_pool(wait_until) -> None:
    with get_pool("process:2") as pool:
        pool.map(abs, [1])
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if pool.map(abs, range(-10, 0)) == list(range(10, 0, -1)) else 2
                pool.close()
                pool.join()
            finally:
                os._exit(code)
        statuses = []

        def ended():
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                statuses.append(os.waitstatus_to_exitcode(status))
            return pid

        wait_until(ended, 15)
        assert statuses == [0]
        assert pool.map(abs, [-1]) == [1]


def test_a_task_may_close_print_and_exit_as_it_likes() -> None:
    def rude(how):
        if how == "stdio":
            sys.stdout.close()
            os.close(2)
        if how == "descriptors":
            os.closerange(3, 256)
        if how == "signals":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if how == "group":
            with suppress(PermissionError):
                os.setpgid(0, 0)
        return how

    with get_pool("process:2") as pool:
        for how in ("stdio", "signals", "group"):
            assert pool.pipe(rude, how) == how
        outcome = pool.map(rude, ["descriptors"], retries=0, on_error="return")
        assert isinstance(outcome[0], WorkerLost)
        assert pool.map(abs, range(-10, 0)) == list(range(10, 0, -1))


def test_a_thread_of_the_owner_that_ends_takes_no_worker_along(wait_until) -> None:
    made: list[Pool] = []

    def make() -> None:
        made.append(get_pool("process:2"))
        wait_until(lambda: made[0].map(abs, range(10)) and all(worker.pid for worker in made[0].workers()))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join(10)
    with made[0] as pool:
        before = [worker.pid for worker in pool.workers()]
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
        assert [worker.pid for worker in pool.workers()] == before


@pytest.mark.parametrize("handler", ["ignored", "handled"])
def test_sigchld_of_the_user_disturbs_nothing(handler: str, run_script) -> None:
    text = """
        import os, signal, sys, time
        seen = []
        chosen = signal.SIG_IGN if sys.argv[1] == "ignored" else (lambda *_: seen.append(1))
        signal.signal(signal.SIGCHLD, chosen)
        from anypool import get_pool
        with get_pool("process:2") as pool:
            print(pool.map(abs, range(-3, 0)))
            os.kill(pool.workers()[0].pid, 9)
            print(pool.map(abs, range(-3, 0)))
    """
    assert run_script(text, handler) == "[3, 2, 1]\n[3, 2, 1]\n"
