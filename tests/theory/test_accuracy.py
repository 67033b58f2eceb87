"""The record that says how far the test error is off: what it measures, and that the committed one is small enough."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import theory.checks.accuracy as accuracy
from repro.records.published import PublishedStudy
from theory.checks.accuracy import random_settings, run_accuracy
from theory.config import TheoryConfig
from theory.engine import simulate
from theory.tables import rows_of

PACK = Path(__file__).parents[2] / "results" / "validity.parquet"
SMALL: dict[str, Any] = {"d": 300, "n": 12, "n_forget": 3, "m": 3, "pretrain_epochs": 5, "epochs": 5}


def test_a_row_is_the_distance_of_means_from_those_of_many_points(store, monkeypatch):
    monkeypatch.setattr(accuracy, "SETTINGS", (SMALL,))
    monkeypatch.setattr(accuracy, "random_settings", lambda: [SMALL | {"unlearn": "sam"}])
    monkeypatch.setattr(accuracy, "MANY", 2**12)
    record = run_accuracy(store, seeds=3)
    named, drawn = rows_of(record)
    assert (named["drawn"], drawn["drawn"]) == (False, True)
    assert "unlearn = sam" in drawn["setting"]
    few, many = (simulate(TheoryConfig(**SMALL, unlearn="sam", seeds=3, directions=points)).final("test_error")
                 for points in (512, 2**12))  # fmt: skip
    assert drawn["test_error"] == pytest.approx(few.mean())
    assert drawn["bias"] == pytest.approx((few - many).mean())
    assert drawn["rms"] == pytest.approx(np.sqrt(np.mean((few - many) ** 2)))
    assert 0.0 < drawn["test_error_quadrature"] < 0.02
    assert record.result["largest_bias"] == pytest.approx(max(abs(named["bias"]), abs(drawn["bias"])))
    assert run_accuracy(store, seeds=3).run_id == record.run_id


def test_random_settings_are_valid_and_the_same_each_time():
    settings = random_settings()
    assert settings == random_settings()
    assert len({TheoryConfig(**setting) for setting in settings}) == accuracy.RANDOM
    for name, count in {"unlearn": 5, "method": 2, "noise": 2, "pretrain": 2, "patches": 2}.items():
        assert len({setting[name] for setting in settings}) == count


def test_the_committed_means_over_twenty_seeds_are_off_by_at_most_a_thousandth():
    (record,) = PublishedStudy(PACK).records(accuracy.KIND)
    rows = rows_of(record)
    assert sum(row["drawn"] for row in rows) == accuracy.RANDOM
    assert len(rows) == accuracy.RANDOM + len(accuracy.SETTINGS)
    off, stated = (np.array([row[name] for row in rows]) for name in ("bias", "test_error_quadrature"))
    assert record.result["largest_bias"] == pytest.approx(np.abs(off).max())
    assert np.abs(off).max() <= 0.001
    assert np.sqrt(np.mean(off**2)) < 1.5 * np.sqrt(np.mean(stated**2))  # and the stated error is of that size
