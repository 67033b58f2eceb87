"""Predictions: closed forms by their equations, the boundary where it is, and what stands in a record."""

import math

import numpy as np
import pytest

import theory.predict as prediction
from repro.base.errors import ConfigError
from theory.config import TheoryConfig
from theory.mean_field.population import pretrain_epoch, start_population
from theory.predict import (
    boundary,
    boundary_exponent,
    closed_forms,
    ends,
    noise_drive,
    outlook,
    predict,
    predict_many,
    pretrained,
    saturate,
    signal_drive,
)
from theory.study import run_study, summarize

QUICK = TheoryConfig(directions=64, pretrain_epochs=20, epochs=20)


@pytest.mark.parametrize("drive", [0.0, 1e-6, 0.3, 1.0, 50.0, 1e6])
def test_saturation_solves_its_equation(drive):
    f = saturate(drive)
    assert f + math.exp(f) == pytest.approx(1 + drive, rel=1e-12)


def test_drives_by_hand():
    config = TheoryConfig(signal_strength=2.0, d=1000, n=40, m=5, patches=3, sigma_p=2.0, batch_size=15,
                          pretrain_epochs=7)  # fmt: skip
    steps, eta = 7 * 3, 40 / 1000  # 40 samples in batches of 15 are 3 steps
    assert signal_drive(config) == pytest.approx(eta * steps * config.signal_norm**2 / 20)
    assert noise_drive(config, 0.6) == pytest.approx(eta * steps * 0.6 * 4 * 4 * 1000 / (40 * 5))
    closed = closed_forms(config, 0.6)
    f = saturate(2 * closed["Y"] + closed["X"])
    assert closed["kappa_sgd"] + closed["zeta_sgd"] == pytest.approx(f)
    assert closed["kappa_sgd"] / closed["zeta_sgd"] == pytest.approx(2 * closed["Y"] / closed["X"])
    assert closed["kappa_sam"] == pytest.approx(saturate(2 * closed["Y"]))


def test_the_boundary_is_where_test_error_crosses_the_level():
    config = TheoryConfig(directions=128)
    strength = boundary(config)
    assert pretrained(config.changed(signal_strength=strength))["test_error"] == pytest.approx(0.1, abs=1e-3)
    assert strength == pytest.approx(0.93, abs=0.05)  # measured
    assert boundary_exponent(config) == pytest.approx(0.237, abs=0.03)  # measured between d = 1000 and 20000
    assert math.isnan(boundary(config.changed(pretrain_epochs=0)))  # nothing is learned at any strength


def test_any_dimension_is_predicted():
    found = outlook(TheoryConfig(d=10**9, directions=64))
    for row in found["rows"]:
        assert 0 <= row["test_error_low"] <= row["test_error_high"] <= 1
        assert ("forget_error_low" in row) == bool(row["unlearn"])
    assert [(row["pretrain"], row["unlearn"]) for row in found["rows"]] == [
        ("sgd", ""), ("sgd", "sgd"), ("sgd", "sam"), ("sam", ""), ("sam", "sgd"), ("sam", "sam")]  # fmt: skip
    assert all(0.4 < row["test_error"] < 0.5 for row in found["rows"])
    # at these epochs the random start is what a signal has to beat there
    assert found["boundary"]["exponent_of_d"] == pytest.approx(0.5, abs=0.02)


def test_cells_beside_each_other_change_nothing():
    cells = [QUICK, QUICK.changed(unlearn="sam"), QUICK.changed(pretrain="sam")]
    for together, cell in zip(predict_many(cells), cells, strict=True):
        alone = predict(cell)
        for name, values in alone.metrics.items():
            np.testing.assert_array_equal(values, together.metrics[name], err_msg=name)


def test_a_prediction_stops_at_the_forget_level_as_a_run_does():
    free = predict(QUICK.changed(epochs=200, alpha=0.5))
    held = predict(QUICK.changed(epochs=200, alpha=0.5, stop_forget_error=0.3))
    first = np.argmax(free.metrics["forget_error"] >= 0.3)
    assert first > 0
    for name, values in free.metrics.items():
        np.testing.assert_array_equal(held.metrics[name][first:], values[first], err_msg=name)
        np.testing.assert_array_equal(held.metrics[name][:first], values[:first], err_msg=name)


