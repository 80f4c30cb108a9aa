"""The report of the command: one line for each behaviour, in place of pytest's own."""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Any, NamedTuple

import pytest

__all__: list[str] = []

_WIDTH = 10
_PLUGINS = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"


class Given(NamedTuple):
    """What the command was told: the launcher's name, and which tests deviate, with the reasons."""

    name: str
    deviations: dict[str, str]


given = Given("", {})


class Lines:
    """Prints what becomes of each behaviour, in place of pytest's own report."""

    def __init__(self) -> None:
        # No other plugin has a say.
        os.environ[_PLUGINS] = "1"
        self._counts: Counter[str] = Counter()
        self._told: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the place of pytest's report. Its plugins are loaded, so workers need not inherit the variable."""
        os.environ.pop(_PLUGINS, None)
        config.pluginmanager.unregister(name="terminalreporter")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print the line of a behaviour once its outcome is known, and why if it failed."""
        outcome, reason = _outcome(report)
        if outcome is None or (report.nodeid in self._told and outcome != "ERROR"):
            return
        self._told.add(report.nodeid)
        self._counts[outcome] += 1
        text = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        _say(f"{outcome.ljust(_WIDTH)}{text}{f': {reason}' if reason else ''}")
        if outcome in ("FAILED", "ERROR"):
            _say(_indented(report.longreprtext))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Print what kept the behaviours from being found."""
        if report.failed:
            _say(report.longreprtext)

    def summary(self) -> str:
        """How many there were of what."""
        every = sum(self._counts.values())
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(self._counts.items(), key=_least))
        return f"{every} behaviours: {told}" if every else "no behaviour was run"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _least(counted: tuple[str, int]) -> int:
    return -counted[1]


def _outcome(report: pytest.TestReport) -> tuple[str | None, str]:
    """What is printed of a phase of a test, None for nothing; and the reason for a deviation."""
    reason: Any = getattr(report, "wasxfail", None)
    if reason is not None:
        word = "unclaimed" if "promises nothing" in reason or report.passed else "deviates"
        return word, reason.removeprefix("reason: ")
    if report.when == "call":
        return ("passed" if report.passed else "FAILED"), ""
    return ("ERROR" if report.failed else None), ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
