"""What a type checker infers from the public API: checked by mypy and pyright, never run."""

import operator
import pstats
from collections import Counter
from collections.abc import Awaitable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_type

from anypool import (
    Amap,
    AnypoolError,
    Asmap,
    Imap,
    Ismap,
    Launcher,
    Map,
    Plan,
    Pool,
    PoolClosed,
    ProcessPool,
    Profile,
    Progress,
    RemoteError,
    Result,
    SerialPool,
    Shared,
    Smap,
    TaskTimeout,
    ThreadPool,
    Uimap,
    Unserializable,
    WorkerLost,
    get_pool,
    progress,
    rng,
)


def double(x: int) -> int:
    return 2 * x


def label(x: int, text: str) -> str:
    return f"{x} {text}"


def area(path: Path, width: float, *, scale: int = 1) -> float:
    return len(path.parts) * width * scale


def needs_scale(x: int, *, scale: float) -> float:
    return x * scale


def four(a: int, b: int, c: int, text: str) -> str:
    return text * (a + b + c)


def words(text: str) -> Counter[str]:
    return Counter(text.split())


def merged(left: Counter[str], right: Counter[str]) -> Counter[str]:
    return left + right


def say(text: str) -> None:
    print(text)


xs = [1, 2, 3]
texts = ["a", "b", "c"]
pairs = [(1, "a"), (2, "b")]


def maps(pool: Pool) -> None:
    assert_type(pool.map(double, xs), list[int])
    assert_type(pool.map(label, xs, texts), list[str])
    assert_type(pool.map(area, [Path()], [1.5], kwargs={"scale": 2}), list[float])
    assert_type(pool.map(lambda x: x > 1, xs), list[bool])
    assert_type(pool.map(lambda x, text: (text, x), xs, texts), list[tuple[str, int]])
    assert_type(pool.map(needs_scale, xs, kwargs={"scale": 2.0}), list[float])
    assert_type(pool.map(four, xs, xs, xs, texts), list[str])
    assert_type(pool.map(str, range(3)), list[str])
    assert_type(pool.imap(double, xs), Iterator[int])
    assert_type(pool.imap(label, iter(xs), texts), Iterator[str])
    assert_type(pool.uimap(double, xs), Iterator[int])
    assert_type(pool.imap_unordered(double, xs), Iterator[int])
    assert_type(pool.amap(double, xs), Result[list[int]])
    assert_type(pool.amap(label, xs, texts), Result[list[str]])
    assert_type(pool.map_async(double, xs), Result[list[int]])


def reductions(pool: Pool) -> None:
    assert_type(pool.map_reduce(double, operator.add, xs), int)
    assert_type(pool.map_reduce(label, operator.add, xs, texts, initial=""), str)
    assert_type(pool.map_reduce(double, lambda a, b: a + b, xs, initial=0, chunksize=10), int)
    assert_type(pool.map_reduce(words, operator.add, texts), Counter[str])
    assert_type(pool.map_reduce(words, merged, texts, initial=Counter()), Counter[str])
    assert_type(pool.map_reduce(needs_scale, max, xs, kwargs={"scale": 2.0}), float)
    assert_type(pool.map_reduce(four, operator.add, xs, xs, xs, texts), str)
    pool.map_reduce(double, operator.add, texts)  # type: ignore[arg-type]
    pool.map_reduce(double, operator.add, xs, on_error="return")  # type: ignore[call-overload]


def maps_over_argument_tuples(pool: Pool) -> None:
    assert_type(pool.starmap(label, pairs), list[str])
    assert_type(pool.starmap(label, zip(xs, texts, strict=True)), list[str])
    assert_type(pool.starmap(label, [[1, "a"]]), list[str])
    assert_type(pool.istarmap(label, pairs), Iterator[str])
    assert_type(pool.uistarmap(label, pairs), Iterator[str])
    assert_type(pool.astarmap(label, pairs), Result[list[str]])
    assert_type(pool.starmap_async(label, pairs), Result[list[str]])


def options(pool: Pool) -> None:
    assert_type(
        pool.map(
            double,
            xs,
            chunksize=10,
            timeout=1.5,
            retries=2,
            retry_on=(OSError,),
            buffersize=100,
            strict=True,
            progress=True,
        ),
        list[int],
    )
    pool.amap(double, xs, callback=print, error_callback=print)
    pool.map(double, xs, progress="rich")
    pool.map(double, xs, progress=lambda done, total: print(done, total))
    pool.map(double, xs, on_error="return")


def bars() -> None:
    with assert_type(progress(3, "reading"), Progress) as bar:
        assert_type(bar, Progress)
    assert_type(progress(texts), Iterator[str])


def mistakes(pool: Pool) -> None:
    pool.map(double, texts)  # type: ignore[arg-type]
    pool.map(label, xs)  # type: ignore[arg-type]
    pool.map(double, xs, chunksise=1)  # type: ignore[call-overload]
    pool.map(double, xs, callback=print)  # type: ignore[call-overload]
    pool.map(double, xs, progress="bar")  # type: ignore[call-overload]
    pool.submit(double, "a")  # type: ignore[call-overload]
    pool.pipe(label, 1)  # type: ignore[call-overload]


