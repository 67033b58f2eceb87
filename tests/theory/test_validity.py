"""Predictions on random settings: the table of half-widths, and its coverage on settings it has not seen."""

import numpy as np
import pytest

import theory.validity as validity
from repro.records.pack import readers
from repro.records.record import read_records
from theory.config import TheoryConfig
from theory.engine import simulate
from theory.predict import WEAK_ALPHA, predict, unpredictable
from theory.tables import rows_of
from theory.trust import BANDS, LEVEL, QUANTITIES, WIDTHS, half_width, place_of

SMALL = {"d": 400, "n": 20, "n_forget": 4, "signal_strength": 1.0, "m": 4, "directions": 64, "epochs": 20}


def made(errors, predicted: float = 0.2, pretrain: str = "sgd", quantity: str = QUANTITIES[0]) -> list[dict]:
    """Return rows whose predictions are off by the errors in one quantity, and exact in the others."""
    exact = {name: 0.0 for one in QUANTITIES for name in (one, f"{one}, predicted")}
    return [exact | {"pretrain": pretrain, f"{quantity}, predicted": predicted, quantity: predicted + error}
            for error in errors]  # fmt: skip


def width(table: list[dict], predicted: float = 0.2, pretrain: str = "sgd") -> float:
    return half_width(QUANTITIES[0], pretrain, predicted, validity.widths_of(table))


def test_a_half_width_is_the_conformal_quantile_of_its_own_group():
    errors = np.arange(1, 20) / 100  # the 18th of 19: ceil(20 * .9)
    table = validity.fit([*made(-errors), *made([0.5] * 30, predicted=0.4), *made([0.7] * 30, pretrain="sam")])
    assert width(table) == pytest.approx(0.18)
    assert width(table, 0.4) == 0.5
    assert width(table, pretrain="sam:5, sgd") == 0.7
    assert len(table) == len(QUANTITIES) * 2 * (len(BANDS) + 1)


def test_a_group_too_small_takes_all_settings_of_its_pretraining():
    table = validity.fit([*made([0.9] * 8), *made([0.1] * 100, predicted=0.4), *made([0.3] * 9, pretrain="sam")])
    assert width(table) == 0.1
    assert next(row for row in table if row["band"] == place_of(0.2) and row["pretrain"] == "sgd")["settings"] == 8


def test_coverage_and_score_are_counted_on_the_settings_given():
    table = validity.fit([*made([0.1] * 20), *made([0.1] * 20, pretrain="sam")])
    (found, *_) = validity.coverage(made([0.05] * 3 + [0.2]), table)
    assert (found["covered"], found["median_half_width"]) == (0.75, 0.1)
    assert found["interval_score"] == pytest.approx(0.2 + 20 * 0.1 / 4)
    assert found["largest_error"] == pytest.approx(0.2)


def test_settings_are_of_one_distribution_drawn_apart_and_all_predictable():
    fitted, held_out = (validity.drawn_settings(30, seed) for seed in (validity.FITTED_SEED, validity.HELD_OUT_SEED))
    assert not set(fitted) & set(held_out)
    assert not any(map(unpredictable, fitted + held_out))
    assert validity.drawn_settings(10, validity.FITTED_SEED) == fitted[:10]


def test_rows_hold_prediction_and_simulation_of_their_settings():
    (row,) = validity.measure([TheoryConfig(**SMALL, pretrain_epochs=20)], seeds=3, first_seed=5)
    cell = TheoryConfig(**SMALL, pretrain_epochs=20, seeds=3, first_seed=5)
    run, foreseen = simulate(cell), predict(cell)
    errors = run.final("forget_error")
    assert row["final, forget_error"] == pytest.approx(errors.mean())
    assert row["final, forget_error, se"] == pytest.approx(errors.std(ddof=1) / 3**0.5)
    assert row["final, forget_error, predicted"] == pytest.approx(foreseen.metrics["forget_error"][-1])
    assert row["pretrained, test_error"] == pytest.approx(run.pretrain["test_error"][:, -1].mean())
    assert row["pretrained, test_error, predicted"] == pytest.approx(foreseen.pretrain["test_error"][-1])


def test_the_published_record_carries_the_table_in_use_and_its_coverage(store):
    """Nine of ten intervals contain the simulation, up to what a hundred settings can tell; the goal was set before."""
    (record,) = read_records(readers(store), "theory_validity")
    rows = [row for row in rows_of(record) if row["held_out"]]
    table = record.result["table"]
    assert table == validity.fit([row for row in rows_of(record) if not row["held_out"]])
    assert validity.widths_of(table) == WIDTHS
    assert record.result["coverage"] == validity.coverage(rows, table)
    assert len(rows) == validity.HELD_OUT
    noise = 2 * (LEVEL * (1 - LEVEL) / validity.HELD_OUT) ** 0.5
    for found in record.result["coverage"]:
        assert found["covered"] >= LEVEL - noise, found["quantity"]
    assert 0 < WEAK_ALPHA < 1
