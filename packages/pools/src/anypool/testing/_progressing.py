"""Progress: what maps and tasks have done is shown by the caller, wherever they run."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from anypool import Pool, progress
from anypool.testing._base import METHODS, Kit
from anypool.testing._tasks import (
    map_within,
    tick_dropped,
    tick_given,
    tick_own,
)

__all__: list[str] = []


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Whether it holds within so many seconds."""
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


class Shown:
    """The bars that have ended since it was last asked, as a log has them: what was done of which."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        self._seen: Counter[str] = Counter()

    def ended(self) -> Counter[str]:
        """Label, percentage and numbers of each."""
        lines = [record.getMessage() for record in self._caplog.records if record.name == "anypool.progress"]
        self._seen += Counter(" ".join(line.partition(" [")[0].split()) for line in lines)
        self._caplog.clear()
        return self._seen


class Told:
    """A function of the caller's."""

    def __init__(self) -> None:
        self.said: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.said.append((done, total))

    def all_of_it(self) -> bool:
        """Whether it was told that."""
        return self.said[-1] == (50, 50)


class Progressing(Kit):
    """Behaviours of `anypool.progress` and of `progress=`."""

    @pytest.fixture
    def shown(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
        """What the caller's bars say in the end."""
        monkeypatch.setenv("ANYPOOL_PROGRESS", "log")
        with caplog.at_level(logging.DEBUG, "anypool.progress"):
            yield Shown(caplog)

    def test_ticks_of_all_tasks_add_up_in_the_callers_bar(self, pool: Pool, shown: Shown) -> None:
        with progress(211, "all") as bar:
            assert pool.map(tick_given, range(20), kwargs={"bar": bar}, chunksize=3) == [*range(20)]
            assert bar.done == 190
            assert pool.starmap(tick_given, [(5, bar), (6, bar)]) == [5, 6]
            assert pool.pipe(tick_given, 7, bar) == 7
            assert pool.map(lambda item: tick_given(item, bar), [1, 2], timeout=60.0) == [1, 2]
            assert bar.done == 211
        assert shown.ended() == {"all: 100% 211/211": 1}

    def test_a_bar_that_a_task_makes_is_the_callers_to_show(self, pool: Pool, shown: Shown) -> None:
        assert pool.map(tick_own, range(1, 11), chunksize=3) == [*range(1, 11)]
        assert pool.pipe(tick_own, 11) == 11
        assert pool.map(tick_dropped, range(12, 21)) == [*range(12, 21)]
        assert pool.pipe(tick_dropped, 21) == 21
        assert shown.ended() == {f"item {item}: 100% {item}/{item}": 1 for item in range(1, 22)}

    def test_a_task_that_raises_ends_its_bar_where_it_stood(self, pool: Pool, shown: Shown) -> None:
        with pytest.raises(ValueError, match="-4"):
            pool.map(tick_own, [-4])
        with pytest.raises(ValueError, match="-5"):
            pool.pipe(tick_own, -5)
        assert shown.ended() == {"item -4: 25% 1/4": 1, "item -5: 20% 1/5": 1}

    def test_a_function_is_told_what_is_done_and_the_total(self, pool: Pool) -> None:
        for method in METHODS:
            told = Told()
            star = "star" in method
            found = getattr(pool, method)(divmod if star else abs, [(7, 2)] * 50 if star else range(50), progress=told)
            assert len(found.get(self.limit) if method.startswith("a") else list(found)) == 50
            assert soon(told.all_of_it), (method, told.said)
            assert (told.said[0], told.said) == ((0, 50), sorted(told.said))

    def test_a_map_within_a_task_shows_its_progress_by_the_caller(self, pool: Pool, shown: Shown) -> None:
        assert pool.map(map_within, [3, 4]) == [3, 6]
        assert shown.ended() == {"abs: 100% 3/3": 1, "abs: 100% 4/4": 1}
