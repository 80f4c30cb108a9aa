"""Launcher `process`: worker processes of this machine, forked by an agent that runs no user code."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from anypool._launcher import Launcher, ProcessOptions

if TYPE_CHECKING:
    from anypool._channels import ProcessCrew

__all__ = ["Process"]


@dataclass(frozen=True, kw_only=True)
class Process(ProcessOptions, Launcher):
    """The caller's main module is never imported again; the second worker costs milliseconds."""

    name: ClassVar[str] = "process"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()

    def launch(self) -> ProcessCrew:
        """Start the agent, if this process has none, and the workers."""
        from anypool._channels import ProcessCrew, Setting

        folder = None if self.cwd is None else os.fspath(self.cwd)
        setting = Setting(self.initializer, self.initargs, self.env, folder, self.max_memory_per_worker)
        return ProcessCrew(self.size, setting)
