"""Output: what tasks print, log and warn of reaches their caller, wherever they run, and says whose it is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from anypool import Pool, Task, current_task
from anypool.testing._base import Kit
from anypool.testing._tasks import record, say, task_here, warn

__all__: list[str] = []

_LOGGER = logging.getLogger("anypool.testing.tasks")


class _Keeper(logging.Handler):
    """Keeps records, and the tasks that they are of."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, Any, Task | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append((record.getMessage(), getattr(record, "of_item", None), current_task()))


@contextmanager
def kept(level: int) -> Iterator[_Keeper]:
    """What the tasks' logger is given while its level is this one."""
    keeper, before = _Keeper(), _LOGGER.level
    _LOGGER.addHandler(keeper)
    _LOGGER.setLevel(level)
    try:
        yield keeper
    finally:
        _LOGGER.removeHandler(keeper)
        _LOGGER.setLevel(before)


class Output(Kit):
    """Behaviours of what is printed, logged and warned of, and of `current_task`."""

    def test_what_tasks_print_appears_once_and_in_order_within_each(
        self, pool: Pool, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert pool.map(say, range(20), chunksize=3) == [*range(20)]
        assert pool.pipe(say, 20) == 20
        out, err = capsys.readouterr()
        lines = [line for line in out.splitlines() if line.startswith("item")]
        assert sorted(lines) == sorted(f"item {item} line {line}" for item in range(21) for line in range(2))
        for item in range(21):
            assert lines.index(f"item {item} line 0") < lines.index(f"item {item} line 1")
        # On threads the two pieces of one may be apart.
        assert sorted(err.split()) == sorted(["item", "line", "2"] * 21 + [str(item) for item in range(21)])

    def test_records_reach_the_callers_handlers_once_and_with_their_task(self, pool: Pool) -> None:
        with kept(logging.INFO) as keeper:
            pool.map(record, range(20), chunksize=3)
        found = sorted((text, of_item, task.item if task is not None else None) for text, of_item, task in keeper.kept)
        assert found == sorted((f"info {item}", item, item) for item in range(20))

    def test_tasks_log_what_the_callers_levels_let_through_when_they_are_called(self, pool: Pool) -> None:
        with kept(logging.ERROR) as keeper:
            pool.map(record, range(4))
            pool.pipe(record, 4)
        assert keeper.kept == []
        with kept(logging.DEBUG) as keeper:
            pool.map(record, range(4))
            pool.pipe(record, 4)
        wanted = {f"{level} {item}" for item in range(5) for level in ("debug", "info")}
        assert (len(keeper.kept), {text for text, _, _ in keeper.kept}) == (10, wanted)

    def test_a_warning_is_shown_as_often_as_the_callers_filters_say(self, pool: Pool) -> None:
        for action, count in (("always", 24), ("default", 1), ("ignore", 0)):
            with warnings.catch_warnings(record=True) as shown:
                warnings.simplefilter(action)  # type: ignore[arg-type]
                pool.map(warn, range(24), chunksize=1)
            found = [each for each in shown if each.category is RuntimeWarning]
            assert len(found) == count, action
            assert {(str(each.message), each.filename[-9:]) for each in found} <= {("take care", "_tasks.py")}

    def test_a_warning_that_the_callers_filters_make_an_error_is_the_tasks_error(self, pool: Pool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            with pytest.raises(RuntimeWarning, match="take care"):
                pool.map(warn, range(3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert pool.map(warn, range(3)) == [0, 1, 2]

    def test_a_task_knows_its_item_and_its_worker(self, pool: Pool) -> None:
        assert current_task() is None
        rows = [(item,) for item in range(30)]
        found: list[Task] = pool.map(task_here, range(30), chunksize=7)
        assert [task.item for task in found] == [*range(30)]
        assert [task.item for task in pool.starmap(task_here, rows)] == [*range(30)]
        assert [task.item for task in pool.imap(task_here, range(30))] == [*range(30)]
        assert sorted(task.item for task in pool.uimap(task_here, range(30), seed=1)) == [*range(30)]
        assert [task.item for task in pool.map(task_here, range(30), timeout=60.0)] == [*range(30)]
        names = [worker.name for worker in pool.workers()]
        # What is behind a `/` or `+` knows the last part of its name.
        assert all(any(name.endswith(task.worker) for name in names) for task in found), (names, found[0])
        single = pool.pipe(task_here)
        assert (single.item, bool(single.worker), single.pid > 0) == (None, True, True)
        assert current_task() is None
