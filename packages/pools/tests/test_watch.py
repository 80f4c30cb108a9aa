"""When a wait looks before it sleeps, by a clock that the tests move."""

from __future__ import annotations

import os

import pytest

from anypool import _watch
from anypool._watch import Watch

SHORT, LONG = 0.00005, 0.5
YIELD, PARTNER, STRANGER = 0.000001, 0.00002, 0.003


class World:
    """A clock, something that arrives after a while, and how often was looked for it and slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.arrives = 0.0
        self.yield_takes = YIELD
        self.looks = self.sleeps = 0
        self.watch = Watch()

    def clock(self) -> float:
        return self.now

    def pause(self) -> None:
        self.now += self.yield_takes

    def poll(self, timeout: float | None) -> str | None:
        if timeout == 0:
            self.looks += 1
            return "it" if self.now >= self.arrives else None
        self.sleeps += 1
        self.now = max(self.now, self.arrives)
        return "it"

    def wait(self, seconds: float) -> tuple[bool, bool]:
        """Wait for what comes after so long; return whether it was looked for, and whether slept for."""
        looks, sleeps = self.looks, self.sleeps
        self.arrives = self.now + seconds
        assert self.watch.wait(self.poll) == "it"
        return self.looks > looks, self.sleeps > sleeps


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(_watch, "perf_counter", world.clock)
    monkeypatch.setattr(os, "sched_yield", world.pause)
    return world


def test_the_first_wait_sleeps(world: World) -> None:
    assert world.wait(SHORT) == (False, True)


def test_after_a_short_wait_the_next_one_looks_instead_of_sleeping(world: World) -> None:
    world.wait(SHORT)
    assert world.wait(SHORT) == (True, False)
    assert world.wait(SHORT) == (True, False)


def test_a_long_wait_is_slept_through_after_a_little_looking(world: World) -> None:
    world.wait(SHORT)
    started = world.now
    assert world.wait(LONG) == (True, True)
    assert world.looks * YIELD < 0.001
    assert world.now == started + LONG


def test_after_a_long_wait_the_next_one_sleeps_at_once(world: World) -> None:
    world.wait(SHORT)
    world.wait(LONG)
    assert world.wait(LONG) == (False, True)


def test_who_is_waited_for_may_share_the_core(world: World) -> None:
    world.wait(SHORT)
    world.yield_takes = PARTNER
    for _ in range(10):
        assert world.wait(SHORT) == (True, False)


def test_what_a_stranger_took_is_made_good_by_waits_without_looking(world: World) -> None:
    world.wait(SHORT)
    world.yield_takes = STRANGER
    assert world.wait(STRANGER + SHORT) == (True, True)
    world.yield_takes = YIELD
    slept = 0
    while world.wait(SHORT) == (False, True):
        slept += 1
    assert 50 < slept < 100
