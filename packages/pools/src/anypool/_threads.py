"""How many threads the numerical libraries of a worker may use: as many as it has CPUs, unless the user has said it.

Libraries that are loaded later read it in the environment; those that are there already, as in a forked copy of a
process that uses numpy, are told by threadpoolctl.
"""

from __future__ import annotations

import os
import sys

__all__: list[str] = []

_OPENMP = "OMP_NUM_THREADS"
# Each is read by its library before that of OpenMP, which speaks for all of them.
_BY_LIBRARY = {"openblas": "OPENBLAS_NUM_THREADS", "mkl": "MKL_NUM_THREADS", "blis": "BLIS_NUM_THREADS"}
_LIKE_OPENMP = (*_BY_LIBRARY.values(), "NUMEXPR_NUM_THREADS")
_ON_THEIR_OWN = ("VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")
NAMES = (_OPENMP, *_LIKE_OPENMP, *_ON_THEIR_OWN)
# What was set here, for those further inside, so that it can be told from what a user has set.
_OURS = "ANYPOOL_LIBRARY_THREADS"
# What loads such a library, or may have done so.
_LOADERS = ("numpy", "scipy", "sklearn", "torch", "numba", "mkl")


def limit_new_libraries(cpus: float) -> None:
    """For libraries that are loaded later, here or in processes of this one. What the user has set is left alone."""
    ours, threads = os.environ.get(_OURS), _threads(cpus)
    said = {name for name in NAMES if os.environ.get(name) not in (None, ours)}
    for name in NAMES:
        if name in said or (name == "NUMBA_NUM_THREADS" and "numba" in sys.modules):
            continue  # numba that runs already refuses to compile after a change.
        if _OPENMP in said and name in _LIKE_OPENMP:
            os.environ.pop(name, None)
        else:
            os.environ[name] = str(threads)
    os.environ[_OURS] = str(threads)


def limit_threads(cpus: float) -> None:
    """For libraries of this process, those that are loaded too."""
    limit_new_libraries(cpus)
    if not any(name in sys.modules for name in _LOADERS):
        return
    from threadpoolctl import ThreadpoolController

    threads = _threads(cpus)
    for library in ThreadpoolController().lib_controllers:
        said = _said(library.internal_api)
        if said is not None:
            library.set_num_threads(said)
        elif library.num_threads is None or library.num_threads > threads:
            library.set_num_threads(threads)


def _threads(cpus: float) -> int:
    return max(1, int(cpus))


def _said(library: str) -> int | None:
    """What the user's environment says of a library, if it does."""
    ours = os.environ.get(_OURS)
    for name in (_BY_LIBRARY.get(library, _OPENMP), _OPENMP):
        # OpenMP's is a list with a number for each level of nesting.
        text = os.environ.get(name, "")
        first = text.partition(",")[0].strip()
        if text != ours and first.isascii() and first.isdecimal():
            return max(1, int(first))
    return None
