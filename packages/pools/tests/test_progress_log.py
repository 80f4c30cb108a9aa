"""Bars as lines of a log: how many there are, and where they go."""

import logging
import sys

import pytest
from pool_kit import get_pool  # type: ignore[import-not-found]

import anypool
from anypool import _bar_views, _bars


@pytest.fixture
def plain(monkeypatch):
    monkeypatch.delenv(_bars.VARIABLE, raising=False)


def lines(captured):
    return [line.partition(" [")[0] for line in captured.err.splitlines()]


def test_a_log_has_a_line_for_each_tenth_but_at_most_one_in_five_seconds_and_one_at_the_end(plain, clock, capsys):
    with anypool.progress(100, "rows") as bar:
        for _ in range(100):
            clock.now += 0.25
            bar.update()
    found = lines(capsys.readouterr())
    assert found == ["rows:  20% 20/100", "rows:  40% 40/100", "rows:  60% 60/100", "rows:  80% 80/100",
                     "rows: 100% 100/100"]  # fmt: skip
    with anypool.progress(1000, "rows") as bar:
        for _ in range(1000):
            clock.now += 0.3
            bar.update()
    # Of 300 s: a tenth is 30.
    found = lines(capsys.readouterr())
    assert len(found) == 10
    assert (found[0], found[-1]) == ("rows:  10% 100/1000", "rows: 100% 1000/1000")


def test_a_slow_bar_has_a_line_each_minute(plain, clock, capsys):
    with anypool.progress(1000, "slow") as bar:
        for _ in range(20):
            clock.now += 10
            bar.update()
    assert lines(capsys.readouterr()) == ["slow:   1% 6/1000", "slow:   1% 12/1000", "slow:   2% 18/1000",
                                          "slow:   2% 20/1000"]  # fmt: skip


def test_a_log_without_a_total_has_a_line_whenever_twice_as_many_are_done(plain, clock, capsys):
    with anypool.progress(label="lines") as bar:
        for _ in range(80):
            clock.now += 0.5
            bar.update(10)
    assert lines(capsys.readouterr()) == ["lines: 100it", "lines: 200it", "lines: 400it", "lines: 800it"]


def test_the_bars_of_tasks_have_one_line_in_five_seconds_all_together(plain, clock, capsys, monkeypatch):
    monkeypatch.setattr(_bar_views.Log, "_inner_said", 0.0)

    def task(n):
        bars = [anypool.progress(100, f"file {number}") for number in range(20)]
        for _ in range(n):
            clock.now += 0.2
            for bar in bars:
                bar.update()
        clock.now += 5
        for bar in bars:
            bar.close()

    with get_pool("serial") as pool:
        pool.map(task, [100])
    # Of 25 s, the last five of which have the ends.
    assert len(lines(capsys.readouterr())) == 5


def test_of_a_thousand_short_tasks_a_log_has_no_word(plain, capsys, caplog):
    def task(n):
        with anypool.progress(3, f"file {n}") as bar:
            bar.update(3)

    with get_pool("thread:2") as pool:
        pool.map(task, range(1000))
        assert capsys.readouterr().err == ""
        with caplog.at_level(logging.DEBUG, "anypool.progress"):
            pool.map(task, range(2))
    found = sorted(record.getMessage().partition(" [")[0] for record in caplog.records)
    assert found == ["file 0: 100% 3/3", "file 1: 100% 3/3"]


def test_a_logger_that_takes_them_gets_the_lines(plain, capsys, caplog):
    with caplog.at_level(logging.INFO, "anypool.progress"), get_pool("serial") as pool:
        pool.map(abs, range(7), progress=True)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("anypool.progress", "INFO")
    assert record.getMessage().startswith("abs: 100% 7/7 [")
    assert capsys.readouterr().err == ""


def test_a_label_is_one_line_of_text(plain, capsys):
    with anypool.progress(1, "a\nb\x1b[31m\tc"):
        pass
    assert capsys.readouterr().err.startswith("a b [31m c:   0% 0/1 [")


def test_where_there_is_no_stderr_nothing_is_shown(plain, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with get_pool("serial") as pool:
        assert pool.map(abs, range(7), progress=True) == [*range(7)]
