"""Differences are taken within a cell and seed, from the rule that is subtracted, and averaged seed by seed."""

import math
from collections.abc import Callable

import pandas as pd
import pytest

from figures.tables.floor import pretrain_differences, rule_differences
from figures.tables.records import Records
from figures.tables.runs import unlearn_table
from repro.statistics.effects import Table
from repro.statistics.seeds import by_setting, interval, over_settings

Of = Callable[..., Records]

# ToW of seeds 0, 1, 2: a seed is worth far more than a rule, so that any other pairing shows.
SGD, SAM = [0.1, 0.4, 0.8], [0.2, 0.6, 1.1]


def table(runs: Of, cells: list) -> Table:
    return unlearn_table(runs(cells).of("unlearn"))


def values(differences: Table, *keys: str) -> dict:
    return differences.set_index(list(keys))["difference"].to_dict()


def test_a_rule_is_compared_with_sgd_of_the_same_seed(runs: Of) -> None:
    found = rule_differences(table(runs, [({"rule": "sgd"}, {"tow": SGD}), ({"rule": "sam-0.1"}, {"tow": SAM})]), "tow",
                             rules=["sam"])  # fmt: skip
    assert values(found, "rule", "seed") == pytest.approx(
        {("sam-0.1", 0): 0.1, ("sam-0.1", 1): 0.2, ("sam-0.1", 2): 0.3}
    )


@pytest.mark.parametrize("setting", [{"difficulty": "high"}, {"pretrain": "sam-0.1"}, {"method": "scrub"},
                                     {"model": "resnet18"}, {"alpha": 0.5}])  # fmt: skip
def test_no_run_is_compared_with_another_cell(runs: Of, setting: dict) -> None:
    cells = [({"rule": "sgd"}, {"tow": SGD}), ({"rule": "sam-0.1", **setting}, {"tow": SAM})]
    assert len(rule_differences(table(runs, cells), "tow", rules=["sam"])) == 0


def test_rules_whose_epochs_were_chosen_for_each_are_compared(runs: Of) -> None:
    cells = [({"rule": "sgd", "epochs": 3}, {"tow": SGD}), ({"rule": "sam-0.1", "epochs": 9}, {"tow": SAM})]
    assert len(rule_differences(table(runs, cells), "tow", rules=["sam"])) == 3


def test_only_the_named_rules_are_compared(runs: Of) -> None:
    cells = [({"rule": rule}, {"tow": SGD}) for rule in ("sgd", "sam-0.1", "asam-1.0", "retain-sam-0.1")]
    assert set(rule_differences(table(runs, cells), "tow", rules=["asam", "retain-sam"])["rule"]) == {
        "asam-1.0",
        "retain-sam-0.1",
    }


def test_a_pretraining_rule_is_compared_with_the_same_unlearning_rule(runs: Of) -> None:
    cells = [
        ({"pretrain": "sgd", "rule": "sgd"}, {"tow": SGD}),
        ({"pretrain": "sam-0.1", "rule": "sgd"}, {"tow": SAM}),
        ({"pretrain": "sam-0.1", "rule": "asam-1.0"}, {"tow": SAM}),
    ]
    found = pretrain_differences(table(runs, cells), "tow", rules=["sam"])
    assert values(found, "pretrain", "rule", "seed") == pytest.approx(
        {("sam-0.1", "sgd", 0): 0.1, ("sam-0.1", "sgd", 1): 0.2, ("sam-0.1", "sgd", 2): 0.3}
    )


def test_retraining_is_no_method_that_a_pretraining_rule_could_improve(runs: Of) -> None:
    cells = [({"method": method, "pretrain": pretrain}, {"tow": SGD}) for method in ("neggrad", "retrain")
             for pretrain in ("sgd", "sam-0.1")]  # fmt: skip
    found = pretrain_differences(table(runs, cells), "tow", rules=["sam"])
    assert set(found["method"]) == {"neggrad"}


def test_a_number_that_is_missing_on_one_side_gives_no_difference(runs: Of) -> None:
    both = table(runs, [({"rule": "sgd"}, {"tow": SGD}), ({"rule": "sam-0.1"}, {"tow": SAM})])
    both["tow"] = both["tow"].mask((both["rule"] == "sgd") & (both["seed"] == 1))
    assert values(rule_differences(both, "tow", rules=["sam"]), "seed") == pytest.approx({0: 0.1, 2: 0.3})
    assert len(rule_differences(both, "never_measured", rules=["sam"])) == 0


