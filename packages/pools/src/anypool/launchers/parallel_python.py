"""Launcher `parallel-python`: workers of ppft, on this machine."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, ClassVar

from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, Traits, cpus
from anypool._recipe import recipe

if TYPE_CHECKING:
    from anypool._ppft import PpftExecutor

__all__ = ["ParallelPython"]

_MISSING = "launcher 'parallel-python' needs the package ppft: pip install 'anypool[parallel-python]'"


@recipe
class ParallelPython(Launcher):
    """Workers of ppft, each an interpreter of its own: `parallel-python:2`.

    A worker that dies costs what it ran. The end of a task past its `timeout` ends all of them; what else they ran runs
    again. What a task prints comes with its result.
    """

    name: ClassVar[str] = "parallel-python"
    api: ClassVar[int] = 1
    traits: ClassVar[Traits] = Traits("bytes", reruns=False, isolates=True, secure=None)
    on_this_machine: ClassVar[bool] = True

    @classmethod
    def missing(cls) -> str | None:
        """The package, if it is not installed; or that another one has taken one of its two names."""
        ours, other = importlib.util.find_spec("ppft"), importlib.util.find_spec("pp")
        if ours is None or ours.origin is None:
            return _MISSING
        if other is None or _folder(other.origin) != _folder(ours.origin):
            where = "is missing" if other is None else f"at {other.origin} is another one's"
            return f"launcher 'parallel-python' needs ppft alone: its module pp {where}; uninstall that, install ppft"
        return None

    def launch(self) -> PpftExecutor:
        """A standard executor over ppft's server."""
        try:
            from anypool._ppft import PpftExecutor
        except ImportError as error:
            raise LauncherUnavailable(_MISSING) from error
        return PpftExecutor(self.size, float(cpus()) / self.size)


def _folder(origin: str | None) -> str:
    return os.path.dirname(os.path.dirname(os.path.realpath(origin or "")))


ParallelPython.__module__ = "anypool"
