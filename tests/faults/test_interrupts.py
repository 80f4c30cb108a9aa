"""Ctrl-C at any moment: raised once, in time, and the pool is right afterwards."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial
from typing import Any

import pytest


def gone(script: Any) -> bool:
    return not script.descendants()


INTERRUPTED = """
    import itertools, sys, time
    from anypool import get_pool
    def nap(x):
        time.sleep(0.003)
        return x
    def tiny(x):
        return x + 1
    def same(x):
        return x
    def fat():
        return (bytes(200_000) for _ in itertools.count())
    endless = itertools.count
    pool = get_pool(sys.argv[1])
    works = [
        lambda: pool.map(nap, endless()),
        lambda: pool.map(tiny, endless(), chunksize=10),
        lambda: pool.map(tiny, endless()),
        lambda: pool.map(same, fat()),
        lambda: [None for _ in pool.imap(tiny, endless()) if False],
        lambda: [None for _ in pool.uimap(nap, endless()) if False],
        lambda: pool.map(time.sleep, [100] * 4),
        lambda: [None for x in endless() if pool.pipe(abs, x) < 0],
        lambda: pool.pipe(time.sleep, 100),
    ]
    if not sys.argv[1].startswith("process"):
        del works[-1], works[-2]        # nobody can stop these
    for turn in range(int(sys.argv[2])):
        again = 0
        try:
            print("go", flush=True)
            works[turn % len(works)]()
        except KeyboardInterrupt:
            back = time.time()
        try:
            time.sleep(0.005)
        except KeyboardInterrupt:
            again = 1
        started = time.time()
        right = pool.map(tiny, range(300)) == list(range(1, 301))
        print(back, again, right, time.time() - started, turn % len(works), flush=True)
    pool.close()
    pool.join()
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "launcher, interrupts",
    # On multiprocess each one costs the start of new interpreters.
    [("serial", 200), ("thread:2", 200), ("process:2", 200), ("multiprocess:2", 20)],
)
def test_ctrl_c_is_raised_once_in_time_and_leaves_the_pool_right(launcher: str, interrupts: int, start_script) -> None:
    moments = random.Random(7)
    script = start_script(INTERRUPTED, launcher, str(interrupts))
    for _ in range(interrupts):
        assert script.line() == "go"
        time.sleep(moments.choice([moments.uniform(0, 0.001), moments.uniform(0, 0.03)]))
        sent = time.time()
        script.process.send_signal(signal.SIGINT)
        back, again, right, following, work = script.line().split()
        assert float(back) - sent < 2, f"work {work}"
        assert again == "0", f"work {work}"
        assert right == "True", f"work {work}"
        assert float(following) < 3, f"work {work}"
    code, out, err = script.finish()
    assert (code, out, err) == (0, "", "")
    limit = time.monotonic() + 3
    while left := script.descendants():
        assert time.monotonic() < limit, f"still alive: {left}"
        time.sleep(0.02)


def test_ctrl_c_before_the_first_result_leaves_nothing(start_script, wait_until) -> None:
    text = """
        import sys
        print("go", flush=True)
        from anypool import get_pool
        with get_pool("process:2") as pool:
            while True:
                pool.map(abs, range(3))
    """
    moments = random.Random(3)
    for _ in range(8):
        script = start_script(text)
        script.line()
        time.sleep(moments.uniform(0.0, 0.2))
        for _ in range(3):
            # Python itself drops an interrupt that strikes in a callback of its import machinery, and says so.
            script.process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                script.process.wait(5)
                break
        code, _, err = script.finish(10)
        assert code in (1, -signal.SIGINT)
        assert err.count("KeyboardInterrupt") - err.count("Exception ignored") <= 2
        wait_until(partial(gone, script), 3)
