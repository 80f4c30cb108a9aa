"""Launcher `multiprocess`: a standard process pool over multiprocess' contexts; runs wherever Python does."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, WorkerOptions

__all__ = ["Multiprocess"]


@dataclass(frozen=True, kw_only=True)
class Multiprocess(WorkerOptions, Launcher):
    """`start_method`: spawn, forkserver or fork, as in the standard library."""

    name: ClassVar[str] = "multiprocess"
    start_method: Literal["spawn", "forkserver", "fork"] = "spawn"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check()
        if self.start_method not in ("spawn", "forkserver", "fork"):
            raise ValueError(f"start_method is spawn, forkserver or fork, got {self.start_method!r}")

    def launch(self) -> ProcessPoolExecutor:
        """A standard executor; its workers start with the first tasks."""
        try:
            import multiprocess
        except ImportError as error:
            raise LauncherUnavailable(
                "launcher 'multiprocess' needs the package multiprocess: pip install 'anypool[multiprocess]'"
            ) from error
        context = multiprocess.get_context(self.start_method)
        return ProcessPoolExecutor(self.size, context, partial(_initialize, self.initializer, self.initargs))
