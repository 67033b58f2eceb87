"""The script that puts bugs in: it refuses a wrong table, and tells what the tests notice from what they do not."""

import subprocess
from pathlib import Path

import pytest

from tests.mutation.run import ROOT, Bug, find_faults, read_tables, run


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one module and one test of half of it."""
    (tmp_path / "half.py").write_text("def up(x):\n    return x + 1\n\n\ndef down(x):\n    return x - 1\n")
    (tmp_path / "test_half.py").write_text("from half import up\n\n\ndef test_up():\n    assert up(1) == 2\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_every_row_of_the_tables_can_be_put_in() -> None:
    assert find_faults(read_tables(), ROOT) == []


@pytest.mark.parametrize(("bug", "fault"), [
    (Bug("half.py", "return", "yield", "test_half.py"), "stands 2 times"),
    (Bug("half.py", "x * 1", "x", "test_half.py"), "stands 0 times"),
    (Bug("half.py", "x + 1", "x + 1", "test_half.py"), "changes nothing"),
    (Bug("half.py", "x + 1", "x +", "test_half.py"), "no longer Python"),
    (Bug("none.py", "x", "y", "test_half.py -k up"), "no file none.py"),
    (Bug("half.py", "x + 1", "x", "test_none.py::test_up"), "no file test_none.py"),
])  # fmt: skip
def test_a_row_that_cannot_be_put_in_stops_everything(bug: Bug, fault: str, tree: Path) -> None:
    with pytest.raises(SystemExit, match=fault):
        run([bug], tree)


@pytest.mark.slow
def test_a_bug_is_killed_where_a_test_notices_and_survives_where_none_does(tree: Path) -> None:
    bugs = [Bug("half.py", "x + 1", "x + 2", "test_half.py"), Bug("half.py", "x - 1", "x - 2", "test_half.py")]
    before = (tree / "half.py").read_text()
    assert run(bugs, tree) == [True, False]
    assert (tree / "half.py").read_text() == before
    (tree / "test_half.py").write_text("def test_up():\n    assert False\n")
    with pytest.raises(SystemExit, match="fails without a bug"):
        run(bugs[:1], tree)
