"""Launcher `parallel-python`: workers of ppft, on this machine and of ppservers."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, ClassVar

from anypool._errors import LauncherUnavailable
from anypool._launcher import Launcher, Traits, cpus
from anypool._options import names_of
from anypool._ppft_address import Address, parsed
from anypool._recipe import recipe

if TYPE_CHECKING:
    from anypool._ppft import PpftExecutor

__all__ = ["ParallelPython"]

_MISSING = "launcher 'parallel-python' needs the package ppft: pip install 'anypool[parallel-python]'"


@recipe
class ParallelPython(Launcher):
    """Workers of ppft: of this machine, `parallel-python:2`, and those that `servers` (`host:port`) have beside them.

    With servers, `workers` may be 0. Each server has to be there when the pool is opened, and to know the secret of
    `secret_file` (mode 0600), else of the environment's ANYPOOL_PPFT_SECRET. Later one that ends or is cut off costs
    what it ran a second attempt elsewhere. ppft's protocol is not encrypted, and who reads along can do what a server
    can: a server that is not on this machine is refused unless the call says `trust_network=True`.

    A worker that dies costs what it ran. Without servers, the end of a task past its `timeout` ends all workers, and
    what else they ran runs again; with servers, it is left behind. What a task prints comes with its result.
    """

    name: ClassVar[str] = "parallel-python"
    api: ClassVar[int] = 1
    servers: tuple[str, ...] = ()
    secret_file: str | None = None
    trust_network: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "servers", names_of("servers", self.servers))
        addresses = self._addresses()
        far = [str(address) for address in addresses if not address.is_here]
        if far and not self.trust_network:
            raise ValueError(
                f"what goes to {far[0]} is not encrypted by ppft: say trust_network=True, or name the end of a tunnel "
                "that is on this machine"
            )
        remote_only = bool(addresses) and self.workers == 0
        if remote_only:
            object.__setattr__(self, "workers", None)
        super().__post_init__()
        if remote_only:
            object.__setattr__(self, "workers", 0)

    def _addresses(self) -> list[Address]:
        return [parsed(server) for server in self.servers]

    @property
    def traits(self) -> Traits:  # type: ignore[override]  # they follow from where its workers are
        """What is so."""
        return Traits("bytes", reruns=False, isolates=True, secure=False if self.servers else None)

    @property
    def on_this_machine(self) -> bool:  # type: ignore[override]
        """Whether all its workers use this machine's CPUs."""
        return not self.servers

    @property
    def size(self) -> int:
        """How many workers it will be; servers are asked for theirs."""
        if not self.servers:
            return super().size
        from anypool._ppft_servers import ask, read_secret

        secret = read_secret(self.secret_file)
        return self._here + sum(ask(address, secret) for address in self._addresses())

    @property
    def _here(self) -> int:
        return self.workers if self.workers is not None else super().size

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
            from anypool._ppft import LocalExecutor, PpftExecutor
        except ImportError as error:
            raise LauncherUnavailable(_MISSING) from error
        here = self._here
        share = float(cpus()) / max(1, here)
        if not self.servers:
            return LocalExecutor(here, share)
        from anypool._ppft_servers import read_secret

        return PpftExecutor(here, share, self._addresses(), read_secret(self.secret_file))


def _folder(origin: str | None) -> str:
    return os.path.dirname(os.path.dirname(os.path.realpath(origin or "")))


ParallelPython.__module__ = "anypool"
