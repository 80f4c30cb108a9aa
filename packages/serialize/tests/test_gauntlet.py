"""Everything a script defines travels by value, and its classes keep one identity."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("gauntlet.py").read_text()
CASES = [n.name for n in ast.parse(SOURCE).body if isinstance(n, ast.FunctionDef) and n.name.startswith("case_")]


@pytest.mark.parametrize("case", CASES)
def test_what_a_script_defines_arrives_whole(case: str, gauntlet: Callable[[str], str]) -> None:
    gauntlet(case)
