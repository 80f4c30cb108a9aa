"""Launchers and observers of other distributions: imported when used, checked, and reported when something is wrong."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, version
from typing import Any

import pluggy

from anypool import hookspecs
from anypool._entries import source, stated_api, the_point
from anypool._errors import AnypoolError, LauncherUnavailable, PlanError
from anypool._failure import describe
from anypool._hooks import PROJECT
from anypool._launcher import LAUNCHER_API, Launcher
from anypool._registry import attention, strangers
from anypool._select import BUILT_IN

__all__: list[str] = []

_LAUNCHERS = "anypool_launchers"


class Plugin:
    """One plugin, with a manager of its own: nothing that is wrong with it concerns another.

    Raises `pluggy.PluginValidationError` for a hook that doesn't exist or has other arguments, `LauncherUnavailable`
    for a launcher that can't be used.
    """

    def __init__(self, implementation: object, where: str) -> None:
        self.implementation = implementation
        manager = pluggy.PluginManager(PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(implementation)
        manager.check_pending()
        hooks = {hook.name: hook for hook in manager.get_hookcallers(implementation) or ()}
        given = hooks.pop(_LAUNCHERS, None)
        self.launchers = {kind.name: kind for kind in _launchers(given, where)} if given is not None else {}
        self._hooks: dict[str, Callable[..., object]] = dict(hooks)
        self._failed = False
        self.empty = given is None and not hooks

    @property
    def observes(self) -> bool:
        """Whether it has hooks of an observer."""
        return bool(self._hooks)

    def tell(self, hook: str, arguments: dict[str, Any]) -> None:
        """Call a hook if it has it; the first exception of all is logged."""
        call = self._hooks.get(hook)
        if call is None:
            return
        try:
            call(**arguments)
        except BaseException:  # whatever it is, it is raised on a thread that others need
            if not self._failed:
                self._failed = True
                logging.getLogger("anypool").exception(
                    "the observer %r failed in %s; further exceptions of it are not logged", self.implementation, hook
                )


class Plugins:
    """What is used in this process; other plugins are names until somebody asks for one."""

    def __init__(self) -> None:
        # Not held while a plugin is imported, which another thread may be doing, and wait for this one.
        self._lock = threading.RLock()
        self._loaded: dict[str, Plugin] = {}
        self._registered: list[Plugin] = []
        self._observers: dict[tuple[str, ...], tuple[Plugin, ...]] = {}
        self._configured: set[str] = set()

    def launcher(self, name: str) -> type[Launcher]:
        """The class of a launcher. Imports its plugin, and no other.

        Raises `LauncherNotFound` with names that are alike, `LauncherUnavailable` with what is wrong with the plugin.
        """
        with self._lock:
            for plugin in self._registered:
                if name in plugin.launchers:
                    return plugin.launchers[name]
        return self._load(name).launchers[name]

    def _load(self, name: str) -> Plugin:
        plugin = self._loaded.get(name)
        # If several threads have loaded it, the first one's holds.
        return plugin if plugin is not None else self._loaded.setdefault(name, _load(the_point(name), name))

    def register(self, implementation: object) -> None:
        """Have an object's hooks called from now on, in pools of every launcher; its launchers can be named."""
        if isinstance(implementation, type):
            raise TypeError(f"an object or a module is registered, got the class {implementation.__qualname__}")
        with self._lock:
            if any(plugin.implementation is implementation for plugin in self._registered):
                raise ValueError(f"{implementation!r} is registered already")
            plugin = Plugin(implementation, repr(implementation))
            if plugin.empty:
                raise ValueError(
                    f"{implementation!r} has no function that is marked with anypool.hookimpl and named as in "
                    f"anypool.hookspecs"
                )
            for other in self._registered:
                if twice := sorted(plugin.launchers.keys() & other.launchers.keys()):
                    raise ValueError(f"{other.implementation!r} has given a launcher {twice[0]!r} already")
            self._registered.append(plugin)
            self._adapt()

    def unregister(self, implementation: object) -> None:
        """Undo `register`."""
        with self._lock:
            left = [plugin for plugin in self._registered if plugin.implementation is not implementation]
            if len(left) == len(self._registered):
                raise ValueError(f"{implementation!r} is not registered")
            self._registered = left
            self._adapt()

    def _adapt(self) -> None:
        from anypool import _observing

        self._observers.clear()
        attention.everywhere = any(plugin.observes for plugin in self._registered)
        _observing.refresh()

    def observers(self, launcher: Launcher) -> tuple[Plugin, ...]:
        """Whom to tell what happens in a launcher's pools: its own plugin, and all that are registered."""
        names = tuple(strangers(launcher))
        if (found := self._observers.get(names)) is not None:
            return found
        own = [plugin for plugin in map(self._plugin_of, names) if plugin is not None]
        with self._lock:
            # One that is registered too is told once.
            known = {id(plugin.implementation): plugin for plugin in [*own, *self._registered]}
            self._observers[names] = found = tuple(plugin for plugin in known.values() if plugin.observes)
        return found

    def _plugin_of(self, name: str) -> Plugin | None:
        try:
            return self._load(name)
        except AnypoolError:
            # A class that no entry point names may be used all the same.
            return None

    def register_configured(self) -> None:
        """Register what the configuration names; `PlanError` for what is no observer."""
        from anypool._config import observers

        for text, where in observers():
            if text in self._configured:
                continue
            try:
                observer = _imported(text)
                with self._lock:
                    known = any(plugin.implementation is observer for plugin in self._registered)
                    # Another thread may have been faster.
                    if not known and text not in self._configured:
                        self.register(observer)
                    self._configured.add(text)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a stranger's module, as in `_load`
                raise PlanError(
                    f"{where}: expected package.module:object that has an observer's hooks, got {text!r}: "
                    f"{type(error).__name__}: {describe(error).message}"
                ) from error