def calls(pool: Pool) -> None:
    assert_type(pool.pipe(double, 1), int)
    assert_type(pool.pipe(area, Path(), 1.5, scale=2), float)
    assert_type(pool.apipe(label, 1, "a"), Result[str])
    assert_type(pool.submit(double, 1), Result[int])
    assert_type(pool.submit(double, pool.submit(double, 1)), Result[int])
    assert_type(pool.pipe(label, 1, pool.apipe(label, 1, "a")), str)
    assert_type(pool.submit(say, "a"), Result[None])
    assert_type(pool.apply(double, (1,)), int)
    assert_type(pool.apply_async(label, (1, "a")), Result[str])


async def results(pool: Pool) -> None:
    result = pool.amap(double, xs)
    assert_type(await result, list[int])
    assert_type(result.get(timeout=5), list[int])
    assert_type(result.result(timeout=5), list[int])
    assert_type(result.ready(), bool)
    assert_type(result.successful(), bool)
    result.wait(timeout=1)
    futures: list[Future[list[int]]] = [result]
    awaitables: list[Awaitable[list[int]]] = [result]
    print(futures, awaitables, wait([result]))
    assert_type([future.result() for future in as_completed([result])], list[list[int]])


def life(pool: Pool) -> None:
    assert_type(len(pool), int)
    executors: list[Executor] = [pool.as_executor()]
    assert_type(executors[0].submit(double, 1), Future[int])
    pool.resize(3)
    pool.close()
    pool.join()
    pool.restart()
    pool.clear()
    pool.terminate()


def ways_to_make_one() -> None:
    with get_pool("process:4", max_tasks_per_worker=10, env={"A": "1"}, cwd=Path()) as pool:
        assert_type(pool, Pool)
        assert_type(pool.map(double, xs), list[int])
    with get_pool("thread", workers=2, initializer=say, initargs=("hello",)) as pool:
        assert_type(pool.submit(double, 1).get(), int)
    everywhere: list[Pool] = [ProcessPool(4), ProcessPool(nodes=4), ThreadPool(ncpus=2), SerialPool()]
    assert_type([pool.pipe(double, 1) for pool in everywhere], list[int])


def seeds(pool: Pool) -> None:
    assert_type(pool.map(lambda _: rng().random(), xs, seed=1), list[float])
    assert_type(pool.plan, Plan)
    assert_type(Plan.parse("process:2 > thread"), Plan)
    assert_type(pool.plan.tree(), str)


def shares(pool: Pool) -> None:
    with pool.share(xs) as shared:
        assert_type(shared, Shared[list[int]])
    assert_type(shared.value, list[int])
    assert_type(pool.pipe(len, shared), int)
    assert_type(pool.submit(len, shared), Result[int])
    assert_type(pool.apipe(label, 1, pool.share("a")), Result[str])
    assert_type(pool.map(double, xs, kwargs={"data": shared}), list[int])


def profiles(pool: Pool) -> None:
    profile = Profile()
    assert_type(pool.map(double, xs, profile=profile), list[int])
    assert_type(pool.amap(double, xs, profile=True), Result[list[int]])
    assert_type(pool.profile, Profile)
    assert_type(profile.stats(), pstats.Stats)
    assert_type(profile.workers, dict[str, Profile])
    profile.dump(Path("all.prof"))


def stand_alone_maps() -> None:
    assert_type(Map(ProcessPool)(double, xs), list[int])
    assert_type(Imap(ThreadPool)(double, xs), Iterator[int])
    assert_type(Uimap(ProcessPool)(label, xs, texts), Iterator[str])
    assert_type(Amap(ProcessPool)(double, xs), Result[list[int]])
    assert_type(Smap(ProcessPool)(label, pairs), list[str])
    assert_type(Ismap(ProcessPool)(label, pairs), Iterator[str])
    assert_type(Asmap("process:2")(label, pairs), Result[list[str]])
    assert_type(Map("thread", 2)(lambda x: [x], xs), list[list[int]])


def errors() -> None:
    own: list[AnypoolError] = [PoolClosed(), Unserializable("f.__closure__['db']")]
    lost: list[BrokenExecutor] = [WorkerLost("lost a worker")]
    late: list[TimeoutError] = [TaskTimeout("too late")]
    remote: list[Exception] = [RemoteError("ValueError: 1")]
    print(own, lost, late, remote)


@dataclass(frozen=True, kw_only=True)
class Mine(Launcher):
    name = "mine"
    prefix: str = "mine"

    def launch(self) -> Executor:
        return ThreadPoolExecutor(self.size, self.prefix)


def a_launcher_of_ones_own() -> None:
    mine = Mine(workers=2, prefix="here")
    assert_type(mine.workers, int | None)
    assert_type(replace(mine, workers=3), Mine)
    assert_type(get_pool(mine).map(double, xs), list[int])
