"""Lemma 3.4, retain weight: the smallest benign alpha, the gap between rules, and how the gap must grow."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, verdicts
from theory.bounds import alpha_gap
from theory.claims.alpha import ALPHAS, MATCHED, RATIOS, SETTINGS, Thresholds, grid, rate, thresholds, tolerance
from theory.claims.claim import Runs
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def runs_with(gap, *, sam: float = 0.1, matched: float = -0.1) -> Runs:
    """Return runs that overfit benignly from alpha = `sam` on with SAM, and from there plus `gap(d / n)` with SGD.

    At matched forgetting SAM's test error is SGD's plus `matched`.
    """
    runs = {}
    for name, cell in seeded(grid(), SEEDS).items():
        spread = 1e-3 * np.arange(SEEDS)[:, None]
        if len(name) == 3:
            _, rule, _ = name
            runs[name] = made(cell, stopped_at=5, test_error=0.3 + spread**2 + (rule != "SGD") * (matched + spread))
        else:
            *_, rule, ratio, alpha = name
            benign = alpha >= sam - 1e-9 + (gap(ratio) if rule == "sgd" else 0.0)
            runs[name] = made(cell, test_error=np.where(benign, 0.09, 0.11), forget_error=alpha)
    return runs


def test_a_threshold_is_where_error_becomes_low_for_good():
    errors = np.full((4, len(ALPHAS), 3), 0.05)
    errors[:, ALPHAS <= 0.5] = 0.3
    errors[:, ALPHAS == 0.2] = 0.05  # low by accident, high again after
    found = Thresholds({}, {"sgd": errors, "sam": np.full_like(errors, 0.4)}, {})
    np.testing.assert_allclose(found.alpha("sgd", np.arange(3)), 0.55)
    assert np.all(np.isnan(found.alpha("sam", np.arange(3))))


def test_a_gap_is_sgd_minus_sam_and_rows_name_the_forget_error_at_each_threshold():
    found = thresholds(runs_with(lambda ratio: 0.3))
    assert [tuple(setting.label.values()) for setting in found] == SETTINGS
    np.testing.assert_allclose(found[0].gap(np.arange(SEEDS)), 0.3)
    for row in found[0].rows():
        assert (row["alpha_sgd"], row["alpha_sam"]) == (pytest.approx(0.4), pytest.approx(0.1))
        assert row["forget_error_sgd"] == pytest.approx(0.4)
        assert not row["at_grid_floor_sam"]


@pytest.mark.parametrize("gap, holds", [(0.3, True), (0.0, False), (-0.05, False)])
def test_sam_tolerates_less_where_the_gap_is_positive(gap, holds):
    finding = tolerance(runs_with(lambda ratio: gap), CONFIG)
    found = {part: good for part, good in verdicts(finding).items() if part.startswith("matched epochs")}
    assert len(found) == len(SETTINGS)
    assert set(found.values()) == {holds}
    assert finding.estimate.value == pytest.approx(gap)


@pytest.mark.parametrize("matched, holds", [(-0.1, True), (0.1, False), (0.0, False)])
def test_at_matched_forgetting_a_lower_test_error_is_what_holds(matched, holds):
    found = verdicts(tolerance(runs_with(lambda ratio: 0.3, matched=matched), CONFIG))
    assert [good for part, good in found.items() if part.startswith("matched forgetting")] == [holds] * len(MATCHED)


def test_a_rate_is_near_one_half_only_if_the_gap_grows_like_the_root():
    root = {12.5: 0.05, 50.0: 0.1, 200.0: 0.2, 800.0: 0.4}
    for gap, holds, exponent in ((root.__getitem__, True, 0.5), (lambda ratio: 0.2, False, 0.0)):
        finding = rate(runs_with(gap), CONFIG)
        bound, *rates = verdicts(finding).values()
        assert bound
        assert set(rates) == {holds}
        assert finding.estimate.value == pytest.approx(exponent, abs=0.01)


def test_the_bound_is_the_root_of_d_over_n_and_says_nothing_here():
    assert alpha_gap(400.0) == 20.0
    assert all(alpha_gap(ratio) > 1.0 for ratio in RATIOS)


def test_cells_have_the_ratios_and_weights_they_are_named_by():
    for name, cell in grid().items():
        if len(name) == 6:
            strength, pretrain, clock, rule, ratio, alpha = name
            assert (cell.signal_strength, cell.pretrain, cell.unlearn) == (strength, pretrain, rule)
            assert (cell.d / cell.n, cell.alpha) == (ratio, alpha)
            assert cell.eta == pytest.approx(0.01 if clock == "fixed eta" else 40 / cell.d)
            assert rule == "sgd" or cell.rho == pytest.approx(cell.rho_th)
