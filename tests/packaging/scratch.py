"""An environment of its own, with the packages of this workspace built and installed in it, and no index."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT = 180  # seconds


class Scratch:
    """What the tests' own environment has besides anypool can be imported, so that nothing is fetched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "environment"
        venv.create(self.folder, symlinks=True, with_pip=False)
        (packages,) = self.folder.glob("lib/python*/site-packages")
        # A path in such a file is added as it is: what is installed there in editable form stays out.
        others = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "others.pth").write_text("\n".join(others))
        sources = [str(ROOT / "packages" / name) for name in ("serialize", "pools")]
        # There is an anypool in the tests' environment, which is not the one to be used, nor to be removed.
        self.run("python", "-m", "pip", "install", "--quiet", "--ignore-installed", "--no-deps", *sources)

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """The output of a command of this environment, which has to succeed."""
        name, *arguments = command
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "VIRTUAL"))}
        # What a build needs is here already, and pip is not to look elsewhere.
        environ |= {
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{environ['PATH']}",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CONFIG_FILE": os.devnull,
        }
        done = subprocess.run(
            [str(self.folder / "bin" / name), *arguments],
            cwd=cwd or self.folder, env=environ, capture_output=True, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout
