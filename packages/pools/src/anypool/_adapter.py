"""The crew over any standard executor: what a plugin of twenty lines returns is enough for every method."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future
from functools import partial
from typing import Any

from anypool._chunk import Body, Calling, Mode
from anypool._crew import Event, Failed, Gained, Lost, Needed, Replied
from anypool._errors import WorkerLost
from anypool._packing import Parcel, named_body, pack, pack_arguments, pack_body, run_message
from anypool._serve import serve, unpack_reply
from anypool._slot import Cause, Flight
from anypool._wire import NO_DIGEST, Buffer, Decoder, Kind, Ref, encode

__all__: list[str] = []

_CLOSE_SECONDS = 10.0
# An executor that breaks this often without giving one result will not get better.
_MOST_BREAKS = 12


class ExecutorCrew:
    """Virtual slots over an executor made by `launch`; when it breaks, it is made anew.

    A running call can't be ended: a slot whose task is given up comes back when its future ends. Nor can it be told
    which worker broke an executor, so a chunk is blamed only if it was alone.
    """

    polled = False
    runs_here = False
    reports_items = False
    greets = False

    def __init__(self, kind: str, executor: Executor, launch: Callable[[], Executor], workers: int) -> None:
        self.kind = kind
        self._executor, self._launch, self._workers = executor, launch, workers
        self._generation = self._breaks = 0
        self._warm = False
        self._owner = os.getpid()
        self._culprits: dict[int, bool] = {}
        self._doomed: set[int] = set()
        self._flying: dict[Future[Any], int] = {}
        self._generations: dict[int, int] = {}
        self._lock = threading.Lock()
        self._deliver: Callable[[list[Event]], None] = lambda _: None

    def start(self, deliver: Callable[[list[Event]], None]) -> list[int]:
        """The executor starts its workers when it likes."""
        self._deliver = deliver
        return self.resize(self._workers)

    def body(self, calling: Calling) -> Body:
        """Serialise what is called."""
        return pack_body(calling)

    def pack(self, payload: Any) -> tuple[Parcel, int]:
        """Serialise items."""
        return pack(payload)

    def pack_call(
        self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Body, Mode, Any, int]:
        """Serialise one call, as far as the lane of calls does not do it."""
        body = named_body(f) or self.body(Calling(f))
        return body, *pack_arguments(args, kwargs)

    def send(self, slot: int, flight: Flight, with_body: bool = False) -> None:
        """Submit the chunk; the thread that completes its future delivers the reply."""
        with_body = with_body or flight.chunk.job.body.digest == NO_DIGEST or not self._warm
        self._warm = True
        data = b"".join(encode(run_message(slot, flight, with_body, careful=False)))
        generation = self._generation
        try:
            future = self._executor.submit(serve, data)
        except RuntimeError as error:  # Broken, or shut down by its owner.
            future = Future()
            future.set_exception(error)
        flight.begun = flight.sent
        with self._lock:
            self._flying[future] = slot
        sender = threading.get_ident()

        def ended(future: Future[Any]) -> None:
            # A future that is done already calls back at once, in the thread that holds the engine's lock; one that
            # fails with its executor, in a thread that holds the executor's.
            if (sending and threading.get_ident() == sender) or future.cancelled() or future.exception() is not None:
                _aside(lambda: self._done(slot, flight, generation, future))
            else:
                self._done(slot, flight, generation, future)

        sending = True
        future.add_done_callback(ended)
        sending = False

    def _done(self, slot: int, flight: Flight, generation: int, future: Future[Any]) -> None:
        with self._lock:
            alone = len(self._flying) == 1
            stale = self._flying.pop(future) != slot or generation < self._generations[slot]
        if stale:
            return
        try:
            (message,) = Decoder().feed(future.result(0))
        except (Exception, CancelledError) as error:  # noqa: BLE001 - whatever the engine failed with ends this chunk
            self._broken(slot, generation, error, alone)
            return
        self._breaks = 0
        if message.kind == Kind.NEED:
            self._deliver([Needed(slot, message.seq)])
        else:
            self._deliver([Replied(slot, flight.seq, unpack_reply(message, _no_segments))])

    def _broken(self, slot: int, generation: int, error: BaseException, alone: bool) -> None:
        with self._lock:
            # The first to fail knows whether it was alone; those that fail with it see fewer and fewer others.
            alone = self._culprits.setdefault(generation, alone)
            if generation == self._generation and not isinstance(error, CancelledError):
                self._generation += 1
                self._breaks += 1
                self._warm = False
                _aside(partial(self._executor.shutdown, wait=False))
                if self._breaks < _MOST_BREAKS:
                    self._executor = self._launch()
            self._generations[slot] = self._generation
        text = f"{type(error).__name__}: {error}"
        if self._breaks >= _MOST_BREAKS:
            failure = WorkerLost(f"launcher {self.kind!r} broke {_MOST_BREAKS} times in a row: {text}", cause=text)
            failure.__cause__ = error
            self._deliver([Failed(failure)])
        else:
            cause = Cause(text, own=alone, worker=f"{self.kind}-{slot}", host=os.uname().nodename)
            self._deliver([Lost(slot, cause)])

    def recall(self, slot: int) -> list[int]:
        """Nothing waits for one worker only: the executor gives what it has queued to whichever is free."""
        return []

    def poll(self, timeout: float) -> list[Event]:
        """Futures deliver by themselves."""
        return []

    def lend(self) -> None:
        """Its workers are elsewhere."""

    def interrupt(self) -> None:
        """Nobody sleeps in `poll`."""

    def kill(self, slot: int) -> None:
        """Give up the slot's call; when it ends, its slot comes back."""
        if hasattr(self._executor, "kill_workers"):
            self._doomed.add(slot)
            _aside(lambda: self._start_over(slot))
            return
        with self._lock:
            held = [future for future, number in self._flying.items() if number == slot]
            for future in held:
                self._flying[future] = -1
            self._generations[slot] = self._generation + 1
        for future in held:
            if not future.cancel():
                future.add_done_callback(lambda _: _aside(lambda: self._returned(slot)))
        cause = Cause("given up", own=False, worker=f"{self.kind}-{slot}", host=os.uname().nodename)
        _aside(lambda: self._deliver([Lost(slot, cause)]))

    def _start_over(self, slot: int) -> None:
        """End all workers to end one, and go on with an executor made anew; what else ran is lost and runs again.

        The old one's futures are not waited for: a worker killed in the middle of a message leaves it waiting for ever.
        """
        with self._lock:
            if slot not in self._doomed:
                return
            self._doomed.clear()
            lost = sorted({number for number in self._flying.values() if number >= 0})
            self._flying = dict.fromkeys(self._flying, -1)
            self._culprits[self._generation] = False
            self._generation += 1
            self._warm = False
            self._generations.update(dict.fromkeys(lost, self._generation))
            old, self._executor = self._executor, self._launch()
        old.kill_workers()  # type: ignore[attr-defined]
        old.shutdown(wait=False, cancel_futures=True)
        cause = Cause("ended with a neighbour", own=False, worker=f"{self.kind}-{slot}", host=os.uname().nodename)
        self._deliver([Lost(number, cause) for number in lost])

    def _returned(self, slot: int) -> None:
        with self._lock:
            self._generations[slot] = self._generation
        self._deliver([Gained(slot)])

    def renew(self, slot: int) -> bool:
        """Whether the slot can be used; one that was given up comes back later."""
        return self._generations[slot] <= self._generation

    def stop(self, slot: int) -> None:
        """One call less at a time."""
        self._generations.pop(slot, None)

    def resize(self, workers: int) -> list[int]:
        """Calls at a time; the executor's own size stays what it is."""
        if self._generations and (grow := getattr(self._executor, "resize", None)) is not None:
            grow(workers)
        added = [slot for slot in range(workers) if slot not in self._generations]
        for slot in added:
            self._generations[slot] = self._generation
        return added

    def release(self, body: Body) -> None:
        """Workers forget old functions by themselves."""

    def identify(self, slot: int) -> tuple[str, str, int]:
        """A standard executor doesn't tell which process runs a call."""
        return f"{self.kind}-{slot}", os.uname().nodename, 0

    def close(self) -> None:
        """Shut the executor down; a call that still runs is killed if that can be, else left to it after 10 s."""
        if self._owner != os.getpid():
            return
        if self._flying and (kill := getattr(self._executor, "kill_workers", None)) is not None:
            kill()
        ending = threading.Thread(target=self._executor.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        try:
            ending.start()
        except RuntimeError:  # Python 3.12 starts no thread once the interpreter is ending.
            self._executor.shutdown(wait=False, cancel_futures=True)
        else:
            ending.join(_CLOSE_SECONDS)

    def desert(self) -> None:
        """Shut down without waiting."""
        if self._owner != os.getpid():
            return
        self._executor.shutdown(wait=False, cancel_futures=True)


def _aside(action: Callable[[], object]) -> None:
    """Run something that takes the engine's lock, which the calling thread may hold."""
    threading.Thread(target=action, name="anypool-aside", daemon=True).start()


def _no_segments(ref: Ref) -> Buffer:
    raise ValueError(f"{ref} from a worker that has no segments")
