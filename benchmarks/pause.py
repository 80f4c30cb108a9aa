"""Run in a process of its own: stream with a consumer that pauses, and print what the owner grew by."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator

from benchmarks.meter import end_at_once
from benchmarks.peers import start
from benchmarks.tasks import square

_PATIENCE = 4.0  # seconds; most of what a slow peer holds it holds by then
_BATCH = 500


def _memory() -> dict[str, int]:
    with open("/proc/self/status", "rb") as file:
        fields = dict(line.split(b":", 1) for line in file if line.startswith(b"Vm"))
    return {name.decode(): int(value.split()[0]) for name, value in fields.items()}


def _forget_peak() -> None:
    with open("/proc/self/clear_refs", "wb") as file:
        file.write(b"5")


def main(name: str, workers: int, items: int, pause: float, chunk: int | None) -> dict[str, float]:
    given = 0

    def source() -> Iterator[int]:
        nonlocal given
        for i in range(items):
            given = i + 1
            yield i

    pool = start(name, workers)
    pool.map(square, range(1000))
    _forget_peak()
    before = _memory()["VmRSS"]
    stream = pool.stream(square, source(), chunk)
    taken = _take(stream, 1, pause)
    seen: dict[str, float] = {"lead": given - 1, "paused": (_memory()["VmRSS"] - before) / 1024}
    if chunk is not None:
        seen["lead_chunks"] = max(given - chunk, 0) / chunk
    taken += _take(stream, items // 2 - 1, pause)
    seen["lead_late"] = given - taken
    taken += _take(stream, items, 0)
    seen["grown"] = (_memory()["VmHWM"] - before) / 1024
    seen["taken"] = taken
    return seen


def _take(stream: Iterator[int], count: int, pause: float) -> int:
    """Take so many results, or fewer if that takes too long, and then pause; how many were taken."""
    taken, end = 0, time.monotonic() + _PATIENCE
    while taken < count and time.monotonic() < end:
        batch = sum(1 for _ in itertools.islice(stream, min(count - taken, _BATCH)))
        taken += batch
        if not batch:
            break
    time.sleep(pause)
    return taken


def _given() -> dict[str, float]:
    name, workers, items, pause, *chunk = sys.argv[1:]
    return main(name, int(workers), int(items), float(pause), int(chunk[0]) if chunk else None)


if __name__ == "__main__":
    print(json.dumps(_given()), flush=True)
    # The stream of a slow peer has not ended, and its pool would wait for that.
    end_at_once(0)
