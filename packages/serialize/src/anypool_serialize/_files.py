"""Frames in a file, buffers included.

Layout, little-endian: magic (8 bytes), format u16, Python version u16 (311 for 3.11), number of buffers
u32, size of the header u64, a u64 for the size of each buffer, the header, the buffers.
"""

from __future__ import annotations

import struct
from os import PathLike
from typing import Any, BinaryIO

from ._core import dumps, loads
from ._errors import AnypoolError
from ._rebuild import VERSION
from ._write import Frames

_MAGIC = b"\x8fanypool"
_FORMAT = 1
_HEAD = struct.Struct("<HHIQ")
_STEP = 1 << 24


def dump(obj: object, file: str | PathLike[str] | BinaryIO, *, strict: bool = False) -> None:
    """Write `obj` to a path or to an open binary file.

    A file appears whole or not at all, with the mode of the one it replaces; a pipe or a device is written to.
    What is written is for this Python minor version and these versions of your packages: transport, not an
    archive. Raises Unserializable before anything is written.
    """
    frames = dumps(obj, strict=strict)
    if isinstance(file, (str, PathLike)):
        from ._atomic import writing

        with writing(file) as opened:
            _write(frames, opened)
    else:
        _write(frames, file)


def _write(frames: Frames, file: BinaryIO) -> None:
    raw = [buffer.raw() for buffer in frames.buffers]
    file.write(_MAGIC + _HEAD.pack(_FORMAT, VERSION, len(raw), len(frames.header)))
    file.write(struct.pack(f"<{len(raw)}Q", *(part.nbytes for part in raw)))
    file.write(frames.header)
    file.writelines(raw)


def load(file: str | PathLike[str] | BinaryIO) -> Any:
    """Read what `dump` wrote, from a path or from an open binary file; the file then stands behind it.

    Only for files you trust, as with pickle. AnypoolError if it is not such a file, is cut short, or is
    of a newer format; otherwise whatever rebuilding raises.
    """
    if isinstance(file, (str, PathLike)):
        with open(file, "rb") as opened:
            return _load(opened, str(file))
    return _load(file, str(getattr(file, "name", file)))


def _load(file: BinaryIO, name: str) -> Any:
    start = _up_to(file, len(_MAGIC))
    if start != _MAGIC:
        raise AnypoolError(f"{name}: not written by anypool_serialize.dump (it begins with {bytes(start)!r})")
    form, version, count, size = _HEAD.unpack(_read(file, _HEAD.size, name))
    if form != _FORMAT:
        raise AnypoolError(f"{name}: written in format {form}, this version reads {_FORMAT}; update anypool-serialize")
    sizes = struct.unpack(f"<{count}Q", _read(file, 8 * count, name))
    header = _read(file, size, name)
    buffers = [_read(file, each, name) for each in sizes]
    try:
        return loads(header, buffers)
    except Exception as error:
        if version != VERSION:
            error.add_note(f"{name} was written by Python {version // 100}.{version % 100}")
        raise


def _read(file: BinaryIO, size: int, name: str) -> bytearray:
    data = _up_to(file, size)
    if len(data) < size:
        raise AnypoolError(f"{name}: cut short, {size - len(data)} bytes are missing; write it again")
    return data


def _up_to(file: BinaryIO, size: int) -> bytearray:
    """`size` bytes, or what there is: a stream may give less at a time than it is asked for."""
    data = bytearray()
    # In steps: a damaged size must not be allocated before that many bytes have come.
    while len(data) < size and (part := file.read(min(size - len(data), _STEP))):
        data += part
    return data
