#!/usr/bin/env python3
"""Run the demo, the tests or a tool on a machine that has only Python 3.11+ and git."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
TOOLS = ["hatch>=1.16", "uv>=0.5"]

COMMANDS = {
    "demo": ["run", "demo:run"],
    "test": ["run", "test:run"],
    "cov": ["run", "test:cov"],
    "lint": ["run", "lint:run"],
    "fix": ["run", "lint:fix"],
    "bench": ["run", "bench:run"],
    "hatch": [],
}

USAGE = """\
usage: python3 dev.py COMMAND [ARGUMENT ...]

  demo    measure the standard library with a serial, a thread and a process pool
  test    run the test suite; arguments go to pytest: python3 dev.py test -k name
  cov     the same with coverage
  lint    ruff, mypy, pyright
  fix     let ruff repair and format what it can
  bench   compare with other libraries, which it installs
  hatch   run hatch itself: python3 dev.py hatch env show

Everything is installed in .venv beside this file, and tests run on the Python that
runs this file. To start afresh, delete .venv.
"""

NO_INSTALLER = """\
dev.py: {python} has neither ensurepip nor pip, so nothing can be installed with it.
On Debian and Ubuntu: apt-get install python3-venv. Elsewhere install pip or uv. Then run this again.
"""

# uv reads none of pip's configuration; who sits behind a mirror or a proxy has said so to pip only.
UV_VARIABLES = {"index-url": "UV_DEFAULT_INDEX", "cert": "SSL_CERT_FILE", "timeout": "UV_HTTP_TIMEOUT"}


def build_wheel(*_: object) -> NoReturn:
    """What `pip install .` asks for."""
    sys.exit(
        "There is nothing to install at the root. In this folder: pip install ./packages/serialize ./packages/pools"
    )


def main(argv: list[str]) -> NoReturn:
    """Prepare `.venv`, then become hatch."""
    if not argv or argv[0] in {"-h", "--help", "help"}:
        print(USAGE, end="")
        sys.exit(0)
    command, *arguments = argv
    if command not in COMMANDS:
        print(f"dev.py: no command {command!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
    if not _is_ready():
        _install()
    environ = _environ()
    hatch = VENV / "bin" / "hatch"
    os.chdir(ROOT)
    os.execve(hatch, [str(hatch), *COMMANDS[command], *arguments], environ)


def _is_ready() -> bool:
    """Tell whether an earlier run finished installing, with a Python that is still there."""
    note = VENV / "installed"
    return note.is_file() and note.read_text() == "\n".join(TOOLS) and (VENV / "bin" / "python").exists()


def _install() -> None:
    print("dev.py: installing hatch and uv in .venv (once)", file=sys.stderr)
    shutil.rmtree(VENV, ignore_errors=True)
    with_pip = importlib.util.find_spec("ensurepip") is not None
    venv.create(VENV, with_pip=with_pip, symlinks=True)
    subprocess.run(_installer(with_pip=with_pip), check=True)
    # Hatch wants the file to exist; a contributor's own settings would put environments elsewhere.
    (VENV / "hatch.toml").touch()
    # Last, so that an interrupted run starts over.
    (VENV / "installed").write_text("\n".join(TOOLS))


def _installer(*, with_pip: bool) -> list[str]:
    """Return a command that installs the tools, whatever this Python is able to do."""
    python = str(VENV / "bin" / "python")
    quiet = ["--quiet", "--disable-pip-version-check"]
    if with_pip:
        return [python, "-m", "pip", *quiet, "install", *TOOLS]
    # Debian ships Python without ensurepip; its pip can still install into another environment.
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *quiet, "--python", python, "install", *TOOLS]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", python, *TOOLS]
    sys.exit(NO_INSTALLER.format(python=sys.executable))


def _environ() -> dict[str, str]:
    environ = {**os.environ}
    for name, value in _pip_settings().items():
        if name in UV_VARIABLES:
            environ.setdefault(UV_VARIABLES[name], value)
    # Last: for scripts that call hatch, as `bench` does, and for nothing else.
    environ["PATH"] = os.pathsep.join(filter(None, (environ.get("PATH"), str(VENV / "bin"))))
    environ["HATCH_ENV_TYPE_VIRTUAL_UV_PATH"] = str(VENV / "bin" / "uv")
    # One set of environments for each Python, so that `python3.12 dev.py test` tests 3.12.
    environ["HATCH_PYTHON"] = sys.executable
    environ["HATCH_DATA_DIR"] = str(VENV / f"hatch-{sys.version_info.major}.{sys.version_info.minor}")
    environ["HATCH_CACHE_DIR"] = str(VENV / "hatch-cache")
    environ["HATCH_CONFIG"] = str(VENV / "hatch.toml")
    return environ


def _pip_settings() -> dict[str, str]:
    """Return what pip's files and environment variables set, under the bare names of its options."""
    python = sys.executable if importlib.util.find_spec("pip") is not None else str(VENV / "bin" / "python")
    run = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    lines = [line.partition("=") for line in run.stdout.splitlines()]
    settings = {}
    for section in ("global", "install", ":env:"):  # the later speaks louder
        for key, _, value in lines:
            if key.startswith(f"{section}."):
                settings[key.removeprefix(f"{section}.")] = value.strip("'\"")
    return settings


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this has not installed anything yet
        sys.exit(f"dev.py: anypool needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
    main(sys.argv[1:])
