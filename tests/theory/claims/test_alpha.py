"""Lemma 3.4, retain weight: thresholds by bisection, the gap in odds, and how it moves with d and with n apart."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import grown, made, sides
from theory.claims.alpha import (
    CLOSE,
    COARSE,
    LINES,
    MATCHED,
    MIDDLE,
    AlphaLine,
    grid,
    measured_thresholds,
    next_alpha,
    rate,
    threshold,
    tolerance,
)
from theory.claims.bounds import alpha_gap
from theory.config import ClaimConfig, TheoryConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def runs_with(sgd, sam, *, matched: float = -0.1) -> dict:
    """Return runs that overfit benignly from alpha = `sgd(cell)` or `sam(cell)` on.

    At matched forgetting SAM's test error is SGD's plus `matched`.
    """

    def make(name, cell):
        spread = 1e-3 * np.arange(SEEDS)[:, None]
        if len(name) == 3:
            return made(cell, stopped_at=5, test_error=0.3 + spread**2 + (name[1] != "SGD") * (matched + spread))
        least = {"sgd": sgd, "sam": sam}[name[2]](cell)
        return made(cell, test_error=0.1 + 0.5 * (least - cell.alpha), forget_error=1 - cell.alpha)

    return grown(grid, make, SEEDS)


def test_a_threshold_is_where_error_becomes_low_for_good():
    alphas = np.array([0.0, 0.2, 0.4, 0.6, 1.0])
    assert threshold(alphas, np.array([0.3, 0.05, 0.2, 0.0, 0.0])) == pytest.approx(0.5)  # low by accident at 0.2
    assert threshold(alphas, np.full(5, 0.05)) == 0.0  # every alpha: no grid has a floor
    assert np.isnan(threshold(alphas, np.full(5, 0.4)))


def test_an_alpha_at_which_a_seed_diverged_is_harmful():
    alphas, broken = np.array(COARSE), float("nan")
    assert np.isnan(threshold(alphas, np.full(6, broken)))
    assert threshold(alphas, np.array([broken, broken, 0.3, 0.05, 0.05, 0.05])) == pytest.approx(0.56)
    errors = np.array([0.5, 0.4, 0.3, broken, 0.05, 0.05])
    assert threshold(alphas, errors) == pytest.approx(0.7)
    assert next_alpha(alphas, errors) == pytest.approx(0.7)  # bisection goes on beside it
    assert next_alpha(alphas, np.array([broken] * 5 + [0.05])) == pytest.approx(0.9)


def test_bisection_closes_in_on_the_threshold_and_stops_where_there_is_none():
    alphas = list(COARSE)
    error = lambda alpha: 0.11 if alpha < 0.3173 else 0.09  # noqa: E731
    while (new := next_alpha(np.array(alphas), np.array([error(a) for a in alphas]))) is not None:
        alphas = sorted([*alphas, new])
        assert len(alphas) < 20
    assert threshold(np.array(alphas), np.array([error(a) for a in alphas])) == pytest.approx(0.3173, abs=CLOSE)
    assert next_alpha(np.array(COARSE), np.full(6, 0.05)) is None
    assert next_alpha(np.array(COARSE), np.full(6, 0.4)) is None


def test_rows_hold_both_thresholds_the_gap_in_alpha_and_odds_and_the_forget_error_at_each():
    found = measured_thresholds(runs_with(lambda cell: 0.8, lambda cell: 0.5))
    assert [one.line for one in found] == LINES
    for one in found:
        for row in one.rows():
            assert (row["alpha_sgd"], row["alpha_sam"]) == (pytest.approx(0.8, abs=5e-3), pytest.approx(0.5, abs=5e-3))
            assert row["odds_gap"] == pytest.approx(0.8 / 0.2 - 1.0, abs=0.1)
            assert row["gap"] == pytest.approx(0.3, abs=5e-3)
            assert row["forget_error_sgd"] == pytest.approx(0.2, abs=5e-3)
            assert not row["every_alpha_sam"]


def test_a_rule_that_tolerates_every_alpha_has_odds_of_zero():
    (one, *_) = measured_thresholds(runs_with(lambda cell: 0.8, lambda cell: -1.0))
    np.testing.assert_allclose(one.odds_gap(np.arange(SEEDS)), 4.0, rtol=0.02)
    assert all(row["every_alpha_sam"] for row in one.rows())


@pytest.mark.parametrize("gap, side", [(0.3, 1), (-0.3, -1)])
def test_sam_tolerates_less_where_the_gap_is_positive(gap, side):
    finding = tolerance(runs_with(lambda cell: 0.5 + gap, lambda cell: 0.5), CONFIG)
    found = {part: where for part, where in sides(finding).items() if part.startswith("matched epochs")}
    assert len(found) == len(LINES)
    assert set(found.values()) == {side}
    assert finding.estimate.value == pytest.approx(gap, abs=0.01)
    assert (f"from alpha = 0.50 on and SGD from {0.5 + gap:.2f} (s = 2, SGD-pretrained, d / n = 200), having forgotten "
            f"0.50 and {0.5 - gap:.2f} of F there") in finding.sentence  # fmt: skip


def test_the_mean_gap_is_of_the_sizes_at_which_both_rules_have_a_threshold():
    (one, *_) = measured_thresholds(
        runs_with(lambda cell: 2.0 if cell.d == 500 else 0.6 + 0.1 * (cell.d > 2000), lambda cell: 0.5)
    )
    np.testing.assert_allclose(one.alpha_gap(np.arange(SEEDS)), [np.nan, 0.1, 0.2, 0.2], atol=0.01)
    assert one.mean_gap(np.arange(SEEDS)) == pytest.approx(0.5 / 3, abs=0.01)


def test_a_rule_without_any_benign_alpha_is_off_the_grid_and_decides_nothing():
    finding = tolerance(runs_with(lambda cell: 2.0, lambda cell: 0.5), CONFIG)
    found = {part: where for part, where in sides(finding).items() if part.startswith("matched epochs")}
    assert set(found.values()) == {0}
    assert "off the grid" in finding.regime


@pytest.mark.parametrize("matched, side", [(-0.1, 1), (0.1, -1), (0.0, 0)])
def test_at_matched_forgetting_a_lower_test_error_is_what_holds(matched, side):
    found = sides(tolerance(runs_with(lambda cell: 0.8, lambda cell: 0.5, matched=matched), CONFIG))
    assert [where for part, where in found.items() if part.startswith("matched forgetting")] == [side] * len(MATCHED)


def odds_to_alpha(odds: float) -> float:
    return odds / (1 + odds)


@pytest.mark.parametrize("in_d, in_n, d_side, n_side", [
    (0.3, -0.7, 1, 1), (0.2, 0.3, 1, -1), (0.8, -0.7, -1, 1), (0.3, -0.2, 1, -1)])  # fmt: skip
def test_the_bound_asks_whether_the_gap_over_the_root_of_d_by_n_still_grows(in_d, in_n, d_side, n_side):
    """Along d at fixed n, which is where d / n grows; along n it is beyond the hypothesis."""

    def sgd(cell):
        return odds_to_alpha(1.0 + 2.0 * (cell.d / MIDDLE["d"]) ** in_d * (cell.n / MIDDLE["n"]) ** in_n)

    finding = rate(runs_with(sgd, lambda cell: 0.5), CONFIG)
    found = sides(finding)
    assert {where for part, where in found.items() if "along d" in part} == {d_side}
    assert {where for part, where in found.items() if "along n" in part} == {n_side}
    assert finding.answer == {1: "yes", -1: "the opposite"}[d_side]
    constants = [
        2.0 * (d / 8000) ** in_d * (n / 40) ** in_n / (d / n) ** 0.5
        for d, n in [*((d, 40) for d in (500, 2000, 8000, 32000)), *((8000, n) for n in (10, 20, 40, 80))]
    ]
    said = float(finding.sentence.split("is at most ")[1].split(" sqrt")[0])
    assert said == pytest.approx(max(constants), rel=0.1)
    assert max(row["sup"] for row in finding.rows) == pytest.approx(max(constants), rel=0.1)


def test_the_bound_is_the_root_of_d_over_n():
    assert alpha_gap(400.0) == 20.0


def test_the_headline_is_the_default_pretraining_in_the_natural_clock():
    assert LINES[0] == AlphaLine(2.0, TheoryConfig().pretrain, "eta ~ 1/d", "d")
