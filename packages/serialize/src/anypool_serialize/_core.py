"""Objects to frames and back."""

from __future__ import annotations

from _pickle import loads as _loads

from ._errors import CopiedState, TooLarge
from ._pickler import Pickler
from ._write import IN_BAND, Frames, write

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def dumps(
    obj: object, *, strict: bool = False, oob: int = 65536, names: tuple[str, ...] = (), most: int | None = None
) -> Frames:
    """Serialize `obj`: data as pickle does, functions and classes the far side cannot import by value.

    Buffers of at least `oob` bytes (numpy arrays, anything with pickle 5 buffers; `bytes` are not among
    them) stay outside the header. A lock arrives as a new one, an open file as a copy, with a `CopiedState`
    warning the first time that this process sends it; `strict` refuses them. Raises Unserializable with the path to the
    culprit; when `obj` is a tuple, `names` says how its elements are called in that path. Raises TooLarge once it has
    written more than `most` bytes, buffers included. Less than 2 µs for a few numbers, 15 µs for a lambda.
    """
    if type(oob) is not int:
        oob = _whole(oob)
    try:
        frames, copies = write(Pickler, obj, strict, oob, most)
    except (MemoryError, CopiedState, TooLarge):
        raise
    except Exception as error:  # noqa: BLE001  reducers are anybody's code
        from ._careful import dumps_carefully

        frames, copies = dumps_carefully(obj, strict, oob, names, most, error)
    if copies:
        from ._careful import warn_of_copies

        warn_of_copies(obj, copies, names)
    return frames


def _whole(oob: object) -> int:
    from operator import index

    try:
        return index(oob)  # type: ignore[arg-type]  # what has no index is refused
    except TypeError:
        raise TypeError(f"oob is a number of bytes, got {oob!r}") from None


def loads(frames: Frames | bytes | bytearray | memoryview, buffers: Iterable[Any] = ()) -> Any:
    """The object again, from `Frames`, or from a header and its buffers in their order.

    Arrays are built on the buffers given, without a copy, so they are writable if the buffers are.
    Raises whatever rebuilding raises (ImportError for a missing module, say).
    """
    if isinstance(frames, Frames):
        return _loads(frames[0], buffers=frames[1])
    return _loads(frames, buffers=buffers)


def copy(obj: Any, *, strict: bool = False) -> Any:
    """What the far side would get: `loads(dumps(obj))` with every buffer copied."""
    return _loads(dumps(obj, strict=strict, oob=IN_BAND)[0])


def pickles(obj: object, *, strict: bool = False) -> bool:
    """Whether `obj` survives a round trip in this process; `check` asks a fresh interpreter instead.

    It does not warn of copies: the warning is for who sends.
    """
    from ._careful import CarefulPickler

    try:
        try:
            frames, _ = write(Pickler, obj, strict, IN_BAND)
        except Exception:  # noqa: BLE001  reducers are anybody's code
            frames, _ = write(CarefulPickler, obj, strict, IN_BAND)
        _loads(frames[0])
    except Exception:  # noqa: BLE001  whatever it raises, it does not survive
        return False
    return True
