"""The bootstrap script, as far as it goes without installing anything."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 30  # seconds


@pytest.fixture
def dev(tmp_path):
    """Run a copy of dev.py in an empty folder, without environment variables and site-packages."""
    script = shutil.copy(ROOT / "dev.py", tmp_path)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", str(script), *arguments]
        return subprocess.run(command, env={}, capture_output=True, text=True, timeout=LIMIT, check=False)

    return run


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"], ["help"]], ids=str)
def test_help_is_shown_and_nothing_is_installed(dev, arguments, tmp_path):
    done = dev(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python3 dev.py COMMAND" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_an_unknown_command_names_the_known_ones_and_installs_nothing(dev, tmp_path):
    done = dev("tset")
    assert done.returncode == 2
    assert "'tset'" in done.stderr
    assert "demo, test" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_only_the_standard_library_is_needed():
    tree = ast.parse((ROOT / "dev.py").read_bytes())
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in modules} <= sys.stdlib_module_names


def test_every_command_leads_to_a_script_of_a_hatch_environment(dev):
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    targets = re.findall(r'\["run", "([a-z]+):([a-z]+)"\]', (ROOT / "dev.py").read_text())
    assert targets
    assert [target for target in targets if target[1] not in environments[target[0]]["scripts"]] == []


def test_help_names_every_command(dev):
    refusal = dev("tset").stderr
    commands = refusal.rpartition("there are ")[2].strip().split(", ")
    shown = re.findall(r"^  ([a-z]+) {2,}", dev("--help").stdout, flags=re.MULTILINE)
    assert shown == commands
