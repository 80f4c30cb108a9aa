"""What travels between stream and worker: jobs, chunks of their items, and outcomes."""

from __future__ import annotations

import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Iterator

# As in `_wire`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from enum import IntEnum
    from typing import Any, NamedTuple, Protocol

    from anypool._context import Scope
    from anypool._folding import Combiner
    from anypool._place import Place
    from anypool._seeding import Seeding

    class Calling(NamedTuple):
        """What is called for each item, in the form that crosses to the worker.

        `scope`: what holds in the tasks; None for what the worker was started with. `combiner`: see `Outcomes`.
        `profiled`: whether its calls are to be recorded; while they are, by which `Recorder`. `listening`: what the
        caller's loggers and warning filters let through, packed; None for those of a new interpreter.
        """

        function: Callable[..., Any]
        kwargs: dict[str, Any] | None = None
        retry_on: tuple[type[BaseException], ...] = ()
        seeding: Seeding | None = None
        scope: Scope | None = None
        combiner: Combiner | None = None
        profiled: Any = False
        listening: bytes | None = None

else:
    Calling = namedtuple(
        "Calling",
        ("function", "kwargs", "retry_on", "seeding", "scope", "combiner", "profiled", "listening"),
        defaults=(None, (), None, None, None, False, None),
    )
    IntEnum = Protocol = object

__all__: list[str] = []


class Mode(IntEnum):
    """How a chunk's payload is applied: values are part of the wire format."""

    MAP = 0  # a list of columns: f(*row) for the rows
    STAR = 1  # a list of argument tuples
    CALL = 2  # pickles of (args, kwargs), one after the other


