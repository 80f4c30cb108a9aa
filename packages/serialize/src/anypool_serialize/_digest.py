"""Identity of functions by content: the same over runs, processes and hash seeds."""

# ruff: noqa: SLF001  functools has no public name for what lru_cache returns

from __future__ import annotations

import copyreg
import functools
import hashlib
import inspect
import struct
import sys
import sysconfig
import types
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ._byvalue import referenced_names
from ._errors import Unserializable
from ._pickler import COPIED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CODE_PARTS = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_code",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_exceptiontable",
)

# They depend on the place in the file, on the process, or on the rest.
_NOT_CONTENT = frozenset(
    {
        "__dict__",
        "__weakref__",
        "__module__",
        "__firstlineno__",
        "__static_attributes__",
        "_abc_impl",
        "__annotations_cache__",
    }
)


def digest(obj: Any) -> str:
    """32 hexadecimal digits that stand for a function (or any object) by content.

    Covers code, constants, defaults, closure, attributes and referenced globals, followed through
    functions and classes of your own modules; what is installed (standard library, site-packages)
    counts by name.
    Line numbers, file names, and the order of sets and dicts do not matter. Stable for one Python minor
    version. Raises
    Unserializable for what has no content to compare, such as a socket.
    """
    hasher = _Hasher({}, obj)
    hasher.feed(obj)
    return hasher.hexdigest()


class _Hasher:
    def __init__(self, unordered: dict[int, Any], root: object = None) -> None:
        # What was asked for counts by content wherever it comes from.
        self._root = root
        self._hash = hashlib.blake2b(digest_size=16)
        # Objects met before are named by their number: cycles end, shared helpers are read once.
        self._numbers: dict[int, tuple[int, Any]] = {}
        self._open: set[int] = set()
        # Sets and dicts being sorted at this moment, further up too: their elements are hashed on their own.
        self._unordered = unordered

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def tag(self, name: str, data: bytes = b"") -> None:
        encoded = name.encode("utf-8", "surrogatepass")
        self._hash.update(struct.pack("<QQ", len(encoded), len(data)) + encoded)
        self._hash.update(data)

    def feed(self, obj: Any) -> None:
        kind = type(obj)
        atom = _ATOMS.get(kind)
        if atom is not None:
            self.tag(kind.__name__, atom(obj))
        elif kind in (list, tuple):
            self._feed_sequence(obj, kind.__name__)
        elif kind in (set, frozenset):
            self._feed_unordered(obj, "set", ((element,) for element in obj))
        elif kind in (dict, types.MappingProxyType):
            self._feed_unordered(obj, "dict", obj.items())
        elif id(obj) in self._numbers:
            self.tag("again", str(self._numbers[id(obj)][0]).encode())
        else:
            self._numbers[id(obj)] = (len(self._numbers), obj)
            self._feed_object(obj, kind)

    def _feed_sequence(self, obj: Any, name: str) -> None:
        if id(obj) in self._open:
            self.tag("cycle")
            return
        self._open.add(id(obj))
        self.tag(name, str(len(obj)).encode())
        for element in obj:
            self.feed(element)
        self._open.discard(id(obj))

    def _feed_unordered(self, obj: Any, name: str, entries: Iterable[tuple[Any, ...]]) -> None:
        if id(obj) in self._unordered or id(obj) in self._open:
            self.tag("cycle")
            return
        self._unordered[id(obj)] = obj
        keyed = sorted(((self._alone(entry[0]), entry[1:]) for entry in entries), key=lambda pair: pair[0])
        del self._unordered[id(obj)]
        self.tag(name, str(len(keyed)).encode())
        self._open.add(id(obj))
        for key, rest in keyed:
            self.tag("key", key.encode())
            for value in rest:
                self.feed(value)
        self._open.discard(id(obj))

    def _alone(self, obj: Any) -> str:
        hasher = _Hasher(self._unordered)
        hasher.feed(obj)
        return hasher.hexdigest()

    def _feed_object(self, obj: Any, kind: type) -> None:
        reader = _READERS.get(kind)
        if reader is not None:
            reader(self, obj)
        elif issubclass(kind, type):
            self._feed_class(obj)
        elif _is_array(obj):
            self._feed_array(obj)
        elif kind in COPIED:
            self.tag("state of the process", kind.__name__.encode())
        else:
            self._feed_reduction(obj, kind)

    def feed_function(self, func: types.FunctionType) -> None:
        if func is not self._root and _is_installed(func.__module__):
            self.tag("name", f"{func.__module__}.{func.__qualname__}".encode())
            return
        self.tag("function")
        self.feed(func.__code__)
        self.feed((func.__defaults__, func.__kwdefaults__))
        self.feed({key: value for key, value in func.__dict__.items() if key != "__wrapped__"})
        for cell in func.__closure__ or ():
            self.feed(cell)
        names = {name for code in _codes(func.__code__) for name in code.co_names}
        for name in sorted(referenced_names(func.__code__)):
            if name in func.__globals__:
                self.tag("global", name.encode())
                self._feed_global(func.__globals__[name], names)

    def _feed_global(self, value: Any, names: set[str]) -> None:
        self.feed(value)
        if type(value) is types.ModuleType and not _is_installed(value.__name__):
            for name in sorted(names & vars(value).keys()):
                self.tag("attribute", name.encode())
                self.feed(vars(value)[name])

    def _feed_class(self, cls: type) -> None:
        if cls is not self._root and _is_installed(cls.__module__):
            self.tag("name", f"{cls.__module__}.{cls.__qualname__}".encode())
            return
        self.tag("class", cls.__name__.encode())
        self.feed(cls.__bases__)
        slots = types.MemberDescriptorType
        self.feed({n: v for n, v in vars(cls).items() if n not in _NOT_CONTENT and type(v) is not slots})

    def _feed_array(self, array: Any) -> None:
        self.tag("array", f"{array.dtype.descr if array.dtype.names else array.dtype.str}{array.shape}".encode())
        if array.dtype.hasobject:
            self.feed(array.tolist())
        else:
            self.tag("bytes", array.tobytes())

    def _feed_reduction(self, obj: Any, kind: type) -> None:
        registered = copyreg.dispatch_table.get(kind)
        try:
            reduction = registered(obj) if registered else obj.__reduce_ex__(4)
        except Exception as error:
            raise Unserializable(f"a {kind.__qualname__} has no content to compare: {error}") from error
        if isinstance(reduction, str):
            self.tag("name", f"{getattr(obj, '__module__', '')}.{reduction}".encode())
            return
        self.tag("object")
        self.feed(kind)
        parts: tuple[Any, ...] = (*reduction, None, None, None)
        maker, args, state, elements, entries = parts[:5]
        if isinstance(obj, (set, frozenset)):
            # Their reduction lists the elements in an order that depends on the hash seed.
            self._feed_unordered(obj, "set", ((element,) for element in obj))
            args = ()
        self.feed((maker, args, state))
        self.feed(list(elements or ()))
        pairs = list(entries or ())
        if isinstance(obj, dict) and not isinstance(obj, OrderedDict):
            self._feed_unordered(pairs, "dict", pairs)
        else:
            self.feed(pairs)


