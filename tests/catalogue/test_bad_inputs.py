"""Every row of the catalogue: one line, its exit code, no traceback, and at once."""

import importlib.metadata
import re
import time
from pathlib import Path

import pytest

from empirical import registry
from repro.commands.cli import app, run
from tests.catalogue.bad_inputs import CATALOGUE, Bad

RUNS = "runs/runs/*/result.json"
LIMIT = 20.0  # seconds; what is refused is refused at once, imports of a first command included


def prepare(case: Bad, folder: Path) -> None:
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())


def plug_in(case: Bad, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, dict[str, importlib.metadata.EntryPoint]] = {}
    for place, target in case.plugins.items():
        kind, name = place.split(":")
        found.setdefault(kind, {})[name] = importlib.metadata.EntryPoint(name, target, f"repro.{kind}")
    monkeypatch.setattr(registry, "plugins", lambda kind: found.get(kind, {}))


@pytest.mark.slow
@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: f"{case.group}: {ascii(case.what)[:60]}")
def test_a_bad_input_gives_one_line_and_its_exit_code(
    case: Bad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("REPRO_STORE", "REPRO_DATA", "REPRO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REPRO_CACHE", str(tmp_path / "cache"))
    for name, value in case.environment.items():
        monkeypatch.setenv(name, value)
    prepare(case, tmp_path)
    if case.plugins:
        (tmp_path / "mine_raises.py").write_text("raise RuntimeError('by hand')\n")
        monkeypatch.syspath_prepend(tmp_path)
        plug_in(case, monkeypatch)
    there = {*tmp_path.glob(RUNS)}
    made = next((path.parent.name for path in there), "")
    words = [word.replace("{made}", made) for word in case.words]
    before = (tmp_path / "runs").exists()
    capsys.readouterr()
    started = time.process_time()
    code = run(lambda: app(words, standalone_mode=False))
    took = time.process_time() - started
    error = capsys.readouterr().err
    lines = error.splitlines()
    assert code == case.code, error
    assert "Traceback" not in error
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == 1, error
    assert all(line.startswith(("error: ", "damaged: ")) for line in lines), error
    assert case.line in errors[0]
    assert len(errors[0]) < 3000
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", error)
    assert took < LIMIT
    assert {*tmp_path.glob(RUNS)} <= there, "it wrote a run"
    if case.group != "data":  # what the data alone tell is refused by a run that has begun
        assert (tmp_path / "runs").exists() == before, "it made a store"


@pytest.mark.slow
def test_the_catalogue_names_each_input_once_and_has_every_group() -> None:
    assert len({(case.words, case.what) for case in CATALOGUE}) == len(CATALOGUE)
    assert {case.group for case in CATALOGUE} == {
        "CLI", "recipe", "data", "store", "device", "plug-in", "environment", "terminal"
    }  # fmt: skip
