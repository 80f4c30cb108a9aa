"""What the READMEs show works as shown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 120  # seconds
READMES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md"))]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_the_python_of_a_readme_runs(readme, tmp_path):
    shown = blocks(readme, "python")
    assert shown, f"{readme} shows no Python"
    script = tmp_path / "shown.py"
    script.write_text("\n".join(shown))
    # Two workers are more than the CPUs of a small machine.
    command = [sys.executable, "-W", "error", "-W", "ignore:more workers than CPUs", str(script)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    promised = re.findall(r"# prints (.*)$", script.read_text(), flags=re.MULTILINE)
    if promised:
        assert done.stdout.splitlines() == [text.partition(": ")[0] for text in promised]


def test_the_root_readme_shows_one_command_for_the_demo_and_one_for_the_tests():
    lines = [line for block in blocks(ROOT / "README.md", "sh") for line in block.splitlines()]
    commands = [line.partition("#")[0].strip() for line in lines]
    assert commands == ["python3 dev.py demo", "python3 dev.py test"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_within_the_repository_lead_somewhere(name):
    targets = re.findall(r"\]\((?![a-z]+:)([^)#]+)", (ROOT / name).read_text())
    assert [target for target in targets if not (ROOT / target).exists()] == []
