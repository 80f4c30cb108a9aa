"""The pickler: the standard C one, asked about functions, classes and modules only; data stays at C speed."""

# ruff: noqa: ARG001  every reducer is called with the pickler, though few need it

from __future__ import annotations

import _io
import _thread
import copyreg
import sys
import types

from . import _rebuild
from ._message import CellShell, MessagePickler, Refused
from ._where import by_reference, importable

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._message import Reducer, Reduction


class Pickler(MessagePickler):
    """One message."""

    def reducer_override(self, obj: Any) -> Reduction:
        reducer = reducers[type(obj)]
        if reducer is None:
            return NotImplemented
        return reducer(self, obj)


class _Reducers(dict["type", "Reducer | None"]):
    """Reducer by type; None leaves the object to pickle. Types without an entry are judged once."""

    limit = 2048

    def __init__(self, fixed: dict[type, Reducer | None]) -> None:
        super().__init__(fixed)
        self.passing: list[type] = []

    def __missing__(self, kind: type) -> Reducer | None:
        if len(self) >= self.limit:
            self._forget(list(self))
        reducer = self[kind] = _judge(kind)
        if not by_reference(kind):
            self.passing.append(kind)
        return reducer

    def forget_passing(self) -> None:
        """Drop dynamic classes: neither they nor what their methods hold may be kept alive from here."""
        passing, self.passing = self.passing, []
        self._forget(passing)

    def _forget(self, kinds: list[type]) -> None:
        # Other threads are reading: what is fixed must be there at every moment.
        for kind in kinds:
            if kind not in _FIXED:
                self.pop(kind, None)


def _judge(kind: type) -> Reducer | None:
    if issubclass(kind, type):
        return _reduce_class
    if issubclass(kind, BaseException):
        return _reduce_exception if _made_its_own_way(kind) else None
    if issubclass(kind, _DESCRIPTORS) and not _told_pickle_how(kind):
        return _reduce_descriptor
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name in _CONNECTIONS:
        return _refuse_connection
    if name not in _LATE:
        return None
    from importlib import import_module

    room, reducer = _LATE[name]
    found: Reducer = getattr(import_module(f".{room}", __package__), reducer)
    return found


_CONNECTIONS = frozenset({"multiprocessing.connection.Connection", "multiprocess.connection.Connection"})

# Types of modules that are not imported for their sake.
_LATE = {
    "typing.TypeVar": ("_typeparams", "reduce_parameter"),
    "typing.ParamSpec": ("_typeparams", "reduce_parameter"),
    "typing.TypeVarTuple": ("_typeparams", "reduce_parameter"),
    "typing.NewType": ("_typeparams", "reduce_new_type"),
    "typing.TypeAliasType": ("_typeparams", "reduce_alias"),
    "dataclasses._MISSING_TYPE": ("_byvalue", "reduce_sentinel"),
    "dataclasses._KW_ONLY_TYPE": ("_byvalue", "reduce_sentinel"),
    "dataclasses._HAS_DEFAULT_FACTORY_CLASS": ("_byvalue", "reduce_sentinel"),
    "dataclasses._FIELD_BASE": ("_byvalue", "reduce_sentinel"),
    "functools._lru_cache_wrapper": ("_byvalue", "reduce_lru_cache"),
    "functools.cached_property": ("_byvalue", "reduce_cached_property"),
    "numpy.memmap": ("_mapped", "reduce_memmap"),
    "tempfile._TemporaryFileWrapper": ("_byvalue", "reduce_temporary_file"),
    "tempfile._TemporaryFileCloser": ("_byvalue", "reduce_temporary_file"),
    "weakref.ReferenceType": ("_byvalue", "reduce_weakref"),
    "weakref.ProxyType": ("_byvalue", "reduce_proxy"),
    "weakref.CallableProxyType": ("_byvalue", "reduce_proxy"),
    "_weakrefset.WeakSet": ("_byvalue", "reduce_by_cloudpickle"),
}


def _reduce_class(pickler: MessagePickler, cls: type) -> Reduction:
    # Somebody may have told pickle how to find the classes of a metaclass.
    if by_reference(cls) or type(cls) in copyreg.dispatch_table:
        return NotImplemented
    from . import _byvalue

    return _byvalue.reduce_class(pickler, cls)


def _made_its_own_way(kind: type) -> bool:
    """Whether an exception's class may take other arguments than its `args`, and has not told pickle how."""
    names = ("__init__", "__new__", "__reduce__", "__reduce_ex__")
    init, new, *reduce = [type(getattr(kind, name)) is types.FunctionType for name in names]
    return (init or new) and not any(reduce)


def _told_pickle_how(kind: Any) -> bool:
    own: bool = kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__
    return own or kind in copyreg.dispatch_table


_DESCRIPTORS = (property, staticmethod, classmethod)


def _reduce_descriptor(pickler: MessagePickler, obj: Any) -> Reduction:
    base = next(base for base in _DESCRIPTORS if isinstance(obj, base))
    args = (obj.fget, obj.fset, obj.fdel, obj.__doc__) if base is property else (obj.__func__,)
    return _rebuild.descriptor, (type(obj), base, args), obj.__getstate__()


