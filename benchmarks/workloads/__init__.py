"""All workloads, in the order in which they are measured and shown."""

from __future__ import annotations

from benchmarks.workloads.base import Workload
from benchmarks.workloads.buffers import ArraysIn, ArraysOut, Captured, CapturedCopies, Closure, Shared
from benchmarks.workloads.calls import RoundTrip, Submits
from benchmarks.workloads.fresh import ImportTime, Startup, StreamMemory
from benchmarks.workloads.maps import Nested, TinyMap, TinyStream
from benchmarks.workloads.skew import Jump, Skewed, log_normal, long_tail

__all__ = ["WORKLOADS"]

_ALL: list[Workload] = [
    TinyMap("map-100k", 100_000),
    TinyMap("map-1m", 1_000_000),
    TinyMap("map-100k-tuned", 100_000, tuned=True),
    TinyMap("map-1m-tuned", 1_000_000, tuned=True),
    TinyMap("map-100k-lambda", 100_000, by_value=True),
    RoundTrip(),
    Submits(),
    TinyStream("stream-1m", 1_000_000),
    TinyStream("stream-1m-tuned", 1_000_000, tuned=True),
    StreamMemory("stream-memory"),
    StreamMemory("stream-lead", chunk=1000),
    ArraysIn(),
    ArraysOut("arrays-out-kept", keep=True),
    ArraysOut("arrays-out-dropped", keep=False),
    Captured(),
    Shared(),
    CapturedCopies(),
    Closure(),
    Startup(),
    Skewed("skew-log-normal", log_normal),
    Skewed("skew-long-tail", long_tail),
    Jump(),
    Nested(),
    ImportTime(),
]
WORKLOADS = {workload.name: workload for workload in _ALL}
