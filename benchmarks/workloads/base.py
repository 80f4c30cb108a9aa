"""What a workload is: one measurement of one library, its unit, and what the figures should reach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

from benchmarks.meter import Sample
from benchmarks.peers import Peer

BEST = "best peer"


@dataclass(frozen=True)
class Target:
    """At least so many times as good as a peer, or as the best of them."""

    against: str
    at_least: float


@dataclass(frozen=True)
class Limit:
    """What a figure of our own must keep to, whatever the peers do; the median over the rounds counts."""

    figure: str  # a key of Sample.extras, or "value"
    unit: str = ""
    at_most: float = float("inf")
    at_least: float = float("-inf")

    def met(self, value: float) -> bool:
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        if self.at_most < float("inf"):
            return f"<= {self.at_most:g} {self.unit}".rstrip()
        return f">= {self.at_least:g} {self.unit}".rstrip()


class Pools(Protocol):
    """The pools kept alive for a workload, one for each library."""

    workers: int

    def __getitem__(self, name: str) -> Peer: ...


class Workload(ABC):
    """`part` is the share of the full size that is measured: 1, or less for a peer that would take too long.

    A value in seconds is then scaled up to the full size.
    """

    name: str
    title: str
    unit: str = "s"
    higher_is_better: bool = False
    targets: tuple[Target, ...] = ()
    limits: tuple[Limit, ...] = ()
    # None: all; otherwise only those that can do it, or that the comparison is about.
    peers: tuple[str, ...] | None = None
    # Time grows with size, so that a tenth tells what the whole would take.
    linear: ClassVar[bool] = True
    # Each measurement of ours is used for one peer (or, where it is long, for all peers of the round).
    ours_for_each_peer: ClassVar[bool] = True
    fresh: ClassVar[bool] = False  # measures processes of its own; no pool is kept

    def prepare(self, scale: float) -> None:
        """Make the data; `scale` is 1, or less for a quick run."""

    def tune(self, pool: Peer, seconds: float) -> None:
        """Find the peer's best settings."""

    @abstractmethod
    def measure(self, name: str, pools: Pools, part: float) -> Sample: ...
