"""What some launchers can do for a shared object: one copy on the machine, memory that goes, ways around `/proc`."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pickle import PickleBuffer
from typing import Any

import pytest

from anypool import Pool, Unserializable, get_pool

LIMIT = 30.0
ON_BYTES = ["process:2", "multiprocess:2", "process:2/process:1", "process:1/thread:2", "process:1 + thread:1"]


@pytest.fixture
def opened() -> Iterator[Callable[..., Pool]]:
    pools = []

    def opened(*levels: Any, **options: Any) -> Pool:
        pools.append(get_pool(*levels, oversubscribe=True, **options))
        return pools[-1]

    yield opened
    for pool in pools:
        pool.terminate()


def until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < limit, f"not within {LIMIT:g} s: {what}"
        time.sleep(0.01)


def segments() -> list[str]:
    """The sealed segments that this process holds open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return [name for name in found if "anypool-sealed" in name]


def mapped(pid: int) -> int:
    """Bytes of sealed segments in the memory of a process."""
    size = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        for line in file:
            if "anypool-sealed" in line:
                start, end = line.split()[0].split("-")
                size += int(end, 16) - int(start, 16)
    return size


def private(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("RssAnon")) << 10


class Data:
    """What numpy takes a second to import for: bytes that travel beside a pickle."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        return Data, (PickleBuffer(self.data),)

    def __getitem__(self, at: int) -> int:
        return self.data[at]


def numbers(size: int) -> Data:
    return Data(bytearray(bytes(range(256)) * (size // 256)))


def read(x: int, data: Data) -> tuple[int, int]:
    """Who reads, and the sum of one byte of each page, plus x."""
    return os.getpid(), sum(data.data[::4096]) + x


def blind_workers() -> None:
    from anypool import _shared

    _shared._mapped = lambda ref, digest: None


@pytest.mark.parametrize("name", ON_BYTES)
def test_workers_of_a_machine_look_at_one_copy(opened, name):
    pool = opened(name)
    size = 160 << 20
    shared = pool.share(Data(bytearray(size)))
    told = pool.map(read, range(40), kwargs={"data": shared}, chunksize=1)
    assert [value for _, value in told] == [*range(40)]
    for pid in {pid for pid, _ in told}:
        assert mapped(pid) >= size
        if pid != os.getpid():
            assert private(pid) < size // 2


@pytest.mark.parametrize("name", ON_BYTES)
def test_the_memory_goes_when_the_handle_is_dropped(opened, name):
    pool = opened(name)
    before, size = segments(), 16 << 20
    pids = {pid for pid, _ in pool.map(read, range(20), kwargs={"data": pool.share(numbers(size))}, chunksize=1)}
    shared = pool.share(numbers(size))
    pids |= {pid for pid, _ in pool.map(read, range(20), [shared] * 20, chunksize=1)}
    del shared
    gc.collect()
    until(lambda: segments() == before, "the owner's segments are closed")
    until(lambda: not any(mapped(pid) >= size for pid in pids), "workers have let go of it")


@pytest.mark.parametrize("name", ON_BYTES)
def test_where_segments_can_not_be_opened_the_bytes_travel(opened, name, monkeypatch):
    from anypool import _shared

    # Some of the workers may be threads of this process.
    monkeypatch.setattr(_shared, "_mapped", _shared._mapped)
    pool = opened(name)
    pool.map(lambda _: blind_workers(), range(40), chunksize=1)
    with pool.share(numbers(100_000)) as shared, pool.share({"scale": 2}) as other:
        for _ in range(3):
            assert pool.map(lambda at, data, more: data[at] * more["scale"], range(8), [shared] * 8, [other] * 8) == [
                0, 2, 4, 6, 8, 10, 12, 14,
            ]  # fmt: skip
            assert pool.submit(lambda x, data: x + data[1], 1, data=shared).result(LIMIT) == 2
            assert pool.pipe(lambda held: held[0].value[7], [shared]) == 7


@pytest.mark.parametrize("name", ON_BYTES)
def test_without_memory_for_segments_the_bytes_travel(opened, name, monkeypatch):
    from anypool._segments import Sealed

    pool = opened(name)
    monkeypatch.setattr(Sealed, "write", lambda *_: None)
    with pool.share(numbers(100_000)) as shared:
        for _ in range(3):
            assert pool.map(lambda at, data: data[at], range(8), [shared] * 8, chunksize=1) == list(range(8))


@pytest.mark.parametrize("name", ["process:2", "process:1/process:2", "process:1 + thread:1"])
def test_what_can_not_go_by_segments_crosses_once_to_each_worker(opened, name, monkeypatch):
    from anypool._segments import Sealed
    from anypool._shared import Entry

    pool = opened(name)
    monkeypatch.setattr(Sealed, "write", lambda *_: None)
    sent: list[Any] = []
    part = Entry.part

    def noting(*args: Any) -> Any:
        sent.append(part(*args))
        return sent[-1]

    monkeypatch.setattr(Entry, "part", noting)
    with pool.share(numbers(100_000)) as shared:
        pool.map(lambda at, data: data[at], range(80), [shared] * 80, chunksize=1)
    assert 1 <= sum(len(each) > 0 for each in sent) <= 2
    assert len(sent) >= 80


def test_who_does_not_share_imports_nothing_for_it(opened):
    def there(_: int) -> list[str]:
        return [name for name in sys.modules if name.startswith("anypool._shar")]

    code = """if True:
        import sys
        from anypool import get_pool
        for name in ("process:1", "thread:1", "serial"):
            with get_pool(name) as pool:
                pool.map(abs, [1], kwargs={}), pool.pipe(abs, -1)
        print([name for name in sys.modules if name in ("anypool._sharing", "anypool._shared")])
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert done.stdout == "[]\n"
    pool = opened("process:1")
    assert pool.map(there, [1]) == [[]]
    with pool.share([1]) as shared:
        assert pool.pipe(len, shared) == 1
        # What has the handle takes longer to import.
        assert pool.map(there, [1]) == [["anypool._share", "anypool._shared"]]


