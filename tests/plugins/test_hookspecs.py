"""The hooks are public: documented where people read of them, and few."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from anypool import hookspecs

README = Path(__file__).parents[2] / "packages" / "pools" / "README.md"
HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("anypool_")}


def test_there_are_fewer_than_ten_and_all_are_public():
    assert len(HOOKS) < 10
    assert set(hookspecs.__all__) == set(HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_when_it_is_called(name):
    assert inspect.getdoc(HOOKS[name])


def test_the_readme_lists_every_hook_with_its_arguments():
    rows = re.findall(r"^\| `(anypool_\w+)` \|(?: `(.*?)`)? \|", README.read_text(), flags=re.MULTILINE)
    shown = {name: arguments.split(", ") if arguments else [] for name, arguments in rows}
    assert shown == {name: list(inspect.signature(function).parameters) for name, function in HOOKS.items()}


def test_they_are_found_without_an_import_of_their_module(site):
    said = site.says("""
        import sys, anypool
        before = "pluggy" in sys.modules
        print(before, anypool.hookspecs.anypool_chunk_done.__name__, anypool.hookimpl.project_name)
    """)
    assert said == "False anypool_chunk_done anypool"
