"""Functions, classes and their parts by value, with cloudpickle's reducers where it has them.

Imported when the first such object is met; importing cloudpickle takes some 20 ms.
"""

# ruff: noqa: ARG001  every reducer is called with the pickler, though few need it
# ruff: noqa: SLF001  the reducers of cloudpickle have private names; a test checks that they are there

from __future__ import annotations

import builtins
import copyreg
import dis
import sys
import types
import weakref
from typing import TYPE_CHECKING, Any

import cloudpickle.cloudpickle as _cloudpickle

from . import _rebuild
from ._enums import reduce_enum
from ._message import CellShell, MessagePickler, Refused
from ._tracking import identify
from ._where import by_reference, compiled, importable

if TYPE_CHECKING:
    from ._message import Reduction

_EMPTY = object()
# Its place among the arguments of a code object.
_FILENAME = 10
_OF_THE_MODULE = ("__package__", "__name__", "__path__", "__file__")


def reduce_function(pickler: MessagePickler, func: types.FunctionType) -> Reduction:
    code = func.__code__
    referenced, submodules = _namespace(func)
    shells = None
    filled: list[tuple[CellShell, Any]] = []
    if func.__closure__ is not None:
        shells = tuple(_shell(pickler, cell, filled) for cell in func.__closure__)
        submodules += _submodules(code, [value for _, value in filled])
    state = (
        func.__dict__ or None,
        referenced or None,
        filled or None,
        _slots(func) or None,
        submodules or None,
    )
    args = (code, _shared_namespace(pickler, func), func.__name__, shells)
    return _rebuild.function, args, state, None, None, _rebuild.set_function


def _shared_namespace(pickler: MessagePickler, func: types.FunctionType) -> dict[str, Any]:
    key = id(func.__globals__)
    shared = pickler.message.namespaces.get(key)
    if shared is None:
        given = func.__globals__
        shared = pickler.message.namespaces[key] = {name: given[name] for name in _OF_THE_MODULE if name in given}
    return shared


def _namespace(func: types.FunctionType) -> tuple[dict[str, Any], list[types.ModuleType]]:
    given = func.__globals__
    referenced = {name: given[name] for name in referenced_names(func.__code__) if name in given}
    return referenced, _submodules(func.__code__, list(referenced.values()))


def referenced_names(code: types.CodeType) -> dict[str, None]:
    """Global names that `code` and the code inside it read or write, in a stable order."""
    names = _names_of.get(code)
    if names is None:
        every = (instruction for inner in (code, *inner_codes(code)) for instruction in dis.get_instructions(inner))
        names = _names_of[code] = {step.argval: None for step in every if step.opname in _OF_GLOBALS}
    return names


_names_of: weakref.WeakKeyDictionary[types.CodeType, dict[str, None]] = weakref.WeakKeyDictionary()
# The body of a class reads globals by the instruction that also reads its own names.
_OF_GLOBALS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def inner_codes(code: types.CodeType) -> list[types.CodeType]:
    found = []
    for const in code.co_consts:
        if type(const) is types.CodeType:
            found += [const, *inner_codes(const)]
    return found


def _submodules(code: types.CodeType, values: list[Any]) -> list[types.ModuleType]:
    """Submodules that `code` reaches through the packages in `values`: the far side must import them."""
    packages = [value for value in values if type(value) is types.ModuleType and hasattr(value, "__path__")]
    if not packages:
        return []
    names = {name for inner in (code, *inner_codes(code)) for name in inner.co_names}
    found = []
    open_ends = [package.__name__ for package in packages]
    while open_ends:
        prefix = open_ends.pop()
        for name in names:
            full = f"{prefix}.{name}"
            module = sys.modules.get(full)
            if type(module) is types.ModuleType and importable(full):
                found.append(module)
                open_ends.append(full)
    return found


def _shell(pickler: MessagePickler, cell: types.CellType, filled: list[tuple[CellShell, Any]]) -> CellShell:
    entry = pickler.message.cells.get(id(cell))
    if entry is None:
        shell = CellShell()
        pickler.message.cells[id(cell)] = (shell, cell)
        value = _contents(cell)
        if value is not _EMPTY:
            filled.append((shell, value))
        return shell
    return entry[0]


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


def _slots(func: types.FunctionType) -> dict[str, Any]:
    code = func.__code__
    slots: dict[str, Any] = {}
    if func.__qualname__ != code.co_qualname or func.__name__ != code.co_name:
        slots["__qualname__"] = func.__qualname__
    if func.__module__ != func.__globals__.get("__name__"):
        slots["__module__"] = func.__module__
    for name in ("__defaults__", "__kwdefaults__", "__annotations__", "__type_params__"):
        value = getattr(func, name, None)
        if value:
            slots[name] = value
    if func.__doc__ != _documented(code):
        slots["__doc__"] = func.__doc__
    return slots


def _documented(code: types.CodeType) -> str | None:
    first = code.co_consts[0] if code.co_consts else None
    return first if type(first) is str else None


def reduce_cell(pickler: MessagePickler, cell: types.CellType) -> Reduction:
    filled: list[tuple[CellShell, Any]] = []
    shell = _shell(pickler, cell, filled)
    if not filled:
        return _rebuild.same, (shell,)
    return _rebuild.same, (shell,), (filled[0][1],), None, None, _rebuild.set_cell


