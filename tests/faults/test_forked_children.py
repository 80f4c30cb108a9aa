"""A process forked beside a pool is told that the pool is its parent's, and is no worse off otherwise."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from napping import ASYNCHRONOUS, nap  # type: ignore[import-not-found]

from anypool import PoolClosed, get_pool


def in_child(act: Callable[[], Any]) -> Any:
    """What `act` returns in a forked child, or the name and text of what it raises; within 10 s."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # Not SIGALRM's handler, which would need the interpreter.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(10)
        try:
            told = act()
        except BaseException as error:  # noqa: BLE001 - it is told
            told = f"{type(error).__name__}: {error}"
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as told_back:
        text = told_back.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with status {status}"
    return json.loads(text)


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_results_and_streams_of_the_parent_say_so_in_the_child_and_go_on_in_the_parent(launcher: str) -> None:
    with get_pool(launcher) as pool:
        result, items = pool.amap(nap, [0.3, 0]), pool.imap(abs, range(3))
        for ask in (lambda: result.get(timeout=5), lambda: next(items), lambda: list(items)):
            assert in_child(ask).startswith(PoolClosed.__name__ + ": this process was forked")
        assert in_child(lambda: pool.map(abs, [-1])) == [1]
        assert result.get(10) == [0.3, 0]
        assert list(items) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_that_another_thread_forks_during_a_map_can_be_interrupted(wait_until) -> None:
    def interrupted() -> str:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            return "interrupted"
        return "not interrupted"

    told: list[str] = []
    with get_pool("process:1") as pool:

        def fork_meanwhile() -> None:
            wait_until(lambda: pool.stats()["in_flight"])
            # The main thread waits for the map by now, or is about to.
            told.extend(in_child(interrupted) for _ in range(5))

        thread = threading.Thread(target=fork_meanwhile)
        thread.start()
        while thread.is_alive():
            pool.map(nap, [0.2])
        thread.join(10)
    assert told == ["interrupted"] * 5
