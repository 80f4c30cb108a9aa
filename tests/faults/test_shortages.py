"""A thread, a descriptor or a worker that can't be had for once costs what asked for it, and nothing later."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from anypool import LauncherUnavailable, Unserializable, get_pool
from anypool._buffers import Buffers
from anypool._helper import Helper
from anypool._segments import SegmentLost
from anypool._wire import Ref


@pytest.fixture
def refuse_threads(monkeypatch: pytest.MonkeyPatch):
    """From the given start on, so many threads can't be started."""

    def refuse(first: int, last: int) -> None:
        start, count = threading.Thread.start, 0

        def starts(thread: threading.Thread) -> None:
            nonlocal count
            count += 1
            if first <= count <= last:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", starts)

    return refuse


def test_the_helper_is_started_the_next_time_if_it_can_not_be_now(refuse_threads) -> None:
    helper, called = Helper(), threading.Event()
    refuse_threads(1, 1)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        helper.start()
    helper.call(called.set)
    assert called.wait(10)


def test_threads_that_were_started_end_if_one_of_a_pool_can_not_be(refuse_threads) -> None:
    refuse_threads(4, 4)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        get_pool("thread:5")
    # `nothing_left` looks for the three.


def test_an_initializer_that_is_refused_leaves_no_agent_and_no_descriptor() -> None:
    for _ in range(3):
        with pytest.raises(Unserializable, match="initializer"):
            get_pool("process:1", initializer=print, initargs=(iter([]), (n for n in "ab")))


def test_the_descriptor_in_reserve_is_never_taken_for_somebody_elses(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    buffers = Buffers()

    def lost(ref: Ref) -> None:
        raise SegmentLost("no") from OSError(errno.EMFILE, "too many")

    def refused(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(buffers._mappings, "view", lost)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        for _ in range(2):
            with pytest.raises(SegmentLost):
                buffers._view(Ref(os.getpid(), 0, 0, 1))
    with (tmp_path / "file").open("w") as theirs:
        buffers.close()
        theirs.write("still open")


def test_a_worker_that_can_not_be_replaced_after_its_tasks_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with get_pool("process:2", max_tasks_per_worker=1) as pool:
        engine = pool._engine()
        refused: list[int] = []
        renew = engine.crew.renew

        def renews(slot: int) -> bool:
            if not refused:
                refused.append(slot)
                raise LauncherUnavailable("no descriptors left")
            return renew(slot)

        monkeypatch.setattr(engine.crew, "renew", renews)
        assert pool.map(abs, range(-8, 0)) == list(range(8, 0, -1))
        assert len(pool.workers()) == 1


def test_buffers_that_find_no_shared_memory_go_through_pipes_and_are_counted(run_script) -> None:
    text = """
    import resource
    from anypool import get_pool
    blocks = [bytes([n]) * 300_000 for n in range(6)]
    for limit in (None, 100_000):
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        with get_pool("process:1") as pool:
            print(pool.map(lambda block: block + b"!", blocks) == [block + b"!" for block in blocks], end=" ")
            print(pool.stats()["inline"] > 0)
    """
    assert run_script(text) == "True False\nTrue True\n"
