"""KLoM as tables: its references, the difference of two rules, and pools that are too small."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from figures.networks.klom import RETRAINED, SETS, STATISTICS, klom_table
from figures.tables.evaluations import (
    ORIGINAL,
    evaluations_of,
    klom_differences,
    models_a_side,
    resampled,
    ulira_differences,
    ulira_table,
)
from figures.tables.records import Records
from repro.records.record import Record
from repro.records.store import Store

Make = Callable[..., Record]
Of = Callable[..., Records]


def test_models_of_the_same_seeds_are_compared_on_one_forget_set(golden: Store) -> None:
    table = klom_table(evaluations_of(Records(golden.records()), "klom"))
    forget = table[(table["set"] == "forget") & (table["statistic"] == "mean")].set_index("model")
    value = forget["value"].to_dict()
    # Synthetic margins: SAM's are the retrained ones, SGD's lie as far away as the original ones.
    assert value["sam-0.1"] == value[RETRAINED]
    assert value["sgd"] == value[ORIGINAL]
    assert value["sgd"] > value[RETRAINED] + 1
    assert set(forget["models"]) == {12}
    differences = klom_differences(evaluations_of(Records(golden.records()), "klom"))
    assert differences.set_index("rule")["mean"].to_dict() == pytest.approx(
        {"sam-0.1": value["sam-0.1"] - value["sgd"], ORIGINAL: 0.0}
    )
    name = "klom_unlearned_forget_mean_resampled"
    sgd, sam = (pool.arrays()[name] for pool in evaluations_of(Records(golden.records()), "klom"))
    row = differences.set_index("rule").loc["sam-0.1"]
    assert row["high"] - row["low"] == pytest.approx(np.subtract(*np.quantile(sam - sgd, (0.975, 0.025))))


def test_doing_nothing_is_the_original_and_not_the_unlearned_model(run: Make) -> None:
    values = {"unlearned": 1.0, "original": 2.0, "retrained": 3.0}
    numbers = {f"klom_{role}_{name}_{key}{end}": value
               for role, value in values.items() for name in SETS for key in STATISTICS.values()
               for end in ("", "_reverse", "_low", "_high")}  # fmt: skip
    pool = run(number=numbers | {"klom_models": 12, "labels": {"pretrain": "sgd", "rule": "sam-0.1"}})
    table = klom_table([pool])
    found = set(zip(table["model"], table["value"], strict=True))
    assert found == {("sam-0.1", 1.0), (ORIGINAL, 2.0), (RETRAINED, 3.0)}


@pytest.mark.parametrize(("models", "taken"), [(9, False), (10, True)])
def test_ten_models_are_the_fewest_of_a_distribution(run: Make, records_of: Of, models: int, taken: bool) -> None:
    labels = {"pretrain": "sgd", "rule": "sgd"}
    pool = replace(
        run(number={"klom_models": models, "labels": labels, "runs": []}),
        kind="evaluation", config={"metric": "klom", "version": 2, "forget_set": "one"},
    )  # fmt: skip
    assert bool(evaluations_of(records_of([pool]), "klom")) == taken


def test_a_difference_of_ulira_is_on_the_same_models_and_images_in_each_sample(golden: Store) -> None:
    """Samples of the unlearned model are three times as wide as those of the original: two thirds of them are left."""
    pools = evaluations_of(Records(golden.records()), "ulira")
    assert [models_a_side(pool) for pool in pools] == [12, 12]
    # The original is the same for every rule of a pretraining: it stands once.
    assert sorted(ulira_table(pools)["model"]) == [ORIGINAL, "sam-0.1", "sgd"]
    found = ulira_differences(pools, "tpr_at_1_percent").set_index("rule")[["mean", "low", "high"]]
    assert found.loc["sgd"].tolist() == pytest.approx([-0.01, -0.029, 0.009])
    assert found.loc["sam-0.1"].tolist() == pytest.approx([0.07, 0.051, 0.089])


def test_pools_of_an_older_version_of_the_metric_are_left_out(golden: Store) -> None:
    pools = evaluations_of(Records(golden.records()), "ulira")
    older = [replace(one, run_id=f"z{one.run_id}", config=one.config | {"version": 1}, files={}) for one in pools]
    assert evaluations_of(Records([*pools, *older]), "ulira") == pools
    assert len(evaluations_of(Records(older), "ulira")) == 2
    assert ulira_differences(older, "auc").empty
    assert (resampled(pools), resampled([replace(pools[0], result={})])) == ("models and images", "models")
