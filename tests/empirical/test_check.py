"""`repro check`: what of a study is there is said beside the values that are compared."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from empirical.settings.run_config import Runtime
from empirical.studies.grid import run_grid
from empirical.studies.recipe import load_recipe
from repro.base.errors import IntegrityError
from repro.commands.cli import app
from repro.records.store import Store

CPU = Runtime(device="cpu")
STUDY = """
[defaults]
dataset = "signal-noise"
dataset_options = "side=8, n=48, n_test=40, signal_strength=2.0"
forget_fraction = 0.25
pretrain_epochs = 1
epochs = 1
augment = "none"
metrics = ["accuracy", "tow"]

[[cells]]
method = "neggrad"
seed = [0, 1]

[[cells]]
method = "finetune"
seed = [0, 1]

[[expected]]
metric = "tow"
where = { method = "finetune" }
value = 0.5
tolerance = 1.0
"""


def test_check_says_how_much_of_a_study_is_there(store: Store, tmp_path: Path) -> None:
    """Whatever the runs that are there give, a mean over a part of a study is not the study's."""
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)

    def check(*words: str) -> Any:
        return CliRunner().invoke(app, ["check", str(path), "--store", str(store.root), *words])

    run_grid(load_recipe(path).select(["seed=0"]), store, runtime=CPU)
    part = check()
    assert part.exit_code == 0, part.output
    assert "1 of 2 runs" in part.output
    assert "2 of 4 cells are not there" in part.output
    (row,) = json.loads(check("--json").stdout)
    assert (row["runs"], row["cells"], row["passes"]) == (1, 2, True)
    run_grid(load_recipe(path), store, runtime=CPU)
    assert "2 of 2 runs" in check().output
    assert "are not there" not in check().output
    path.write_text(STUDY.replace("value = 0.5", "value = 2.5"))
    failed = check("--json")
    assert [row["passes"] for row in json.loads(failed.stdout)] == [False]
    assert str(failed.exception) == "1 of 1 expected values are not met; see the table"
    assert isinstance(failed.exception, IntegrityError)