def rows() -> Table:
    """Cell a on one forget set, cell b on two whose values differ by 2 within a seed."""
    values = (0.1, 0.2, 0.6)
    return pd.DataFrame([{"cell": cell, "seed": seed, "difference": value + shift, "floor": floor}
                         for cell, shift, floor in (("a", 0.0, math.nan), ("b", 9.0, 0.1), ("b", 11.0, 0.7))
                         for seed, value in enumerate(values)])  # fmt: skip


def test_cells_have_their_intervals_over_seeds_and_forget_sets_are_averaged_first() -> None:
    found = by_setting(rows(), ["cell"]).set_index("cell")
    # A floor is a deviation: that of two sets is sqrt((0.1^2 + 0.7^2) / 2) = 0.5.
    for cell, values, floor in (("a", [0.1, 0.2, 0.6], math.nan), ("b", [10.1, 10.2, 10.6], 0.5)):
        assert found.loc[cell].to_dict() == pytest.approx(interval(values) | {"floor": floor}, nan_ok=True)


def test_a_mean_over_cells_counts_each_once_in_a_seed() -> None:
    assert over_settings(rows(), ["cell"]) == pytest.approx(interval([5.1, 5.2, 5.6]) | {"floor": 0.5})


def test_a_mean_over_cells_scatters_as_the_seeds_that_all_of_them_have() -> None:
    """ASAM was run for five seeds, SAM for four: all of a cell's seeds make its mean, the shared ones the interval."""
    chance = (0.1, -0.2, 0.3, 0.0, -0.2)
    made = [{"set": rule, "difficulty": "low", "seed": seed, "difference": level + chance[seed]}
            for rule, level, seeds in (("asam-1.0", 1.0, range(5)), ("sam-0.1", 9.0, (0, 1, 2, 4)))
            for seed in seeds]  # fmt: skip
    made[4]["difference"] += 5.0  # of the fifth seed: the mean of its cell is 2
    made[3]["difference"] -= 50.0  # of the one that SAM lacks: -8
    found = over_settings(pd.DataFrame(made), ["set"])
    assert (found["mean"], found["seeds"]) == (pytest.approx((9.0 - 8.0) / 2), 4)
    assert found["sd"] == pytest.approx(interval([0.1, -0.2, 0.3, 2.5 - 0.2])["sd"], rel=1e-9)
    # The same within one cell: another forget set with fewer seeds does not widen the interval of both.
    named = pd.DataFrame(made).rename(columns={"difficulty": "set", "set": "difficulty"})
    (cell,) = by_setting(named, ["set"]).to_dict("records")
    assert (cell["mean"], cell["sd"], cell["seeds"]) == pytest.approx((0.5, found["sd"], 4))


def test_cells_that_share_fewer_than_two_seeds_have_a_mean_and_no_interval() -> None:
    made = [{"rule": rule, "seed": seed, "difference": float(seed)}
            for rule, seeds in (("asam-1.0", (0, 1, 2)), ("sam-0.1", (2, 3, 4))) for seed in seeds]  # fmt: skip
    found = over_settings(pd.DataFrame(made), ["rule"])
    assert (found["mean"], found["seeds"], math.isnan(found["low"])) == (pytest.approx(2.0), 1, True)


def test_cells_of_one_seed_each_say_nothing_of_the_scatter_of_seeds() -> None:
    made = [{"rule": rule, "seed": seed, "difference": value}
            for rule, seed, value in (("asam-1.0", 0, 0.2), ("sam-0.1", 1, 0.4))]  # fmt: skip
    found = over_settings(pd.DataFrame(made), ["rule"])
    assert (found["mean"], found["seeds"], math.isnan(found["low"])) == (pytest.approx(0.3), 1, True)
    more = pd.DataFrame([*made, {"rule": "asam-1.0", "seed": 1, "difference": 0.3}])
    assert over_settings(more, ["rule"]) == pytest.approx(interval([0.275, 0.375]) | {"floor": math.nan}, nan_ok=True)
