"""The noise floor against numbers worked out by hand: three models retrained on the same R with other seeds."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from figures.tables.floor import (
    floor_of,
    noise_floors,
    own_reference,
    pretrain_differences,
    reaches,
    rule_differences,
    with_references,
)
from figures.tables.records import Records
from figures.tables.runs import study_table, unlearn_table
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import by_setting

Make = Callable[..., Record]
Of = Callable[..., Records]
# Accuracies on R, F and test of models retrained with seeds 0, 1, 2.
MODELS = [(1.0, 0.8, 0.8), (1.0, 0.7, 0.8), (0.9, 0.7, 0.8)]


def numbers(retrained: tuple[float, ...], ours: tuple[float, ...], tow: float, forget_set: str = "A") -> dict[str, Any]:
    names = ("retain_accuracy", "forget_accuracy", "test_accuracy")
    found = dict(zip([f"retrained_{name}" for name in names], retrained, strict=True))
    return found | dict(zip(names, ours, strict=True)) | {"tow": tow, "parents": {"forget_set": forget_set}}


def study(run: Make, **settings: Any) -> list[Record]:
    return [
        run(seed=seed, number=numbers(model, (0.9, 0.9, 0.9), 0.5), **settings) for seed, model in enumerate(MODELS)
    ]


def test_the_floor_is_tow_over_all_ordered_pairs_of_seeds(run: Make) -> None:
    # Two runs of a seed share its retrained model, which counts once.
    table = unlearn_table([*study(run), *study(run, rule="sam-0.1")])
    floors = noise_floors(table)
    tow = floor_of(floors, "low", "sgd")
    # Pairs (0, 1): 0.9; (1, 2): 0.9; (0, 2): 0.9 * 0.9 = 0.81; each twice.
    mean = (0.9 + 0.9 + 0.81) / 3
    sd = math.sqrt((2 * (0.9 - mean) ** 2 + (0.81 - mean) ** 2) / 3)
    assert tow is not None
    # Triples: around 0 and around 2 the two scores differ by 0.09, around 1 by nothing: 4 of 6 are +-0.09.
    assert [tow["mean"], tow["sd"], tow["difference_sd"]] == pytest.approx([mean, sd, 0.09 * math.sqrt(4 / 6)])
    assert tow["seeds"] == 3
    forget = floor_of(floors, "low", "sgd", "forget_accuracy")
    assert forget is not None
    # Gaps 0.1, 0.1, 0 without their sign; with it +-0.1, +-0.1, 0, 0: sqrt(2) times the deviation 0.1 / sqrt(3).
    assert [forget["mean"], forget["difference_sd"]] == pytest.approx([0.2 / 3, math.sqrt(2 / 3) * 0.1])


def test_models_of_other_forget_sets_or_rules_have_no_common_floor(run: Make) -> None:
    other = [run(seed=seed, number=numbers(model, model, 0.5, f"set {seed}")) for seed, model in enumerate(MODELS)]
    unknown = [run(seed=seed, number=numbers(model, model, 0.5, "")) for seed, model in enumerate(MODELS)]
    rules = [run(seed=0, pretrain=name, number=numbers(MODELS[0], MODELS[0], 0.5)) for name in ("sgd", "sam-0.1")]
    for found in (other, unknown, rules, []):
        assert len(noise_floors(unlearn_table(found))) == 0
    fixed = [run(seed=s, pretrain="sam-0.1", retrain="sgd", number=numbers(MODELS[s], MODELS[s], 0.5)) for s in (0, 1)]
    assert set(noise_floors(unlearn_table(fixed))["retraining"]) == {"sgd"}


def test_a_retrained_model_is_its_own_reference_under_that_rule_and_with_the_first_seed_alone(run: Make) -> None:
    rows = [("retrain", "sgd", 0), ("retrain", "sgd", 1), ("retrain", "asam-1.0", 0), ("neggrad", "sgd", 0)]
    table = unlearn_table([run(method=method, rule=rule, unlearn_seed=seed) for method, rule, seed in rows])
    assert own_reference(table, "sgd").tolist() == [True, False, False, False]


def test_every_run_is_also_held_against_the_sgd_retrain_of_its_seed(run: Make) -> None:
    sgd = study(run)
    own = [run(seed=seed, pretrain="sam-0.1", number=numbers((0.5, 0.5, 0.5), (0.9, 0.8, 0.8), 0.3))
           for seed in range(3)]  # fmt: skip
    table = with_references(unlearn_table([*sgd, *own]))
    common = table.set_index(["pretrain", "seed"])["common_tow"].to_dict()
    # (0.9, 0.8, 0.8) against (1, 0.8, 0.8), (1, 0.7, 0.8), (0.9, 0.7, 0.8).
    assert [common["sam-0.1", seed] for seed in range(3)] == pytest.approx([0.9, 0.81, 0.9])
    # (0.9, 0.9, 0.9) against its own: 0.9^3, 0.9 * 0.8 * 0.9, 0.8 * 0.9.
    assert [common["sgd", seed] for seed in range(3)] == pytest.approx([0.729, 0.648, 0.72])
    assert with_references(unlearn_table(own))["common_tow"].isna().all()


def test_differences_carry_the_floor_of_their_metric(run: Make, records_of: Of) -> None:
    found = [*study(run), *study(run, rule="sam-0.1"), *study(run, pretrain="sam-0.1")]
    _, table = study_table(records_of(found))
    (cell,) = by_setting(rule_differences(table, "tow", rules=["sam"]), ["rule"]).to_dict("records")
    assert cell["floor"] == pytest.approx(0.09 * math.sqrt(4 / 6))
    (cell,) = by_setting(pretrain_differences(table, "common_tow", rules=["sam"]), ["pretrain"]).to_dict("records")
    assert cell["floor"] == pytest.approx(0.09 * math.sqrt(4 / 6))


@pytest.mark.parametrize(("high", "seeds", "reached"), [(0.84, 3, True), (0.82, 3, False), (0.99, 2, False)])
def test_a_method_is_as_good_as_retraining_when_its_interval_reaches_the_band(
    high: float, seeds: int, reached: bool
) -> None:
    row: Table = pd.Series({"mean": 0.8, "high": high, "seeds": seeds})
    assert reaches(row, {"mean": 0.87, "sd": 0.04}) is reached
    assert not reaches(row, None)


def test_both_sides_of_a_difference_are_held_against_one_retrained_model(run: Make) -> None:
    """Another method's runs come from a machine on which the same stage trained to another model."""
    here, there = (1.0, 0.8, 0.8), (1.0, 0.6, 0.8)
    rows = [
        ("neggrad", here, "sgd", "sgd"),
        ("neggrad", here, "asam-1.0", "sgd"),
        ("scrub", there, "sgd", "sgd"),
        ("scrub", there, "sgd", "sam-1"),
        ("scrub", there, "asam-1.0", "sgd"),
        ("salun", here, "asam-1.0", "sgd"),
    ]
    found = [run(method=method, pretrain=pretrain, rule=rule, number=numbers(model, (1.0, 0.8, 0.8), 0.5))
             for method, model, pretrain, rule in rows]  # fmt: skip
    table = with_references(unlearn_table(found)).set_index(["method", "pretrain", "rule"])["common_tow"]
    assert table.xs("neggrad").tolist() == pytest.approx([1.0, 1.0])
    assert table.xs("scrub").tolist() == pytest.approx([0.8] * 3)
    assert table.xs("salun").tolist() == pytest.approx([0.8])  # has no SGD run of its own: the model of most runs


def test_a_run_that_diverged_is_worth_nothing_against_any_retrained_model(run: Make) -> None:
    broken = run(seed=0, rule="sam-0.1", status="diverged", number={"parents": {"forget_set": "A"}})
    table = with_references(unlearn_table([*study(run), broken])).set_index("rule")
    assert table.loc["sam-0.1", ["tow", "common_tow"]].tolist() == [0.0, 0.0]
