"""Predictions on random settings: the models of their errors, and how often their intervals hold settings not seen."""

import numpy as np
import pytest

import theory.checks.validity as validity
from repro.records.published import readers
from repro.records.record import read_records
from theory.checks.trust import LEVEL, MODELS, QUANTITIES, ErrorModel, Feature, stage_features, with_intervals
from theory.config import TheoryConfig
from theory.engine import simulate
from theory.predict import WEAK_ALPHA, as_result, predict, unpredictable
from theory.tables import rows_of

SMALL = {"d": 400, "n": 20, "n_forget": 4, "signal_strength": 1.0, "m": 4, "directions": 64, "epochs": 20}
QUANTITY = "final, test_error"


def made(count: int, seed: int = 0) -> list[dict]:
    """Return rows whose errors are normal, biased by 1.5 scales, and of a scale that one of two features decides."""
    rng = np.random.default_rng(seed)
    x, idle = rng.uniform(-1, 1, (2, count))
    errors = 0.01 * np.exp(2 * x) * (1.5 + rng.standard_normal(count))
    return [{"final: x": a, "final: idle": b, "pretrained, test_error, predicted": 0.5, f"{QUANTITY}, predicted": 0.5,
             QUANTITY: 0.5 + error} for a, b, error in zip(x, idle, errors, strict=True)]  # fmt: skip


def test_the_fit_finds_where_errors_are_large_and_which_sign_they_have():
    model = validity.fit(made(2000), QUANTITY)
    widths, middles = [], []
    for x in (-0.9, 0.9):
        low, high = model.interval(0.5, {"x": x, "idle": 0.0})
        widths.append(high - low)
        middles.append((low + high) / 2 - 0.5)
    assert np.log(widths[1] / widths[0]) == pytest.approx(2 * 1.8, abs=0.5)
    assert middles[0] == pytest.approx(0.01 * 1.5 * np.exp(-1.8), rel=0.3)
    assert abs(model.terms["idle"].log_scale) < 0.1 < model.terms["x"].log_scale
    found, *_ = validity.coverage(made(2000, seed=1), {QUANTITY: model})
    assert found["covered"] == pytest.approx(LEVEL, abs=0.02)


def test_an_interval_extrapolates_no_feature_and_stays_an_error():
    model = ErrorModel(2.0, 0.0, np.log(0.01), {"x": Feature(0.0, 1.0, 0.0, 1.0)})
    assert model.interval(0.5, {"x": 50.0}) == pytest.approx((0.5 - 0.02 * np.e, 0.5 + 0.02 * np.e))
    assert model.interval(0.5, {"x": -50.0}) == pytest.approx((0.48, 0.52))
    assert model.interval(0.001, {"x": 0.0})[0] == 0.0
    assert model.interval(0.999, {"x": 0.0})[1] == 1.0


def test_coverage_width_and_score_are_counted_on_the_settings_given():
    model = ErrorModel(1.0, 0.0, np.log(0.1), {})
    rows = [{"pretrained, test_error, predicted": before, f"{QUANTITY}, predicted": 0.5, QUANTITY: 0.5 + error}
            for before, error in ((0.45, 0.05), (0.45, -0.05), (0.45, 0.0), (0.2, 0.2))]  # fmt: skip
    everywhere, near, far = validity.coverage(rows, {QUANTITY: model})
    assert (everywhere["settings"], near["settings"], far["settings"]) == (4, 3, 1)
    assert (everywhere["covered"], near["covered"], far["covered"]) == (0.75, 1.0, 0.0)
    assert everywhere["median_half_width"] == pytest.approx(0.1)
    assert everywhere["interval_score"] == pytest.approx(0.2 + 20 * 0.1 / 4)
    assert everywhere["largest_error"] == pytest.approx(0.2)


def test_a_setting_that_diverged_is_left_out():
    rows = made(50)
    lost = rows[0] | {QUANTITY: None}
    assert validity.fit([lost, *rows], QUANTITY) == validity.fit(rows, QUANTITY)


def test_settings_are_of_one_distribution_drawn_apart_and_all_predictable():
    fitted, held_out = (validity.drawn_settings(30, seed) for seed in (validity.FITTED_SEED, validity.HELD_OUT_SEED))
    assert not set(fitted) & set(held_out)
    assert not any(map(unpredictable, fitted + held_out))
    assert validity.drawn_settings(10, validity.FITTED_SEED) == fitted[:10]


def test_rows_hold_prediction_simulation_and_features_of_their_settings():
    (row,) = validity.measure_errors([TheoryConfig(**SMALL, pretrain_epochs=20)], seeds=3, first_seed=5)
    cell = TheoryConfig(**SMALL, pretrain_epochs=20, seeds=3, first_seed=5)
    run, foreseen = simulate(cell), predict(cell)
    errors = run.final("forget_error")
    assert row["final, forget_error"] == pytest.approx(errors.mean())
    assert row["final, forget_error, se"] == pytest.approx(errors.std(ddof=1) / 3**0.5)
    assert row["final, forget_error, predicted"] == pytest.approx(foreseen.metrics["forget_error"][-1])
    assert row["pretrained, test_error"] == pytest.approx(run.pretrain["test_error"][:, -1].mean())
    assert row["pretrained, test_error, predicted"] == pytest.approx(foreseen.pretrain["test_error"][-1])
    for stage, features in stage_features(vars(cell), as_result(foreseen)).items():
        assert {name: row[f"{stage}: {name}"] for name in features} == pytest.approx(features)


def test_a_stage_that_diverged_has_no_interval():
    cell = TheoryConfig(**SMALL, pretrain_epochs=20)
    found = as_result(predict(cell))
    both = with_intervals(vars(cell), found)
    assert both["pretrained"]["test_error_low"] <= both["pretrained"]["test_error_high"]
    assert both["final"]["forget_error_low"] <= both["final"]["forget_error_high"]
    first = with_intervals(vars(cell), found | {"final": dict.fromkeys(found["final"])})
    assert first["pretrained"] == both["pretrained"]
    assert first["final"] == dict.fromkeys(found["final"])
    none = {stage: dict.fromkeys(metrics) for stage, metrics in found.items()}
    assert with_intervals(vars(cell), none) == none


def test_the_published_record_carries_the_models_in_use_and_their_coverage(store):
    """Nine of ten intervals contain the simulation, up to what the settings can tell; the goal was set before."""
    (record,) = read_records(readers(store), "theory_validity")
    rows = [row for row in rows_of(record) if row["held_out"]]
    fitted = [row for row in rows_of(record) if not row["held_out"]]
    assert len(rows) == validity.HELD_OUT
    assert set(MODELS) == set(QUANTITIES)
    for quantity, model in MODELS.items():
        again = validity.fit(fitted, quantity)
        assert ErrorModel.of(record.result["models"][quantity]) == model
        assert again[:3] == pytest.approx(model[:3], rel=1e-3)
        for name, term in model.terms.items():
            assert tuple(again.terms[name]) == pytest.approx(term, rel=1e-3), name
    for told, again in zip(record.result["coverage"], validity.coverage(rows, MODELS), strict=True):
        assert again == pytest.approx(told)
    noise = 2 * (LEVEL * (1 - LEVEL) / validity.HELD_OUT) ** 0.5
    for found in record.result["coverage"]:
        if found["region"] == "all":
            assert found["covered"] >= LEVEL - noise, found["quantity"]
    assert 0 < WEAK_ALPHA < 1
