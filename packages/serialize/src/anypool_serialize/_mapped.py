"""An array over a file arrives as an array over the same file, so that what is written to it is written there."""

# ruff: noqa: ARG001  every reducer is called with the pickler

from __future__ import annotations

import mmap
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._message import MessagePickler, Reduction

__all__: list[str] = []


def reduce_memmap(pickler: MessagePickler, array: Any) -> Reduction:
    """A `numpy.memmap` by the name of its file.

    As data, like any array, where that is as good or the name leads nowhere: one that is not shared (mode "c"), one
    that is a result of arithmetic, one whose file was removed.
    """
    base = array
    while base is not None and type(getattr(base, "base", None)) is not mmap.mmap:
        base = getattr(base, "base", None)
    name = getattr(base, "filename", None)
    if name is None or base.mode == "c" or not os.path.exists(name):
        return NotImplemented
    start = _address(array) - _address(base)
    extent = base.offset, base.nbytes
    return _mapped, (os.path.abspath(name), base.mode, extent, start, array.dtype, array.shape, array.strides)


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _mapped(
    name: str, mode: str, extent: tuple[int, int], start: int, dtype: Any, shape: tuple[int, ...], strides: Any
) -> Any:
    import numpy as np

    # "w+" would empty it.
    whole = np.memmap(name, np.uint8, "r" if mode == "r" else "r+", extent[0], (extent[1],))
    array = np.ndarray.__new__(np.memmap, shape, dtype, whole, start, strides)
    array.__array_finalize__(whole)
    return array
