"""The fault tests again, for as long as one likes: `python3 dev.py test -m soak`."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress

import pytest

from anypool import get_pool

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
SECONDS = float(os.environ.get("ANYPOOL_SOAK_SECONDS", "120"))


def work(number):
    time.sleep(number % 3 * 0.001)
    return number * number


def test_workers_and_agent_die_at_random_while_threads_map() -> None:
    chance, over = random.Random(), threading.Event()
    wrong: list[object] = []

    def use(number):
        while not over.is_set():
            count = chance.randrange(200)
            if pool.map(work, range(count), chunksize=chance.choice([None, 1, 7])) != [x * x for x in range(count)]:
                wrong.append(("map", count))
            if sorted(pool.uimap(work, range(count))) != [x * x for x in range(count)]:
                wrong.append(("uimap", count))
            if [result.result(60) for result in [pool.submit(work, x) for x in range(50)]] != [
                x * x for x in range(50)
            ]:
                wrong.append("submit")

    with get_pool("process:4", oversubscribe=True) as pool:
        users = [threading.Thread(target=use, args=(number,), daemon=True) for number in range(3)]
        for user in users:
            user.start()
        limit = time.monotonic() + SECONDS
        while time.monotonic() < limit and not wrong:
            # Seldom enough that an item is not met three times by chance.
            time.sleep(chance.uniform(0.2, 0.6))
            pids = [worker.pid for worker in pool.workers() if worker.pid]
            if pids:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(pids), signal.SIGKILL)
        over.set()
        for user in users:
            user.join(120)
        assert not any(user.is_alive() for user in users)
    assert not wrong


def test_pools_come_and_go() -> None:
    limit = time.monotonic() + SECONDS / 2
    while time.monotonic() < limit:
        with get_pool("process:2") as pool:
            stream = pool.imap(work, range(10**6))
            next(stream)
            result = pool.amap(work, range(50))
        assert result.get(0) == [x * x for x in range(50)]
