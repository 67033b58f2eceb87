"""`repro study check` says what of a study is there; the published lists of runs are what the recipes name."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from empirical.settings.keys import evaluation_keys
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.finished import Finished
from empirical.studies.grid import run_grid
from empirical.studies.recipe import load_recipe
from repro.base.errors import IntegrityError, MissingDataError
from repro.base.places import bundled
from repro.base.settings import build
from repro.commands.cli import app
from repro.records.published import Published, PublishedStudy
from repro.records.store import Store

CPU = Runtime(device="cpu")
ROOT = Path(__file__).parents[2]
PACKS = sorted((ROOT / "results").glob("*.parquet"))
STUDIES = [path.stem for path in sorted((ROOT / "recipes").glob("*.toml")) if path.stem in Published(PACKS).lists]
STUDY = """
[defaults]
dataset = "signal-noise"
dataset_options = "side=8, n=48, n_test=40, signal_strength=2.0"
forget_fraction = 0.25
pretrain_epochs = 1
epochs = 1
augment = "none"
metrics = ["accuracy", "tow"]

[[runs]]
method = "neggrad"
seed = [0, 1]

[[runs]]
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
    assert "2 of 4 runs are not there" in part.output
    (row,) = json.loads(check("--json").stdout)
    assert (row["runs"], row["of"], row["passes"], row["source"]) == (1, 2, True, str(store.root))
    run_grid(load_recipe(path), store, runtime=CPU)
    assert "2 of 2 runs" in check().output
    assert "are not there" not in check().output
    path.write_text(STUDY.replace("value = 0.5", "value = 2.5"))
    failed = check("--json")
    assert [row["passes"] for row in json.loads(failed.stdout)] == [False]
    assert str(failed.exception) == "1 of 1 expected values are not met; see the table"
    assert isinstance(failed.exception, IntegrityError)


def test_check_never_takes_published_numbers_for_the_users_own(tmp_path: Path) -> None:
    """With nothing in the store there is nothing to judge, though the published runs meet every expected value."""

    def check(*words: str) -> Any:
        return CliRunner().invoke(app, ["check", "digits", "--store", str(tmp_path / "none"), *words])

    nothing = check("--json")
    assert isinstance(nothing.exception, MissingDataError)
    assert nothing.exception.exit_code == 3
    assert "`repro study run digits`" in str(nothing.exception)
    assert "`repro study check digits --published`" in str(nothing.exception)
    assert nothing.stdout == ""
    published = check("--published", "--json")
    assert published.exit_code == 0, published.output
    rows = json.loads(published.stdout)
    assert {row["source"] for row in rows} == {"results/digits"}
    assert all(row["passes"] and row["runs"] == row["of"] for row in rows)


def test_an_own_run_is_judged_alone_and_not_filled_up_with_published_ones(store: Store, tmp_path: Path) -> None:
    """A poor run of the user's own must not drown in the published runs of the same setting."""
    labels = {"method": "neggrad", "rule": "sgd"}
    published = next(one for one in PublishedStudy(bundled("results") / "digits.parquet").records("unlearn")
                     if labels.items() <= one.result["labels"].items())  # fmt: skip
    cell, parents = build(RunConfig, published.config), published.result["parents"]
    poor = {name: store.save_evaluation(key, result={"tow": 0.25} if name == "tow" else {}).run_id
            for name, key in evaluation_keys(cell, parents).items()}  # fmt: skip
    store.save("unlearn", cell, result={"labels": cell.tags(), "parents": parents}, evaluations=poor)
    found = CliRunner().invoke(app, ["check", "digits", "--store", str(store.root), "--json"])
    assert isinstance(found.exception, IntegrityError)
    rows = {row["where"]: row for row in json.loads(found.stdout)}
    own = rows.pop("method=neggrad, rule=sgd")
    assert (own["observed"], own["runs"], own["source"], own["passes"]) == (0.25, 1, str(store.root), False)
    assert {row["runs"] for row in rows.values()} == {0}


@pytest.fixture(scope="module")
def finished() -> Finished:
    return Finished(map(PublishedStudy, PACKS))


@pytest.mark.parametrize("name", STUDIES)
def test_a_published_study_has_the_runs_that_its_recipe_names(name: str, finished: Finished) -> None:
    found, published = load_recipe(name).resolve(finished, Runtime()).run_list(finished), Published(PACKS).lists[name]
    assert found.open == 0
    assert set(found.runs) == set(published.runs)
    assert set(found.search) <= set(published.search), "a rate that nobody would try today may have been tried"


def test_an_expected_metric_that_is_no_number_is_refused_and_one_that_nobody_measured_is_not_met(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(STUDY)
    run_grid(load_recipe(path).select(["seed=0"]), store, runtime=CPU)

    def check(metric: str) -> Any:
        path.write_text(STUDY.replace('metric = "tow"', f'metric = "{metric}"'))
        return CliRunner().invoke(app, ["check", str(path), "--store", str(store.root), "--json"])

    assert "expected.metric = 'data_digest'" in str(check("data_digest").exception)
    later = check("hessian_top")
    assert [row["passes"] for row in json.loads(later.stdout)] == [False]
    assert later.exit_code != 0


@pytest.mark.parametrize("name", STUDIES)
def test_a_published_study_has_the_numbers_that_its_recipe_expects(name: str) -> None:
    """So that `repro study check` tells somebody who runs it anew whether the numbers are the published ones."""
    assert load_recipe(name).expected
    said = CliRunner().invoke(app, ["check", name, "--published"])
    assert said.exit_code == 0, said.output
