"""What is measured in a process of its own: starting, importing, and the memory of a stream."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

from benchmarks.meter import Sample
from benchmarks.peers import MODULES, OURS
from benchmarks.workloads.base import Limit, Pools, Target, Workload

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIMIT = 60  # seconds for one process
_LEAST_MB = 0.1  # below this, growth is noise, and a ratio says nothing

_POOL = """
import operator
{imports}
if __name__ == "__main__":
    pool = {pool}
    assert pool.{call} == -1
    {close}
"""
_CLOSE = "pool.close(); pool.join()"
_SCRIPTS = {
    OURS: (
        "from anypool import get_pool",
        "get_pool('process', workers={n}, oversubscribe=True)",
        "pipe(operator.neg, 1)",
        _CLOSE,
    ),
    "multiprocessing": (
        "import multiprocessing",
        "multiprocessing.Pool({n})",
        "apply(operator.neg, (1,))",
        _CLOSE,
    ),
    "multiprocessing-spawn": (
        "import multiprocessing",
        "multiprocessing.get_context('spawn').Pool({n})",
        "apply(operator.neg, (1,))",
        _CLOSE,
    ),
    "concurrent.futures": (
        "from concurrent.futures import ProcessPoolExecutor",
        "ProcessPoolExecutor({n})",
        "submit(operator.neg, 1).result()",
        "pool.shutdown()",
    ),
    "multiprocess": ("import multiprocess", "multiprocess.Pool({n})", "apply(operator.neg, (1,))", _CLOSE),
    "pathos": ("from pathos.pools import ProcessPool", "ProcessPool({n})", "pipe(operator.neg, 1)", _CLOSE),
    "mpire": (
        "from mpire import WorkerPool",
        "WorkerPool({n})",
        "apply(operator.neg, (1,))",
        "pool.stop_and_join()",
    ),
    "loky": (
        "from loky import ProcessPoolExecutor",
        "ProcessPoolExecutor({n})",
        "submit(operator.neg, 1).result()",
        "pool.shutdown()",
    ),
    "joblib": (
        "from joblib import Parallel, delayed\nfrom joblib.externals.loky import get_reusable_executor",
        "Parallel({n})",
        "__call__([delayed(operator.neg)(1)])[0]",
        "get_reusable_executor().shutdown()",
    ),
}


def _seconds(command: list[str]) -> float:
    """How long a process takes; bounded by the limit of the measurement alone.

    A wait with a time-out would look every 50 ms only.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    taken = time.perf_counter() - start
    if status:
        raise subprocess.CalledProcessError(status, command)
    return taken


def _above_bare(command: list[str]) -> Sample:
    """Milliseconds beyond those of an interpreter that does nothing, started just before and just after."""
    bare = [sys.executable, "-c", "pass"]
    before = _seconds(bare)
    taken = _seconds(command)
    nothing = (before + _seconds(bare)) / 2
    return Sample(max(taken - nothing, 1e-4) * 1e3, None, {"bare": nothing * 1e3})


class Startup(Workload):
    name = "start-up"
    title = "import, start, first result, close; less the bare interpreter"
    unit = "ms"
    targets = (Target("multiprocessing-spawn", 1.8), Target("loky", 3.5))
    peers = tuple(_SCRIPTS)
    fresh = True
    linear = False

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        imports, pool, call, close = _SCRIPTS[name]
        text = _POOL.format(imports=imports, pool=pool.format(n=pools.workers), call=call, close=close)
        with tempfile.TemporaryDirectory() as folder:
            script = os.path.join(folder, "script.py")
            with open(script, "w", encoding="utf-8") as file:
                file.write(text)
            return _above_bare([sys.executable, script])


class ImportTime(Workload):
    name = "import"
    title = "import, above a bare interpreter"
    unit = "ms"
    targets = (Target("pathos", 2),)
    limits = (Limit("value", "ms", at_most=60),)
    fresh = True
    linear = False

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        return _above_bare([sys.executable, "-c", f"import {MODULES.get(name, name)}"])


class StreamMemory(Workload):
    """A consumer takes one result, pauses for a second, takes half of them, pauses again, and takes the rest.

    `lead` and `lead_late` are how many items the generator had given out beyond those taken when the first
    and the second pause ended; with a chunk size, `lead_chunks` counts the chunks beyond the one being taken.
    `paused` is what the owner had grown by in the first pause, in MB; the value is the most it ever grew by,
    or had by the time our patience with a slow peer ended, after `taken` results.
    """

    unit = "MB"
    fresh = True
    linear = False
    ours_for_each_peer = False

    def __init__(self, name: str, chunk: int | None = None) -> None:
        self.name = name
        self.chunk = chunk
        size = "default chunks" if chunk is None else f"chunks of {chunk:,}"
        self.title = f"1,000,000 numbers streamed, the consumer pauses, {size}: growth of the owner"
        self.limits = (Limit("value", "MB", at_most=10),)
        if chunk is not None:
            self.limits += (Limit("lead_chunks", "chunks", at_most=4),)

    def prepare(self, scale: float) -> None:
        self.items = max(int(1_000_000 * scale), 10_000)
        self.pause = 1.0 if scale == 1 else 0.2  # seconds

    def measure(self, name: str, pools: Pools, part: float) -> Sample:
        items = max(int(self.items * part), 100)
        command = [sys.executable, "-m", "benchmarks.pause", name, str(pools.workers), str(items)]
        command.append(str(self.pause))
        if self.chunk is not None:
            command.append(str(self.chunk))
        done = subprocess.run(command, check=True, timeout=_LIMIT, stdout=subprocess.PIPE, cwd=_ROOT)
        seen = json.loads(done.stdout.splitlines()[-1])
        return Sample(max(seen.pop("grown"), _LEAST_MB), None, seen)
