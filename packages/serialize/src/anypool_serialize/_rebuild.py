"""What a stream calls on the receiving side, where neither cloudpickle nor dill is needed for it."""

from __future__ import annotations

import builtins
import sys
import types

from . import _initialize, _tracking
from ._errors import AnypoolError

# Importing `typing` would take longer than all the rest of the package.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._tracking import TrackId

    FunctionState = tuple[
        dict[str, Any] | None,
        dict[str, Any] | None,
        list[tuple[types.CellType, Any]] | None,
        dict[str, Any] | None,
        list[types.ModuleType] | None,
    ]
    ClassState = tuple[dict[str, Any], dict[str, tuple[dict[str, Any], dict[str, Any]]] | None]

VERSION = sys.version_info[0] * 100 + sys.version_info[1]


def code(version: int, args: tuple[Any, ...]) -> types.CodeType:
    if version != VERSION:
        sent, here = f"{version // 100}.{version % 100}", f"{VERSION // 100}.{VERSION % 100}"
        raise AnypoolError(
            f"a function sent by value from Python {sent} cannot run on Python {here}: byte code differs "
            "between minor versions; use one version, or put the function into an installed module"
        )
    return types.CodeType(*args)


def cell() -> types.CellType:
    return types.CellType()


def same(obj: object) -> object:
    return obj


def set_cell(target: types.CellType, state: tuple[object]) -> None:
    (target.cell_contents,) = state


