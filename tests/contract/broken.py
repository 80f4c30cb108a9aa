"""Launchers that break the contract, each in its own way, and one that keeps it; run by test_kit.py."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from anypool import Launcher, Multiprocess, Thread, Traits
from anypool._crew import Event, Replied
from anypool._local import ThreadCrew
from anypool.testing import LauncherTests


class Meddling(ThreadCrew):
    """Changes what threads have found before it is delivered."""

    def __init__(self, workers: int, meddle: Callable[[Any], object]) -> None:
        super().__init__(workers, None, ())
        self._meddle = meddle

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        def meddled(events: list[Event]) -> None:
            for event in events:
                if isinstance(event, Replied):
                    self._meddle(event.outcomes)
            deliver(events)

        return super().start(meddled)


class Meddler(Thread):
    @staticmethod
    def meddle(outcomes: Any) -> None:
        raise NotImplementedError

    def launch(self) -> ThreadCrew:
        return Meddling(self.size, self.meddle)


class Disorderly(Meddler):
    @staticmethod
    def meddle(outcomes: Any) -> None:
        outcomes.values.reverse()


class Losing(Meddler):
    @staticmethod
    def meddle(outcomes: Any) -> None:
        if outcomes.count > 1:
            del outcomes.values[0]


class Swallowing(Meddler):
    @staticmethod
    def meddle(outcomes: Any) -> None:
        outcomes.exceptions.clear()
        outcomes.errors.clear()


class Hanging(Thread):
    def launch(self) -> ThreadCrew:
        class Deaf(ThreadCrew):
            def start(self, _: Callable[[list[Event]], None]) -> list[int]:
                return super().start(lambda _: None)

        return Deaf(self.size, None, ())


class Leaking(Thread):
    def launch(self) -> ThreadCrew:
        # It is not waited for; that is what is wrong with it.
        subprocess.Popen(["sleep", "20"]).returncode = 0
        return super().launch()


class Sharing(Thread):
    """Claims copies."""

    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=False, secure=None)


class Isolating(Multiprocess):
    """Claims that the end of a worker leaves the others alone."""

    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=True, secure=None)


class Twice(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(lambda: [fn(*args, **kwargs) for _ in range(2)][1])


@dataclass(frozen=True)
class Repeating(Launcher):
    """Claims that nothing runs again."""

    name: ClassVar[str] = "repeating"
    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=False, secure=None)

    def launch(self) -> Executor:
        return Twice(2)


class Kept(LauncherTests):
    limit = 5.0


class TestHealthy(Kept):
    @pytest.fixture
    def launcher(self) -> str:
        return "thread:2"


class TestDisorderly(Kept):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Disorderly(2)


class TestLosing(Kept):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Losing(2)


class TestSwallowing(Kept):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Swallowing(2)


class TestHanging(Kept):
    limit = 1.0

    @pytest.fixture
    def launcher(self) -> Launcher:
        return Hanging(2)


class TestLeaking(LauncherTests):
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # What leaks stays for longer than anybody waits.
        monkeypatch.setattr("anypool.testing._remains._SECONDS", 1.0)

    @pytest.fixture
    def launcher(self) -> Launcher:
        return Leaking(2)


class TestSharing(Kept):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Sharing(2)


class TestIsolating(LauncherTests):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Isolating(2)


class TestRepeating(Kept):
    @pytest.fixture
    def launcher(self) -> Launcher:
        return Repeating(2)


class TestPassing(Kept):
    deviations: ClassVar[dict[str, str]] = {"test_map_returns_a_list_in_order": "it does not"}

    @pytest.fixture
    def launcher(self) -> str:
        return "thread:2"


class TestUnavailable(Kept):
    @pytest.fixture
    def launcher(self) -> str:
        return "thread:two"