class NoArguments:
    """Stands for a row of arguments that raised when it was read; raises the same where it is to be used."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __iter__(self) -> Iterator[Any]:
        raise self.error


# Plain classes, here and in the other modules that workers or every start of a pool need: importing dataclasses and
# making ten of them takes as long as forking the workers.


class Body:
    """A `Calling`, and its serialised form where the crew's workers don't share this process' objects.

    Calls whose bodies have equal keys may share a chunk.
    """

    __slots__ = ("calling", "digest", "key", "parcel", "size")

    def __init__(
        self, calling: Calling, parcel: Any = None, digest: bytes = b"", size: int = 0, key: object = None
    ) -> None:
        self.calling, self.parcel, self.digest, self.size, self.key = calling, parcel, digest, size, key


_UNKNOWN = float("inf")
# Seconds that a chunk's items may take before what is done goes home.
BUDGET = 0.008


class Job:
    """What all chunks of one map share.

    `stop`: nothing after the first exception of a chunk is run. `budget`: seconds after which a worker sends home what
    is done and leaves the rest. `careful`: each outcome is sent at once, so that it's always known which item runs.
    `retry_late`: an item that took longer than `timeout` may run again.
    """

    __slots__ = (
        "body", "budget", "careful", "context", "lost_retries", "mode", "number", "retry_late", "stop",
        "timeout",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        mode: Mode,
        body: Body,
        *,
        stop: bool = False,
        budget: float = BUDGET,
        careful: bool = False,
        timeout: float | None = None,
        lost_retries: int = 2,
        retry_late: bool = False,
        context: Context | None = None,
    ) -> None:
        self.number, self.mode, self.body = number, mode, body
        self.stop, self.budget, self.careful = stop, budget, careful
        self.timeout, self.lost_retries, self.context = timeout, lost_retries, context
        self.retry_late = retry_late


class CallJob(Job):
    """That of single calls. Made for each, and half as fast if all that is the same for all were set."""

    __slots__ = ()

    number = 0
    stop = careful = retry_late = False
    budget = BUDGET
    timeout = context = None
    lost_retries = 2

    def __init__(self, mode: Mode, body: Body) -> None:
        self.mode, self.body = mode, body


class Chunk:
    """`count` items of a payload, after the first `skip`; `first` is the index of the first of them in the input.

    A chunk that comes back in part, or is lost, is cut again by its numbers alone; the payload is packed once.
    `expected` is a guess in seconds, `size` is in bytes, `losses` counts those that were nobody's fault, `early` the
    deaths of workers before its first item began, `extra` is its lane's.
    """

    __slots__ = (
        "careful", "count", "early", "expected", "extra", "first", "job", "lane", "losses", "payload", "size", "skip",
    )  # fmt: skip

    def __init__(
        self,
        job: Job,
        lane: Lane,
        first: int,
        count: int,
        payload: Any,
        *,
        skip: int = 0,
        size: int = 0,
        careful: bool = False,
        extra: Any = None,
    ) -> None:
        self.job, self.lane, self.first, self.count, self.payload = job, lane, first, count, payload
        self.skip, self.size, self.careful, self.extra = skip, size, careful, extra
        self.expected = _UNKNOWN
        self.losses = self.early = 0

    def part(self, start: int, count: int) -> Chunk:
        """`count` items of this chunk from its `start`-th on."""
        part = Chunk(
            self.job, self.lane, self.first + start, count, self.payload,
            skip=self.skip + start, size=self.size, careful=self.careful, extra=self.extra,
        )  # fmt: skip
        part.expected, part.losses, part.early = self.expected, self.losses, self.early
        return part


class Outcomes(Protocol):
    """What became of `count` items in a row; `errors` maps offsets to whether the exception is one to retry."""

    seconds: float
    errors: dict[int, bool]

    @property
    def count(self) -> int:
        """How many items these are."""

    @property
    def size(self) -> int:
        """Bytes, about."""

    def decode(self) -> tuple[list[Any], dict[int, BaseException]]:
        """Values (None for errors) and exceptions by offset; runs user code when it unpickles.

        Where the calling has a combiner, the values before the first exception are folded into one.
        """


def weight(obj: object) -> int:
    """Bytes of an object itself; asks the object, so never with a lock held."""
    try:
        return sys.getsizeof(obj)
    except Exception as error:  # noqa: BLE001 - the user's own, and only a hint
        from anypool._strike import let_through  # Hardly ever needed, and not in workers.

        let_through(error)
        return 0


class Direct:
    """Outcomes that are objects of this process already; `size` is a guess from the first where it isn't known.

    `profile`, here and in `Packed`, is there only if there is one.
    """

    __slots__ = ("count", "errors", "exceptions", "profile", "seconds", "size", "values")

    profile: bytes

    def __init__(
        self,
        values: list[Any],
        exceptions: dict[int, BaseException] | None = None,
        seconds: float = 0.0,
        errors: dict[int, bool] | None = None,
        size: int | None = None,
        count: int | None = None,
    ) -> None:
        self.values, self.seconds, self.count = values, seconds, len(values) if count is None else count
        self.exceptions: dict[int, BaseException] = exceptions or {}
        self.errors: dict[int, bool] = errors or {}
        if size is None:
            size = weight(values[0]) * len(values) if values else 0
        self.size = size

    def decode(self) -> tuple[list[Any], dict[int, BaseException]]:
        """The outcomes as they are."""
        return self.values, self.exceptions


def failed(exception: BaseException, count: int = 1) -> Direct:
    """The outcome of items that failed outside their function."""
    return Direct([None] * count, dict.fromkeys(range(count), exception), 0.0, dict.fromkeys(range(count), False))


class Packed:
    """Outcomes as a worker sent them; unpacked once, by the thread that asks first."""

    __slots__ = ("_decoded", "_lock", "_unpack", "count", "errors", "profile", "seconds", "size")

    profile: bytes

    def __init__(
        self,
        count: int,
        seconds: float,
        errors: dict[int, bool],
        size: int,
        unpack: Callable[[], tuple[list[Any], dict[int, BaseException]]],
    ) -> None:
        self.count, self.seconds, self.errors, self.size = count, seconds, errors, size
        self._unpack: Callable[[], tuple[list[Any], dict[int, BaseException]]] | None = unpack
        self._decoded: tuple[list[Any], dict[int, BaseException]] | None = None
        self._lock = threading.Lock()

    def decode(self) -> tuple[list[Any], dict[int, BaseException]]:
        """Unpickle; an outcome that can't be rebuilt here becomes the error of all its items."""
        if self._decoded is None:
            with self._lock:
                if self._decoded is None:
                    assert self._unpack is not None
                    self._decoded = self._unpack()
                    self._unpack = None
        return self._decoded


class Lane(Protocol):
    """A source of chunks that the desk serves in turn; called with the engine's lock held, so never runs user code.

    `place`: the only workers that its chunks go to; None for all.
    """

    place: Place | None

    def take(self, workers: int) -> Chunk | None:
        """The next chunk that may be sent now."""

    def settle(self, chunk: Chunk, offset: int, outcomes: Outcomes) -> None:
        """Outcomes of the chunk's items from its `offset`-th on."""

    def give_back(self, chunk: Chunk) -> None:
        """These items were not begun, or may begin again."""

    def retried(self, index: int) -> None:
        """This item had begun, and runs again; told for observers only."""

    def charge(self, index: int, own: bool = True) -> int:
        """Count one more begun-and-lost attempt of an item; return how many that makes of those.

        `own`: its worker died by itself.
        """

    @property
    def ended(self) -> bool:
        """Whether outcomes are of no use to anybody any more."""

    @property
    def queued(self) -> bool:
        """Whether `take` may have something."""

    @property
    def waiting(self) -> bool:
        """Whether a free slot would be used."""
