"""What is said in several files is said alike: the version, and the tools that look at the code and its packages."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

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


SAFE, FAULTY = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "version": "2", "vulns": [{"id": "CVE-1"}]}
SKIPPED = {"name": "c", "skip_reason": "could not be audited"}


@pytest.mark.parametrize(("report", "code", "offline", "said"), [
    ([SAFE, SKIPPED], 0, 0, "1 of 2 packages were looked up, 0 known faults"),
    ([SAFE, FAULTY], 1, 1, "b 2: CVE-1"),
    ([SKIPPED, SKIPPED], 3, 0, "not audited"),
    ([], 3, 0, "not audited"),
    (None, 3, 0, "no connection"),
])  # fmt: skip
def test_an_audit_fails_for_a_known_fault_and_where_nothing_was_looked_up(
    report: list[Any] | None, code: int, offline: int, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """`report` is what pip-audit knows of each package; None is a pip-audit that ended without a report."""
    spec = importlib.util.spec_from_file_location("versions", ROOT / ".ci" / "versions.py")
    assert spec
    assert spec.loader
    versions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(versions)
    text = "" if report is None else json.dumps({"dependencies": report, "fixes": []})
    done = subprocess.CompletedProcess([], 1, stdout=text, stderr="no connection" if report is None else "")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    assert versions.audit() == code
    assert said in capsys.readouterr().out
    assert versions.audit(offline=True) == offline
