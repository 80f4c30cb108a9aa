"""Where chunks are: a slot for each worker, a flight for each chunk on it, and why a worker was lost."""

from __future__ import annotations

from collections import deque, namedtuple
from typing import TYPE_CHECKING

from anypool._chunk import Chunk

__all__: list[str] = []


class Flight:
    """A chunk on a slot.

    `progress` of its items are settled; `begun` is when the next one was started, if known; `queued`: it was sent
    behind another.
    """

    __slots__ = ("begun", "chunk", "progress", "queued", "sent", "seq")

    def __init__(self, chunk: Chunk, seq: int, sent: float) -> None:
        self.chunk, self.seq, self.sent = chunk, seq, sent
        self.progress = 0
        self.queued = False
        self.begun: float | None = None


# As in `_crew`.
if TYPE_CHECKING:
    from typing import NamedTuple

    class Terms(NamedTuple):
        """What holds for the workers of a launcher; those that share this object also share a launcher's fate.

        `quota`: tasks that one of them may do before another takes its place; `reports_items`, `greets`: see `Crew`;
        `tags`: by which maps ask for them.
        """

        quota: int | None = None
        reports_items: bool = True
        greets: bool = False
        tags: frozenset[str] = frozenset()

else:
    Terms = namedtuple("Terms", ("quota", "reports_items", "greets", "tags"), defaults=(None, True, False, frozenset()))


class Slot:
    """One worker's place in the pool, whoever fills it at the moment.

    `since` is when its oldest flight could begin; `slow`: that one takes so long that nothing is queued behind it;
    `guest`: a task that waits for its own pool fills it; `quota`: tasks that its worker may still do, if its `terms`
    set a limit; `ready`: it has started; `verdict`: why it is about to be killed, and `judged` what it ran then: the
    flight, and how many of its items were done.
    """

    __slots__ = (
        "busy",
        "closing",
        "flights",
        "guest",
        "judged",
        "number",
        "quota",
        "ready",
        "since",
        "slow",
        "tasks",
        "terms",
        "verdict",
    )

    def __init__(self, number: int, terms: Terms, guest: bool = False) -> None:
        self.number, self.terms, self.guest = number, terms, guest
        self.quota, self.ready = terms.quota, not terms.greets
        self.flights: deque[Flight] = deque()
        self.closing = self.slow = False
        self.tasks = 0
        self.busy = self.since = 0.0
        self.verdict: str | None = None
        self.judged: tuple[int, int] | None = None


if TYPE_CHECKING:

    class Cause(NamedTuple):
        """Why a worker is gone; `own` is false when something other than its tasks ended it.

        `heard` is false if what it had last told was lost on the way: it may have begun more than is known.
        """

        text: str
        own: bool = True
        worker: str = ""
        host: str = ""
        stderr: str = ""
        heard: bool = True

else:
    Cause = namedtuple("Cause", ("text", "own", "worker", "host", "stderr", "heard"), defaults=(True, "", "", "", True))
