"""What every behaviour has at hand: pools, a limit of time, and what the launcher does not owe."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import pytest

from anypool import Launcher, OversubscribedWarning, Pool, get_pool
from anypool.testing._terms import recipe_of, unowed
from anypool_serialize import dump

__all__: list[str] = []

METHODS = ("map", "imap", "uimap", "amap", "starmap", "istarmap", "uistarmap", "astarmap")
# Before the text of a script: `recipe` is the launcher.
_PROLOGUE = """\
import sys
from anypool import get_pool
from anypool_serialize import load
with open(sys.argv[1], "rb") as file:
    recipe = load(file)
"""


@contextmanager
def on_few_cpus() -> Iterator[None]:
    """However few there are: they are what one behaviour is about, and not the others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OversubscribedWarning)
        yield


def open_pool(*levels: Any) -> Pool:
    """A pool, however few CPUs there are."""
    with on_few_cpus():
        return get_pool(*levels)


class Kept:
    """One pool for all behaviours that leave it as it was; another one when that has gone wrong."""

    def __init__(self) -> None:
        self._made: tuple[Any, Pool] | None = None
        self.spoilt = False

    def pool(self, launcher: Any) -> Pool:
        """The pool, which is opened for the first that asks."""
        if self._made is not None and (self.spoilt or not self._is_of(launcher)):
            self.end()
        if self._made is None:
            self._made = launcher, open_pool(launcher)
        return self._made[1]

    def _is_of(self, launcher: Any) -> bool:
        return self._made is not None and (self._made[0] is launcher or bool(self._made[0] == launcher))

    def end(self) -> None:
        """End it."""
        made, self._made, self.spoilt = self._made, None, False
        if made is not None:
            made[1].terminate()


class Script:
    """Runs text in an interpreter of its own, as a script of that name; `recipe` in it is the launcher."""

    def __init__(self, folder: Path, launcher: Launcher, limit: float) -> None:
        self._folder, self._launcher, self._limit = folder, launcher, limit

    def start(self, text: str, *args: str) -> subprocess.Popen[str]:
        """The script, running."""
        recipe, script = self._folder / "recipe", self._folder / "script.py"
        with recipe.open("wb") as file:
            dump(self._launcher, file)
        script.write_text(_PROLOGUE + textwrap.dedent(text))
        return subprocess.Popen(
            [sys.executable, str(script), str(recipe), *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self._folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip

    def run(self, text: str, *args: str) -> tuple[int, str, str]:
        """Its exit code, output and errors."""
        with self.start(text, *args) as process:
            try:
                out, err = process.communicate(timeout=self._limit)
            except BaseException:
                process.kill()
                raise
            return process.returncode, out, err


class Kit:
    """What a launcher's tests say (`launcher`, `deviations`, `limit`), and what the behaviours are given."""

    deviations: ClassVar[dict[str, str]] = {}
    limit: ClassVar[float] = 30.0

    @pytest.fixture
    def launcher(self) -> Any:
        """What `get_pool` takes: a name, a launcher, an executor."""
        pytest.fail(f"{type(self).__name__} needs a fixture `launcher` that returns what get_pool takes")

    _kept: ClassVar[Kept]

    @classmethod
    def setup_class(cls) -> None:
        """Before the first test."""
        cls._kept = Kept()

    @classmethod
    def teardown_class(cls) -> None:
        """After the last one."""
        cls._kept.end()

    @pytest.fixture(autouse=True)
    def limited(self) -> Iterator[None]:
        """End what takes longer than `limit` seconds, where there are alarms."""
        if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
            yield
            return

        def strike(_: int, __: FrameType | None) -> None:
            # Which may have struck within the pool, so it is ended later.
            self._kept.spoilt = True
            pytest.fail(f"not within {self.limit:g} s")

        started, before = time.monotonic(), signal.signal(signal.SIGALRM, strike)
        left = signal.setitimer(signal.ITIMER_REAL, self.limit)[0]
        try:
            yield
        finally:
            # Another one's alarm goes on.
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - started)) if left else 0)
            signal.signal(signal.SIGALRM, before)

    @pytest.fixture
    def recipe(self, launcher: Any) -> Launcher:
        """The launcher's recipe; nothing is started."""
        return recipe_of(launcher)

    @pytest.fixture(autouse=True)
    def owed(self, request: pytest.FixtureRequest, recipe: Launcher) -> None:
        """Expect the failures that are listed, and those that follow from the traits."""
        if reason := self.deviations.get(request.node.originalname):
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        elif term := unowed(request.function, recipe):
            request.node.add_marker(pytest.mark.xfail(reason=term.reason, strict=term.strict))

    @pytest.fixture
    def pool(self, launcher: Any) -> Pool:
        """A pool that other behaviours use too."""
        return self._kept.pool(launcher)

    @pytest.fixture
    def opened(self, recipe: Launcher) -> Iterator[Callable[..., Pool]]:
        """Open pools of one behaviour's own, with these levels below them; they end with it."""
        pools: list[Pool] = []

        def opened(*below: str) -> Pool:
            pools.append(open_pool(recipe, *below))
            return pools[-1]

        yield opened
        for pool in pools:
            pool.terminate()

    @pytest.fixture
    def script(self, tmp_path: Path, recipe: Launcher) -> Script:
        """Run text as a script."""
        return Script(tmp_path, recipe, self.limit)

    @pytest.fixture
    def path(self, tmp_path: Path) -> Callable[[str], str]:
        """The path of a file that isn't there yet, where workers can write it too."""
        return lambda name: str(tmp_path / name)
