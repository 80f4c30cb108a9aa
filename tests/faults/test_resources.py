"""Memory and descriptors: flat over many maps, and enough with few."""

from __future__ import annotations

import itertools
import operator
import os
import time
from contextlib import suppress
from functools import partial

import pytest

from anypool import get_pool


def resident_kilobytes(pid: int | str = "self") -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def open_descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def test_ten_thousand_small_maps_leave_memory_and_descriptors_flat() -> None:
    with get_pool("process:2") as pool:
        for number in range(300):
            assert pool.map(abs, [-number, 1, 2]) == [number, 1, 2]
            pool.map(partial(operator.add, number), [1])
        for number in range(300):
            next(pool.imap(abs, itertools.count(-number)))
        workers = [worker.pid for worker in pool.workers() if worker.pid]
        assert len(workers) == 2
        before = resident_kilobytes()
        before_workers = [resident_kilobytes(pid) for pid in workers]
        descriptors = open_descriptors()
        for number in range(8000):
            assert pool.map(abs, [-number, 1, 2]) == [number, 1, 2]
        for number in range(2000):
            assert pool.map(partial(operator.add, number), [1]) == [1 + number]
        for number in range(1000):
            assert next(pool.imap(abs, itertools.count(-number))) == number
        # Segments for results come as they are needed; a leak in any of these calls would show a thousand times.
        assert len(open_descriptors()) <= len(descriptors) + 8, open_descriptors().values()
        # How far an endless input is read ahead depends on the load, and so does the memory that stays with malloc;
        # two kilobytes lost by each of the maps would show.
        assert resident_kilobytes() - before < 16384
        assert [worker.pid for worker in pool.workers()] == workers
        for pid, at_first in zip(workers, before_workers, strict=True):
            assert resident_kilobytes(pid) - at_first < 8192


@pytest.mark.parametrize("kind", ["process:2", "thread:2"])
def test_many_pools_one_after_the_other_leave_memory_and_descriptors_flat(kind: str) -> None:
    def use():
        with get_pool(kind) as pool:
            assert pool.map(abs, [-1]) == [1]

    for _ in range(5):
        use()
    before, descriptors = resident_kilobytes(), len(os.listdir("/proc/self/fd"))
    for _ in range(25):
        use()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert resident_kilobytes() - before < 2048


def test_large_buffers_come_and_go_without_growth() -> None:
    with get_pool("process:2") as pool:
        for _ in range(5):
            pool.map(lambda data: data, [bytes(4 << 20)] * 4)
        before, descriptors = resident_kilobytes(), len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            assert [len(data) for data in pool.map(lambda data: data, [bytes(4 << 20)] * 4)] == [4 << 20] * 4
        assert resident_kilobytes() - before < 80 << 10
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 4
        assert not [name for name in os.listdir("/dev/shm") if "anypool" in name]


def test_with_too_few_descriptors_to_start_the_number_is_named_and_nothing_is_kept(run_script) -> None:
    text = """
        import os, resource
        from anypool import LauncherUnavailable, get_pool
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
        with get_pool("process:2") as pool:
            print(pool.map(abs, [-1]))
        before = len(os.listdir("/proc/self/fd"))
        try:
            get_pool("process:30", oversubscribe=True).map(abs, [1])
        except LauncherUnavailable as error:
            print("30" in str(error))
        import gc; gc.collect()
        print(len(os.listdir("/proc/self/fd")) - before)
        with get_pool("process:2") as pool:
            print(pool.map(abs, [-1]))
    """
    assert run_script(text) == "[1]\nTrue\n0\n[1]\n"


def test_without_descriptors_for_segments_large_data_goes_inline(run_script) -> None:
    text = """
        import os, resource
        from anypool import get_pool
        with get_pool("process:2") as pool:
            pool.map(abs, [1, 2])
            used = max(map(int, os.listdir("/proc/self/fd"))) + 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
            print([len(data) for data in pool.map(lambda data: data + data, [bytes(3_000_000)] * 4)])
            captured = bytes(2_000_000)
            print(pool.map(lambda _: len(captured), range(3)))
    """
    assert run_script(text) == f"{[6_000_000] * 4}\n{[2_000_000] * 3}\n"


def test_a_slow_first_item_does_not_make_an_ordered_stream_read_for_ever(launcher: str) -> None:
    read = []

    def items():
        for number in range(10**9):
            read.append(number)
            yield (bytes([number % 256]) * 100_000, 0.5 if number == 0 else 0)

    def work(item):
        time.sleep(item[1])
        return item[0]

    with get_pool(launcher) as pool:
        stream = pool.imap(work, items())
        assert next(stream) == bytes(100_000)
        # 64 MiB of results held back, 670 of them, and what is on its way; without a limit it would be ten thousand.
        assert len(read) < 2000
        del stream
        pool.terminate()
