"""What becomes of a chunk whose worker is gone: who is to blame, and what runs again.

What was not begun when a worker died is sent again free of charge. Of a lost chunk with several items nobody
knows which one killed the worker, so it runs again carefully, each outcome sent at once; a death there is charged to
the item that was running, and only that one. Losses that are no fault of the worker's own are free, five times. Deaths
before the first item began are so three times: what kills may be to unpickle the chunk, which then is lost as a whole.
"""

from __future__ import annotations

from anypool._chunk import Chunk, Direct, Outcomes, failed
from anypool._errors import TaskTimeout, WorkerLost
from anypool._slot import Cause

__all__: list[str] = []

_FREE_LOSSES = 5
_EARLY_DEATHS = 3
_PARTS = 8


def early_loss(rest: Chunk, cause: Cause, by_itself: bool) -> None:
    """Nothing of the chunk had begun; `by_itself`: its worker died of its own accord."""
    rest.losses += 1
    rest.early += by_itself
    if rest.early <= max(_EARLY_DEATHS, rest.job.lost_retries) or not by_itself or rest.lane.ended:
        rest.lane.give_back(rest)
        return
    # A chunk's items are unpickled together, so that to divide it would change nothing.
    errors: dict[int, BaseException] = {at: _worker_lost(rest, at, cause, begun=False) for at in range(rest.count)}
    rest.lane.settle(rest, 0, Direct([None] * rest.count, errors, errors=dict.fromkeys(errors, False)))


def unheard_loss(rest: Chunk, cause: Cause) -> None:
    """Any of the items may have begun, and none may begin twice."""
    errors: dict[int, BaseException] = {at: _worker_lost(rest, at, cause) for at in range(rest.count)}
    rest.lane.settle(rest, 0, Direct([None] * rest.count, errors, errors=dict.fromkeys(errors, False)))


def timed_out(rest: Chunk, judged: bool) -> None:
    """The worker was killed for its first item, `judged`, or for one that was done before it was dead."""
    if not judged:
        rest.lane.give_back(rest)
        return
    seconds = rest.job.timeout
    outcome = failed(TaskTimeout(f"item {rest.first} ran longer than timeout={seconds:g} s and was given up"))
    outcome.errors[0] = rest.job.retry_late
    _settle_first(rest, outcome)


def free_loss(rest: Chunk, cause: Cause, reports_items: bool) -> None:
    """The worker was lost through no fault of its own."""
    rest.losses += 1
    if _narrowed(rest, reports_items):
        return
    losses = rest.lane.charge(rest.first, own=False)
    if rest.lane.ended or (losses <= _FREE_LOSSES and rest.job.lost_retries > 0):
        rest.lane.retried(rest.first)
        rest.lane.give_back(rest)
    else:
        _settle_first(rest, failed(_worker_lost(rest, 0, cause)))


def own_death(rest: Chunk, cause: Cause, reports_items: bool) -> None:
    """The worker died of its own accord, so it may have been of what it ran."""
    if _narrowed(rest, reports_items):
        return
    deaths = rest.lane.charge(rest.first)
    if deaths > rest.job.lost_retries:
        tried = f" ({deaths} attempts)" if deaths > 1 else ""
        _settle_first(rest, failed(_worker_lost(rest, 0, cause, tried)))
        return
    rest.lane.retried(rest.first)
    again = rest.part(0, 1)
    again.careful = True
    rest.lane.give_back(again)
    if rest.count > 1:
        rest.lane.give_back(rest.part(1, rest.count - 1))


def _narrowed(rest: Chunk, reports_items: bool) -> bool:
    """Whether nobody knows which item was running, if any; next time more will be known."""
    if not rest.careful and rest.count > 1:
        rest.careful = True
        rest.lane.give_back(rest)
        return True
    if not reports_items and rest.count > 1:
        _divide(rest)
        return True
    return False


def _divide(rest: Chunk) -> None:
    """Narrow down a culprit among items that are not reported one by one."""
    size = -(-rest.count // _PARTS)
    for start in reversed(range(0, rest.count, size)):
        rest.lane.give_back(rest.part(start, min(size, rest.count - start)))


def _settle_first(rest: Chunk, outcome: Outcomes) -> None:
    """The first item of those that are left has begun, and has this outcome; the others have not begun."""
    rest.lane.settle(rest, 0, outcome)
    if rest.count > 1:
        rest.lane.give_back(rest.part(1, rest.count - 1))


def _worker_lost(chunk: Chunk, at: int, cause: Cause, tried: str = "", begun: bool = True) -> WorkerLost:
    """The error of one item; not `begun`: its worker was lost each time that it was to unpickle it."""
    item = chunk.first + at if chunk.job.number else None
    what = "a call" if item is None else f"item {item}"
    where = f" on {cause.host}" if cause.host else ""
    tail = f"\nthe last that it said:\n{cause.stderr}" if cause.stderr else ""
    did = f"ran {what}" if begun else f"unpickled {what}" + " and its neighbours" * (chunk.count > 1)
    message = f"{cause.worker or 'a worker'}{where} was lost while it {did}: {cause.text}{tried}{tail}"
    return WorkerLost(
        message,
        item=item,
        worker=cause.worker,
        host=cause.host,
        cause=cause.text,
        begun=begun,
        stderr=cause.stderr,
    )
