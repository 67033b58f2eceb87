"""ToW in theory: the best epoch is chosen on other seeds, gains are paired, and SAM alone decides."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, sides
from theory.claims.tow import ALPHAS, BEFORE, COMPARED, STRENGTHS, analyse, at_best_epoch, grid, tow_curve
from theory.config import ClaimConfig, TheoryConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def test_tow_is_one_minus_the_gaps_to_the_retrained_model():
    run = made(
        TheoryConfig(seeds=2), epochs=(0, 5), retrained=0.1, retain_error=0.1, forget_error=[[0.1, 0.6]], test_error=0.3
    )
    np.testing.assert_allclose(tow_curve(run), [[1.0 * 1.0 * 0.8, 1.0 * 0.5 * 0.8]] * 2)


def test_no_seed_chooses_its_own_epoch():
    curve = np.array([[0.5, 0.9, 0.6], [0.5, 0.4, 0.7], [0.5, 0.4, 0.7]])
    best, places = at_best_epoch(curve)
    assert places.tolist() == [2, 1, 1]  # the first seed would have chosen its 0.9
    np.testing.assert_allclose(best, [0.6, 0.4, 0.4])


@pytest.mark.parametrize("gain, answer", [(0.1, "yes"), (-0.1, "the opposite"), (0.001, "no difference")])
def test_the_answer_is_that_of_sam_against_sgd(gain, answer):
    runs = {}
    for name, cell in seeded(grid({}), SEEDS).items():
        error = 0.3 - gain * (name[3] == "SAM 0.1") + np.array([[0.001], [-0.001], [0.0], [0.0005]])
        runs[name] = made(cell, epochs=(0, 5, 10), test_error=error, forget_error=[[0.1, 0.0, 0.1]])
    finding = analyse(runs, CONFIG)
    assert finding.answer == answer
    assert finding.estimate.value == pytest.approx(gain)
    inside = [row["part"] for row in finding.parts if row["inside"]]
    assert len(inside) == 2 * len(STRENGTHS) * len(ALPHAS)
    assert all(part.startswith("SAM 0.1") for part in inside)
    assert len(sides(finding)) == len(BEFORE) * len(STRENGTHS) * len(ALPHAS) * (len(COMPARED) - 1)
    row = finding.rows[0]
    assert (row["epochs"], row["epoch"]) == ([0, 5, 10], 5)
    assert row["curve"] == pytest.approx([0.63, 0.7, 0.63], abs=1e-3)


def test_a_rule_that_is_best_at_the_last_epoch_decides_nothing():
    runs = {}
    for name, cell in seeded(grid({}), SEEDS).items():
        rising = name[3] == "SAM 0.1" and name[0] == "sgd"
        noise = np.array([[0.001], [-0.001], [0.0], [0.0005]])
        runs[name] = made(cell, epochs=(0, 5, 10), test_error=0.3 + 0.1 * rising + noise,
                          forget_error=[[0.1, 0.05, 0.0]] if rising else [[0.1, 0.0, 0.1]])  # fmt: skip
    finding = analyse(runs, CONFIG)
    assert finding.answer == "no difference"  # of SAM after SAM
    assert "fails: SAM 0.1, pretrained sgd" in finding.beyond
