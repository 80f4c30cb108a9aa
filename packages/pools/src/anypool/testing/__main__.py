"""Run the contract of a launcher from the command line: `python -m anypool.testing NAME`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time

from anypool import AnypoolError, LauncherUnavailable
from anypool.testing._terms import parts_of, recipe_of

__all__ = ["main"]

_DESCRIPTION = """\
Run the contract of a launcher. Prints one line for each behaviour: passed, FAILED or ERROR; deviates, with the reason,
where the launcher's traits or --deviates say so; unclaimed where it promises neither. The exit code is 0 if all is as
it should be, 1 if not, and 2 for an unknown launcher."""


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        recipe = recipe_of(given.name)
        for part in parts_of(recipe):
            if (why := type(part).missing()) is not None:
                raise LauncherUnavailable(why)
    except (AnypoolError, TypeError, ValueError) as error:
        return _refused(f"{given.name}: {error}")
    if importlib.util.find_spec("pytest") is None:
        return _refused("the kit needs pytest: pip install 'anypool[testing]'")
    return _run(given)


def _refused(text: str) -> int:
    sys.stderr.write(text + "\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m anypool.testing", description=_DESCRIPTION)
    parser.add_argument("name", help='what get_pool takes, as "process:2"')
    parser.add_argument("-k", metavar="EXPRESSION", help="only the behaviours that match it, as in pytest")
    parser.add_argument("-x", action="store_true", help="stop at the first failure")
    parser.add_argument(
        "--deviates", metavar="TEST=REASON", action="append", default=[], help="a behaviour that has to fail, and why"
    )
    return parser


def _run(given: argparse.Namespace) -> int:
    import pytest

    from anypool.testing import _lines

    _lines.given = _lines.Given(given.name, dict(each.partition("=")[::2] for each in given.deviates))
    lines, folder = _lines.Lines(), os.path.dirname(_lines.__file__)
    # No file of the folder that this is called in has a say.
    options = [os.path.join(folder, "_command.py"), "-c", os.devnull, f"--rootdir={folder}", "--noconftest"]
    options += [
        "-p",
        "no:cacheprovider",
        "--tb=short",
        *(["-x"] if given.x else []),
        *(["-k", given.k] if given.k else []),
    ]
    began = time.monotonic()
    code = int(pytest.main(options, plugins=[lines]))
    sys.stdout.write(f"{given.name}: {lines.summary()}, {time.monotonic() - began:.1f} s\n")
    # Behaviours that can't be collected were named wrongly.
    return code if code in (0, 1) else 2


if __name__ == "__main__":
    sys.exit(main())
