"""How many threads the numerical libraries of a worker may use: as many as it has CPUs."""

from __future__ import annotations

import os
import sys

__all__: list[str] = []

_NAMES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)  # fmt: skip
# What was set here, for those further inside, so that what a user has set is left alone.
_OURS = "ANYPOOL_LIBRARY_THREADS"


def limit_new_libraries(cpus: float) -> None:
    """For libraries that are loaded later, here or in processes of this one. What the user has set is left alone."""
    threads, ours = str(max(1, int(cpus))), os.environ.get(_OURS)
    for name in _NAMES:
        if os.environ.get(name) in (None, ours):
            os.environ[name] = threads
    os.environ[_OURS] = threads


def limit_threads(cpus: float) -> None:
    """For libraries of this process, those that are loaded too."""
    limit_new_libraries(cpus)
    if "numpy" in sys.modules or "scipy" in sys.modules:
        from threadpoolctl import threadpool_limits

        threadpool_limits(limits=max(1, int(cpus)))
