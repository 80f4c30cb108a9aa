"""One workload in a process of its own: all pools alive, a pair at a time, events as lines of JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from benchmarks.meter import Sample, end_at_once
from benchmarks.peers import OURS, Peer, start
from benchmarks.tasks import square
from benchmarks.workloads import WORKLOADS

T = TypeVar("T")

_FEWEST_ROUNDS = 3
_PILOT = 0.1  # of the full size


@dataclass(frozen=True)
class Order:
    """What to measure. `parts` are the shares of the full size for peers that need too long for all of it."""

    workload: str
    peers: list[str]
    workers: int
    rounds: int
    budget: float  # seconds for all rounds
    limit: float  # seconds for one measurement
    scale: float
    parts: dict[str, float]

    def text(self) -> str:
        return json.dumps(asdict(self))


class _Cut(BaseException):
    """A measurement took longer than the limit."""


class _Alive(dict[str, Peer]):
    def __init__(self, workers: int) -> None:
        super().__init__()
        self.workers = workers


class _Cell:
    def __init__(self, order: Order, out: int) -> None:
        self.order = order
        self.out = out
        self.workload = WORKLOADS[order.workload]
        self.pools = _Alive(order.workers)
        self.parts = dict(order.parts)
        self.shared: Sample | None = None

    def tell(self, **event: Any) -> None:
        os.write(self.out, json.dumps(event).encode() + b"\n")

    def run(self) -> None:
        self.workload.prepare(self.order.scale)
        # Peers first: most of them fork, which is best done before anybody has started threads.
        names = [name for name in [*self.order.peers, OURS] if self.bounded(name, self.warm_up)]
        if OURS in names:
            self.rounds([name for name in names if name != OURS])
        self.tell(done=True)
        for name in list(self.pools):
            self.bounded(name, lambda name: self.pools[name].close())

    def bounded(self, name: str, step: Callable[[str], T]) -> T | None:
        """Do a step of one library within the limit; None and an event if it fails; a cut ends all."""
        self.tell(begin=name)
        signal.setitimer(signal.ITIMER_REAL, self.order.limit)
        try:
            return step(name)
        except _Cut:
            self.tell(cut=name)
            end_at_once(1)
        except ImportError as error:
            self.tell(failed=name, text=f"not installed: {error}")
        except Exception as error:  # noqa: BLE001 - whatever a library raises is its result
            self.tell(failed=name, text=f"{type(error).__name__}: {error}"[:300])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return None

    def warm_up(self, name: str) -> bool:
        workload, limit = self.workload, self.order.limit
        if not workload.fresh:
            pool = self.pools[name] = start(name, self.order.workers)
            if pool.map(square, range(100)) != [x * x for x in range(100)]:
                raise AssertionError("it computes something else")
            workload.tune(pool, limit / 4)
        if name in self.parts or not (workload.linear or workload.ours_for_each_peer):
            return True
        pilot = _PILOT if workload.linear else 1.0
        begun = time.perf_counter()
        workload.measure(name, self.pools, pilot)
        expected = (time.perf_counter() - begun) / pilot
        if workload.linear and expected > limit / 2:
            self.parts[name] = max(limit / 4 / expected, 0.001)
            self.tell(part=name, value=self.parts[name])
        return True

    def rounds(self, names: list[str]) -> None:
        """Stop early for a peer that has used up its share of the time, though not before a few rounds."""
        share = self.order.budget / max(len(names), 1)
        fewest = min(_FEWEST_ROUNDS, self.order.rounds)
        spent = dict.fromkeys(names, 0.0)
        for number in range(self.order.rounds):
            turn = number % max(len(names), 1)
            self.shared = None
            for position, name in enumerate(names[turn:] + names[:turn]):
                if number >= fewest and spent[name] > share:
                    continue
                begun = time.perf_counter()
                pair = self.pair(name, ours_first=(number + position) % 2 == 0)
                spent[name] += time.perf_counter() - begun
                if pair is None:
                    return
                ours, theirs = pair
                if theirs is None:
                    spent[name] = float("inf")
                    names = [other for other in names if other != name]
                else:
                    self.tell(pair=name, round=number, ours=ours.plain(), theirs=theirs.plain())
            if not names:
                return

    def pair(self, name: str, *, ours_first: bool) -> tuple[Sample, Sample | None] | None:
        """One measurement of each, one right after the other; None once ours fails."""
        ours, theirs = self.shared, None
        if ours is None and ours_first:
            ours = self.bounded(OURS, self.sample)
        if ours is not None or not ours_first:
            theirs = self.bounded(name, self.sample)
        if ours is None and not ours_first:
            ours = self.bounded(OURS, self.sample)
        if ours is None:
            return None
        self.shared = None if self.workload.ours_for_each_peer else ours
        return ours, theirs

    def sample(self, name: str) -> Sample:
        return self.workload.measure(name, self.pools, self.parts.get(name, 1.0))


def main(order: Order) -> None:
    """Events go where standard output went; what anybody prints goes to standard error."""
    out = os.dup(1)
    os.dup2(2, 1)

    def cut(*_: object) -> None:
        raise _Cut

    signal.signal(signal.SIGALRM, cut)
    _Cell(order, out).run()


if __name__ == "__main__":
    main(Order(**json.loads(sys.argv[1])))
