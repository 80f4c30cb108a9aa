"""A plugin with something wrong is reported with its cause, and disturbs no other."""

from __future__ import annotations

import ast

import pytest
from plugin_rig import launcher  # type: ignore[import-not-found]

OPEN = """
import anypool
try:
    anypool.get_pool("bad")
except anypool.LauncherUnavailable as error:
    print(error, "| cause:", type(error.__cause__).__name__)
print(*anypool.get_pool("good").map(abs, [-1]))
"""

BROKEN = {
    "ImportError": "import a_module_that_is_not_there",
    "RuntimeError": "raise RuntimeError('no licence')",
    "SystemExit": "raise SystemExit(3)",
    "SyntaxError": "def",
    "BaseException": "raise BaseException('odd')",
    "Mute": "class Mute(Exception):\n    def __str__(self): raise ValueError('no words')\nraise Mute",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_an_import_raises_is_reported_with_its_cause_and_disturbs_no_other(site, kind):
    site.add("plug_bad", BROKEN[kind], "bad", version="2.5")
    site.add("plug_good", launcher("good"), "good")
    first, second = site.says(OPEN).splitlines()
    expected = {"ImportError": "ModuleNotFoundError"}.get(kind, kind)
    assert first.startswith(f"the plugin of launcher 'bad' (plug_bad 2.5, plug_bad) fails: {expected}")
    assert first.endswith(f"| cause: {expected}")
    assert second == "1"


def test_listing_reports_each_of_them_and_goes_on(site):
    broken = {**BROKEN, "os._exit": "import os; os._exit(7)"}
    for number, source in enumerate(broken.values()):
        site.add(f"plug_bad_{number}", source, f"bad_{number}")
    site.add("plug_good", launcher("good"), "good")
    said = site.says("import anypool; print({each.name: each.why for each in anypool.backends()})")
    reasons = ast.literal_eval(said)
    expected = {
        **dict(zip(BROKEN, BROKEN, strict=True)),
        "ImportError": "ModuleNotFoundError",
        "os._exit": "exit code 7",
    }
    wrong = [kind for number, kind in enumerate(broken) if expected[kind] not in reasons[f"bad_{number}"]]
    assert wrong == []
    assert reasons["good"] is reasons["serial"] is None


def test_what_a_plugin_prints_is_no_matter_in_which_encoding(site):
    site.add("plug_bad", "import os; os.write(1, b'\\xff\\n'); os.write(2, b'\\xe9nd\\n'); os._exit(7)", "bad")
    site.add("plug_good", "import os; os.write(1, b'\\xff')\n" + launcher("good"), "good")
    reasons = ast.literal_eval(site.says("import anypool; print({b.name: b.why for b in anypool.backends()})"))
    assert reasons["bad"].endswith("with exit code 7: \N{REPLACEMENT CHARACTER}nd")
    assert reasons["good"] is None


def test_a_distribution_that_is_half_removed_is_listed_without_its_name(site):
    site.add("plug_good", launcher("good"), "good")
    (site.folder / "plug_good-1.0.dist-info" / "METADATA").unlink()
    done = site.python("", "-m", "anypool", "backends")
    assert "an unknown distribution" in done.stdout, done.stderr


def failure(site, source: str, *, more: str = "", names: tuple[str, ...] = ("bad",)) -> str:
    """What `get_pool("bad")` says, which is what the list says too."""
    site.add("plug_bad", source, *names, more=more)
    said = site.says("""
        import anypool
        try:
            anypool.get_pool("bad")
        except anypool.LauncherUnavailable as error:
            print([str(error), {each.name: each.why for each in anypool.backends()}["bad"]])
    """)
    raised, listed = ast.literal_eval(said)
    assert raised == listed
    return str(raised)


def test_a_misspelt_hook_is_an_error(site):
    source = launcher("bad") + "\n@anypool.hookimpl\ndef anypool_chunk_don(pool): pass\n"
    assert "unknown hook 'anypool_chunk_don'" in failure(site, source)


def test_an_argument_that_a_hook_does_not_have_is_an_error(site):
    source = launcher("bad") + "\n@anypool.hookimpl\ndef anypool_chunk_done(pool, colour): pass\n"
    said = failure(site, source)
    assert "anypool_chunk_done" in said
    assert "colour" in said


def test_an_entry_point_that_gives_no_launcher_of_its_name_says_what_it_gives(site):
    said = failure(site, launcher("other"))
    assert said == (
        "plug_bad 1.0 has an entry point 'bad', but plug_bad gives no launcher of that name; it gives other"
    )


def test_an_entry_point_without_the_hook_says_so(site):
    said = failure(site, "def anypool_launchers(): return []")
    assert said.endswith("it has no anypool_launchers() marked with hookimpl")


@pytest.mark.parametrize("given", ["Own", "[int]", "None", "[Own()]"])
def test_what_is_no_list_of_launcher_classes_is_an_error(site, given):
    source = launcher("bad").replace("return [Own]", f"return {given}")
    said = failure(site, source)
    assert "plug_bad 1.0" in said
    assert "launcher classes" in said or "no subclass of anypool.Launcher" in said


def test_a_launcher_with_a_name_of_the_cores_is_an_error(site):
    assert "'process', which is one of anypool's own names" in failure(site, launcher("process"))


def test_an_entry_point_with_a_name_of_the_cores_is_not_used_and_listed_with_the_reason(site):
    site.add("plug_bad", "raise RuntimeError('imported')", "thread")
    said = site.says("""
        import anypool
        print(*anypool.get_pool("thread:1").map(abs, [-1]))
        print(*(each.why for each in anypool.backends() if each.distribution == "plug_bad"))
    """)
    assert said == "1\nanypool has a launcher 'thread' of its own, which is the one that is used"


def test_a_name_that_two_distributions_give_names_both(site):
    site.add("plug_one", launcher("twice"), "twice", distribution="plug-one", version="1.0")
    site.add("plug_two", launcher("twice"), "twice", distribution="plug-two", version="2.0")
    said = site.says("""
        import anypool
        try:
            anypool.get_pool("twice")
        except anypool.LauncherUnavailable as error:
            print(error)
        for each in anypool.backends():
            if each.name == "twice":
                print(each.distribution, each.why)
    """)
    raised, *listed = said.splitlines()
    assert raised == ("launcher 'twice' is given by plug-one 1.0 and plug-two 2.0; uninstall all but one of them")
    assert listed == [f"plug-one {raised}", f"plug-two {raised}"]


def test_a_launcher_for_another_contract_is_incompatible_and_both_numbers_are_named(site):
    said = failure(site, launcher("bad", api=2))
    assert "was written for contract 2, and this anypool has contract 1" in said


def test_a_contract_that_is_stated_in_the_metadata_is_read_before_the_plugin_is_imported(site):
    said = failure(site, "from anypool import SomethingNewer", more="[anypool.api]\n2 = plug_bad\n")
    assert "was written for contract 2, and this anypool has contract 1" in said


def test_a_contract_that_agrees_with_what_is_stated_is_used(site):
    site.add("plug_good", launcher("good"), "good", more="[anypool.api]\n1 = plug_good\n")
    assert site.says("import anypool; print(*anypool.get_pool('good').map(abs, [-1]))") == "1"


def test_a_plugin_that_lacks_something_newer_and_states_nothing_is_told_of_this_anypools_version(site):
    said = failure(site, "from anypool import SomethingNewer")
    assert "ImportError: cannot import name 'SomethingNewer' from 'anypool'" in said
    assert "it may need another anypool than this one, 0.1.0" in said


def test_missing_is_asked_before_any_worker_starts_and_in_the_words_of_the_list(site):
    reason = "no licence server; pip install 'plug-licence'"
    source = launcher("bad", missing=reason).replace("return ThreadPoolExecutor", "raise OSError; ThreadPoolExecutor")
    assert failure(site, source) == reason


def test_missing_is_asked_of_a_launcher_that_is_given_as_an_object(site):
    site.add("plug_bad", launcher("bad", missing="not here"), "bad")
    said = site.says("""
        import anypool, plug_bad
        try:
            anypool.get_pool(plug_bad.Own(2))
        except anypool.LauncherUnavailable as error:
            print(error)
    """)
    assert said == "not here"


def test_missing_that_raises_is_listed_as_a_failure(site):
    site.add("plug_bad", launcher("bad").replace("return None", "raise OSError('no such device')"), "bad")
    said = site.says("import anypool; print({each.name: each.why for each in anypool.backends()}['bad'])")
    assert said == "missing() of launcher 'bad' fails: OSError: no such device"


def test_what_a_plugin_prints_and_leaves_running_does_not_hide_its_answer(site):
    noise = """
import atexit, subprocess, sys
print("a banner", flush=True)
atexit.register(print, "bye")
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
"""
    site.add("plug_loud", launcher("loud", missing="too loud") + noise, "loud")
    said = site.says("import anypool; print({each.name: each.why for each in anypool.backends()}['loud'])")
    assert said == "too loud"