def _reduce_exception(pickler: MessagePickler, error: BaseException) -> Reduction:
    if type(error) in copyreg.dispatch_table:
        return NotImplemented
    reduction = error.__reduce_ex__(5)
    if not isinstance(reduction, tuple) or reduction[0] is not type(error):
        return NotImplemented
    return _rebuild.exception, reduction[:2], *reduction[2:]


def _reduce_function(pickler: MessagePickler, func: types.FunctionType) -> Reduction:
    if by_reference(func):
        return NotImplemented
    from . import _byvalue

    return _byvalue.reduce_function(pickler, func)


def _reduce_method(pickler: MessagePickler, method: types.MethodType) -> Reduction:
    owner, func = method.__self__, method.__func__
    try:
        found = getattr(owner, func.__name__)
        by_name = found.__func__ is func and found.__self__ is owner
    except Exception:  # noqa: BLE001  an attribute lookup may run anything
        by_name = False
    return NotImplemented if by_name else (types.MethodType, (func, owner))


def _reduce_module(pickler: MessagePickler, module: types.ModuleType) -> Reduction:
    name = module.__name__
    if sys.modules.get(name) is module and (importable(name) or name == "__main__"):
        return _rebuild.module, (name,)
    state = {key: value for key, value in vars(module).items() if key not in _OF_THE_IMPORT}
    return _rebuild.new_module, (name,), state, None, None, _rebuild.set_module


_OF_THE_IMPORT = frozenset({"__builtins__", "__loader__", "__spec__", "__cached__"})


def _refuse_connection(pickler: MessagePickler, connection: Any) -> Reduction:
    # Its state is the number of a descriptor, which there names one of the receiver's own.
    raise Refused(connection, "it is an open pipe of this process")


def _reduce_shell(pickler: MessagePickler, shell: CellShell) -> Reduction:
    return _rebuild.cell, ()


def _reduce_view(pickler: MessagePickler, view: memoryview) -> Reduction:
    if view.format != "B" or not view.nbytes:
        _check_view(view)
    if view.c_contiguous and view.ndim:
        from _pickle import PickleBuffer

        return _rebuild.view, (PickleBuffer(view), view.format, view.shape)
    return _rebuild.view, (view.tobytes(), view.format, view.shape)


def _check_view(view: memoryview) -> None:
    """Bytes are cast to the format and the shape on the far side, which not every view can be made by."""
    if view.ndim > 1 and not view.nbytes:
        raise Refused(view, f"a view of shape {view.shape} cannot be made from bytes")
    try:
        memoryview(bytes(view.itemsize)).cast(view.format)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise Refused(view, f"a view of format {view.format!r} cannot be made from bytes") from error


def _reduce_lazily(name: str) -> Reducer:
    def reduce(pickler: MessagePickler, obj: Any) -> Reduction:
        from . import _byvalue

        return getattr(_byvalue, name)(pickler, obj)

    return reduce


def _reduce_lock(pickler: MessagePickler, lock: Any) -> Reduction:
    # A new one, free even if this one is held: nobody over there could ever release it.
    return _as_copy(pickler, lock, lambda: (type(lock) if type(lock) is _thread.RLock else _thread.allocate_lock, ()))


def _reduce_file(pickler: MessagePickler, file: Any) -> Reduction:
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name) or file is getattr(sys, f"__{name}__"):
            return getattr, (sys, name)
    from . import _islands

    return _as_copy(pickler, file, lambda: _islands.reduce_by_dill(file))


def _as_copy(pickler: MessagePickler, obj: Any, reduce: Callable[[], Reduction]) -> Reduction:
    registered = copyreg.dispatch_table.get(type(obj))
    if registered is not None:
        return registered(obj)
    if pickler.strict:
        raise Refused(obj, "it would arrive as a copy that shares nothing with it, which strict=True forbids")
    try:
        reduction = reduce()
    except Exception as error:
        raise Refused(obj, f"{type(error).__name__}: {error}") from error
    pickler.message.copies.append(obj)
    return reduction


_LOCKS: tuple[type, ...] = (_thread.LockType, _thread.RLock)
_FILES: tuple[type, ...] = (
    _io.TextIOWrapper,
    _io.BufferedReader,
    _io.BufferedWriter,
    _io.BufferedRandom,
    _io.FileIO,
)
COPIED = frozenset((*_LOCKS, *_FILES))

_FIXED: dict[type, Reducer | None] = {
    types.FunctionType: _reduce_function,
    type: _reduce_class,
    types.MethodType: _reduce_method,
    types.ModuleType: _reduce_module,
    types.BuiltinFunctionType: None,
    CellShell: _reduce_shell,
    memoryview: _reduce_view,
    **dict.fromkeys(_LOCKS, _reduce_lock),
    **dict.fromkeys(_FILES, _reduce_file),
    **{
        kind: _reduce_lazily(name)
        for kind, name in (
            (types.CellType, "reduce_cell"),
            (types.CodeType, "reduce_code"),
            (super, "reduce_super"),
            (type(vars(type)), "reduce_by_cloudpickle"),
            (type({}.keys()), "reduce_by_cloudpickle"),
            (type({}.values()), "reduce_by_cloudpickle"),
            (type({}.items()), "reduce_by_cloudpickle"),
            (property, "reduce_by_cloudpickle"),
            (classmethod, "reduce_by_cloudpickle"),
            (staticmethod, "reduce_by_cloudpickle"),
        )
    },
}

reducers = _Reducers(_FIXED)
