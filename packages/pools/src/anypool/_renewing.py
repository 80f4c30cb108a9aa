"""Put another worker into the place of one that was lost, or go on without."""

from __future__ import annotations

import logging
from abc import abstractmethod

from anypool._crew import Crew
from anypool._desk import Desk
from anypool._driver import Driver
from anypool._errors import WorkerLost
from anypool._slot import Cause
from anypool._strike import let_through

__all__: list[str] = []

# Workers of one slot that may end one after the other before they have finished anything.
_MOST_FALSE_STARTS = 5


class Renewing(Driver):
    """The part of an engine that deals with lost workers; the lock is held."""

    def __init__(self, crew: Crew, desk: Desk) -> None:
        super().__init__(crew, desk)
        self._false_starts: dict[int, int] = {}

    @abstractmethod
    def _break(self, error: BaseException) -> None:
        """Have everything that is still open end with an error."""

    def _lost(self, number: int, cause: Cause) -> None:
        slot = self.desk.slots.get(number)
        if slot is None:
            self.crew.stop(number)
            return
        false_start = self.desk.lost(number, cause)
        if slot.closing:
            del self.desk.slots[number]
            self.crew.stop(number)
            return
        self._false_starts[number] = self._false_starts.get(number, 0) + 1 if false_start else 0
        if self._false_starts[number] >= _MOST_FALSE_STARTS:
            self._give_up(number, f"{cause.text}\n{cause.stderr}", None)
            return
        self._renew(number)

    def _renew(self, number: int) -> None:
        try:
            renewed = self.crew.renew(number)
        except Exception as error:  # noqa: BLE001 - no descriptors, no processes, no memory
            let_through(error)
            self._give_up(number, f"{type(error).__name__}: {error}", error)
            return
        if renewed:
            self.desk.renewed(number)
        else:
            del self.desk.slots[number]

    def _give_up(self, number: int, text: str, error: BaseException | None) -> None:
        """Go on with a worker less, or with none not at all."""
        del self.desk.slots[number]
        self.crew.give_up(number)
        if self.desk.slots:
            logging.getLogger("anypool").warning("a worker is lost for good, none could be started: %s", text)
            return
        lost = WorkerLost(f"no worker could be started: {text}", cause=text.partition("\n")[0])
        lost.__cause__ = error
        self._break(lost)
