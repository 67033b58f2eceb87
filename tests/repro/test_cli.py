"""The command line as a user meets it: in a process of its own, in an empty folder."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from repro.commands.cli import app
from repro.records.store import Store
from repro.terminal.output import emit
from tests.command import environment, repro

SMALL = ["--seeds", "2", "--d", "200", "--n", "10", "--n-forget", "2", "--m", "2", "--epochs", "5"]
SMALL += ["--pretrain-epochs", "5", "--batch-size", "5"]
RENDEZVOUS = {"MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from repro.commands.cli import main; main()", *words]


def test_help_names_what_stays_for_ever_and_the_groups_and_no_old_name(tmp_path: Path) -> None:
    shown = re.findall(r"^│ (\w+) ", repro(tmp_path, "--help").stdout, re.MULTILINE)
    assert {"theory", "run", "figures", "compare", "study", "records", "models", "paper", "explain", "doctor"} < {
        *shown
    }
    assert not {"empirical", "list", "show", "verify", "claims", "report", "check"} & {*shown}


def test_an_old_name_is_the_command_of_its_group() -> None:
    root: Any = typer.main.get_command(app)
    pairs = {
        "list": "records list", "show": "records show", "verify": "records verify", "tidy": "records tidy",
        "pack": "records publish", "records pack": "records publish",
        "export": "records export", "check": "study check", "claims": "paper claims",
        "report": "paper report", "summary": "paper summary", "figures": "paper figures", "compare": "paper compare",
        "empirical run": "run", "empirical grid": "study run", "empirical plan": "study plan",
        "empirical status": "study status", "empirical recipes": "study list",
        "empirical memorization": "study estimate", "empirical diff": "records diff",
        "empirical evaluate": "records evaluate", "empirical import-index": "records import-index",
        "empirical import-scores": "records import-scores",
    }  # fmt: skip
    for old, new in pairs.items():
        assert named(root, old).callback.__wrapped__ is named(root, new).callback.__wrapped__, old


def named(root: Any, words: str) -> Any:
    for word in words.split():
        root = root.commands[word]
    return root


HEAVY = ("torch", "scipy", "pandas", "sklearn", "numba", "matplotlib")
LIGHT = {
    "--help": (*HEAVY, "numpy"),
    "empirical recipes": HEAVY,
    "empirical grid digits --dry-run": HEAVY,
    "empirical plan digits --images-per-second 1000": HEAVY,
    "check --published digits": HEAVY,
    "list --kind unlearn": HEAVY,
    "theory predict --d 1000000000 --n 20 --directions 64": ("torch", "theory.engine"),
    "figures fig-tow tab-neggrad fig-theory-map": ("torch", "theory.engine", "empirical.training.loop"),
}


@pytest.mark.parametrize("lines", [[*LIGHT][:-1], pytest.param([*LIGHT][-1:], marks=pytest.mark.slow)], ids=len)
def test_a_command_loads_nothing_that_it_does_not_need(lines: list[str], tmp_path: Path) -> None:
    """One process runs them, the lightest first."""
    code = "import sys, json; from repro.commands.cli import run, app\n"
    code += "for line, heavy in json.loads(sys.argv[1]).items():\n"
    code += "    code = run(lambda: app(line.split(), standalone_mode=False))\n"
    code += "    print(line, code, [name for name in heavy if name in sys.modules], file=sys.stderr)"
    words = [sys.executable, "-c", code, json.dumps({line: LIGHT[line] for line in lines})]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=170)
    said = done.stderr.splitlines()
    assert [line for line in said if line.startswith((*LIGHT,))] == [f"{line} 0 []" for line in lines], done.stderr
    if lines[-1].startswith("figures"):
        assert list((tmp_path / "runs" / "figures").glob("fig-*.png"))
    else:
        assert "boundary of SGD (test error 0.1): s* =" in done.stdout
        assert "in nine of ten settings" in done.stdout
        assert list(tmp_path.iterdir()) == [], "a prediction writes nothing"


@pytest.mark.slow
def test_theory_prints_forget_error_beside_test_error_and_names_its_records(tmp_path: Path) -> None:
    done = repro(tmp_path, "theory", "--signal-strength", "0.5", *SMALL)
    assert done.returncode == 0, done.stderr
    header = next(line for line in done.stdout.splitlines() if line.startswith("pretrain"))
    assert header.index("test error") < header.index("forget error") < header.index("retain error")
    names = {record.run_id for record in Store(tmp_path / "runs").records("theory")}
    assert len(names) == 4
    assert all(name in done.stdout for name in names)
    assert "fig-theory-trajectories.png" in done.stdout
    assert "in nine of ten settings" in done.stdout


@pytest.mark.slow
def test_alpha_prints_both_thresholds_with_the_forget_error_there(tmp_path: Path) -> None:
    done = repro(tmp_path, "theory", "alpha", "--signal-strength", "2", *SMALL, "--json")
    rows = json.loads(done.stdout)["rows"]
    assert {row["rule"] for row in rows} == {"SGD", "SAM", "SAM on R only"}
    assert {"predicted", "simulated", "predicted_forget_error", "simulated_forget_error"} <= set(rows[0])
    shown = repro(tmp_path, "theory", "alpha", "--signal-strength", "2", *SMALL).stdout
    assert "alpha predicted" in shown
    assert "none: not even alpha = 1" in shown


@pytest.mark.parametrize(("words", "expected"), [
    (["theory", "--alhpa", "0.5"], "--alpha"),
    (["theory", *SMALL, "--store", "blocked/runs"], "cannot be written"),
    (["empirical", "grid", "recipe.toml"], "unknown setting 'methd' (did you mean 'method'?)"),
])  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2_and_writes_nothing(tmp_path: Path, words: Any, expected: str) -> None:
    """What else is bad input stands in tests/catalogue."""
    (tmp_path / "recipe.toml").write_text('[[runs]]\nmethd = "neggrad"\n')
    (tmp_path / "blocked").write_text("")
    done = repro(tmp_path, *words)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert expected in done.stderr
    assert not (tmp_path / "runs").exists()


def test_strict_names_every_command_and_json_every_gap(tmp_path: Path) -> None:
    words = ("figures", "tab-methods", "fig-theory-alpha", "--study", "cifar10-small")  # nobody has run it
    plain, whole = (repro(tmp_path, *words, "--strict", *more) for more in ((), ("--json",)))
    rows = json.loads(whole.stdout)
    gaps = [line for row in rows for line in row["gaps"]]
    assert [row["missing"] for row in rows] == [len(row["gaps"]) for row in rows]
    assert [bool(row["gaps"]) for row in rows] == [True, False]
    for done in (plain, whole):
        assert done.returncode == 3
        assert all(line.rpartition(": ")[2] in done.stderr for line in gaps)
        assert "not run for: tab-methods; " in done.stderr
    told = plain.stdout.splitlines()[2].split()
    assert told[:3] == ["tab-methods", str(rows[0]["runs"]), str(rows[0]["missing"])]


def test_a_grid_whose_data_is_missing_exits_with_3_and_says_where_to_put_it(tmp_path: Path) -> None:
    (tmp_path / "data.toml").write_text('[[runs]]\ndataset = "cifar10"\n')
    done = repro(tmp_path, "empirical", "grid", "data.toml")
    assert done.returncode == 3
    assert "cifar10-train.parquet" in done.stderr


def test_verify_exits_with_6_and_names_the_damaged_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    record = store.save("benchmark", {"a": 1}, result={"x": 1})
    assert repro(tmp_path, "verify").returncode == 0
    (store.root / "runs" / record.run_id / "provenance.json").write_text("{}")
    done = repro(tmp_path, "verify")
    assert done.returncode == 6
    assert f"{record.run_id}/provenance.json" in done.stdout


def test_a_kind_that_nobody_has_runs_of_is_an_empty_list_where_there_are_no_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("repro.commands.records.published_files", list)
    app(["list", "--kind", "unlearn", "--store", str(tmp_path), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == []


def test_show_gives_small_arrays_whole_and_names_large_ones(tmp_path: Path) -> None:
    arrays = {"tow": np.array([0.5, np.nan]), "rule": np.array(["sgd", "sam"]), "large": np.zeros((100, 100))}
    record = Store(tmp_path / "runs").save("benchmark", {"a": 1}, result={"ratio": 2.5}, arrays=arrays)
    shown = json.loads(repro(tmp_path, "show", record.run_id[:6], "--json").stdout)["arrays"]
    assert shown == {"tow": [0.5, None], "rule": ["sgd", "sam"], "large": "float64, shape (100, 100)"}
    for_people = repro(tmp_path, "show", record.run_id[:6]).stdout
    assert "float64, shape (2,)" in for_people
    assert "2.5" in for_people


def test_the_environment_variable_moves_the_store(tmp_path: Path) -> None:
    Store(tmp_path / "elsewhere").save("benchmark", {"a": 1}, result={})
    done = repro(tmp_path, "list", "--kind", "benchmark", "--json", REPRO_STORE="elsewhere")
    assert [row["store"] for row in json.loads(done.stdout)].count("runs") == 1


def test_processes_of_torchrun_do_not_each_do_a_whole_study(tmp_path: Path) -> None:
    several = {"WORLD_SIZE": "2", "RANK": "0", "TORCHELASTIC_RUN_ID": "none"} | RENDEZVOUS
    line = command("empirical", "grid", "digits", "--dry-run")
    done = subprocess.run(line, cwd=tmp_path, env=environment() | several, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "torchrun = 'empirical grid': must be `repro run`" in done.stderr
    done = subprocess.run(line, cwd=tmp_path, env=environment() | several | {"WORLD_SIZE": "1"}, timeout=60)
    assert done.returncode == 0


def test_many_rows_of_json_are_one_document_with_a_row_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not finite is null: JSON has neither NaN nor Infinity, which Python writes and other readers refuse."""
    rows = [{"run": number, "tow": [math.nan, -math.inf] if number == 7 else 0.5} for number in range(2_000)]
    emit(rows, as_json=True)
    text = capsys.readouterr().out
    found = json.loads(text, parse_constant=pytest.fail)
    assert found == [row | ({"tow": [None, None]} if row["run"] == 7 else {}) for row in rows]
    assert len(text.splitlines()) == len(rows) + 2
