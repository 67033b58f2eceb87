"""What readers are told to try works as it is written: notebooks, and the tutorial's own program."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import environment

ROOT = Path(__file__).parents[2]


def execute(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "error::UserWarning", "-c", code]
    return subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(tmp_path: Path, path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = execute(code, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_tutorials_program_runs(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "tutorial.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S)
    assert code
    done = execute(code[1], tmp_path)
    assert done.returncode == 0, done.stderr
    rows = dict(re.findall(r"^(\w+)_accuracy +([\d.]+ +[\d.]+)", done.stdout, re.MULTILINE))
    (own, original), (test, before) = (map(float, rows[name].split()) for name in ("forget", "test"))
    # What the text says of it, with the spread it names: mistakes learned by heart are forgotten, the rest is kept.
    assert original == 1
    assert own < 0.8
    assert test > before - 0.05


@pytest.mark.slow
def test_the_program_on_a_timm_model_ends_in_a_table(tmp_path: Path) -> None:
    """From nothing to a comparison, as the page says; a warning of the comparison is no error here."""
    text = (ROOT / "docs" / "how-to" / "own-model.md").read_text()
    program = next(code for code in re.findall(r"```python\n(.*?)```", text, re.S) if "timm" in code)
    done = execute("import warnings; warnings.simplefilter('ignore')\n" + program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("do nothing", "finetune", "neggrad", "Recommended:"))


def test_every_command_of_the_docs_exists() -> None:
    """As it is written: its name and its options."""
    import typer

    from repro.commands.cli import app

    known: Any = typer.main.get_command(app)
    pages = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]
    lines = [line for page in pages for line in page.read_text().splitlines() if re.match(r"\s*`?repro [a-z]", line)]
    assert len(lines) > 20
    for line in lines:
        words = re.sub(r"[#>`].*", "", line.strip().lstrip("`")).split()[1:]
        command = known
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not known, line
        options = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options, line
