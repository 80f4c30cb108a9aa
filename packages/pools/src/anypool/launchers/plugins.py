"""The core's own launchers as the plugins that its entry points name; opening a pool goes a shorter way."""

from __future__ import annotations

from collections.abc import Sequence

from anypool._hooks import hookimpl
from anypool._launcher import Launcher
from anypool._select import find

__all__ = ["multiprocess", "parallel_python", "process", "serial", "thread"]


class _BuiltIn:
    def __init__(self, name: str) -> None:
        self._name = name

    @hookimpl
    def anypool_launchers(self) -> Sequence[type[Launcher]]:
        """The one launcher of this name."""
        return [find(self._name)]


serial = _BuiltIn("serial")
thread = _BuiltIn("thread")
process = _BuiltIn("process")
multiprocess = _BuiltIn("multiprocess")
parallel_python = _BuiltIn("parallel-python")
