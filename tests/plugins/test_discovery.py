"""Launchers of other distributions are found by their entry points, and only the one that is used is imported."""

from __future__ import annotations

import textwrap
from importlib.metadata import EntryPoint, entry_points

import pytest
from plugin_rig import launcher  # type: ignore[import-not-found]

from anypool import _select

LOADED = "print(*sorted(name for name in sys.modules if name.startswith('plug_')))"


def test_a_launcher_of_another_distribution_runs_maps(site):
    site.add("plug_one", launcher("one"), "one")
    said = site.says("import anypool\nwith anypool.get_pool('one:2') as pool: print(len(pool), pool.map(abs, [-1, 2]))")
    assert said == "2 [1, 2]"


def test_opening_a_pool_imports_only_the_plugin_of_its_launcher(site):
    site.add("plug_one", launcher("one"), "one")
    site.add("plug_two", launcher("two"), "two")
    assert site.says(f"import sys, anypool\nanypool.get_pool('one').close()\n{LOADED}") == "plug_one"


def test_listing_imports_no_plugin(site):
    site.add("plug_one", launcher("one"), "one")
    site.add("plug_two", launcher("two"), "two")
    code = f"import sys, anypool\nprint(*(each.name for each in anypool.backends()))\n{LOADED}"
    listed, *loaded = site.says(code).splitlines()
    assert {"one", "two", "serial", "thread", "process", "multiprocess"} <= set(listed.split())
    assert loaded == []


def test_two_launchers_may_be_in_one_module(site):
    both = (
        launcher("one")
        + """
class Other(Own):
    name: ClassVar[str] = "two"

class Both:
    @anypool.hookimpl
    def anypool_launchers(self):
        return [Own, Other]

del anypool_launchers
plugin = Both()
"""
    )
    site.add("plug_both", both, more="one = plug_both:plugin\ntwo = plug_both:plugin\n")
    said = site.says("import anypool\nfor name in 'one', 'two': print(*anypool.get_pool(name).map(abs, [-1]))")
    assert said == "1\n1"


def of_the_core() -> dict[str, EntryPoint]:
    points = entry_points(group="anypool")
    return {point.name: point for point in points if point.dist is not None and point.dist.name == "anypool"}


def test_the_fast_table_equals_the_entry_points_of_the_core():
    assert set(of_the_core()) == set(_select.BUILT_IN)


@pytest.mark.parametrize("name", _select.BUILT_IN)
def test_an_entry_point_of_the_core_gives_the_launcher_of_its_name(name):
    (kind,) = of_the_core()[name].load().anypool_launchers()
    assert kind is _select.find(name)
    assert kind.name == name


@pytest.mark.parametrize("text", ["serial", "thread:2", "process:2"])
def test_the_fast_way_reads_no_entry_point_and_loads_no_plugin_machinery(site, text):
    site.add("plug_one", launcher("one"), "one")
    code = f"""
        import sys, anypool
        with anypool.get_pool({text!r}) as pool:
            pool.map(abs, range(100))
            pool.pipe(abs, 1)
        slow = {{"pluggy", "importlib.metadata", "anypool._plugins", "anypool._observing", "plug_one"}}
        print(*slow & sys.modules.keys())
    """
    assert site.says(code) == ""


def test_a_plugin_that_was_registered_gives_its_launchers_without_an_entry_point(site):
    site.add("plug_one", launcher("one"))
    code = """
        import anypool, plug_one
        anypool.register(plug_one)
        print(*anypool.get_pool("one").map(abs, [-1]))
        anypool.unregister(plug_one)
        try:
            anypool.get_pool("one")
        except anypool.LauncherNotFound:
            print("gone")
    """
    assert site.says(code) == "1\ngone"


@pytest.mark.parametrize("typo", ["proces", "onee", "treads"])
def test_an_unknown_name_is_told_what_exists_and_what_is_like_it(site, typo):
    site.add("plug_one", launcher("one"), "one")
    meant = {"proces": "process", "onee": "one", "treads": "thread"}[typo]
    said = site.says(f"""
        import anypool
        try:
            anypool.get_pool({typo!r})
        except LookupError as error:
            print(type(error).__name__, error)
    """)
    assert said.startswith(
        f"LauncherNotFound no launcher {typo!r} among multiprocess, one, parallel-python, process, serial, thread"
    )
    assert "did you mean" in said
    assert repr(meant) in said.partition("did you mean")[2]


def test_a_plugin_that_registers_an_observer_while_another_thread_asks_for_it_keeps_nobody_waiting(site):
    source = """
        import sys, time
        import anypool
        # Until the other thread waits for this import.
        def waits():
            frame = sys._current_frames().get(sys.asking.ident)
            while frame is not None and frame.f_code.co_name != "acquire":
                frame = frame.f_back
            return frame is not None
        limit = time.monotonic() + 20
        while not waits() and time.monotonic() < limit:
            time.sleep(0.001)
        class Watcher:
            @anypool.hookimpl
            def anypool_map_finished(self, count): ...
        anypool.register(Watcher())
    """
    site.add("plug_one", textwrap.dedent(source) + launcher("one"), "one")
    said = site.says("""
        import os, sys, threading
        import anypool, anypool._plugins
        def ask():
            begun.wait(20)
            print(*anypool.get_pool("one").map(abs, [-1]), flush=True)
        class Begins:
            def find_spec(self, name, *_):
                if name == "plug_one":
                    begun.set()
        begun = threading.Event()
        sys.asking = threading.Thread(target=ask, daemon=True)
        sys.asking.start()
        sys.meta_path.insert(0, Begins())
        importing = threading.Thread(target=__import__, args=("plug_one",), daemon=True)
        importing.start()
        for thread in (importing, sys.asking):
            thread.join(20)
        os._exit(importing.is_alive() or sys.asking.is_alive())
    """)
    assert said == "1"
