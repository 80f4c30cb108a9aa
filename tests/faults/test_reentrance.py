"""What interrupts the engine, a signal handler or the collector, may use the pool without waiting for it."""

from __future__ import annotations

import signal
import sys
import time
from functools import partial
from typing import Any

import pytest
from napping import ASYNCHRONOUS, OTHER_PROCESSES, nap  # type: ignore[import-not-found]

from anypool import Pool, RemoteError, get_pool
from anypool._shield import shield

EVERYWHERE = ["serial", *ASYNCHRONOUS]


def interrupting(pool: Pool, act: Any) -> Any:
    """What `act` gives in the midst of a change of the pool's state."""
    with pool._engine().section:
        return act()


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_a_call_submitted_in_the_midst_of_a_change_runs_although_nobody_waits(launcher: str, wait_until) -> None:
    with get_pool(launcher) as pool:
        result = interrupting(pool, lambda: pool.submit(abs, -3))
        wait_until(result.ready, 20)
        assert result.result() == 3


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_looking_and_cancelling_work_in_the_midst_of_a_change(launcher: str) -> None:
    with get_pool(launcher) as pool:
        late = [pool.submit(nap, 0.3) for _ in range(20)]
        assert interrupting(pool, late[-1].cancel)
        assert interrupting(pool, pool.stats)["waiting"] > 0
        assert len(interrupting(pool, pool.workers)) == 2
        pool.terminate()


@pytest.mark.parametrize("launcher", ASYNCHRONOUS)
def test_who_would_have_to_wait_for_itself_is_told_so(launcher: str) -> None:
    with get_pool(launcher) as pool:
        with pytest.raises(RuntimeError, match="can't wait for the pool that it interrupts"):
            interrupting(pool, lambda: pool.map(abs, [1]))
        assert pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("launcher", EVERYWHERE)
def test_a_signal_handler_may_terminate_the_pool_that_it_interrupts(launcher: str, start_script) -> None:
    script = start_script(
        f"""
        import signal, sys, time
        from anypool import get_pool
        pool = get_pool({launcher!r})
        signal.signal(signal.SIGTERM, lambda *_: (pool.terminate(), sys.exit(7)))
        pool.map(abs, range(10))
        print("ready")
        while True:
            pool.map(abs, range(2000), chunksize=1)
        """
    )
    assert script.line() == "ready"
    time.sleep(0.1)
    script.process.send_signal(signal.SIGTERM)
    # `terminate` may need its 10 s where a lock of the standard executor is held.
    assert script.finish(40)[0] == 7
    assert script.descendants() == {}


def reset_and_leave(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)
    sys.exit(7)


class Handler:
    def leave(self, *_: object) -> None:
        sys.exit(7)

    def __call__(self, *_: object) -> None:
        sys.exit(7)


HANDLERS = [lambda *_: sys.exit(7), Handler().leave, Handler(), partial(Handler(), "more"), reset_and_leave]


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_that_exits_ends_the_caller_of_a_serial_map_and_not_an_item(handler: Any) -> None:
    done: list[int] = []

    def item(x: int) -> None:
        done.append(x)
        if x == 1:
            signal.raise_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handler)
    try:
        with get_pool("serial") as pool, pytest.raises(SystemExit, match="7"):
            pool.map(item, range(5), on_error="return")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done == [0, 1]


def test_an_item_that_exits_fails_on_serial_as_it_does_elsewhere() -> None:
    def leave(_number: int, _frame: object = None) -> None:
        sys.exit(7)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        with get_pool("serial") as pool, pytest.raises(RemoteError, match="SystemExit: 7"):
            pool.map(leave, [1])
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("launcher", OTHER_PROCESSES)
def test_an_interrupt_is_told_to_no_pool_that_is_closed(launcher: str) -> None:
    with get_pool(launcher) as first:
        first.map(abs, [1])
    assert shield._wake is None
    with get_pool("thread:1") as second:
        assert second.map(abs, [-1]) == [1]
        assert shield._wake is None
