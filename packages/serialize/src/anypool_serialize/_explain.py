"""Says which parts of an object do not serialize, why, and how large the others are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._advice import advice_for
from ._careful import CarefulPickler, describe_failure, type_name
from ._pickler import reducers
from ._walk import children, path_to, root_name

if TYPE_CHECKING:
    from collections.abc import Iterator

_WIDTH = 10
_DEPTH = 30
_NODES = 2_000


class Explanation:
    """One object and, below it, those parts that tell something; `str` draws the tree.

    Attributes:
        path: Expression that leads to the object from what was given.
        kind: Name of its type.
        size: Bytes it takes, buffers included; None if it does not serialize.
        reason: Why it does not, for the object that is the cause; else empty.
        copied: Whether a lock or an open file in it arrives as a copy.
        parts: The explanations of what it holds: all that fail or are copied, else the largest. Of more than 2,000
            objects those beyond are not looked at, but for the first that fails if nothing else does.
        omitted: How many parts were left out: smaller, or not looked at.
        unseen: How many of these were not looked at.
    """

    def __init__(self, label: str, path: str, obj: Any) -> None:
        self.label = label
        self.path = path
        self.kind = type_name(obj)
        self.size: int | None = None
        self.reason = ""
        self.copied = False
        self.parts: list[Explanation] = []
        self.omitted = self.unseen = 0

    @property
    def ok(self) -> bool:
        """Whether it serializes, copies included."""
        return self.size is not None

    def __str__(self) -> str:
        return "\n".join(_draw(self, "", ""))

    def __repr__(self) -> str:
        return f"<explanation of {self.path}: {'serializes' if self.ok else 'does not serialize'}>"


# Where users find it.
Explanation.__module__ = "anypool_serialize"


def _draw(node: Explanation, first: str, rest: str) -> Iterator[str]:
    yield f"{first}{node.label}: {node.kind}, {_verdict(node)}"
    for i, part in enumerate(node.parts):
        last = i + 1 == len(node.parts) and not node.omitted
        yield from _draw(part, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))
    if node.omitted:
        yield f"{rest}└─ {node.omitted} more, {f'{node.unseen} of them not looked at' if node.unseen else 'smaller'}"


def _verdict(node: Explanation) -> str:
    if node.size is None:
        return f"does not serialize{': ' + node.reason if node.reason else ''}"
    return _human(node.size) + (", with a copy of a lock or file" if node.copied else "")


def explain(obj: Any) -> Explanation:
    """A tree of what does not serialize in `obj` and why, with paths and sizes; `print` it.

    For reading, not for production: it serializes every part that it shows by itself.
    """
    name = root_name(obj)
    root = Explanation(name, name, obj)
    _examine(root, obj, {id(obj): None}, [obj], 0)
    return root


def _examine(node: Explanation, obj: Any, seen: dict[int, Explanation | None], alive: list[Any], depth: int) -> None:
    failure = _measure(node, obj)
    if depth > _DEPTH or (depth > 0 and node.ok and not node.copied):
        return
    parts = []
    for label, value in children(obj):
        part = Explanation(label, node.path + label, value)
        if id(value) in seen:
            earlier = seen[id(value)]
            if earlier is not None and not earlier.ok:
                part.reason = f"see {earlier.path}"
                parts.append(part)
            continue
        if len(alive) > _NODES:
            node.unseen += 1
            continue
        # None while it is examined. Kept alive, or the id of a state made for the walk would be given to the next one.
        seen[id(value)] = None
        alive.append(value)
        _examine(part, value, seen, alive, depth + 1)
        seen[id(value)] = part
        parts.append(part)
    parts.sort(key=lambda part: (part.ok, not part.copied, -(part.size or 0)))
    telling = sum(not part.ok or part.copied for part in parts)
    node.parts = parts[: max(_WIDTH, telling)]
    node.omitted = len(parts) - len(node.parts) + node.unseen
    if failure is not None and all(part.ok for part in parts):
        culprit = _culprit(node, obj, failure) or node
        if culprit is not node:
            node.parts.insert(0, culprit)
            node.unseen -= 1
            node.omitted -= 1
        culprit.reason = f"{describe_failure(failure)}. {advice_for(getattr(failure, 'obj', obj))}"


def _culprit(node: Explanation, obj: Any, failure: Exception) -> Explanation | None:
    """The part that was refused, if it is one of those that were not looked at."""
    refused = getattr(failure, "obj", obj)
    path = path_to(obj, refused) if node.unseen and refused is not obj else None
    if path is None:
        return None
    label = path.removeprefix(root_name(obj))
    return Explanation(label, node.path + label, refused)


def _measure(node: Explanation, obj: Any) -> Exception | None:
    sizes: list[int] = []
    sink = _Counter(sizes)
    pickler = CarefulPickler(sink, 5, buffer_callback=lambda buffer: sizes.append(buffer.raw().nbytes))
    try:
        pickler.dump(obj)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  reducers are anybody's code
        return error
    finally:
        reducers.forget_passing()
    node.size = sum(sizes)
    node.copied = pickler.opened is not None and bool(pickler.opened.copies)
    return None


class _Counter:
    def __init__(self, sizes: list[int]) -> None:
        self._sizes = sizes

    def write(self, data: bytes) -> None:
        self._sizes.append(memoryview(data).nbytes)


def _human(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size} B"
        size /= 1000
    return f"{size:.3g} GB"
