"""The folders and metadata of the workspace."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))
NAMES = {"serialize": ("anypool-serialize", "anypool_serialize"), "pools": ("anypool", "anypool")}
LONGEST_MODULE = 400  # lines

each_package = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def metadata(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())


def test_the_workspace_holds_the_packages_of_the_design():
    assert {folder.name for folder in FOLDERS} == set(NAMES)


def test_nothing_can_be_installed_at_the_root():
    assert "project" not in metadata(ROOT)
    assert "build-system" not in metadata(ROOT)


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
    for requirement in metadata(folder)["project"].get("dependencies", []):
        name, bound, lowest = requirement.partition(">=")
        if name in versions:
            assert bound, f"{requirement} has no lower bound"
            assert as_numbers(lowest) <= as_numbers(versions[name])


def as_numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@each_package
def test_no_module_is_too_long_to_have_one_purpose(folder):
    lengths = {path.name: path.read_text().count("\n") for path in folder.glob("src/**/*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}
