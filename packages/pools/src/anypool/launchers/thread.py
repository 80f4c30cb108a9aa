"""Launcher `thread`: threads of this process, for functions that wait or release the GIL."""

from __future__ import annotations

from typing import ClassVar

from anypool._launcher import Launcher, Traits, WorkerOptions
from anypool._local import ThreadCrew
from anypool._recipe import recipe

__all__ = ["Thread"]


@recipe
class Thread(WorkerOptions, Launcher):
    """Threads of this process.

    Arguments and results pass by reference: nothing needs to be picklable, and a task that changes its argument changes
    the caller's. A task past its `timeout` can only be left behind; four such threads per worker are the limit.
    """

    name: ClassVar[str] = "thread"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("references", reruns=False, isolates=False, secure=None)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()

    def launch(self) -> ThreadCrew:
        """Start the threads."""
        return ThreadCrew(self.size, self.initializer, self.initargs)


Thread.__module__ = "anypool"
