"""Launchers and observers of other distributions: found by entry point, imported when used, checked, and reported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, metadata
from typing import Any

import pluggy

from anypool import _hooks
from anypool._errors import LauncherNotFound, LauncherUnavailable
from anypool._launcher import LAUNCHER_API, Launcher
from anypool._select import BUILT_IN, similar

__all__: list[str] = []

GROUP = "anypool"
_LAUNCHERS = "anypool_launchers"


class Plugins:
    """What is registered in this process; other plugins are names until somebody asks for one."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(_hooks.PROJECT)
        self._manager.add_hookspecs(_hooks)
        # Reentrant: a plugin may ask for another one's launcher while it is imported.
        self._lock = threading.RLock()
        self._loaded: dict[str, type[Launcher]] = {}
        # Plugins whose observers are for pools of their own launchers.
        self._of_launchers: dict[str, Any] = {}

    def launcher(self, name: str) -> type[Launcher]:
        """The class of a launcher. Imports its plugin, and no other.

        Raises `LauncherNotFound` with names that are alike, `LauncherUnavailable` with what is wrong with the plugin.
        """
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._registered(name) or self._load(name)
            return self._loaded[name]

    def register(self, plugin: object) -> None:
        """Have an object's hooks called from now on, in pools of every launcher; its launchers can be named.

        Raises `pluggy.PluginValidationError` for a hook that doesn't exist, `ValueError` if it is registered.
        """
        with self._lock:
            self._add(plugin, None)

    def unregister(self, plugin: object) -> None:
        """Call its hooks no more. Raises `ValueError` if it is not registered."""
        with self._lock:
            if not self._manager.is_registered(plugin):
                raise ValueError(f"{plugin!r} is not registered")
            self._manager.unregister(plugin)
            self._loaded.clear()

    def hooks(self, launcher: str) -> dict[str, Callable[..., Any]]:
        """The observers' hooks that a pool of this launcher has to call: those of its plugin, and all registered ones."""
        with self._lock:
            others = [plugin for name, plugin in self._of_launchers.items() if name != launcher]
            found = {}
            for name in vars(_hooks):
                if name.startswith("anypool_") and name != _LAUNCHERS:
                    caller = self._manager.subset_hook_caller(name, others)
                    if caller.get_hookimpls():
                        found[name] = caller
            return found

    def _registered(self, name: str) -> type[Launcher] | None:
        for impl in self._manager.hook.anypool_launchers.get_hookimpls():
            for kind in impl.function():
                if kind.name == name:
                    return _checked(kind, f"the registered plugin {impl.plugin_name}")
        return None

    def _load(self, name: str) -> type[Launcher]:
        points = found_points(name)
        if not points:
            raise _unknown(name)
        if len(points) > 1:
            who = " and ".join(source(point) for point in points)
            raise LauncherUnavailable(f"launcher {name!r} is given by {who}; uninstall one of them")
        point = points[0]
        try:
            plugin = point.load()
            self._add(plugin, name)
            return _chosen(name, plugin, self._launchers_of(plugin), source(point))
        except (KeyboardInterrupt, LauncherUnavailable):
            raise
        except BaseException as error:  # whatever a stranger's module raises is reported, and disturbs nobody else
            raise LauncherUnavailable(
                f"the plugin of launcher {name!r} ({source(point)}, {point.value}) fails: {type(error).__name__}: {error}"
            ) from error

    def _add(self, plugin: object, name: str | None) -> None:
        self._manager.register(plugin, name)
        try:
            for kind in self._launchers_of(plugin):
                _checked(kind, f"plugin {name or plugin!r}")
            self._manager.check_pending()
        except BaseException:
            self._manager.unregister(plugin)
            raise
        if name is not None:
            self._of_launchers[name] = plugin

    def _launchers_of(self, plugin: object) -> list[type[Launcher]]:
        impls = self._manager.hook.anypool_launchers.get_hookimpls()
        return [kind for impl in impls if impl.plugin is plugin for kind in impl.function()]


def _checked(kind: type[Launcher], where: str) -> type[Launcher]:
    if not (isinstance(kind, type) and issubclass(kind, Launcher)):
        raise LauncherUnavailable(f"{where} gives {kind!r}, which is no subclass of anypool.Launcher")
    if not kind.name:
        raise LauncherUnavailable(f"{where} gives {kind.__name__}, which has no name")
    if kind.api != LAUNCHER_API:
        raise LauncherUnavailable(
            f"launcher {kind.name!r} of {where} was written for contract {kind.api}, and this anypool has "
            f"{LAUNCHER_API}; install versions that agree"
        )
    return kind


def _chosen(name: str, plugin: object, kinds: list[type[Launcher]], where: str) -> type[Launcher]:
    for kind in kinds:
        if kind.name == name:
            return kind
    given = ", ".join(kind.name for kind in kinds) or "none"
    raise LauncherUnavailable(
        f"{where} has an entry point {name!r}, but {plugin!r} gives no launcher of that name (it gives {given})"
    )


def found_points(name: str | None = None) -> list[EntryPoint]:
    """The entry points of this name, or all; the core's own are in the fast table, and left out."""
    points = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    return [point for point in points if distribution(point) != "anypool"]


def distribution(point: EntryPoint) -> str:
    """The name of the distribution that an entry point is of."""
    return point.dist.name if point.dist is not None else "an unknown distribution"


def source(point: EntryPoint) -> str:
    """The distribution of an entry point and its version."""
    return f"{distribution(point)} {point.dist.version}" if point.dist is not None else distribution(point)


def extras() -> list[str]:
    """The launchers that an extra of this distribution would install, by name."""
    try:
        given: Iterable[str] = metadata("anypool").get_all("Provides-Extra") or ()
    except PackageNotFoundError:
        given = ()
    # The others are launchers by name.
    return sorted(set(given) - {"all", "testing"})


def install_line(name: str) -> str:
    """What installs a launcher."""
    return f"pip install 'anypool[{name}]'"


def _unknown(name: str) -> Exception:
    if name in extras():
        return LauncherUnavailable(f"launcher {name!r} is not installed: {install_line(name)}")
    known = sorted({*BUILT_IN, *(point.name for point in found_points())})
    close = similar(name, {*known, *extras()})
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return LauncherNotFound(f"no launcher {name!r} among {', '.join(known)}{hint}")


plugins = Plugins()


def register(plugin: object) -> None:
    """Have the hooks of an object or a module called: observers in all pools, launchers by their names.

    It implements functions of the names in `anypool.hookspecs`, marked with `anypool.hookimpl`. Raises
    `pluggy.PluginValidationError` for one that doesn't exist, `ValueError` if it is registered already.
    """
    plugins.register(plugin)


def unregister(plugin: object) -> None:
    """Undo `register`. Raises `ValueError` if it is not registered."""
    plugins.unregister(plugin)


register.__module__ = unregister.__module__ = "anypool"
