"""A home and a working folder without configuration, in which nothing is said about plans."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a project in an empty home."""
    folder = tmp_path / "home" / "project"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o755)
    monkeypatch.setenv("HOME", str(folder.parent))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("ANYPOOL_PLAN", raising=False)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def user_folder(project: Path) -> Path:
    """Where the user's own configuration is."""
    folder = project.parent / ".config" / "anypool"
    folder.mkdir(parents=True, mode=0o755)
    return folder
