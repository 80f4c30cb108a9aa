"""The libraries under comparison, each behind the same few methods.

A library is imported when its pool is made. All run at their defaults, except for the number of workers and,
where a workload says so, the chunk size.
"""

from __future__ import annotations

import importlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar

OURS = "anypool"


class Peer(ABC):
    """A pool of one library. `chunk=None` means the library's own default."""

    name: ClassVar[str]
    by_value: ClassVar[bool] = True  # sends lambdas and closures

    def __init__(self, workers: int) -> None:
        self.workers = workers

    @abstractmethod
    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]: ...

    def shared(self, data: Any) -> AbstractContextManager[Any]:
        """What stands for it in `map_on`, for as long as the block runs: itself, where the library has nothing."""
        return nullcontext(data)

    def map_on(self, f: Callable[..., Any], data: Any, items: Iterable[Any]) -> list[Any]:
        """`f(data, item)` for each."""
        return self.map(partial(f, data), items)

    @abstractmethod
    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        """Results as they come, in any order where the library can."""

    @abstractmethod
    def call(self, f: Callable[[Any], Any], x: Any) -> Any: ...

    @abstractmethod
    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """One submission for each item, then all of the results."""

    @abstractmethod
    def close(self) -> None: ...


class Anypool(Peer):
    name = OURS

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from anypool import get_pool

        self.pool = get_pool("process", workers=workers, oversubscribe=True)

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        return self.pool.map(f, items, chunksize=chunk)

    def shared(self, data: Any) -> AbstractContextManager[Any]:
        return self.pool.share(data)

    def map_on(self, f: Callable[..., Any], data: Any, items: Iterable[Any]) -> list[Any]:
        return self.pool.map(f, itertools.repeat(data), items)

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        return self.pool.uimap(f, items, chunksize=chunk)

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self.pool.pipe(f, x)

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.submit
        return [result.result() for result in [submit(f, x) for x in items]]

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


class Multiprocessing(Peer):
    name = "multiprocessing"
    by_value = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool = importlib.import_module(self.name).Pool(workers)

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        return list(self.pool.map(f, items, chunk))

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        return iter(self.pool.imap_unordered(f, items, chunk or 1))

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self.pool.apply(f, (x,))

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.apply_async
        return [result.get() for result in [submit(f, (x,)) for x in items]]

    def close(self) -> None:
        self.pool.close()
        self.pool.join()


class Multiprocess(Multiprocessing):
    name = "multiprocess"
    by_value = True


class Futures(Peer):
    name = "concurrent.futures"
    by_value = False

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool = self.executor(workers)

    @staticmethod
    def executor(workers: int) -> Any:
        from concurrent.futures import ProcessPoolExecutor

        return ProcessPoolExecutor(workers)

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        return list(self.stream(f, items, chunk))

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        return iter(self.pool.map(f, items, chunksize=chunk or 1))

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self.pool.submit(f, x).result()

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.submit
        return [result.result() for result in [submit(f, x) for x in items]]

    def close(self) -> None:
        self.pool.shutdown()


class Loky(Futures):
    name = "loky"
    by_value = True

    @staticmethod
    def executor(workers: int) -> Any:
        from loky import ProcessPoolExecutor

        return ProcessPoolExecutor(workers)


class Pathos(Peer):
    name = "pathos"
    _numbers = itertools.count()

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from pathos.pools import ProcessPool

        # Without a name of its own it would share its workers with every other pool of that size.
        self.pool = ProcessPool(nodes=workers, id=f"bench{next(self._numbers)}")

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        return list(self.pool.map(f, items, **self._options(chunk)))

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        return iter(self.pool.uimap(f, items, **self._options(chunk)))

    @staticmethod
    def _options(chunk: int | None) -> dict[str, int]:
        return {} if chunk is None else {"chunksize": chunk}

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self.pool.pipe(f, x)

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        submit = self.pool.apipe
        return [result.get() for result in [submit(f, x) for x in items]]

    def close(self) -> None:
        self.pool.close()
        self.pool.join()
        self.pool.clear()


class Joblib(Peer):
    """One `Parallel` for each setting; they share joblib's workers."""

    name = "joblib"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.calls: dict[tuple[str, Any], Any] = {}

    def _parallel(self, kind: str, batch: Any) -> Any:
        from joblib import Parallel

        if (kind, batch) not in self.calls:
            self.calls[kind, batch] = Parallel(n_jobs=self.workers, return_as=kind, batch_size=batch)
        return self.calls[kind, batch]

    def _run(self, kind: str, f: Callable[[Any], Any], items: Iterable[Any], batch: Any) -> Any:
        from joblib import delayed

        task = delayed(f)
        return self._parallel(kind, batch)(task(x) for x in items)

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        return list(self._run("list", f, items, chunk or "auto"))

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        return iter(self._run("generator_unordered", f, items, chunk or "auto"))

    @contextmanager
    def shared(self, data: Any) -> Iterator[Any]:
        # While it is open it keeps the files that it has written arrays to.
        with self._parallel("list", "auto"):
            yield data

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self._run("list", f, [x], "auto")[0]

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self._run("list", f, items, 1))

    def close(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        self.calls.clear()
        get_reusable_executor().shutdown()


class Mpire(Peer):
    """A pool for each method: one that is kept alive fails when the same function comes by another method."""

    name = "mpire"
    by_value = False  # without its option for dill; a lambda only reaches workers forked after it

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pools: dict[str, Any] = {}

    def _pool(self, use: str) -> Any:
        from mpire import WorkerPool

        if use not in self.pools:
            self.pools[use] = WorkerPool(n_jobs=self.workers, keep_alive=True)
        return self.pools[use]

    def map(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> list[Any]:
        rows = [(x,) for x in items]
        return list(self._pool("map").map(f, rows, chunk_size=chunk, concatenate_numpy_output=False))

    def stream(self, f: Callable[[Any], Any], items: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        rows = ((x,) for x in items)
        return iter(self._pool("stream").imap_unordered(f, rows, chunk_size=chunk or 1))

    def call(self, f: Callable[[Any], Any], x: Any) -> Any:
        return self._pool("call").apply(f, (x,))

    def submit_many(self, f: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        submit = self._pool("submit").apply_async
        return [result.get() for result in [submit(f, (x,)) for x in items]]

    def close(self) -> None:
        for pool in self.pools.values():
            pool.stop_and_join()


# Those that fork come first: later ones start threads.
PEERS: dict[str, type[Peer]] = {
    peer.name: peer for peer in (Multiprocessing, Futures, Multiprocess, Pathos, Mpire, Loky, Joblib)
}
STANDARD = ("multiprocessing", "concurrent.futures")
MODULES = {
    OURS: "anypool",
    "multiprocessing": "multiprocessing.pool",
    "concurrent.futures": "concurrent.futures.process",
    "pathos": "pathos.pools",
}


def start(name: str, workers: int) -> Peer:
    """A pool of the library with that name; raises ImportError where it is not installed."""
    return Anypool(workers) if name == OURS else PEERS[name](workers)
