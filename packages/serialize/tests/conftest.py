"""Runs scripts in fresh interpreters, where `__main__` and class identity are what a user has."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
collect_ignore = [] if sys.version_info >= (3, 12) else ["test_type_syntax.py"]


def run(command: list[str], cwd: Path | None = None, stdin: str | None = None) -> str:
    """Output of a command that must succeed within 60 s; it can import the helpers of this folder."""
    path = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=cwd, env=env, input=stdin, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    def run_script(text: str, *args: str) -> str:
        file = tmp_path / "script.py"
        file.write_text(textwrap.dedent(text))
        return run([sys.executable, "-W", "error", str(file), *args], cwd=tmp_path)

    return run_script


@pytest.fixture
def gauntlet() -> Callable[[str], str]:
    return lambda case: run([sys.executable, str(HERE / "gauntlet.py"), case])
