"""A digest differs when what a function does may differ."""

import functools
import os
import shutil
import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest

from anypool_serialize import digest

OWN = {
    "own/__init__.py": "",
    "own/sub.py": "from own import deep\nVALUE = 1\ndef g(): return VALUE + deep.h()\n",
    "own/deep.py": "def h(): return 1\n",
}
CASES = {
    "through its package": "import own.sub\ndef f(): return own.sub.g()",
    "in a cell": "def make():\n import own.sub as m\n return lambda: m.g()\nf = make()",
    "as a default": "import own.sub\ndef f(m=own.sub): return m.g()",
    "imported when called": "def f():\n import own.sub as m\n return m.g()",
    "imported from its package when called": "def f():\n from own import sub\n return sub.g()",
    "a function imported when called": "def f():\n from own.sub import g\n return g()",
}


def digest_of_f(folder, body: str, after: str = "") -> list[str]:
    for name, text in OWN.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(text)
    script = folder / "script.py"
    script.write_text(f"from anypool_serialize import digest\n{body}\nprint(digest(f))\n{after}")
    # A change within the second and of the same size would be hidden by the compiled file.
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("old,new", [("VALUE = 1", "VALUE = 22"), ("return VALUE", "return 3 * VALUE")])
def test_what_an_own_module_does_counts(case, old, new, tmp_path):
    before = digest_of_f(tmp_path, CASES[case])
    assert digest_of_f(tmp_path, CASES[case]) == before
    (tmp_path / "own" / "sub.py").write_text(OWN["own/sub.py"].replace(old, new))
    assert digest_of_f(tmp_path, CASES[case]) != before


@pytest.mark.parametrize("case", CASES)
def test_what_the_modules_of_an_own_module_do_counts(case, tmp_path):
    before = digest_of_f(tmp_path, CASES[case])
    (tmp_path / "own" / "deep.py").write_text("def h(): return 22\n")
    assert digest_of_f(tmp_path, CASES[case]) != before


@pytest.mark.parametrize("case", CASES)
def test_a_call_that_imports_changes_nothing(case, tmp_path):
    before, after = digest_of_f(tmp_path, CASES[case], "f(); print(digest(f))")
    assert before == after


def test_an_import_of_the_own_package_is_found_from_within(tmp_path):
    digest_of_f(tmp_path, "f = 1")
    (tmp_path / "own" / "user.py").write_text("def f():\n from .sub import g\n return g()\n")
    before = digest_of_f(tmp_path, "from own.user import f")
    (tmp_path / "own" / "sub.py").write_text("def g(): return 33\n")
    assert digest_of_f(tmp_path, "from own.user import f") != before


def test_a_module_that_is_imported_only_when_called_is_not_imported_by_a_digest(tmp_path):
    answer = digest_of_f(tmp_path, CASES["imported when called"], "import sys; print('own' in sys.modules)")
    assert answer[1] == "False"


def test_a_closure_of_an_installed_factory_counts():
    def using(ignored):
        return lambda: ignored

    assert digest(using(shutil.ignore_patterns("*.py"))) == digest(using(shutil.ignore_patterns("*.py")))
    assert digest(using(shutil.ignore_patterns("*.py"))) != digest(using(shutil.ignore_patterns("*.c")))


def test_the_metaclass_of_a_class_counts():
    def made_by(result):
        class Meta(type):
            def call(cls):
                return result

        return Meta("Made", (), {})

    assert digest(made_by(1)) == digest(made_by(1)) != digest(made_by(2))


def test_annotations_of_a_function_count():
    def number(x: int): ...
    def text(x: str): ...
    def another_number(x: int): ...

    assert digest(number) == digest(another_number) != digest(text)


def test_a_frozen_set_and_a_read_only_dict_are_told_from_those_that_change():
    assert digest({1}) != digest(frozenset({1}))
    assert digest({1: 2}) != digest(MappingProxyType({1: 2}))


def test_a_matrix_is_told_from_an_array():
    assert digest(np.array([[1, 2]])) != digest(np.array([[1, 2]]).view(np.recarray))


def test_attributes_of_an_array_of_an_own_class_count():
    class Quantity(np.ndarray):
        unit: str

    def quantity(unit):
        array = np.arange(2).view(Quantity)
        array.unit = unit
        return array

    assert digest(quantity("m")) == digest(quantity("m")) != digest(quantity("km"))


def test_a_masked_array_is_told_from_its_data_and_counts_its_mask():
    def masked(*mask):
        return np.ma.masked_array([999999, 2], mask)

    one, other = masked(True, False), masked(False, True)
    assert len({digest(one), digest(other), digest(masked(False, False)), digest(one.data)}) == 4
    before = digest(one)
    assert one.fill_value == 999999
    assert digest(one) == before == digest(masked(True, False))


def test_the_masked_constant_has_a_digest():
    assert digest(np.ma.masked) == digest(np.ma.masked) != digest(np.ma.masked_array(0.0, True))


def test_settings_and_attributes_of_a_cached_function_count():
    def cached(**settings):
        return functools.lru_cache(**settings)(lambda: 1)

    named = cached(maxsize=2)
    named.note = "a"
    assert digest(cached(maxsize=2)) == digest(cached(maxsize=2))
    assert len({digest(cached(maxsize=2)), digest(cached(maxsize=3)), digest(named)}) == 3