def function(
    body: types.CodeType, namespace: dict[str, Any], name: str, closure: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    namespace.setdefault("__builtins__", builtins)
    return types.FunctionType(body, namespace, name, None, closure)


def set_function(func: types.FunctionType, state: FunctionState) -> None:
    # The last part, imported submodules, has done its work by being loaded.
    attributes, namespace, cells, slots, _ = state
    if attributes:
        func.__dict__.update(attributes)
    if namespace:
        func.__globals__.update(namespace)
    _initialize.apply_to(func.__globals__)
    for target, value in cells or ():
        target.cell_contents = value
    for name, value in (slots or {}).items():
        setattr(func, name, value)


def exception(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """One of these `args`, made by its class if that takes them for what they are, else without its `__init__`."""
    made: BaseException
    try:
        made = kind(*args)
        whole = type(made) is kind and made.args == args
    except Exception:  # noqa: BLE001  the class may want any other arguments
        whole = False
    if whole:
        return made
    maker: Any = kind
    while type(vars(maker).get("__new__")) is not types.BuiltinFunctionType:
        maker = maker.__base__
    inits = (vars(base).get("__init__") for base in kind.__mro__)
    made = maker.__new__(kind, *args)
    next(init for init in inits if type(init) is types.WrapperDescriptorType)(made, *args)
    return made


def descriptor(kind: type, base: Any, args: tuple[Any, ...]) -> object:
    """A property or the like without the `__init__` of its own class, which may take anything."""
    made: object = base.__new__(kind)
    base.__init__(made, *args)
    return made


def named_type(module: str, name: str) -> type:
    __import__(module)
    found: type = getattr(sys.modules[module], name)
    return found


def module(name: str) -> types.ModuleType:
    __import__(name)
    return sys.modules[name]


def new_module(name: str) -> types.ModuleType:
    fresh = types.ModuleType(name)
    fresh.__dict__["__builtins__"] = builtins
    return fresh


def set_module(target: types.ModuleType, state: dict[str, Any]) -> None:
    target.__dict__.update(state)


def class_(track: TrackId, metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> object:
    present = _tracking.known(track)
    if present is not None:
        return present
    namespace = {sys.intern(key): value for key, value in namespace.items()}
    return _tracking.adopt(track, _quiet_new_class(metaclass, name, bases, namespace))


def _quiet_new_class(metaclass: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    """An empty class to be filled later, without running the hook its bases run for new subclasses.

    The class is restored, not defined: `__init_subclass__` ran where it was defined, what it did is in
    the state, and here it would see a class without attributes.
    """

    def fill(target: dict[str, Any]) -> None:
        target.update(namespace)

    keywords = {"metaclass": metaclass}
    resolved = types.resolve_bases(bases)
    if resolved is not bases or not _has_own_hook(resolved):
        return types.new_class(name, bases, keywords, fill)
    try:
        made = types.new_class(name, (_quiet_twin(resolved[0]), *resolved), keywords, fill)
        made.__bases__ = resolved
    except Exception:  # noqa: BLE001  a layout that does not bear the detour, or a metaclass that looks at the bases
        return types.new_class(name, bases, keywords, fill)
    return made


def _quiet_twin(base: type) -> type:
    """A class whose hook does nothing, with the layout of `base`: a base can be exchanged for no other."""
    root = base
    while root.__base__ is not None and _offsets(root) == _offsets(root.__base__):
        root = root.__base__
    below = root.__base__
    if below is None or _has_own_hook((below,)):
        below = object
    added = zip(("__dict__", "__weakref__"), _offsets(base), _offsets(below), strict=True)
    slots = tuple(slot for slot, offset, inherited in added if offset and not inherited)
    # `typing.Generic` is not refused as a plain base where these are noted.
    namespace = {"__slots__": slots, "__orig_bases__": (), "__init_subclass__": classmethod(_no_hook)}
    return type("_Quiet", (below,), namespace)


def _offsets(cls: type) -> tuple[int, int]:
    return cls.__dictoffset__, cls.__weakrefoffset__


def _no_hook(_cls: type, /, **_: object) -> None:
    pass


def _has_own_hook(bases: Iterable[type]) -> bool:
    for base in bases:
        for cls in getattr(base, "__mro__", ()):
            if "__init_subclass__" in vars(cls):
                if cls is not object and cls.__module__ != "typing":
                    return True
                break
    return False


def enum(
    track: TrackId,
    metaclass: Any,
    bases: tuple[Any, ...],
    name: str,
    base: Any,
    members: Mapping[str, tuple[Any, ...]],
    keywords: dict[str, Any],
) -> object:
    """An enumeration whose members are made of `base` and their data: what once made them takes other arguments."""
    present = _tracking.known(track)
    if present is not None:
        return present

    def restored(cls: type, key: Any) -> Any:
        # Wrapped if the members are tuples.
        value, *data = members[key[0] if type(key) is tuple else key]
        member = base.__new__(cls, *data)
        if base.__init__ is not object.__init__:
            base.__init__(member, *data)  # which fills a list
        member._value_ = value
        return member

    namespace = metaclass.__prepare__(name, bases, **keywords)
    namespace.update({"__new__": restored, "__init__": _no_init})
    # A name is taken for a member, whatever its value: a function would not be.
    for key in members:
        namespace[key] = key
    made = metaclass.__new__(metaclass, name, bases, namespace, **keywords)
    for passed in ("__init__", "__new_member__"):
        type.__delattr__(made, passed)
    return _tracking.adopt(track, made)


def _no_init(_member: object, *_: object) -> None:
    pass


def set_class(cls: type, state: ClassState) -> None:
    if _tracking.is_own(cls):
        return
    attributes, members = state
    subclasses = attributes.pop("_abc_impl", None)
    for name, value in attributes.items():
        setattr(cls, name, value)
    if "__firstlineno__" in attributes:
        # Setting any attribute of a class removes this one (Python 3.13).
        type.__setattr__(cls, "__firstlineno__", attributes["__firstlineno__"])
    for subclass in subclasses or ():
        cls.register(subclass)  # type: ignore[attr-defined]
    for name, (extra, slots) in (members or {}).items():
        member = cls[name]  # type: ignore[index]
        member.__dict__.update(extra)
        for slot, value in slots.items():
            object.__setattr__(member, slot, value)


def type_parameter(track: TrackId, kind: str, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> object:
    present = _tracking.known(track)
    if present is not None:
        return present
    import typing

    module_name = keywords.pop("__module__", None)
    made = getattr(typing, kind)(name, *args, **keywords)
    if module_name is not None:
        made.__module__ = module_name
    return _tracking.adopt(track, made)


def type_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> object:
    import typing

    kind: Callable[..., object] = vars(typing)["TypeAliasType"]  # since Python 3.12
    return kind(name, value, type_params=parameters)


def late(track: TrackId | None, text: str, scope: dict[str, Any]) -> object:
    """A type parameter or alias whose bound or value is looked up in `scope` when asked for."""
    present = None if track is None else _tracking.known(track)
    if present is not None:
        return present
    exec(text, scope)  # noqa: S102  no function makes one of these
    made: object = scope["made"]
    return made if track is None else _tracking.adopt(track, made)


def set_late(_made: object, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    scope, values = state
    scope.update(values)


def view(buffer: Any, form: str, shape: tuple[int, ...]) -> memoryview:
    flat = memoryview(buffer).cast("B")
    return flat if form == "B" and len(shape) == 1 else flat.cast(form, shape)  # type: ignore[call-overload]


def weak(obj: object) -> object:
    from weakref import ref

    return ref(obj if obj is not None else _Gone())


def weak_proxy(obj: object) -> object:
    from weakref import proxy

    return proxy(obj if obj is not None else _Gone())


class _Gone:
    """A referent for a reference that was dead when it was sent: it dies before anybody looks."""


def lru_cache(func: Callable[..., Any], maxsize: int | None, typed: bool) -> object:
    from functools import lru_cache

    return lru_cache(maxsize=maxsize, typed=typed)(func)
