"""Lemma 3.4, signal surplus: what grows, between which epochs, and which exponent counts as two."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, verdicts
from theory.bounds import signal_surplus
from theory.claims.claim import Runs, load_claim
from theory.claims.surplus import NORMS, grid
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)
DIFFERENCE, RATIO = (load_claim(f"lemma-3.4-surplus-{how}") for how in ("difference", "ratio"))


def runs_with(*, sgd: float, surplus: float, ratio: bool) -> Runs:
    """Return runs whose SGD growth is |phi|^sgd and whose SAM growth exceeds it, or is it times, |phi|^surplus.

    Kappa starts at 7 and has grown by epoch 10, by twice as much at epoch 100; in between it is anything.
    """
    runs = {}
    for name, cell in seeded(grid(), SEEDS).items():
        _, rule, norm = name
        grown = norm**sgd
        if rule == "sam":
            grown = grown * norm**surplus if ratio else grown + norm**surplus
        kappa = 7.0 + np.array([0.0, grown, -3.0, 2 * grown])
        runs[name] = made(cell, epochs=(0, 10, 50, 100), kappa_retain=kappa)
    return runs


@pytest.mark.parametrize("exponent, holds", [(2.0, True), (1.8, True), (2.2, True), (1.7, False), (2.3, False)])
def test_a_difference_or_ratio_counts_within_a_quarter_of_two(exponent, holds):
    for claim, ratio in ((DIFFERENCE, False), (RATIO, True)):
        finding = claim.analyse(runs_with(sgd=1.0, surplus=exponent, ratio=ratio), CONFIG)
        assert set(verdicts(finding).values()) == {holds}
        assert len(verdicts(finding)) == 6
        assert finding.estimate.value == pytest.approx(exponent)


def test_a_difference_is_not_a_ratio():
    runs = runs_with(sgd=1.0, surplus=2.0, ratio=True)
    assert DIFFERENCE.analyse(runs, CONFIG).verdict == "contradicted"


def test_a_surplus_that_is_not_positive_fails_and_has_no_exponent():
    runs = {name: made(cell, epochs=(0, 10, 100), kappa_retain=[0.0, 2.0 - (name[1] == "sam"), 3.0])
            for name, cell in seeded(grid(), SEEDS).items()}  # fmt: skip
    finding = DIFFERENCE.analyse(runs, CONFIG)
    assert finding.verdict == "contradicted"
    assert "not positive" in finding.regime


def test_a_row_holds_the_growth_of_each_rule():
    row = DIFFERENCE.analyse(runs_with(sgd=1.5, surplus=2.0, ratio=False), CONFIG).rows[0]
    assert row["exponent_sgd"] == pytest.approx(1.5)
    assert row["difference"][NORMS.index(4.0)] == pytest.approx(16.0)


def test_cells_compare_sgd_with_full_radius_sam_at_the_norms_named():
    for (start, rule, norm), cell in grid().items():
        assert cell.signal_norm == pytest.approx(norm)
        assert (cell.unlearn, cell.alpha) == (rule, 0.9)
        assert cell.rho == pytest.approx(cell.rho_th)
        assert (cell.pretrain_epochs == 0) == (start == "initialization")
        assert (cell.pretrain == "sam") == (start == "SAM-pretrained")


@pytest.mark.parametrize(
    "claim, start, column, words",
    [(DIFFERENCE, "initialization", 1, "from initialization, 10 epochs"),
     (RATIO, "SAM-pretrained", 3, "SAM-pretrained, 100 epochs")],
)  # fmt: skip
def test_a_headline_is_the_start_and_epoch_its_quantity_names(claim, start, column, words):
    runs = runs_with(sgd=1.0, surplus=2.0, ratio=claim is RATIO)
    for (begin, rule, norm), run in runs.items():
        kappa = run.metrics["kappa_retain"]
        other = np.arange(4) != (column if begin == start else 0)
        if rule == "sam":  # elsewhere the exponent is another
            kappa[:, other] = 7.0 + norm * (kappa[:, other] - 7.0)
    assert words in claim.quantity
    assert claim.analyse(runs, CONFIG).estimate.value == pytest.approx(2.0)


def test_the_lemma_says_the_square():
    assert signal_surplus(4.0) == 16.0
