"""What counts of each kind of object in a digest."""

# ruff: noqa: SLF001  functools has no public name for what lru_cache returns, nor enum for a plain value

from __future__ import annotations

import builtins
import copyreg
import functools
import inspect
import operator
import struct
import sys
import types
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from ._byvalue import referenced_names
from ._errors import Unserializable
from ._own import Source, attributes_of_modules, imports_in, is_own, source_of
from ._pickler import COPIED
from ._where import by_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# They depend on the place in the file, on the process, on use, or on the rest.
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
# What a function of `functools.singledispatch` remembers of its calls.
_CALLS = frozenset({"dispatch_cache", "cache_token", "_clear_cache"})


class Contents(NamedTuple):
    """Objects that stand for another one; their order counts if `ordered`."""

    kind: str
    parts: Iterable[Any]
    ordered: bool = True


class _Entries(list[Any]):
    """Elements without an order."""


class Reader:
    """Takes objects apart, for one digest of `root`, which counts by content wherever it comes from."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._sources: dict[str, Source | None] = {}

    def read(self, obj: Any) -> Contents:
        kind = type(obj)
        reader = _READERS.get(kind)
        if reader is not None:
            return reader(obj)
        if kind is types.FunctionType:
            return self._read_function(obj)
        if issubclass(kind, type):
            return self._read_class(obj)
        if kind is Source:
            return Contents("import", [obj.code, *self._imported(obj.code, obj.package)])
        if kind in COPIED:
            return Contents("state of the process", [kind.__name__])
        return _read_array(obj, kind) or _read_reduction(obj, kind)

    def _read_function(self, func: types.FunctionType) -> Contents:
        if func is not self._root and not is_own(func.__module__) and by_reference(func):
            return _read_name(func)
        code, given = func.__code__, func.__globals__
        cells, attributes = _closure_and_attributes(func)
        parts = [code, func.__defaults__, func.__kwdefaults__, _annotations(func), attributes or None, *cells]
        values = [*(func.__defaults__ or ()), *map(_cell_contents, cells)]
        for name in sorted(referenced_names(code)):
            if name in given:
                parts += ("global", name, given[name])
                values.append(given[name])
        for name, value in attributes_of_modules(code, values):
            parts += ("attribute", name, value)
        return Contents("function", [*parts, *self._imported(code, given.get("__package__") or "")])

    def _imported(self, code: types.CodeType, package: str) -> list[Source]:
        found = []
        for name in imports_in(code, package):
            if name not in self._sources:
                self._sources[name] = source_of(name)
            source = self._sources[name]
            if source is not None:
                found.append(source)
        return found

    def _read_class(self, cls: type) -> Contents:
        # A built-in type may have a name that leads elsewhere, as `function`; it has no content to read.
        if cls is not self._root and not is_own(cls.__module__) and (by_reference(cls) or not _in_python(cls)):
            return _read_name(cls)
        slots = types.MemberDescriptorType
        namespace = {n: v for n, v in vars(cls).items() if n not in _NOT_CONTENT and type(v) is not slots}
        if not namespace.get("__annotations__", True):
            # Python 3.11 makes an empty one when somebody looks.
            del namespace["__annotations__"]
        if "_value2member_map_" in namespace:
            # A flag also keeps the combinations there that were asked for.
            namespace["_value2member_map_"] = [member._value_ for member in namespace["_member_map_"].values()]
        return Contents("class", [cls.__name__, type(cls), cls.__bases__, namespace])


def _in_python(cls: type) -> bool:
    return any(type(value) is types.FunctionType for value in vars(cls).values())


def _annotations(func: types.FunctionType) -> Any:
    # Since Python 3.14 a function computes them, and may fail.
    return getattr(func, "__annotate__", None) or func.__annotations__ or None


def _closure_and_attributes(func: types.FunctionType) -> tuple[tuple[types.CellType, ...], dict[str, Any]]:
    cells, attributes = func.__closure__ or (), func.__dict__
    if func.__globals__ is vars(functools):
        named = zip(func.__code__.co_freevars, cells, strict=True)
        cells = tuple(cell for name, cell in named if name not in _CALLS)
        attributes = {name: value for name, value in attributes.items() if name not in _CALLS}
    return cells, attributes


_EMPTY = object()


def _cell_contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _read_cell(cell: types.CellType) -> Contents:
    value = _cell_contents(cell)
    return Contents("cell", () if value is _EMPTY else (value,))


def _read_code(code: types.CodeType) -> Contents:
    numbers = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    consts = code.co_consts
    if not code.co_flags & inspect.CO_OPTIMIZED:
        # The body of a class stores the number of its first line (Python 3.13).
        consts = tuple(0 if type(c) is int and c == code.co_firstlineno else c for c in consts)
    return Contents("code", [repr((numbers, names)), code.co_code, code.co_exceptiontable, *consts])


def _read_sequence(obj: Any) -> Contents:
    return Contents(type(obj).__name__, obj)


def _read_unordered(obj: Any) -> Contents:
    return Contents(type(obj).__name__, obj, ordered=False)


def _read_mapping(obj: Any) -> Contents:
    kind = type(obj).__name__
    kinds = set(map(type, obj))
    if kinds <= _STR or kinds == _INT:
        return Contents(kind, [part for pair in sorted(obj.items(), key=_first) for part in pair])
    return Contents(kind, list(obj.items()), ordered=False)


_STR, _INT, _first = {str}, {int}, operator.itemgetter(0)


def _read_parts(*names: str) -> Callable[[Any], Contents]:
    return lambda obj: Contents(type(obj).__name__, [getattr(obj, name) for name in names])


def _read_name(obj: Any) -> Contents:
    parts = [f"{getattr(obj, '__module__', '')}.{getattr(obj, '__qualname__', obj.__name__)}"]
    owner = getattr(obj, "__self__", None)
    if owner is not None and type(owner) is not types.ModuleType:
        parts.append(owner)
    return Contents("name", parts)


def _read_lru_cache(obj: Any) -> Contents:
    attributes = {key: value for key, value in vars(obj).items() if key not in _OF_THE_WRAPPER}
    return Contents("lru_cache", [obj.__wrapped__, obj.cache_parameters(), attributes or None])


_OF_THE_WRAPPER = frozenset({*functools.WRAPPER_ASSIGNMENTS, "__wrapped__", "cache_parameters"})


def _read_array(array: Any, kind: type) -> Contents | None:
    numpy, masked = sys.modules.get("numpy"), sys.modules.get("numpy.ma")
    if numpy is None or not isinstance(array, numpy.ndarray):
        return None
    # The constant `masked` is of such a class, and pickles as the one that it is.
    if masked is not None and isinstance(array, masked.MaskedArray) and array is not masked.masked:
        data, mask = masked.getdata(array, subok=False), masked.getmaskarray(array)
        return Contents("masked", [kind, data, mask, array.fill_value])
    if kind.__reduce__ is not numpy.ndarray.__reduce__:
        return None
    dtype = array.dtype
    elements = array.tolist() if dtype.hasobject else array.tobytes()
    # An installed class may keep there what is no content, as the mapping of a `memmap`.
    attributes = getattr(array, "__dict__", None) if is_own(kind.__module__) else None
    return Contents("array", [kind, str(dtype.descr if dtype.names else dtype.str), array.shape, elements, attributes])


def _read_reduction(obj: Any, kind: type) -> Contents:
    registered = copyreg.dispatch_table.get(kind)
    try:
        reduction = registered(obj) if registered else obj.__reduce_ex__(4)
    except Exception as error:
        raise Unserializable(f"a {kind.__qualname__} has no content to compare: {error}") from error
    if isinstance(reduction, str):
        return Contents("name", [f"{getattr(obj, '__module__', '')}.{reduction}"])
    parts: tuple[Any, ...] = (*reduction, None, None, None, None)
    maker, args, state, elements, entries, setter = parts[:6]
    pairs = entries and list(entries)
    if isinstance(obj, (set, frozenset)):
        # Their reduction lists the elements in an order that depends on the hash seed.
        args = _Entries(obj)
    if isinstance(obj, dict) and not isinstance(obj, OrderedDict):
        pairs = _Entries(pairs or ())
    return Contents("object", [kind, maker, args, state, elements and list(elements), pairs, setter])


_READERS: dict[type, Callable[[Any], Contents]] = {
    list: _read_sequence,
    tuple: _read_sequence,
    set: _read_unordered,
    frozenset: _read_unordered,
    _Entries: _read_unordered,
    dict: _read_mapping,
    types.MappingProxyType: _read_mapping,
    types.CodeType: _read_code,
    types.CellType: _read_cell,
    types.MethodType: _read_parts("__func__", "__self__"),
    types.GenericAlias: _read_parts("__origin__", "__args__"),
    types.UnionType: _read_parts("__args__"),
    types.ModuleType: _read_parts("__name__"),
    types.BuiltinFunctionType: _read_name,
    types.MethodDescriptorType: _read_name,
    types.WrapperDescriptorType: _read_name,
    types.GetSetDescriptorType: _read_name,
    types.MemberDescriptorType: _read_name,
    functools._lru_cache_wrapper: _read_lru_cache,
    weakref.ReferenceType: lambda obj: Contents("weak", [obj()]),
    property: _read_parts("fget", "fset", "fdel"),
    staticmethod: _read_parts("__func__"),
    classmethod: _read_parts("__func__"),
}

ATOMS: dict[type, Callable[[Any], bytes]] = {
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

# Met so often that reading them as classes would show.
BUILT_IN = frozenset(value for value in vars(builtins).values() if type(value) is type)