def _codes(code: types.CodeType) -> list[types.CodeType]:
    return [
        code,
        *(inner for const in code.co_consts if type(const) is types.CodeType for inner in _codes(const)),
    ]


def _read_code(hasher: _Hasher, code: types.CodeType) -> None:
    hasher.tag("code")
    for name in _CODE_PARTS:
        hasher.feed(getattr(code, name))
    consts = code.co_consts
    if not code.co_flags & inspect.CO_OPTIMIZED:
        # The body of a class stores the number of its first line (Python 3.13).
        consts = tuple(0 if type(c) is int and c == code.co_firstlineno else c for c in consts)
    hasher.feed(consts)


def _read_cell(hasher: _Hasher, cell: types.CellType) -> None:
    try:
        value = cell.cell_contents
    except ValueError:
        hasher.tag("empty cell")
    else:
        hasher.tag("cell")
        hasher.feed(value)


def _read_parts(*names: str) -> Callable[[_Hasher, Any], None]:
    def read(hasher: _Hasher, obj: Any) -> None:
        hasher.tag(type(obj).__name__)
        for name in names:
            hasher.feed(getattr(obj, name))

    return read


def _read_name(hasher: _Hasher, obj: Any) -> None:
    hasher.tag("name", f"{getattr(obj, '__module__', '')}.{getattr(obj, '__qualname__', obj.__name__)}".encode())
    owner = getattr(obj, "__self__", None)
    if owner is not None and type(owner) is not types.ModuleType:
        hasher.feed(owner)


def _read_weak(hasher: _Hasher, obj: Any) -> None:
    hasher.tag("weak")
    hasher.feed(obj())


def _read_module(hasher: _Hasher, module: types.ModuleType) -> None:
    hasher.tag("module", module.__name__.encode())


_READERS: dict[type, Callable[[_Hasher, Any], None]] = {
    types.FunctionType: _Hasher.feed_function,
    types.CodeType: _read_code,
    types.CellType: _read_cell,
    types.MethodType: _read_parts("__func__", "__self__"),
    types.ModuleType: _read_module,
    types.BuiltinFunctionType: _read_name,
    types.MethodDescriptorType: _read_name,
    types.WrapperDescriptorType: _read_name,
    types.GetSetDescriptorType: _read_name,
    types.MemberDescriptorType: _read_name,
    functools._lru_cache_wrapper: _read_parts("__wrapped__"),
    weakref.ReferenceType: _read_weak,
    property: _read_parts("fget", "fset", "fdel"),
    staticmethod: _read_parts("__func__"),
    classmethod: _read_parts("__func__"),
}

_ATOMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda _: b"",
    type(...): lambda _: b"",
    type(NotImplemented): lambda _: b"",
    bool: lambda value: b"1" if value else b"0",
    int: lambda value: f"{value:x}".encode(),
    float: lambda value: struct.pack("<d", value),
    complex: lambda value: struct.pack("<dd", value.real, value.imag),
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: bytes,
    bytearray: bytes,
    range: lambda value: repr(value).encode(),
}


def _is_array(obj: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(obj, numpy.ndarray)


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_installed(name: str | None) -> bool:
    """Whether a module comes with Python or a package: such code counts by name."""
    module = sys.modules.get(name or "")
    if module is None or name in ("__main__", "__mp_main__"):
        return False
    file = getattr(module, "__file__", None)
    return file is None or file.startswith(_installed_folders())
