"""The validity record: what it measures, what it calls worst, and that the committed one meets the goals it states."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import theory.validity as validity
from repro.records.pack import PackedStore
from theory.config import TheoryConfig
from theory.engine import simulate
from theory.predict import outside_unlearned, predict
from theory.validity import matched_gap, region_grid, rows_of, run_validity, unlearning_grid, worst

PACK = Path(__file__).parents[2] / "results" / "validity.parquet"
GOALS = {"test_error": 0.03, "kappa": 0.1}  # before unlearning, everywhere in the region


def test_the_grid_spans_the_region():
    grid = region_grid()
    for name, ends in {"d": (1000, 10**6), "n": (20, 160), "signal_strength": (0.1, 2.0)}.items():
        values = {point[name] for point in grid}
        assert (min(values), max(values)) == ends
    assert all(not validity.outside_measured(TheoryConfig(**point)) for point in grid)


def test_what_is_said_of_unlearning_is_what_its_grid_spans():
    cells = [TheoryConfig(**point) for point in unlearning_grid()]
    assert {cell.alpha for cell in cells} == {0.9, 0.7}
    assert all(not outside_unlearned(cell.changed(alpha=0.9)) for cell in cells)
    for name, further in {"d": 2.0, "signal_strength": 1.01}.items():
        values = {getattr(cell, name) for cell in cells}
        for beyond in (min(values) / further, max(values) * further):
            setting = type(getattr(TheoryConfig, name))(beyond)
            assert len(outside_unlearned(TheoryConfig(**{name: setting}))) == 1


def test_rows_hold_prediction_and_simulation_of_their_cells(store, monkeypatch):
    point = {"d": 400, "n": 20, "n_forget": 4, "signal_strength": 1.0, "m": 4, "directions": 64}
    monkeypatch.setattr(validity, "region_grid", lambda: [point | {"pretrain_epochs": 30}])
    monkeypatch.setattr(validity, "beyond_grid", lambda: [])
    monkeypatch.setattr(validity, "unlearning_grid", lambda: [point | {"epochs": 100, "unlearn": "sgd"}])
    record = run_validity(store, seeds=3)
    rows = rows_of(record)
    before, after = rows[0], rows[2]
    cell = TheoryConfig(**point, pretrain_epochs=30, epochs=0, seeds=3)
    errors = simulate(cell).pretrain["test_error"][:, -1]
    assert before["test_error"] == pytest.approx(errors.mean(), rel=1e-3)
    assert before["test_error_se"] == pytest.approx(errors.std(ddof=1) / 3**0.5, rel=1e-3)
    run, foreseen = simulate(cell).pretrain, predict(cell).pretrain
    quadrature = simulate(cell).pretrain["test_error_quadrature"][:, -1]
    assert before["test_error_quadrature"] == pytest.approx(np.sqrt(np.sum(quadrature**2)) / 3)
    assert before["test_error_predicted"] == pytest.approx(foreseen["test_error"][-1], rel=1e-3)
    for name, parts in {"kappa": ("kappa_retain", "kappa_forget"), "zeta": ("zeta_retain",)}.items():
        assert before[name] == pytest.approx(sum(run[part][:, -1].mean() for part in parts), rel=1e-3)
        assert before[f"{name}_predicted"] == pytest.approx(sum(foreseen[part][-1] for part in parts), rel=1e-3)
    cell = TheoryConfig(**point, epochs=100, seeds=3)
    run, prediction = simulate(cell), predict(cell)
    gap = np.abs(prediction.metrics["forget_error"] - run.metrics["forget_error"].mean(0)).max()
    assert after["forget_error_gap"] == pytest.approx(gap)
    assert after["matched_0.25_gap"] == matched_gap(run, prediction, 0.25)
    assert run_validity(store, seeds=3).run_id == record.run_id


def test_the_matched_gap_is_between_the_first_epochs_at_the_level():
    """Each is read where it reaches the level itself: the prediction an epoch before the simulation here."""
    run: Any = SimpleNamespace(metrics={"forget_error": np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.4]]),
                                   "test_error": np.array([[0.9, 0.8, 0.7], [0.9, 0.8, 0.5]])})  # fmt: skip
    predicted = {"forget_error": np.array([0.1, 0.3, 0.5]), "test_error": np.array([0.5, 0.4, 0.3])}
    prediction: Any = SimpleNamespace(metrics=predicted)
    assert matched_gap(run, prediction, 0.25) == pytest.approx(0.4 - 0.6)
    assert matched_gap(run, prediction, 0.1) == pytest.approx(0.5 - 0.9)
    assert matched_gap(run, prediction, 0.34) == pytest.approx(0.3 - 0.6)
    assert matched_gap(run, prediction, 1.5) is None


def test_worst_takes_the_largest_and_the_mean_in_size():
    row = {"stage": "pretrained", "pretrain": "sgd", "inside": True, "kappa": 2.0, "zeta": 1.0, "zeta_predicted": 1.0}
    rows = [row | {"test_error": 0.1, "test_error_predicted": 0.05, "kappa_predicted": 2.2},
            row | {"test_error": 0.1, "test_error_predicted": 0.11, "kappa_predicted": 1.0},
            row | {"test_error": 0.9, "test_error_predicted": 0.1, "kappa_predicted": 2, "inside": False}]  # fmt: skip
    found = {(one["quantity"], one["inside"]): one for one in worst(rows) if one["pretrain"] == "sgd"}
    assert found["test_error", True]["largest"] == pytest.approx(0.05)
    assert found["test_error", True]["mean"] == pytest.approx(0.03)
    assert found["test_error", True]["cells"] == 2
    assert found["kappa", True]["largest"] == pytest.approx(0.5)
    assert found["test_error", False]["largest"] == pytest.approx(0.8)


def test_the_committed_record_meets_the_goals_of_the_region():
    (record,) = PackedStore(PACK).records(validity.KIND)
    assert record.result["worst"] == pytest.approx(worst(rows_of(record)))
    found = {(row["quantity"], row["pretrain"]): row for row in record.result["worst"]
             if row["stage"] == "pretrained" and row["inside"]}  # fmt: skip
    for pretrain in ("sgd", "sam"):
        for quantity, goal in GOALS.items():
            assert found[quantity, pretrain]["largest"] < goal
            assert found[quantity, pretrain]["cells"] == len(region_grid())
    matched = [row["largest"] for row in record.result["worst"]
               if row["quantity"].startswith("test_error at") and row["stage"] == "unlearned, alpha = 0.9"]  # fmt: skip
    assert len(matched) == 4
    assert max(matched) < 0.05
