"""Every package builds, and installs from a folder of wheels alone: each extra with exactly its launchers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {path.parent.name: path.parent for path in sorted(ROOT.glob("packages/*/pyproject.toml"))}
LIMIT = 150  # seconds, for what may be slow to download or build

# What the core runs by itself, and what each extra adds to it; `all` is the union.
ALONE = {"serial", "thread", "process"}
ADDED: dict[str, set[str]] = {
    "multiprocess": {"multiprocess"},
    "parallel-python": {"parallel-python"},
    "ppft": {"parallel-python"},
    "rich": set(),
    "testing": set(),
}
EXTRAS = {**ADDED, "all": set().union(*ADDED.values())}

each_package = pytest.mark.parametrize("name", FOLDERS)
each_extra = pytest.mark.parametrize("extra", EXTRAS)

pytestmark = pytest.mark.timeout(300)


def project(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    return found


def run(*command: str | Path, index: bool = False) -> str:
    """What a command prints; the workspace is not on its path, and only with `index` has pip the user's settings."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", *(() if index else ("PIP_",)))
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    if not index:
        env["PIP_CONFIG_FILE"] = os.devnull
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(source: Path, into: Path, *options: str) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", into, source)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist of each package, and the wheel that is built of that."""
    into = tmp_path_factory.mktemp("built")
    for folder in FOLDERS.values():
        build(folder, into)
    return into


@pytest.fixture(scope="session")
def wheels(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of our wheels and of those that they need; the only place where anything is installed from."""
    ours = {project(name)["name"] for name in FOLDERS}
    needed = {
        requirement
        for name in FOLDERS
        for group in (project(name).get("dependencies", []), *project(name).get("optional-dependencies", {}).values())
        for requirement in group
        if re.match(r"[\w-]+", requirement)[0] not in ours  # type: ignore[index]
    }
    folder = tmp_path_factory.mktemp("wheels")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
    run(*pip, "--only-binary", ":all:", "--dest", folder, *sorted(needed), index=True)
    for wheel in built.glob("*.whl"):
        shutil.copy(wheel, folder)
    return folder


def install(environment: Path, requirement: str, *folders: Path) -> Path:
    """An empty environment with what pip installs into it, without an index; its `bin` folder."""
    venv.create(environment, with_pip=False, symlinks=True)
    links = [part for folder in folders for part in ("--find-links", str(folder))]
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", environment / "bin" / "python")
    run(*pip, "install", "--quiet", "--no-index", "--no-cache-dir", "--no-compile", *links, requirement)
    run(*pip, "check")
    return environment / "bin"


@pytest.fixture(scope="session")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The environment of a requirement, made once."""
    made: dict[str, Path] = {}

    def get(requirement: str) -> Path:
        if requirement not in made:
            made[requirement] = install(tmp_path_factory.mktemp("environment"), requirement, wheels)
        return made[requirement]

    return get


def runnable(binaries: Path) -> set[str]:
    """The launchers that can run, as the installed command says."""
    lines = run(binaries / "anypool", "backends").splitlines()
    return {line.split()[0] for line in lines if line.endswith("runs here")}


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def wheel_of(name: str, folder: Path) -> Path:
    module = project(name)["name"].replace("-", "_")
    (wheel,) = folder.glob(f"{module}-{project(name)['version']}-*.whl")
    return wheel


@each_package
def test_a_package_builds_to_an_sdist_and_a_pure_wheel(name, built):
    module = project(name)["name"].replace("-", "_")
    stem = f"{module}-{project(name)['version']}"
    assert (built / f"{stem}.tar.gz").is_file()
    assert wheel_of(name, built).name == f"{stem}-py3-none-any.whl"


@each_package
def test_the_wheel_of_the_sdist_is_that_of_the_folder(name, built, tmp_path):
    build(FOLDERS[name], tmp_path, "--wheel")
    assert contents(wheel_of(name, tmp_path)) == contents(wheel_of(name, built))


@each_package
def test_a_wheel_has_all_modules_the_types_and_the_licence_and_nothing_else(name, built):
    names = set(contents(wheel_of(name, built)))
    source = FOLDERS[name] / "src"
    code = {str(path.relative_to(source)) for path in source.rglob("*") if path.suffix in {".py", ".typed"}}
    (module,) = {path.partition("/")[0] for path in code}
    assert f"{module}/py.typed" in names
    info = f"{project(name)['name'].replace('-', '_')}-{project(name)['version']}.dist-info"
    assert f"{info}/licenses/LICENSE" in names
    assert {each for each in names if not each.startswith(f"{info}/")} == code


def test_the_extras_are_those_that_are_tested_here():
    assert set(project("pools")["optional-dependencies"]) == set(EXTRAS)


def test_every_launcher_is_an_extra_or_built_in():
    launchers = {point for name in FOLDERS for point in project(name).get("entry-points", {}).get("anypool", {})}
    assert launchers
    assert launchers - set(project("pools")["optional-dependencies"]) - ALONE == set()


def test_the_core_alone_runs_exactly_its_own_launchers(installed):
    assert runnable(installed("anypool")) == ALONE


@each_extra
def test_an_extra_makes_exactly_its_launchers_runnable(installed, extra):
    assert runnable(installed(f"anypool[{extra}]")) == ALONE | EXTRAS[extra]


@pytest.mark.parametrize("launcher", sorted(EXTRAS["all"]))
def test_without_its_extra_a_launcher_is_refused_with_the_line_that_installs_it(installed, launcher):
    code = f"import anypool\ntry: anypool.get_pool({launcher!r})\nexcept anypool.LauncherUnavailable as e: print(e)"
    said = run(installed("anypool") / "python", "-c", code)
    extra, *_ = (extra for extra, added in ADDED.items() if launcher in added)
    assert f"pip install 'anypool[{extra}]'" in said


@pytest.mark.parametrize("launcher", sorted(ALONE | EXTRAS["all"]))
def test_what_is_installed_runs_maps(installed, launcher):
    code = f"import anypool\nwith anypool.get_pool({launcher!r}) as pool: print(sum(pool.map(abs, range(10))))"
    assert run(installed("anypool[all]") / "python", "-W", "error", "-c", code) == "45\n"


@each_package
def test_a_package_that_is_bumped_alone_installs_beside_the_older_others(name, wheels, tmp_path):
    source = shutil.copytree(FOLDERS[name], tmp_path / "source")
    settings, old = source / "pyproject.toml", project(name)["version"]
    major, minor, *_ = old.split(".")
    new = f"{major}.{int(minor) + 1}.0"
    settings.write_text(settings.read_text().replace(f'version = "{old}"', f'version = "{new}"', 1))
    bumped = tmp_path / "bumped"
    build(source, bumped, "--wheel")
    binaries = install(tmp_path / "environment", "anypool[all]", wheels, bumped)
    code = "import sys, importlib.metadata as m\nfor name in sys.argv[1:]: print(name, m.version(name))"
    names = [project(each)["name"] for each in FOLDERS]
    said = dict(line.split() for line in run(binaries / "python", "-c", code, *names).splitlines())
    assert said == {project(each)["name"]: new if each == name else project(each)["version"] for each in FOLDERS}
    assert runnable(binaries) == ALONE | EXTRAS["all"]
