"""Identity of functions by content: the same over runs, processes and hash seeds."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from ._contents import ATOMS, BUILT_IN, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG = 4096  # bytes
_PART = b"part:16:"


def digest(obj: Any) -> str:
    """32 hexadecimal digits that stand for a function (or any object) by content.

    Covers code, constants, defaults, annotations, closure, attributes and referenced globals, followed
    through functions and classes of your own modules, and through these modules where the code names their
    attributes, as in ``pkg.sub.g()``. Own modules imported inside a function count as a whole and as their
    files are now: they are not imported to find out. What an import of the standard library or of
    site-packages finds counts by name; what these made for you, such as a closure, by content.

    What an object holds counts as it is now, with what it has cached. These do not count: line numbers and
    file names; the names of functions; the order of sets and dicts; whether two equal parts are one object;
    what a lock, an open file or the cache of `functools.lru_cache` holds; classes registered with an ABC; the
    contents of a module that is only passed around, as in ``{"a": module}``; what changes in an object that
    pickles by its name. Names put together at run time, as for `getattr` and `import_module`, are not followed.

    Each object is read once. Only a long chain of objects that are alike and refer both ways takes the square of
    its length: seconds for a thousand.

    Stable for one Python minor version. Raises Unserializable for what has no content to compare, such as a
    generator.
    """
    part = _Graph(obj).part(obj)
    if isinstance(part, bytes):
        return _hash(part).hex()
    _settle_all(part)
    return part.digest.hex()


class _Graph:
    """What is within reach of an object: one node for each other object, made when it is met."""

    def __init__(self, root: object) -> None:
        self.reader = Reader(root)
        self._nodes: dict[int, _Node] = {}

    def part(self, obj: Any) -> bytes | _Node:
        kind = type(obj)
        atom = ATOMS.get(kind)
        if atom is not None:
            return _framed(kind.__name__, atom(obj))
        if kind is type and obj in BUILT_IN:
            return _framed("built-in", obj.__name__.encode())
        node = self._nodes.get(id(obj))
        if node is None:
            node = self._nodes[id(obj)] = _Node(self, obj)
        return node


class _Node:
    """An object as the bytes and the other nodes that its content consists of."""

    __slots__ = ("children", "digest", "graph", "ordered", "parts", "place", "subject")

    parts: list[bytes | _Node]
    children: list[_Node]

    def __init__(self, graph: _Graph, subject: object) -> None:
        self.graph = graph
        # Kept alive, or its id would be given to another one.
        self.subject = subject
        self.place = -1
        self.digest = b""

    def expand(self) -> None:
        name, contents, self.ordered = self.graph.reader.read(self.subject)
        self.parts = [*map(self.graph.part, contents), _framed("kind", name.encode())]
        self.children = [part for part in self.parts if isinstance(part, _Node)]

    def hash(self) -> bytes:
        parts = [part if isinstance(part, bytes) else _PART + part.digest for part in self.parts]
        return _hash(b"".join(parts if self.ordered else sorted(parts)))

    def settle(self, digest: bytes) -> None:
        self.digest = digest
        # The parts of large lists are larger than the lists.
        self.parts, self.children = [], []


def _settle_all(root: _Node) -> None:
    """Give a digest to `root` and all below it, by strongly connected components (Gabow's algorithm).

    Not recursive: a chain of objects may be longer than the stack is deep.
    """
    path: list[_Node] = []
    boundaries: list[int] = []
    work: list[tuple[_Node, Iterator[_Node]]] = []

    def enter(node: _Node) -> None:
        node.place = len(path)
        path.append(node)
        boundaries.append(node.place)
        work.append((node, iter(node.children)))

    root.expand()
    enter(root)
    while work:
        node, children = work[-1]
        for child in children:
            if child.place < 0:
                child.expand()
                if child.children:
                    enter(child)
                    break
                child.place = 0
                child.settle(child.hash())
            if not child.digest:
                while boundaries[-1] > child.place:
                    boundaries.pop()
        else:
            work.pop()
            if boundaries[-1] == node.place:
                boundaries.pop()
                _settle(path[node.place :])
                del path[node.place :]


def _settle(component: list[_Node]) -> None:
    """Give a digest to nodes that reach each other, and nothing else without one."""
    if len(component) == 1 and component[0] not in component[0].children:
        component[0].settle(component[0].hash())
        return
    # In a cycle a node is known by what it looks like from ever further away, until no more can be told apart:
    # that depends neither on where the cycle was entered nor on the order of a set in it.
    kinds, known = 0, 1
    while kinds != known:
        kinds = known
        views = [node.hash() for node in component]
        for node, view in zip(component, views, strict=True):
            node.digest = view
        known = len(set(views))
    whole = b"".join(sorted({node.digest for node in component}))
    for node in component:
        node.settle(_hash(node.digest + whole))


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _framed(name: str, data: bytes) -> bytes:
    if len(data) > _LONG:
        name, data = f"long {name}", _hash(data)
    return f"{name}:{len(data)}:".encode() + data
