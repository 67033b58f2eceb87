"""Tidy tables and their statistics, against numbers worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from figures.tables.texts import effect_text, span, spread_text
from repro.statistics.seeds import column_intervals, interval, simultaneous, summarize


def test_interval_is_the_t_interval_over_seeds() -> None:
    found = interval([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)  # t(0.975, 2 degrees of freedom) times sd / sqrt(3), sd = 1
    assert found == pytest.approx({"mean": 2.0, "sd": 1.0, "low": 2.0 - half, "high": 2.0 + half, "seeds": 3})


def test_columns_have_the_interval_of_each_whatever_is_missing() -> None:
    values = np.array([[1.0, 2.0, np.nan, np.nan], [2.0, np.nan, np.nan, 4.0], [4.0, 5.0, np.nan, np.nan]])
    found = column_intervals(values)
    for place in range(4):
        alone = interval(values[:, place])
        for name, value in alone.items():
            np.testing.assert_allclose(found[name][place], value, rtol=1e-12, err_msg=f"{name} {place}")


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


def test_a_cell_that_lacks_a_setting_is_a_cell() -> None:
    table = pd.DataFrame({"cell": ["a", None], "seed": [0, 0], "value": [1.0, 2.0]})
    assert summarize(table, ["cell"])["mean"].tolist() == [1.0, 2.0]


def test_cells_print_mean_spread_and_seeds() -> None:
    row = summarize(pd.DataFrame({"cell": "a", "seed": [0, 1], "value": [0.8, 0.9]}), ["cell"]).iloc[0]
    assert spread_text(row, percent=True, digits=2) == "85.00 ± 7.07 (2)"


def test_simultaneous_intervals_pool_the_variance_over_cells() -> None:
    # Deviations 1 (three seeds) and 2 (five): s^2 = (2 * 1 + 4 * 4) / 6 = 3, six degrees of freedom, two cells.
    values = [[0.0, 1.0, 2.0], [10.0, 14.0, 10.0, 14.0, 12.0]]
    table = pd.DataFrame([interval(row) for row in values])
    wider = simultaneous(table)
    for row, (low, high) in zip(values, wider[["low", "high"]].to_numpy(), strict=True):
        expected = scipy.stats.t.interval(0.975, 6, np.mean(row), math.sqrt(3.0 / len(row)))
        assert (low, high) == pytest.approx(expected, rel=1e-10)


def test_simultaneous_intervals_count_only_cells_that_have_one() -> None:
    row = interval([0.1, 0.3, 0.2])
    wider = simultaneous(pd.DataFrame([row, interval([0.5])]))
    assert wider[["low", "high"]].iloc[0].tolist() == pytest.approx([row["low"], row["high"]])
    assert wider[["low", "high"]].iloc[1].isna().all()


def test_effects_and_counts_as_text() -> None:
    assert effect_text({"mean": -0.1, "low": -0.25, "high": 0.05}) == "-0.100 [-0.250, +0.050]"
    assert effect_text(interval([0.2])) == "+0.200 [no interval]"
    assert (span([3, 3]), span([5, 3, 4])) == ("3", "3-5")
    assert spread_text({"mean": 0.5, "sd": 0.25, "seeds": 2}) == "0.500 ± 0.250 (2)"
    assert spread_text({"mean": math.nan, "sd": math.nan, "seeds": 0}) == "not run"