def _imported(text: str) -> object:
    module, _, path = text.partition(":")
    if not module or not path:
        raise ValueError("it names no module, or nothing in it")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found() if isinstance(found, type) else found


def _load(point: EntryPoint, name: str) -> Plugin:
    stated, where = stated_api(point), source(point)
    if stated is not None and stated != LAUNCHER_API:
        raise LauncherUnavailable(_incompatible(name, where, stated))
    try:
        plugin = Plugin(point.load(), where)
    except (KeyboardInterrupt, LauncherUnavailable):
        raise
    except BaseException as error:  # whatever a stranger's module raises is reported, and disturbs nobody else
        newer = isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "anypool"
        hint = f"; it may need another anypool than this one, {version('anypool')}" if newer else ""
        said = f"{type(error).__name__}: {describe(error).message}{hint}"
        raise LauncherUnavailable(f"the plugin of launcher {name!r} ({where}, {point.value}) fails: {said}") from error
    if name not in plugin.launchers:
        given = (
            f"gives {', '.join(plugin.launchers)}"
            if plugin.launchers
            else f"has no {_LAUNCHERS}() marked with hookimpl"
        )
        raise LauncherUnavailable(
            f"{where} has an entry point {name!r}, but {point.value} gives no launcher of that name; it {given}"
        )
    return plugin


def _launchers(hook: Any, where: str) -> list[type[Launcher]]:
    given = [each for impl in hook.get_hookimpls() for each in _listed(impl.function(), where)]
    return [_checked(kind, where) for kind in given]


def _listed(given: object, where: str) -> Iterable[Any]:
    if not isinstance(given, (list, tuple)):
        raise LauncherUnavailable(f"{_LAUNCHERS}() of {where} returns a list of launcher classes, got {given!r}")
    return given


def _checked(kind: Any, where: str) -> type[Launcher]:
    if not (isinstance(kind, type) and issubclass(kind, Launcher)):
        raise LauncherUnavailable(f"{where} gives {kind!r}, which is no subclass of anypool.Launcher")
    if not kind.name:
        raise LauncherUnavailable(f"{where} gives {kind.__qualname__}, which has no name")
    if kind.name in BUILT_IN:
        raise LauncherUnavailable(f"{where} gives a launcher {kind.name!r}, which is one of anypool's own names")
    if kind.api != LAUNCHER_API:
        raise LauncherUnavailable(_incompatible(kind.name, where, kind.api))
    return kind


def _incompatible(name: str, where: str, api: int) -> str:
    return (
        f"launcher {name!r} of {where} was written for contract {api!r}, and this anypool has contract {LAUNCHER_API}; "
        "install versions that agree"
    )


plugins = Plugins()


def register(plugin: object) -> None:
    """Have the hooks of an object or a module called: observers in all pools, launchers by their names.

    Its functions are named as in `anypool.hookspecs` and marked with `anypool.hookimpl`. Maps that begin from now on
    are observed, those of open pools too. Raises `pluggy.PluginValidationError` for a hook that doesn't exist,
    `ValueError` for what is registered already or has no hooks.
    """
    plugins.register(plugin)


def unregister(plugin: object) -> None:
    """Undo `register`: its hooks are told of what has happened so far, and of nothing else.

    Raises `ValueError` if it is not registered.
    """
    from anypool import _observing

    plugins.unregister(plugin)
    _observing.finish()


register.__module__ = unregister.__module__ = "anypool"
