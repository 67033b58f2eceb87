"""Rules against SGD: pairs of seeds, two ways of matching, and what decides each of the three tables."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import grown, made, sides
from theory.claims import comparison
from theory.claims.claim import load_claim
from theory.claims.comparison import (
    SAM,
    SHARP_MINMAX,
    SHIFTED,
    SHIFTS,
    RuleComparison,
    compare,
    compared_settings,
    minus_sgd,
)
from theory.config import ClaimConfig, TheoryConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)
CELL = TheoryConfig(pretrain="sam", seeds=SEEDS)
NOISE = np.array([[-0.01], [0.01], [-0.01], [0.01]])  # the intervals' half-width is about 0.018


def runs_with(table: RuleComparison, *, better=(), worse=(), moved=None) -> dict:
    """Return runs in which some (rule, matched) have lower and some higher test error than SGD, each by 0.1.

    The boundary s* at equal forgetting is 1, times `moved[rule]`.
    """

    def make(name, cell):
        if isinstance(name[1], int):
            rule = SHIFTED[name[0] % len(SHIFTED)]
            distance = np.log(cell.signal_strength / (moved or {}).get(rule, 1.0))
            return made(cell, stopped_at=5, test_error=0.1 - 0.02 * distance + 1e-4 * NOISE)
        _, rule, matched = name
        sign = ((rule, matched) in worse) - ((rule, matched) in better) * 1.0
        noise = 0.0 if rule == "SGD" else NOISE
        return made(cell, stopped_at=50 if matched == "forgetting" else None, test_error=0.3 + 0.1 * sign + noise)

    return grown(table.grid, make, SEEDS)


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
            compared_settings(CELL, ("SGD", "SAM 1")).items()}  # fmt: skip
    cells = list(compared_settings(CELL, ("SGD", "SAM 1")).values())
    told = {cell: {"predicted_test_error": 0.1 * place, "predicted_forget_error": np.nan}
            for place, cell in enumerate(cells)}  # fmt: skip
    monkeypatch.setattr(comparison, "ends", lambda asked: {cell: told[cell] for cell in asked})
    rows = compare(runs, CELL, ("SGD", "SAM 1"))
    assert [row["predicted_test_error"] for row in rows] == pytest.approx([0.0, 0.2, 0.1, 0.3])
    assert {row["predicted_forget_error"] for row in rows} == {None}


def test_sam_improves_unlearning_only_where_its_test_error_is_lower_at_equal_forgetting():
    better = [("SAM 0.1", "forgetting")]
    runs = runs_with(SAM, better=better, worse=[("SAM 0.1", "epochs")], moved={"SAM 0.1": 0.5})
    finding = SAM.analyse(runs, CONFIG)
    found = sides(finding)
    assert len(found) == 2 * (8 + 4 + 1)  # strengths matched both ways, alphas and a boundary, after each pretraining
    assert all(side == (-1 if part.startswith("matched epochs") else 1) for part, side in found.items())
    assert finding.answer == "yes"  # epochs are beyond the hypothesis
    assert "fails: matched epochs" in finding.beyond
    assert finding.estimate.value == pytest.approx(-0.1)
    assert f"is {-0.1:.3g} [" in finding.sentence
    assert "{" not in finding.sentence
    assert SAM.analyse(runs_with(SAM), CONFIG).answer == "open"


def test_the_boundary_of_a_rule_is_compared_with_sgds_after_the_same_pretraining():
    moved = {"sharpness maximization 0.1": 1.1, "sharpness maximization 1": 9.0}
    finding = SHARP_MINMAX.analyse(runs_with(SHARP_MINMAX, moved=moved), CONFIG)
    inside = {row["part"]: row for row in finding.parts if row["inside"]}
    assert len(inside) == 4
    assert finding.answer == "yes"
    assert finding.estimate.value == pytest.approx(0.1, abs=1e-3)
    rows = {row["stage"]: row for row in finding.rows if "stage" in row}
    assert len(rows) == len(SHIFTS.lines) == 2 * len(SHIFTED)
    assert rows["sharpness maximization 1, pretrained sgd"]["boundary_strength"] is None  # none up to 3.6
    assert rows["sharpness maximization 1, pretrained sgd"]["shift"] == pytest.approx(3.6 - 1.0, abs=1e-3)
    other = SHARP_MINMAX.analyse(runs_with(SHARP_MINMAX, moved=dict.fromkeys(moved, 0.9)), CONFIG)
    assert other.answer == "the opposite"
    assert SHARP_MINMAX.analyse(runs_with(SHARP_MINMAX), CONFIG).answer == "no difference"


@pytest.mark.parametrize("share, side", [(1.0, 1), (0.55, 0), (0.0, -1)])
def test_a_fixed_mask_forgets_when_most_seeds_do(share, side):
    many = 40
    cell = TheoryConfig(pretrain="sam", seeds=many)
    runs = {(TheoryConfig(pretrain="sam"), "MinMax 0.1, fixed mask", "forgetting"):
            made(cell, stopped_at=np.where(np.arange(many) < share * many, 9, -1))}  # fmt: skip
    part = SHARP_MINMAX.parts["a mask fixed at the start forgets (most seeds), sam, s = 0.5"](runs, CONFIG)
    assert part.side(15, many) == side


def test_rows_of_another_mask_say_so():
    rows = SHARP_MINMAX.analyse(runs_with(SHARP_MINMAX), CONFIG).rows
    assert [row["mask_fraction"] for row in rows if "mask_fraction" in row] == [0.25] * 4 + [0.75] * 4


@pytest.mark.parametrize("name, table", [("theorem-3.3-matched-forgetting", SAM), ("sharp-minmax", SHARP_MINMAX)])
def test_the_headline_is_of_the_default_pretraining_at_matched_forgetting_with_its_oracle(name, table):
    claim = load_claim(name)
    assert claim.oracle
    assert "SGD-pretrained" in claim.quantity
    assert TheoryConfig().pretrain == "sgd"
    assert TheoryConfig().signal_strength == 0.5
    assert table.typical in table.parts
    assert "sgd" in table.typical
    assert "epochs" not in table.typical
