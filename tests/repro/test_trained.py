"""What training a study's models took, and models of one id with two sets of weights."""

from pathlib import Path
from typing import Any

import pytest

from repro.records.published import Published
from repro.records.record import Record
from repro.study.trained import Training, mixed_settings, runs_apart, sets_of_weights, sgd_rates, trainings

RESULTS = Path(__file__).parents[2] / "results"


def run_on(run: str, *, original: float = 0.8, retrained: float = 0.7, seconds: float = 90.0, **more: Any) -> Record:
    """A run whose original and retrained model have some test accuracies; its own training took seven seconds."""
    config = {"dataset": "images", "model": "net", "precision": "fp32", "pretrain": "sgd", **more}
    parents = {"pretrain": "p", "retrain": "r", "unlearn": f"u{run}"}
    numbers = {"seconds_retrain": seconds, "retrain_gradient_evaluations": 900, "n_retain": 90, "n_forget": 10,
               "seconds_unlearn": 6.0, "seconds_mask": 1.0, "gradient_evaluations": 50}  # fmt: skip
    accuracies = {"original_test_accuracy": original, "retrained_test_accuracy": retrained}
    return Record(run, "unlearn", "ok", config, {"parents": parents, **numbers, **accuracies}, {})


def seconds_of(found: list[Training]) -> dict[str, list[float | None]]:
    return {stage: [one.seconds for one in found if one.stage == stage] for stage in ("pretrain", "retrain", "unlearn")}


def test_a_model_that_runs_share_is_counted_once_and_one_that_was_trained_twice_twice() -> None:
    shared = trainings([run_on("a"), run_on("b")], {})
    assert seconds_of(shared) == {"pretrain": [100.0], "retrain": [90.0], "unlearn": [7.0, 7.0]}
    assert [one.estimated for one in shared if one.stage != "unlearn"] == [False, True]
    twice = trainings([run_on("a"), run_on("b", seconds=45.0, original=0.81)], {})
    assert seconds_of(twice) == {"pretrain": [100.0, 50.0], "retrain": [90.0, 45.0], "unlearn": [7.0, 7.0]}


def test_a_second_retrained_model_that_is_the_reference_itself_costs_nothing_more() -> None:
    again = run_on("a")
    again.result["parents"]["unlearn"], again.result["seconds_unlearn"] = "r", 90.0
    assert seconds_of(trainings([again], {}))["unlearn"] == []


def test_what_no_record_implies_is_not_invented() -> None:
    assert seconds_of(trainings([run_on("a", retrain="sgd")], {}))["pretrain"] == [None]
    imported = run_on("a")
    imported.config["original"] = "0123"
    assert seconds_of(trainings([imported], {}))["pretrain"] == []


def test_subset_models_take_their_gradients_at_the_rate_of_models_retrained_by_sgd() -> None:
    config = {"dataset": "images", "model": "net", "precision": "fp32", "subsets": 4, "fraction": 0.7, "epochs": 2}
    estimate = Record("m", "memorization", "ok", config, {"n": 100, "inside_accuracy": 0.9}, {})
    fast, slow, asam = run_on("a"), run_on("b", seconds=100.0), run_on("c", seconds=1.0, pretrain="asam-1.0")
    rates = sgd_rates([fast, slow, asam])
    assert rates == {("images", "net", "fp32"): pytest.approx((10 + 9) / 2)}
    (found,) = trainings([estimate], rates)
    assert (found.models, found.gradients, found.seconds) == (4, 560, pytest.approx(560 / 9.5))
    assert trainings([estimate], {})[0].seconds is None


def test_one_id_with_two_accuracies_is_two_sets_of_weights_and_the_fewer_runs_stand_apart() -> None:
    records = [run_on("a"), run_on("b"), run_on("c", original=0.81), run_on("d", retrained=0.6)]
    found = sets_of_weights(records)
    assert {model.stage: sets for model, sets in found.items()} == {
        "pretrain": {0.8: ["a", "b", "d"], 0.81: ["c"]}, "retrain": {0.7: ["a", "b", "c"], 0.6: ["d"]}}  # fmt: skip
    assert runs_apart(found) == {"c"}
    other_images = sets_of_weights([run_on("a"), run_on("b", original=0.9, rows_measured="validation")])
    assert all(len(sets) == 1 for sets in other_images.values())


def test_rules_whose_setting_stands_on_two_originals_are_named() -> None:
    runs = [
        run_on("a", rule="sgd", seed=0, lr=0.1),
        run_on("b", rule="sam", seed=0, lr=0.2),
        run_on("c", rule="sgd", seed=1),
    ]
    assert mixed_settings(runs, {"c"}) == []
    assert [one["seed"] for one in mixed_settings(runs, {"b", "c"})] == [0]


def test_the_committed_cifar10_runs_stand_on_two_sets_of_originals() -> None:
    """12 models; NegGrad after SGD on the hardest images stands apart, with its second retrained models."""
    source = Published(sorted(RESULTS.glob("*.parquet")))
    studies = {name: runs for name, runs in source.lists.items() if name.startswith("cifar10")}
    by_id = {one.run_id: one for name, runs in studies.items() for one in source.records_of(name, set(runs.ids))}
    records = list(by_id.values())
    found = sets_of_weights(records)
    assert sum(len(sets) > 1 for sets in found.values()) == 12
    apart = runs_apart(found)
    runs = [one.config for one in records if one.kind == "unlearn" and one.run_id in apart]
    assert len(runs) == 25
    assert {(one["method"], one["pretrain"]) for one in runs} == {("neggrad", "sgd"), ("retrain", "sgd")}
    assert {one["difficulty"] for one in runs} == {"high"}
    mixed = {name: mixed_settings([by_id[run] for run in runs.runs], apart) for name, runs in studies.items()}
    assert {name: len(found) for name, found in mixed.items() if found} == {"cifar10-radius": 3}
