"""What is said in several files is said alike: the version, and the tools that look at the code."""

import re
from pathlib import Path

from repro import __version__

ROOT = Path(__file__).parents[1]


def test_one_version() -> None:
    """The newest heading of the changelog, the citation and the installed package are about this code."""
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = re.search(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    assert cited is not None
    assert newest[1] == cited[1] == __version__


def test_a_commit_is_looked_at_by_the_tools_of_make_lint() -> None:
    """Every hook names the release that the constraints name, and none needs an environment of this project's own."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    asked = re.findall(r"([\w-]+)==([\d.]+)", hooks)
    assert asked
    assert all(pinned[name] == release for name, release in asked)
    assert ".venv" not in hooks