def test_a_prediction_of_pretraining_stops_at_the_first_checkpoint_with_a_small_loss_as_a_run_does():
    free = predict(QUICK)
    loss = 0.8 * free.pretrain["retain_loss"] + 0.2 * free.pretrain["forget_loss"]  # 32 and 8 of 40 samples
    level = float(free.pretrain["forget_loss"][2] + loss[2]) / 2  # above the loss of all, below that of F
    first = int(np.argmax(loss <= level))
    assert 0 < first < len(loss) - 1
    assert first != int(np.argmax(0.2 * free.pretrain["retain_loss"] + 0.8 * free.pretrain["forget_loss"] <= level))
    stopping = QUICK.changed(pretrain_stop_loss=level)
    stopped = predict(stopping)
    for name, values in free.pretrain.items():
        np.testing.assert_array_equal(stopped.pretrain[name], [*values[:first], *[values[first]] * (5 - first)])
        assert stopped.metrics[name][0] == values[first]  # unlearning begins there
        assert pretrained(stopping)[name] == values[first]


def test_the_ends_are_those_of_each_prediction_where_it_was_held_against_simulation():
    small = QUICK.changed(d=400, n=12, n_forget=3, m=3, pretrain_epochs=20, epochs=40)
    never = small.changed(stop_forget_error=0.99, epochs=5)
    found = ends([small, small.changed(alpha=0.8), small.changed(noise="plain"), never])
    after = predict(small)
    assert found[small] == {"predicted_pretrained_test_error": after.pretrain["test_error"][-1],
                            "predicted_test_error": after.metrics["test_error"][-1],
                            "predicted_forget_error": after.metrics["forget_error"][-1]}  # fmt: skip
    assert set(found[small.changed(alpha=0.8)]) == {"predicted_pretrained_test_error"}
    assert small.changed(noise="plain") not in found
    assert math.isnan(found[never]["predicted_test_error"])


@pytest.mark.parametrize("settings, reason", [
    ({"noise": "plain"}, "orthogonal"), ({"unlearn": "minmax"}, "covers sgd"),
    ({"noise_patches": "independent", "patches": 3}, "one noise vector a sample"),
])  # fmt: skip
def test_what_it_does_not_cover_is_refused_and_runs_without_a_prediction(settings, reason, store):
    with pytest.raises(ConfigError, match=reason):
        predict(QUICK.changed(**settings))
    small = QUICK.changed(d=200, n=10, n_forget=2, m=2, batch_size=5, seeds=2, **settings)
    (record,) = run_study(small, store, pairs=[("sgd", small.unlearn)])
    assert "prediction" not in record.result
    assert summarize([record])[0]["prediction"] == {}


def test_a_record_holds_the_prediction_of_its_cell(store):
    small = QUICK.changed(d=200, n=10, n_forget=2, m=2, batch_size=5, seeds=2)
    (record,) = run_study(small, store, pairs=[("sam", "sam")])
    expected = predict(small.changed(pretrain="sam", unlearn="sam"))
    arrays = record.arrays()
    for name, values in expected.metrics.items():
        np.testing.assert_array_equal(arrays[f"predicted_{name}"], values)
        assert record.result["prediction"]["final"][name] == pytest.approx(values[-1], rel=1e-6)
    np.testing.assert_array_equal(arrays["predicted_pretrain_test_error"], expected.pretrain["test_error"])
    assert record.result["prediction"]["pretrained"]["zeta_retain"] == pytest.approx(
        expected.pretrain["zeta_retain"][-1], rel=1e-6
    )
    found = summarize([record])[0]["prediction"]
    assert {name: found[name] for name in record.result["prediction"]["final"]} == record.result["prediction"]["final"]
    assert 0 <= found["forget_error_low"] <= found["forget_error_high"] <= 1


def test_two_legs_of_one_rule_are_one(monkeypatch):
    whole = predict(QUICK)
    plan = pretrain_epoch(QUICK, 0.0)
    monkeypatch.setattr(prediction, "pretrain_plans", lambda config: [(plan, 7), (plan, 13)])
    for name, values in predict(QUICK).pretrain.items():
        np.testing.assert_array_equal(values, whole.pretrain[name], err_msg=name)


def test_the_start_is_the_same_each_time():
    for one, two in zip(start_population(QUICK), start_population(QUICK), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_population_that_diverged_has_no_error_of_zero() -> None:
    """No margin that is not a number is at most 0, so that a share of them would be 0."""
    diverged = predict(TheoryConfig(eta_scale=1e308))
    assert {name for name, values in diverged.metrics.items() if not np.isnan(values[-1])} == set()
    assert diverged.pretrain["test_error"][0] == pytest.approx(0.5)
