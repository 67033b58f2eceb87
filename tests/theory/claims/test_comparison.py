"""Rules against SGD: pairs of seeds, two ways of matching, and what decides each of the three tables."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, sides
from theory.claims import comparison
from theory.claims.claim import load_claim
from theory.claims.comparison import (
    RANDOM_LABELS,
    RULES,
    SAM,
    SHARP_MINMAX,
    Comparison,
    compare,
    compared_cells,
    minus_sgd,
    until_forgotten,
)
from theory.config import ClaimConfig, TheoryConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)
CELL = TheoryConfig(pretrain="sam", seeds=SEEDS)
NOISE = np.array([[-0.01], [0.01], [-0.01], [0.01]])  # the intervals' half-width is about 0.018


def runs_with(table: Comparison, *, better=(), worse=(), **late) -> dict:
    """Return runs in which some (rule, matched) have lower and some higher test error than SGD, each by 0.1."""
    runs = {}
    for name, cell in seeded(table.grid({}), SEEDS).items():
        if isinstance(name, str):
            runs[name] = made(cell, forget_loss=late.get(name, 0.0) + NOISE)
        else:
            _, rule, matched = name
            sign = ((rule, matched) in worse) - ((rule, matched) in better) * 1.0
            stopped = 50 if matched == "forgetting" else None
            noise = 0.0 if rule == "SGD" else NOISE
            runs[name] = made(cell, stopped_at=stopped, test_error=0.3 + 0.1 * sign + noise)
    return runs


def test_a_rule_runs_with_its_radius_and_stops_at_half_the_forget_set():
    cells = compared_cells(CELL, list(RULES))
    for rule, change in RULES.items():
        for name, value in change.items():
            assert getattr(cells[CELL, rule, "epochs"], name) == value
        assert cells[CELL, rule, "forgetting"] == until_forgotten(cells[CELL, rule, "epochs"])
        assert cells[CELL, rule, "epochs"].stop_forget_error is None
    assert until_forgotten(CELL).stop_forget_error == 0.5
    assert until_forgotten(CELL).epochs == 1000


def test_a_difference_is_the_rules_minus_sgds_paired_by_seed():
    sgd, sam = np.array([[0.1], [0.2], [0.3], [0.4]]), np.array([[0.2], [0.3], [0.4], [0.6]])
    runs = {(CELL, rule, "epochs"): made(CELL, test_error=error) for rule, error in (("SGD", sgd), ("SAM 1", sam))}
    found = minus_sgd(runs, CELL, "SAM 1", "epochs")
    assert found.value == pytest.approx(0.125)
    assert found.above(0.0)  # unpaired, the interval would be wider than the difference


def test_at_matched_forgetting_a_seed_that_never_forgot_is_left_out():
    errors, stopped = np.array([[0.1], [0.2], [0.3], [9.0]]), np.array([5, 5, 5, -1])
    runs = {(CELL, "SGD", "forgetting"): made(CELL, stopped_at=5, test_error=0.1),
            (CELL, "SAM 1", "forgetting"): made(CELL, stopped_at=stopped, test_error=errors)}  # fmt: skip
    assert minus_sgd(runs, CELL, "SAM 1", "forgetting").value == pytest.approx(0.1)


def test_a_row_holds_errors_the_oracle_gap_and_how_many_forgot():
    stopped = np.array([10, 20, 30, -1])
    runs = {(CELL, rule, matched): made(CELL, stopped_at=stopped, retrained=0.2, test_error=0.1, forget_error=0.7)
            for rule in ("SGD", "SAM 1") for matched in ("epochs", "forgetting")}  # fmt: skip
    first, *_, last = compare(runs, CELL, ("SGD", "SAM 1"))
    assert (first["rule"], first["matched"], last["rule"], last["matched"]) == ("SGD", "epochs", "SAM 1", "forgetting")
    assert (last["test_error"], last["forget_error"]) == (pytest.approx(0.1), pytest.approx(0.7))
    assert last["oracle_gap"] == pytest.approx(0.5)
    assert (last["reached"], last["epochs"]) == (0.75, 20.0)
    assert "reached" not in first
    cell = runs[CELL, "SAM 1", "forgetting"]
    cell.metrics["forget_error"][3] = 0.0  # of the seed that never forgot as much
    assert compare(runs, CELL, ("SGD", "SAM 1"))[-1]["oracle_gap"] == pytest.approx(0.5)


def test_a_row_holds_the_prediction_of_its_own_rule_and_way_of_matching(monkeypatch):
    runs = {(CELL, rule, matched): made(cell, stopped_at=5) for (_, rule, matched), cell in
            compared_cells(CELL, ("SGD", "SAM 1")).items()}  # fmt: skip
    cells = list(compared_cells(CELL, ("SGD", "SAM 1")).values())
    told = {cell: {"predicted_test_error": 0.1 * place, "predicted_forget_error": np.nan}
            for place, cell in enumerate(cells)}  # fmt: skip
    monkeypatch.setattr(comparison, "ends", lambda asked: {cell: told[cell] for cell in asked})
    rows = compare(runs, CELL, ("SGD", "SAM 1"))
    assert [row["predicted_test_error"] for row in rows] == pytest.approx([0.0, 0.2, 0.1, 0.3])
    assert {row["predicted_forget_error"] for row in rows} == {None}


def test_sam_improves_unlearning_only_where_its_test_error_is_lower():
    better = [("SAM 0.1", "forgetting")]
    finding = SAM.analyse(runs_with(SAM, better=better, worse=[("SAM 0.1", "epochs")]), CONFIG)
    found = sides(finding)
    assert len(found) == 2 * 8 + 4  # two pretrainings and four strengths matched both ways, and four alphas
    assert all(side == (1 if part.startswith("matched forgetting") else -1) for part, side in found.items())
    assert finding.verdict == "mixed"
    assert finding.estimate.value == pytest.approx(-0.1)
    assert f"is {-0.1:.3g} [" in finding.sentence
    assert "{" not in finding.sentence
    assert SAM.analyse(runs_with(SAM), CONFIG).verdict == "undecided"


@pytest.mark.parametrize("flipped, side", [(1.0, 1), (5.0, -1), (3.0, 0)])
def test_random_labels_limit_the_forget_loss_where_it_stays_below_that_of_neggrad(flipped, side):
    runs = runs_with(RANDOM_LABELS, better=[("SAM 0.1", "epochs")], random_label=flipped, neggrad=3.0)
    finding = RANDOM_LABELS.analyse(runs, CONFIG)
    found = sides(finding)
    assert found.pop("forget loss minus that of NegGrad, both by SGD") == side
    assert len(found) == 8
    assert all(where == ("matched epochs" in part) for part, where in found.items())
    assert finding.estimate.value == pytest.approx(0.0, abs=1e-9)
    late = {row["method"]: row for row in finding.rows if "forget_loss" in row}
    assert late["random_label"]["forget_loss"] == pytest.approx(flipped)


def test_random_labels_are_what_the_comparison_runs():
    assert {cell.method for cell in RANDOM_LABELS.settings} == {"random_label"}
    assert {name: cell.method for name, cell in RANDOM_LABELS.late.items()} == {
        "random_label": "random_label", "neggrad": "neggrad"}  # fmt: skip
    assert {cell.method for cell in (*SAM.settings, *SHARP_MINMAX.settings)} == {"neggrad"}


def test_minmax_must_be_better_and_sharpness_maximization_alone_worse():
    runs = runs_with(SHARP_MINMAX, better=[("MinMax 0.1", "forgetting")],
                     worse=[("sharpness maximization 0.1", "forgetting")])  # fmt: skip
    finding = SHARP_MINMAX.analyse(runs, CONFIG)
    found = sides(finding)
    assert found.pop("a mask fixed at the start forgets (most seeds), sam, s = 0.5") == 0  # 4 of 4 seeds: Wilson
    assert set(found.values()) == {1}
    assert len(found) == 2 * 6 + 2
    assert finding.estimate.value == pytest.approx(-0.1)
    other = runs_with(SHARP_MINMAX, worse=[("MinMax 0.1", "forgetting")],
                      better=[("sharpness maximization 0.1", "forgetting")])  # fmt: skip
    assert {side for part, side in sides(SHARP_MINMAX.analyse(other, CONFIG)).items() if "mask fixed" not in part} == {
        -1
    }


@pytest.mark.parametrize("share, side", [(1.0, 1), (0.55, 0), (0.0, -1)])
def test_a_fixed_mask_forgets_when_most_seeds_do(share, side):
    many = 40
    cell = TheoryConfig(pretrain="sam", seeds=many)
    runs = {(TheoryConfig(pretrain="sam"), "MinMax 0.1, fixed mask", "forgetting"):
            made(cell, stopped_at=np.where(np.arange(many) < share * many, 9, -1))}  # fmt: skip
    part = SHARP_MINMAX.parts["a mask fixed at the start forgets (most seeds), sam, s = 0.5"](runs)
    assert part.side(15, many) == side


def test_rows_of_another_mask_say_so():
    rows = SHARP_MINMAX.analyse(runs_with(SHARP_MINMAX), CONFIG).rows
    assert [row["mask_fraction"] for row in rows if "mask_fraction" in row] == [0.25] * 4 + [0.75] * 4


@pytest.mark.parametrize("name", ["theorem-3.3-matched-forgetting", "random-labels", "sharp-minmax"])
def test_the_headline_is_the_default_setting_at_matched_forgetting_with_its_oracle(name):
    claim = load_claim(name)
    assert claim.oracle
    assert "SGD-pretrained, s = 0.5" in claim.quantity
    assert TheoryConfig().pretrain == "sgd"
    assert TheoryConfig().signal_strength == 0.5
    table = {"random-labels": RANDOM_LABELS, "sharp-minmax": SHARP_MINMAX}.get(name, SAM)
    assert table.headline in table.parts
    assert "sgd, s = 0.5" in table.headline
    assert "epochs" not in table.headline
