"""Launcher `process`: worker processes of this machine, forked by an agent that runs no user code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar

from anypool._launcher import Launcher, ProcessOptions, Traits, cpus
from anypool._options import whole
from anypool._recipe import recipe

if TYPE_CHECKING:
    from anypool._channels import ProcessCrew
    from anypool._hubs import Greeting, ProcessHubs
    from anypool._line import Setting

__all__ = ["Process"]

# Less than any interpreter's, so a number of megabytes was meant.
_LEAST_MEMORY = 1 << 20


@recipe
class Process(ProcessOptions, Launcher):
    """Worker processes; the second one costs milliseconds. The caller's main module is never imported again.

    A worker that holds more than `max_memory_per_worker` bytes of its own is killed, and its task counts as lost.
    """

    name: ClassVar[str] = "process"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=True, secure=None)
    on_this_machine: ClassVar[bool] = True
    max_memory_per_worker: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if self.max_memory_per_worker is not None:
            limit = whole("max_memory_per_worker", self.max_memory_per_worker, _LEAST_MEMORY, " bytes (1 MiB)")
            object.__setattr__(self, "max_memory_per_worker", limit)

    @classmethod
    def missing(cls) -> str | None:
        """What this system lacks."""
        from anypool import _linux

        return _linux.supported()

    def launch(self) -> ProcessCrew:
        """Start the agent, if this process has none, and the workers."""
        from anypool._channels import ProcessCrew

        size = self.size
        return ProcessCrew(size, self._setting(size))

    def hubs(self, count: int, greeting: Greeting) -> ProcessHubs:
        """So many processes that hold another launcher's workers, as the `greeting` tells them."""
        from anypool._hubs import ProcessHubs

        return ProcessHubs(count, self._setting(count), greeting)

    def _setting(self, size: int) -> Setting:
        from anypool._line import Setting

        folder = None if self.cwd is None else os.fspath(self.cwd)
        share = float(cpus()) / size
        return Setting(self.initializer, self.initargs, self.env, folder, self.max_memory_per_worker, share)


Process.__module__ = "anypool"