def test_workers_that_take_the_place_of_others_have_it_again(opened):
    pool = opened("process:2")
    with pool.share(numbers(1024)) as shared:
        for _ in range(3):
            pids = {pid for pid, _ in pool.map(read, range(20), [shared] * 20, chunksize=1)}
            for pid in pids:
                os.kill(pid, 9)
            assert pool.map(lambda x, data: data[x], range(20), [shared] * 20) == list(range(20))


def test_a_task_hands_it_on_to_workers_of_its_own(opened):
    def hand_on(shared, name):
        with get_pool(name, oversubscribe=True) as pool:
            values = pool.map(lambda x, data: data[x], [1, 2], shared * 2)
            pid, _ = pool.pipe(read, 0, *shared)
            return [*values, pool.pipe(lambda data: data[3], shared[0].value), mapped(pid)]

    pool = opened("process:1")
    with pool.share(numbers(8 << 20)) as shared:
        for name in ("process:1", "thread:1", "multiprocess:1", "serial"):
            *values, size = pool.pipe(hand_on, [shared], name)
            assert values == [1, 2, 3]
            assert name == "serial" or size >= 8 << 20


def test_a_shared_object_may_hold_others(opened):
    pool = opened("process:1")
    inner = pool.share(numbers(1024))
    with pool.share({"inner": inner}) as outer:
        del inner
        assert pool.pipe(lambda data: data["inner"].value[7], outer) == 7


def test_arrays_are_read_only_wherever_they_are_in_it(opened):
    np = pytest.importorskip("numpy")

    def attempts(array: Any, tree: Any) -> list[str]:
        found = []
        for each in (array, tree["small"], tree["large"]):
            for attempt in (lambda each=each: each.__setitem__(0, 1), lambda each=each: each.setflags(write=True)):
                try:
                    attempt()
                except ValueError as error:
                    found.append(str(error))
        tree["new"] = 1
        return found

    pool = opened("process:1")
    with pool.share(np.zeros(1000)) as array, pool.share({"small": np.zeros(1), "large": np.zeros(100_000)}) as tree:
        assert len(pool.pipe(attempts, array, tree)) == 6
        assert "new" in pool.pipe(lambda data: data, tree)
        assert "new" not in tree.value
    with pool.share(np.zeros((100, 100))[::2, ::3]) as sparse:
        assert not pool.pipe(lambda data: data.flags.writeable, sparse)


def test_what_can_not_be_serialised_is_refused_with_the_path(opened):
    pool = opened("process:1")
    with pytest.raises(Unserializable, match=r"obj\['lines'\]"):
        pool.share({"lines": (x for x in "ab")})
    with pytest.raises(Unserializable, match="Result"):
        pool.share(pool.submit(abs, -1))
    with pytest.raises(TypeError, match="shared already"):
        pool.share(pool.share([1]))


def test_thousands_may_be_shared(opened):
    pool = opened("process:2")
    shared = [pool.share(x) for x in range(300)] * 5
    assert pool.map(abs, shared, chunksize=1500) == list(range(300)) * 5
    few = [pool.submit(lambda *each: sum(each), *shared[at : at + 5]) for at in range(1000)]
    assert [each.result(LIMIT) for each in few[:3]] == [10, 15, 20]
    assert sum(each.result(LIMIT) for each in few) > 0
    many = [shared[:300]]
    assert pool.map(lambda few: sum(each.value for each in few), many) == [sum(range(300))]


def test_more_than_a_message_can_name_are_refused(opened, monkeypatch):
    from anypool._segments import Sealed

    # A thousand descriptors may be all that there are.
    monkeypatch.setattr(Sealed, "write", lambda *_: None)
    pool = opened("process:1")
    with pytest.raises(ValueError, match="at most 1000 shared objects"):
        pool.share([pool.share([pool.share(x) for x in range(400)]) for _ in range(3)])


def test_handles_that_end_in_the_middle_of_anything_do_no_harm(opened):
    pool = opened("process:2")

    class Cycle:
        def __init__(self, shared: Any) -> None:
            self.shared, self.itself = shared, self

    def use() -> None:
        for at in range(60):
            cycle = Cycle(pool.share([at]))
            assert pool.pipe(lambda data: data[0], cycle.shared) == at

    threads = [threading.Thread(target=use) for _ in range(3)]
    before = segments()
    threshold = gc.get_threshold()
    gc.set_threshold(20)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LIMIT)
            assert not thread.is_alive()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    until(lambda: segments() == before, "all segments are closed")


def test_a_forked_child_can_use_what_its_parent_shares(opened):
    pool = opened("process:1")
    with pool.share(numbers(1024)) as shared:
        assert pool.pipe(lambda data: data[7], shared) == 7
        child = os.fork()
        if not child:
            code = 1
            try:
                with get_pool("process:1", oversubscribe=True) as own:
                    code = own.pipe(lambda data: data[7], shared) - 7 + shared.value[3] - 3
            except Exception:  # noqa: BLE001 - a child of a fork has nobody to raise it to
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert pool.pipe(lambda data: data[8], shared) == 8
