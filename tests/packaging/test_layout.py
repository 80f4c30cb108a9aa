"""The folders and metadata of the workspace."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
# Folder: distribution, import name, and the packages of the workspace that it may need.
DESIGN = {
    "serialize": ("anypool-serialize", "anypool_serialize", set()),
    "pools": ("anypool", "anypool", {"serialize"}),
    "secure": ("anypool-secure", "anypool_secure", {"serialize", "pools"}),
    "mpi": ("anypool-mpi", "anypool_mpi", {"serialize", "pools"}),
    "cache": ("anypool-cache", "anypool_cache", {"serialize"}),
    "dask": ("anypool-dask", "anypool_dask", {"serialize", "pools"}),
}
NAMES = {folder: names[:2] for folder, names in DESIGN.items()}
LONGEST_MODULE = 400  # lines

each_package = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def metadata(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements(folder: Path) -> list[str]:
    project = metadata(folder)["project"]
    groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    return [requirement for group in groups for requirement in group]


def test_the_workspace_holds_packages_of_the_design_and_nothing_else():
    folders = {path.name for path in ROOT.glob("packages/*") if path.is_dir()}
    assert folders == {folder.name for folder in FOLDERS}
    assert {"serialize", "pools"} <= folders <= set(DESIGN)


def test_the_root_has_what_concerns_all_packages():
    wanted = [
        "README.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "CITATION.cff",
        "examples",
        "benchmarks",
        "tests",
        "hatch.toml",
    ]
    assert [name for name in wanted if not (ROOT / name).exists()] == []
    assert "BSD-3-Clause" in (ROOT / "CITATION.cff").read_text()


def test_the_root_has_settings_of_tools_only_and_says_what_to_install_instead(tmp_path):
    assert set(metadata(ROOT)) == {"tool", "build-system"}
    refused = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "-w", tmp_path, ROOT],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "pip install ./packages/serialize ./packages/pools" in refused.stdout + refused.stderr
    assert not list(tmp_path.iterdir())
    assert {"ruff", "mypy", "pyright", "pytest", "coverage"} <= set(metadata(ROOT)["tool"])


def test_every_package_is_a_member_of_the_hatch_workspace():
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    assert environments["default"]["workspace"]["members"] == ["packages/*"]
    assert {"demo", "test", "bench", "lint"} <= set(environments)


@each_package
def test_a_package_is_complete(folder):
    _, module = NAMES[folder.name]
    wanted = [
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "tests",
        f"src/{module}/__init__.py",
        f"src/{module}/py.typed",
    ]
    assert [name for name in wanted if not (folder / name).exists()] == []


@each_package
def test_a_package_has_one_import_package_which_is_no_namespace(folder):
    modules = [path for path in (folder / "src").iterdir() if path.name != "__pycache__"]
    assert [path.name for path in modules] == [NAMES[folder.name][1]]
    assert metadata(folder)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/{modules[0].name}"]


@each_package
def test_a_package_has_the_licence_of_the_workspace(folder):
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


@each_package
def test_a_package_is_built_by_hatchling_with_a_static_version(folder):
    build, project = metadata(folder)["build-system"], metadata(folder)["project"]
    assert build["build-backend"] == "hatchling.build"
    assert "version" in project
    assert "version" not in project.get("dynamic", [])
    assert project["name"] == NAMES[folder.name][0]
    assert project["requires-python"] == ">=3.11"
    assert project["license"] == "BSD-3-Clause"


@each_package
def test_a_readme_starts_with_the_names_of_the_distribution_and_the_import(folder):
    first = (folder / "README.md").read_text().partition("\n")[0]
    assert all(name in first for name in NAMES[folder.name]), first


@each_package
def test_the_changelog_speaks_of_the_version_of_the_package(folder):
    assert metadata(folder)["project"]["version"] in (folder / "CHANGELOG.md").read_text()


@each_package
def test_a_dependency_within_the_workspace_is_a_lower_bound_that_holds(folder):
    versions = {NAMES[other.name][0]: metadata(other)["project"]["version"] for other in FOLDERS}
    for requirement in requirements(folder):
        name, bound, lowest = requirement.partition(">=")
        if name in versions:
            assert bound, f"{requirement} has no lower bound"
            assert as_numbers(lowest) <= as_numbers(versions[name])


@each_package
def test_a_package_needs_only_packages_below_it(folder):
    names = {DESIGN[other.name][0]: other.name for other in FOLDERS if other != folder}
    needed = {names[name] for each in requirements(folder) if (name := re.split("[^a-z-]", each)[0]) in names}
    extra = {"secure", "mpi", "cache", "dask"} if folder.name == "pools" else set()
    assert needed <= DESIGN[folder.name][2] | extra


@each_package
def test_no_package_reads_the_version_of_another(folder):
    module = NAMES[folder.name][1]
    init = (folder / "src" / module / "__init__.py").read_text()
    if found := re.search(r'^__version__ = "(.*)"$', init, flags=re.MULTILINE):
        assert found[1] == metadata(folder)["project"]["version"]
    others = {names[1] for name, names in NAMES.items() if name != folder.name}
    code = "".join(path.read_text() for path in folder.glob("src/**/*.py"))
    assert [other for other in others if re.search(rf"\b{other}\.__version__", code)] == []


def as_numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@each_package
def test_no_module_is_too_long_to_have_one_purpose(folder):
    lengths = {str(path.relative_to(folder)): path.read_text().count("\n") for path in folder.glob("src/**/*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}
