"""What several threads of one process must not do to each other, and a thread that ends must not to its pool."""

import threading
from dataclasses import dataclass
from itertools import count

import pytest

from anypool import Thread, WorkerLost, _relay_warnings, get_pool
from anypool._chunk import Chunk, Outcomes
from anypool._local import ThreadCrew
from anypool._serve import Server


@dataclass(frozen=True)
class Failing(Thread):
    """Threads of which the first to get a chunk ends by a fault that is not the task's."""

    def launch(self) -> ThreadCrew:
        calls = count()

        class Crew(ThreadCrew):
            def run_chunk(self, chunk: Chunk) -> Outcomes:
                if next(calls) == 0:
                    raise LookupError("out of order")
                return super().run_chunk(chunk)

        return Crew(self.size, None, ())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_costs_only_the_chunk_it_had() -> None:
    with get_pool(Failing(2)) as pool:
        assert pool.map(abs, range(-9, 0), chunksize=1, retries=1) == list(range(9, 0, -1))
        assert len(pool) == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_says_why() -> None:
    with get_pool(Failing(1)) as pool, pytest.raises(WorkerLost, match="out of order"):
        pool.map(abs, [-1], retries=0)


def test_no_thread_of_a_hub_goes_on_before_what_its_caller_listens_to_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    heard = []

    def listen(packed: bytes | None) -> None:
        heard.append(packed)
        begun.set()
        assert go_on.wait(10)

    monkeypatch.setattr(_relay_warnings, "listen", listen)
    server = Server()
    first, second = (threading.Thread(target=server._hear, args=(b"levels",)) for _ in range(2))
    first.start()
    assert begun.wait(10)
    second.start()
    second.join(0.1)
    waited = second.is_alive()
    go_on.set()
    for thread in (first, second):
        thread.join(10)
    assert waited
    assert heard == [b"levels"]
