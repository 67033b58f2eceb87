"""Predictions for networks: their signs are the theory's, and runs that show the opposite are told apart."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figures.drawing.style import Theme
from figures.tables.records import Mixed, Records
from figures.tables.theory import sweep_record, sweep_table
from figures.theory.predictions import (
    CLOCK,
    KEPT,
    NETWORK_RULES,
    PREDICTIONS,
    expected,
    matched_measures,
    outcomes,
    predictions_and_observations,
    rows,
)
from repro.records.published import PublishedStudy
from repro.records.record import Record
from repro.statistics.answers import OPEN, OPPOSITE, YES

ROOT = Path(__file__).resolve().parents[3]
Make = Callable[..., Record]
ENDS = {f"{role}_{name}_accuracy": value for role, value in (("original", 0.9), ("retrained", 0.5))
        for name in ("retain", "forget", "test")}  # fmt: skip


@pytest.fixture
def unlearned(run: Make) -> Make:
    """Make a NegGrad run of four points whose forget accuracy is at 0.7, half of the way, after `half` of them."""

    def make(*, half: float, test: float = 0.5, **settings: Any) -> Record:
        points = [{"progress": k / 4, "gradient_evaluations": 10 * k, "retain": 0.5, "forget": 0.9 - 0.2 * k / half,
                   "test": test} for k in range(1, 5)]  # fmt: skip
        content = json.dumps({"epoch": 1, "accuracies": points}).encode()
        made = run(number=ENDS | {"half": half, "test": test}, **({"lr": 0.1, "epochs": 1} | settings))
        return replace(made, files={"epochs.jsonl": content})

    return make


def theory() -> Records:
    return Records(PublishedStudy(ROOT / "results" / "expectations.parquet").records())


def test_every_predicted_sign_is_that_of_the_committed_sweep_with_its_whole_interval() -> None:
    found = expected(theory())
    assert len(PREDICTIONS) >= 8
    for one in PREDICTIONS:
        assert one.sign * found[one.name]["low"] > 0 < one.sign * found[one.name]["high"], one.name


def test_the_interval_of_an_expected_value_is_of_the_standard_errors_of_all_its_terms() -> None:
    found, sweep = expected(theory()), sweep_record(theory(), "expectations")
    assert sweep is not None
    table = sweep_table(sweep)
    table = table[np.isclose(table["rho_scale"], 0.1) & np.isclose(table["alpha"], 0.9)]
    cells = table.set_index(["pretrain", "unlearn"])
    sgd, sam = cells.loc[("sam", "sgd")], cells.loc[("sam", "sam")]
    mean = float(sgd["matched_test_error"] - sam["matched_test_error"])
    half = 1.96 * math.hypot(sgd["matched_test_error_se"], sam["matched_test_error_se"])
    assert found["cheaper after SAM"] == pytest.approx({"mean": mean, "low": mean - half, "high": mean + half})
    sgd, sam = cells.loc[("sgd", "sgd")], cells.loc[("sgd", "sam")]
    half = 1.96 * math.hypot(*(one["matched_epochs_se"] / one["matched_epochs"] for one in (sgd, sam)))
    assert found["slower"]["mean"] == pytest.approx(math.log(sam["matched_epochs"] / sgd["matched_epochs"]))
    assert found["slower"]["high"] - found["slower"]["mean"] == pytest.approx(half)


def test_every_prediction_has_cells_in_the_study_it_names() -> None:
    from empirical.studies.recipe import load_recipe

    every = [(one, term) for one in PREDICTIONS for term in one.terms]
    for one, term in every:
        cells = load_recipe(ROOT / "recipes" / f"{one.recipe}.toml").runs()
        pretrains = {"sgd": ("sgd",), "sam": ("asam-1.0",)}[term.pretrain]
        rules = {cell.rule for cell in cells if cell.method == "neggrad" and cell.alpha == term.alpha
                 and cell.pretrain in pretrains}  # fmt: skip
        assert set(NETWORK_RULES[term.rule]) <= rules, (one.name, term)


def test_the_clock_is_learning_rate_times_epochs_until_half_is_forgotten(unlearned: Make) -> None:
    made = [unlearned(half=2, lr=0.1, epochs=3, seed=0), unlearned(half=8, lr=0.1, epochs=3, seed=1)]
    table = matched_measures(made).set_index("seed")
    assert table.loc[0, "clock"] == pytest.approx(math.log(0.1 * 3 * 2 / 4))
    assert table.loc[0, "kept"] == pytest.approx(0.5)
    # The other never comes halfway: its whole length is a lower bound, and there is no test accuracy to compare.
    assert table.loc[1, "clock"] == pytest.approx(math.log(0.1 * 3))
    assert math.isnan(table.loc[1, "kept"])


def test_a_set_that_retraining_hardly_forgets_is_left_out(unlearned: Make) -> None:
    made = unlearned(half=2)
    easy = replace(made, result=made.result | {"retrained_forget_accuracy": 0.87})
    assert len(matched_measures([made])) == 1
    assert len(matched_measures([easy])) == 0


def outcomes_of(records: list[Record]) -> dict[str, dict[str, Any]]:
    return outcomes(Records(records)).set_index("name").to_dict("index")


def outcome_of(records: list[Record], name: str) -> dict[str, Any]:
    return outcomes_of(records)[name]


@pytest.mark.parametrize(("half", "answer"), [(3.0, YES), (1.0, OPPOSITE)])
def test_slower_forgetting_is_told_from_faster(unlearned: Make, half: float, answer: str) -> None:
    made = [unlearned(half=2 + 0.01 * seed, seed=seed) for seed in range(4)]
    made += [unlearned(half=half, rule=rule, seed=seed) for rule in ("sam-0.1", "asam-1.0") for seed in range(4)]
    found = outcome_of(made, "slower")
    assert (found["answer"], found["cells"], found["seeds"]) == (answer, 2, 4)
    assert found["mean"] == pytest.approx(math.log(half / 2), abs=0.02)


def test_the_mean_over_cells_is_judged_beside_them(unlearned: Make) -> None:
    """Two cells whose seeds scatter against each other say nothing each, and the same sign together."""
    made = [unlearned(half=2, seed=seed) for seed in range(3)]
    for rule, turn in (("sam-0.1", 1), ("asam-1.0", -1)):
        made += [unlearned(half=2 * math.exp(0.1 + turn * scatter + 0.001 * seed), rule=rule, seed=seed)
                 for seed, scatter in enumerate((0.3, -0.3, 0.0))]  # fmt: skip
    assert outcome_of(made, "slower")["answer"] == YES


def test_a_seed_of_one_cell_alone_does_not_move_the_mean_over_cells(unlearned: Make) -> None:
    made = [unlearned(half=2, seed=seed) for seed in range(4)]
    made += [unlearned(half=2.2, rule="sam-0.1", seed=seed) for seed in range(3)]
    made += [unlearned(half=3, rule="asam-1.0", seed=seed) for seed in range(4)]
    assert outcome_of(made, "slower")["mean"] == pytest.approx((math.log(1.1) + math.log(1.5)) / 2)


def test_a_run_that_never_forgets_counts_only_where_that_cannot_flatter_the_claim(unlearned: Make) -> None:
    # SAM never comes halfway: at least as slow as its whole length says.
    made = [unlearned(half=2, seed=seed) for seed in range(3)]
    made += [unlearned(half=9, rule="sam-0.1", seed=seed) for seed in range(3)]
    assert outcome_of(made, "slower")["mean"] == pytest.approx(math.log(2))
    # SGD never does: how much slower SAM is cannot be bounded from below.
    made = [unlearned(half=9, seed=seed) for seed in range(3)]
    made += [unlearned(half=2, rule="sam-0.1", seed=seed) for seed in range(3)]
    found = outcome_of(made, "slower")
    assert (found["answer"], found["cells"]) == (OPEN, 1)


def test_seeds_in_which_only_sgd_never_forgets_are_not_passed_over(unlearned: Make) -> None:
    """In three of six SAM is slower, in three SGD never comes halfway: the three alone would say that SAM is slower."""
    made = [unlearned(half=9 if seed > 2 else 2, seed=seed) for seed in range(6)]
    made += [unlearned(half=3 + 0.01 * seed, rule="sam-0.1", seed=seed) for seed in range(6)]
    found = outcome_of(made, "slower")
    assert (found["answer"], found["cells"], math.isnan(found["mean"])) == (OPEN, 1, True)
    # Where neither comes so far nothing is known of a seed, and it says nothing against the claim.
    both = [unlearned(half=9, rule=rule, seed=9) for rule in ("sgd", "sam-0.1")]
    known = [one for one in made if one.config["seed"] < 3]
    assert outcome_of([*known, *both], "slower")["answer"] == YES


def test_unlearning_seeds_are_averaged_within_a_training_seed(unlearned: Make) -> None:
    made = [unlearned(half=half + 0.1 * again, rule=rule, seed=seed, unlearn_seed=again)
            for rule, half in (("sgd", 2), ("sam-0.1", 3)) for seed in range(2) for again in range(3)]  # fmt: skip
    made += [unlearned(half=3.9, seed=seed, unlearn_seed=3) for seed in range(2)]  # which SAM lacks
    found = outcome_of(made, "slower")
    assert (found["answer"], found["cells"], found["seeds"]) == (OPEN, 1, 2)
    assert found["mean"] == pytest.approx(sum(math.log((3 + step) / (2 + step)) for step in (0.0, 0.1, 0.2)) / 3)


def test_a_pair_is_of_one_pretraining_rule(unlearned: Make) -> None:
    """After either rule SAM keeps 2 points more than SGD; the rules differ by thirty."""
    made = [unlearned(half=2, test=level + 0.02 * (rule != "sgd") + 0.001 * seed * (rule != "sgd"), rule=rule,
                      pretrain=pretrain, seed=seed)
            for pretrain, level in (("sam-0.1", 0.4), ("asam-1.0", 0.7)) for rule in ("sgd", "sam-0.1")
            for seed in range(3)]  # fmt: skip
    found = outcome_of(made, "cheaper after SAM")
    assert (found["answer"], found["cells"], found["mean"]) == (YES, 2, pytest.approx(0.021))


def test_kept_accuracy_is_compared_after_each_pretraining_apart(unlearned: Make) -> None:
    made = []
    for seed, (pretrain, better) in itertools.product(range(3), (("sgd", -0.1), ("asam-1.0", 0.2))):
        sam = {"rule": "sam-0.1", "test": 0.5 + better + 0.001 * seed}
        made += [unlearned(half=half, pretrain=pretrain, seed=seed, **rule) for half, rule in ((2, {}), (3, sam))]
    found = outcomes_of(made)
    assert (found["dearer after SGD"]["mean"], found["cheaper after SAM"]["mean"]) == pytest.approx((-0.099, 0.201))


def test_a_shrinking_advantage_is_the_difference_of_two_differences(unlearned: Make) -> None:
    levels = {("sgd", 0.9): 0.5, ("sam-0.1", 0.9): 0.7, ("sgd", 0.5): 0.4, ("sam-0.1", 0.5): 0.3}
    made = [unlearned(half=2, test=test + 0.001 * seed * (rule != "sgd"), rule=rule, alpha=alpha, pretrain="asam-1.0",
                      seed=seed)
            for (rule, alpha), test in levels.items() for seed in range(3)]  # fmt: skip
    found = outcomes_of(made)
    assert found["shrinks"]["mean"] == pytest.approx(0.3)
    assert found["turns"]["answer"] == YES
    noisy = [replace(one, result=one.result | {"parents": {"forget_set": "one"}, "retrained_test_accuracy":
                                               0.5 + 0.01 * one.config["seed"]}) for one in made]  # fmt: skip
    # Seeds of retraining differ by .01: two of them by the root of two times that, two such differences by twice that.
    found = outcomes_of(noisy)
    assert (found["turns"]["floor"], found["shrinks"]["floor"]) == pytest.approx((0.01 * 2**0.5, 0.02))


def test_a_prediction_is_observed_in_the_study_it_names_and_in_no_other_beside_it(unlearned: Make) -> None:
    """Both studies have the cells: SAM is slower in the one that the prediction names, and faster in the other."""

    def study(name: str, half: float) -> Records:
        made = [unlearned(half=2, seed=seed) for seed in range(3)]
        made += [unlearned(half=half + 0.01 * seed, rule="sam-0.1", seed=seed) for seed in range(3)]
        return Records(made, study=name)

    def observed(*parts: Records) -> tuple[str, int]:
        row = outcomes(Records(parts=parts)).set_index("name").loc["slower"]
        return row["answer"], row["seeds"]

    named, other = study("cifar10", 3), study("digits", 1)
    assert observed(other, named) == observed(named) == (YES, 3)
    assert observed(other) == (OPPOSITE, 3)
    assert observed(Records(study="cifar10"), other) == (OPPOSITE, 3), "the first that has its cells"


@pytest.mark.parametrize("other", [{"augment": "none"}, {"epochs": 2}, {"forget_seed": 1}])
def test_a_run_of_another_setting_is_no_second_run_of_the_same_cell(unlearned: Make, other: dict[str, Any]) -> None:
    made = [
        unlearned(half=half, rule=rule, seed=seed) for rule, half in (("sgd", 2), ("sam-0.1", 3)) for seed in range(3)
    ]
    made += [unlearned(half=3.9, seed=seed, **other) for seed in range(2)]
    with pytest.raises(Mixed, match="differ within a setting"):
        outcome_of(made, "slower")


def test_the_command_prints_and_the_figure_draws_every_prediction(unlearned: Make) -> None:
    made = [unlearned(half=2, seed=seed) for seed in range(3)]
    made += [unlearned(half=3 + 0.1 * seed, rule="sam-0.1", seed=seed) for seed in range(3)]
    records = Records(parts=[Records(made, study="cifar10"), theory()])
    printed = rows(records)
    assert [row["prediction"] for row in printed] == [one.sentence for one in PREDICTIONS]
    assert {row["answer"] for row in printed} == {YES, OPEN, "not run"}
    drawing = predictions_and_observations(records, Theme("light"))
    assert len(drawing.data) == len(PREDICTIONS)
    assert drawing.figure is not None
    panel = drawing.figure.axes[[one.measure for one in PREDICTIONS].index(CLOCK)]
    assert any(f"slower\n{YES}" in text.get_text() for text in panel.get_yticklabels())
    for axes, measure in zip(drawing.figure.axes[:2], (CLOCK, KEPT), strict=True):
        drawn: Any = axes
        asked = [one for one in reversed(PREDICTIONS) if one.measure == measure]
        assert [math.copysign(1, arrow.xyann[0]) for arrow in drawn.texts] == [one.sign for one in asked]
        points = {round(float(y), 2): float(x) for one in drawn.containers
                  for y, x in zip(one[0].get_ydata(), one[0].get_xdata(), strict=True)}  # fmt: skip
        told = drawing.data.set_index("name")
        for place, one in enumerate(asked):
            assert points[place + 0.15] == pytest.approx(told.loc[one.name, "expected_mean"])
            seen = told.loc[one.name, "mean"]
            assert points.get(place - 0.15, math.nan) == pytest.approx(seen, nan_ok=True)
    assert any("cifar10-radius.toml" in line for line in drawing.missing)
