"""Networks beside the theory: who is paired with whom, z of every point, and the distance of a step of the ladder."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from figures.tables.matched_theory import (
    agreement,
    agreement_row,
    compared_values,
    lacking_settings,
    networks,
    pairs,
    setting_of,
    share_within,
    without_theory,
)
from figures.tables.records import Records
from figures.tables.steps_away import curve_distance, distances, lacking_matched_theory, step_of, step_runs, step_table
from repro.records.record import Record
from repro.records.store import Store

Make = Callable[..., Record]
Of = Callable[..., Records]


@pytest.fixture(scope="module")
def records(golden: Store) -> Records:
    return Records(golden.records())


def test_a_setting_is_the_same_for_every_seed_and_draw_and_another_for_anything_else() -> None:
    one = {"model": "patch-cnn", "seed": 0, "dataset_options": "signal_strength=0.5, n=40, draw=0"}
    same = one | {"seed": 3, "dataset_options": "signal_strength=0.5, n=40, draw=13, n_test=50", "metrics": ["tow"]}
    assert setting_of(one) == setting_of(same)
    for changes in ({"momentum": 0.9}, {"dataset_options": "signal_strength=0.5, n=41, draw=0"}, {"rule": "sam-0.1"}):
        assert setting_of(one | changes) != setting_of(one)


def test_only_networks_that_the_theory_expresses_are_paired(records: Records, records_of: Of) -> None:
    assert {run.config["momentum"] for run, _ in pairs(records)} == {0.0}
    assert len(pairs(records)) == 16
    again = [replace(run, config=run.config | {"unlearn_seed": 1}) for run, _ in pairs(records)]
    assert pairs(records_of([*again, *records.of("beside")])) == []
    assert len(networks(records)) == 48
    assert sorted(name for names in without_theory(records).values() for name in names) == ["momentum = 0.9"] * 2
    assert lacking_settings(records) == {}


def test_z_of_a_point_is_its_difference_over_its_error(records: Records) -> None:
    table = agreement(records)
    row = table[(table[["signal_strength", "pretrain", "unlearn", "stage", "quantity"]]
                 == [0.5, "sam", "sgd", "after", "test_error"]).all(axis=1)].iloc[0]  # fmt: skip
    # Two networks of error 0.5 on 100 test images each; theory 0.30, 0.31, 0.32.
    error = math.sqrt(0.31 * 0.69 / 100 / 2 + 0.01**2 / 3)
    assert row["z"] == pytest.approx(0.19 / error, rel=1e-5)
    assert row["within"]  # z is 5.7, but two networks leave a single degree of freedom
    assert row["twin_gap"] == pytest.approx(0.2)
    assert row["twin_z"] == pytest.approx(0.4 / math.sqrt(2 * 0.3 * 0.7 / 100), rel=1e-5)
    assert agreement_row(row)["network"] == "0.500 ± 0.000 (2)"
    assert share_within(table).startswith(f"{table['within'].sum()} of {len(table)} points lie within 95 %")


def test_a_welch_interval_decides_whether_two_means_agree() -> None:
    generator = np.random.default_rng(0)
    draws = [compared_values(generator.normal(0, 1, 5), generator.normal(0, 0.2, 40)) for _ in range(400)]
    share = np.mean([found["within"] for found in draws])
    assert 0.92 < share < 0.98
    assert not compared_values(np.full(5, 1.0) + generator.normal(0, 0.1, 5), np.zeros(40))["within"]
    assert compared_values(np.zeros(3), np.zeros(3)) | {"z": 0.0, "within": True} == compared_values(*np.zeros((2, 3)))
    assert compared_values(np.ones(3), np.zeros(3))["z"] == math.inf
    alone = compared_values(np.ones(1), np.zeros(3))
    assert (math.isnan(alone["z"]), alone["within"]) == (True, None)


STEPS = {
    "another batch order": {"unlearn_seed": 1},
    "momentum 0.9": {"momentum": 0.9},
    "weight decay 0.01": {"weight_decay": 0.01},
    "bias": {"model": "patch-cnn-bias"},
    "trained second layer": {"model": "patch-cnn-head"},
    "mean of the patches": {"model": "patch-cnn-mean"},
    "three layers": {"model": "patch-cnn-deep"},
    "CIFAR images as noise": {"noise": "cifar10"},
    "narrow ResNet": {"model": "resnet8-narrow", "momentum": 0.9},
    "the theory's network": {},
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_known_by_what_it_changes(run: Make, name: str) -> None:
    settings = {"dataset": "signal-noise", "model": "patch-cnn", "unlearn_seed": 0, "momentum": 0.0}
    assert step_of(run(**(settings | {"weight_decay": 0.0} | STEPS[name]))) == name


def test_a_distance_is_of_the_mean_curves_and_holds_what_is_there() -> None:
    gaps = np.array([[0.1, -0.3], [0.3, np.nan]])
    found = curve_distance(gaps)
    assert found["distance"] == pytest.approx((0.2 + 0.3) / 2)
    assert found["low"] <= found["distance"] <= found["high"]
    assert math.isnan(curve_distance(np.full((2, 2), np.nan))["distance"])
    opposite = curve_distance(np.array([[0.1], [-0.1]]))
    assert opposite["distance"] == pytest.approx(0.0)


def test_distances_are_taken_step_by_step_and_say_who_forgot() -> None:
    rows = [{"step": step, "pretrain": "sgd", "unlearn": "sgd", "signal_strength": s, "seed": seed, "run_id": "",
             "before": 0.2 + shift, "before_theory": 0.2, "matched": np.nan if s == 1 else 0.4, "matched_theory": 0.3}
            for step, shift in (("bias", 0.1), ("the theory's network", 0.0))
            for s in (0.5, 1) for seed in (0, 1)]  # fmt: skip
    found = distances(pd.DataFrame(rows)).set_index(["step", "stage"])
    assert list(dict.fromkeys(found.index.get_level_values(0))) == ["the theory's network", "bias"]
    assert found.loc[("bias", "before"), "distance"] == pytest.approx(0.1)
    assert found.loc[("bias", "matched"), "distance"] == pytest.approx(0.1)
    assert found.loc[("bias", "matched"), "reached"] == 0.5
    assert found.loc[("bias", "matched"), "reached_theory"] == 1.0
    # A second seed of unlearning is no second training seed, and one training seed has no interval.
    again = [row | {"before": row["before"] + 0.2} for row in rows if row["seed"] == 0]
    one = distances(pd.DataFrame([row for row in rows if row["seed"] == 0] + again)).set_index(["step", "stage"])
    assert one.loc[("bias", "before"), ["distance", "seeds"]].tolist() == pytest.approx([0.2, 1])
    assert math.isnan(one.loc[("bias", "before"), "low"])


def test_a_step_on_a_draw_without_a_twin_asks_for_one(golden: Store, records_of: Of) -> None:
    found = [record for record in golden.records() if record.config.get("dataset") == "signal-noise"]
    found += golden.records("beside")
    assert len(lacking_matched_theory(records_of(found))) == 16
    twins = [record for record in golden.records("twin") if record.result["labels"]["seed"] == 0]
    missing = lacking_matched_theory(records_of(found + twins))
    assert {place[1:3] for place in missing} == {(1, 1)}
    assert step_table([]).empty


def test_a_twin_at_another_alpha_or_of_other_data_is_none(records: Records, records_of: Of) -> None:
    twins, runs = records.of("twin"), [run for run, _ in step_runs(records)]
    assert len(runs) == 24
    for setting in ({"alpha": 0.7}, {"sigma_p": 2.0}):
        other = [replace(run, result=run.result | {"labels": run.result["labels"] | setting}) for run in runs]
        assert step_runs(records_of([*other, *twins])) == []
