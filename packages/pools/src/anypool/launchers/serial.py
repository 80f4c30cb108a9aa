"""Launcher `serial`: tasks run in the calling thread, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from anypool._launcher import Launcher
from anypool._local import SerialCrew

__all__ = ["Serial"]


@dataclass(frozen=True, kw_only=True)
class Serial(Launcher):
    """The caller does everything itself; `imap` computes each item when it is asked for."""

    name: ClassVar[str] = "serial"

    @property
    def size(self) -> int:
        """One caller, whatever was asked."""
        return 1

    def launch(self) -> SerialCrew:
        """Nothing to start."""
        return SerialCrew()
