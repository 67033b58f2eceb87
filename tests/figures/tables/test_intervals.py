"""Tidy tables and their statistics, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from figures.tables.cells import unlearn_table
from figures.tables.intervals import interval, spread_text, summarize
from figures.tables.theory import theory_table, trajectory_table
from repro.records.store import Store


def test_interval_is_the_t_interval_over_seeds() -> None:
    found = interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2 degrees of freedom) times sd / sqrt(3), sd = 1
    assert found == pytest.approx({"mean": 2.0, "sd": 1.0, "low": 2.0 - half, "high": 2.0 + half, "seeds": 3})


def test_one_seed_has_no_spread() -> None:
    found = interval([0.5])
    assert found["mean"] == 0.5
    assert found["seeds"] == 1
    assert all(math.isnan(found[name]) for name in ("sd", "low", "high"))


def test_unlearning_seeds_do_not_count_as_training_seeds() -> None:
    nested = pd.DataFrame({"cell": "a", "seed": [0, 0, 1, 1], "value": [0.0, 2.0, 3.0, 5.0]})
    row = summarize(nested, ["cell"]).iloc[0]
    assert row["seeds"] == 2
    assert row["mean"] == pytest.approx(2.5)
    assert row["sd"] == pytest.approx(math.sqrt(4.5))


def test_a_diverged_run_stays_a_row_without_a_number() -> None:
    table = pd.DataFrame({"cell": ["a", "a", "b"], "seed": [0, 1, 0], "value": [1.0, np.nan, np.nan],
                          "status": ["ok", "diverged", "diverged"]})  # fmt: skip
    found = summarize(table, ["cell"]).set_index("cell")
    assert found.loc["a", "seeds"] == 1
    assert found.loc["a", "diverged"] == 1
    assert spread_text(found.loc["a"]) == "1.000 (1, 1 diverged)"
    assert spread_text(found.loc["b"]) == "diverged"


def test_theory_table_has_one_row_a_stage_metric_and_seed(golden: Store) -> None:
    record = golden.records("theory")[0]
    table = theory_table([record])
    assert len(table) == 2 * 6 * 3
    final = table[(table["stage"] == "final") & (table["metric"] == "test_error")]
    assert final["value"].tolist() == pytest.approx(record.result["final"]["test_error"])


def test_trajectories_keep_every_seed_and_epoch(golden: Store) -> None:
    record = golden.records("theory")[0]
    table = trajectory_table(record, ["kappa_retain", "never_recorded"])
    assert set(table["metric"]) == {"kappa_retain"}
    wide = table.pivot(index="seed", columns="epoch", values="value").to_numpy()
    np.testing.assert_allclose(wide, record.arrays()["trajectory_kappa_retain"], rtol=1e-12)


def test_network_runs_become_one_row_each_with_their_origin(golden: Store) -> None:
    table = unlearn_table(golden.records("unlearn"))
    assert len(table) == 54 + 12 + 12 + 32 + 48
    assert table["run_id"].is_unique
    table = table[table["model"] == "resnet8"]
    cell = table[(table["rule"] == "sam-0.1") & (table["pretrain"] == "sgd") & (table["difficulty"] == "mid")]
    assert sorted(cell["tow"]) == pytest.approx([0.70, 0.71, 0.72])


def test_cells_print_mean_spread_and_seeds() -> None:
    row = summarize(pd.DataFrame({"cell": "a", "seed": [0, 1], "value": [0.8, 0.9]}), ["cell"]).iloc[0]
    assert spread_text(row, percent=True, digits=2) == "85.00 ± 7.07 (2)"