def reduce_code(pickler: MessagePickler, code: types.CodeType) -> Reduction:
    _, args = _cloudpickle._code_reduce(code)
    # Newer ones leave out where the code is from, which a traceback shows with the line.
    args = (*args[:_FILENAME], "".join(code.co_filename), *args[_FILENAME + 1 :])
    return _rebuild.code, (_rebuild.VERSION, args)


def reduce_class(pickler: MessagePickler, cls: type) -> Reduction:
    compiled_type = bool(cls.__flags__ & _IMMUTABLE or not cls.__flags__ & _HEAP_TYPE)
    known = _builtin_name(cls) or _other_name(cls, compiled_type)
    if known is not None:
        return _rebuild.named_type, known
    if compiled_type:
        raise Refused(cls, f"the built-in type {cls.__name__!r} cannot be imported by its name")
    track = identify(cls)
    enum = sys.modules.get("enum")
    if enum is not None and isinstance(cls, enum.EnumMeta):
        return reduce_enum(cls, track)
    attributes, _ = _cloudpickle._class_getstate(cls)
    namespace: dict[str, Any] = {"__qualname__": cls.__qualname__}
    own = vars(cls)
    if isinstance(own.get("__dict__"), property):
        namespace["__dict__"] = own["__dict__"]
    # `__orig_bases__` at creation, or a generic class is refused for its plain base.
    for name in ("__module__", "__slots__", "__orig_bases__"):
        if name in own:
            namespace[name] = own[name]
            attributes.pop(name, None)
    for name, value in list(attributes.items()):
        if type(value) is types.MemberDescriptorType and value.__objclass__ is cls:
            del attributes[name]
    # A typed dict has no base but dict; its metaclass accepts only what was written.
    typed_dict = type(cls).__name__ == "_TypedDictMeta"
    # Python 3.11 notes no bases for one whose only base is another.
    maker: Any = sys.modules[type(cls).__module__]
    bases = namespace.pop("__orig_bases__", None) or (maker.TypedDict,) if typed_dict else cls.__bases__
    args = (track, type(cls), cls.__name__, bases, namespace)
    return _rebuild.class_, args, (attributes, None), None, None, _rebuild.set_class


_IMMUTABLE = 1 << 8
_HEAP_TYPE = 1 << 9


def _builtin_name(cls: type) -> tuple[str, str] | None:
    if not _builtin_names:
        import _collections_abc

        # The first of them calls itself by another name.
        for module, source in (
            ("_collections_abc", _collections_abc),
            ("types", types),
            ("builtins", builtins),
        ):
            for name, value in vars(source).items():
                if type(value) is type and value.__module__ == "builtins":
                    _builtin_names[value] = (module, name)
    return _builtin_names.get(cls) if type(cls) is type else None


_builtin_names: dict[type, tuple[str, str]] = {}


def _other_name(cls: type, compiled_type: bool) -> tuple[str, str] | None:
    """Where an importable module has `cls` under a name that is not its own, as `_thread.LockType`.

    Only for what was compiled: a global of a module written in Python may have been set while it ran, and be
    another class on the far side.
    """
    module = sys.modules.get(cls.__module__)
    if module is None or not importable(cls.__module__) or not (compiled_type or compiled(module)):
        return None
    return next(((cls.__module__, name) for name, value in list(vars(module).items()) if value is cls), None)


def reduce_super(pickler: MessagePickler, obj: Any) -> Reduction:
    if obj.__self__ is None:
        return super, (obj.__thisclass__,)
    return super, (obj.__thisclass__, obj.__self__)


def reduce_by_cloudpickle(pickler: MessagePickler, obj: Any) -> Reduction:
    registered = copyreg.dispatch_table.get(type(obj))
    return registered(obj) if registered else _cloudpickle.Pickler._dispatch_table[type(obj)](obj)


def reduce_weakref(pickler: MessagePickler, obj: Any) -> Reduction:
    return _rebuild.weak, (obj(),)


def reduce_proxy(pickler: MessagePickler, obj: Any) -> Reduction:
    """A proxy gives no way to what it stands for, but the methods that it looks up there do."""
    try:
        owner = obj.__mro__[0] if issubclass(obj.__class__, type) else obj.__reduce_ex__.__self__
    except ReferenceError:
        owner = None
    return _rebuild.weak_proxy, (owner,)


def reduce_lru_cache(pickler: MessagePickler, obj: Any) -> Reduction:
    if by_reference(obj):
        return NotImplemented
    settings = obj.cache_parameters()
    state = {key: value for key, value in vars(obj).items() if key not in ("__wrapped__", "cache_parameters")}
    return _rebuild.lru_cache, (obj.__wrapped__, settings["maxsize"], settings["typed"]), state or None


def reduce_temporary_file(pickler: MessagePickler, obj: Any) -> Reduction:
    # A copy that deleted the file when it is dropped would take it from its owner.
    return type(obj), (obj.file, obj.name, False)


def reduce_cached_property(pickler: MessagePickler, obj: Any) -> Reduction:
    # Without the lock that it has before Python 3.12: it guards nothing that is sent.
    state = {key: value for key, value in vars(obj).items() if key not in ("func", "lock")}
    return type(obj), (obj.func,), state


def reduce_sentinel(pickler: MessagePickler, obj: Any) -> Reduction:
    """A constant of `dataclasses` that is compared with `is`: by its name."""
    import dataclasses

    return next((name for name, value in vars(dataclasses).items() if value is obj), NotImplemented)
