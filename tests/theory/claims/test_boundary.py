"""Theorems 3.2 and 3.3: the boundary that is fitted, the exponents that count, and the theorem's own expression."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, verdicts
from theory.bounds import sam_boundary, sgd_boundary
from theory.claims.boundary import BASE, SAM, SGD, STRENGTHS, BoundaryTest, Line
from theory.claims.claim import Runs, load_claim
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import simulate_many
from theory.stats import slope

SEEDS = 5
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def runs_with(test: BoundaryTest, in_d: float, in_n: float) -> Runs:
    """Return runs whose error falls through 0.1 at |phi| = 2 (d/4000)^in_d (n/40)^in_n, the forget error rising."""
    runs = {}
    for name, cell in seeded(test.grid(), SEEDS).items():
        distance = np.log(cell.signal_norm / (2 * (cell.d / 4000) ** in_d * (cell.n / 40) ** in_n))
        runs[name] = made(cell, test_error=0.1 - 0.02 * distance, forget_error=0.5 + 0.02 * distance)
    return runs


@pytest.mark.parametrize(
    "in_d, in_n, d_holds, n_holds",
    [(0.25, -0.25, True, True), (0.28, -0.22, True, True), (0.31, -0.25, False, True), (0.25, 0.25, True, False),
     (0.0, -0.32, False, False)],
)  # fmt: skip
def test_sgd_holds_where_the_exponents_are_a_quarter(in_d, in_n, d_holds, n_holds):
    finding = SGD.analyse(runs_with(SGD, in_d, in_n), CONFIG)
    found = verdicts(finding)
    assert [holds for part, holds in found.items() if part.startswith("exponent of d")] == [d_holds] * 3
    assert [holds for part, holds in found.items() if part.startswith("exponent of n")] == [n_holds]
    assert finding.estimate.value == pytest.approx(in_d, abs=1e-6)


@pytest.mark.parametrize("in_d, holds", [(0.0, True), (-0.2, True), (0.04, True), (0.06, False), (0.25, False)])
def test_sam_holds_where_the_boundary_does_not_grow_with_d(in_d, holds):
    finding = SAM.analyse(runs_with(SAM, in_d, 0.0), CONFIG)
    assert set(verdicts(finding).values()) == {holds}
    assert len(verdicts(finding)) == 8


def test_a_boundary_off_the_grid_fails_and_has_no_number():
    runs = {name: made(cell, test_error=0.4) for name, cell in seeded(SAM.grid(), SEEDS).items()}
    finding = SAM.analyse(runs, CONFIG)
    assert finding.verdict == "contradicted"
    assert "off the grid" in finding.regime
    assert finding.estimate.value is None


def test_a_row_gives_the_boundary_in_both_units_and_the_forget_error_there():
    row = SGD.analyse(runs_with(SGD, 0.25, -0.25), CONFIG).rows[0]
    assert row["axis"] == [1000, 2000, 4000, 8000, 16000]
    np.testing.assert_allclose(row["boundary"], [2 * (d / 4000) ** 0.25 for d in row["axis"]], rtol=1e-3)
    units = [TheoryConfig(d=d).signal_unit for d in row["axis"]]
    np.testing.assert_allclose(np.multiply(row["boundary_strength"], units), row["boundary"], rtol=1e-3)
    step = np.log(STRENGTHS[1] / STRENGTHS[0])
    np.testing.assert_allclose(row["forget_error_there"], 0.5, atol=0.02 * step / 2)


def test_cells_are_those_of_the_theorems():
    for test, rule in ((SGD, "sgd"), (SAM, "sam")):
        cells = test.grid().values()
        assert {cell.pretrain for cell in cells} == {rule}
        assert {cell.alpha for cell in cells} == {0.7}
    assert all(cell.eta == pytest.approx(0.01) for cell in SGD.grid().values())
    epochs = {(line, cell.d): (cell.eta_scale, cell.pretrain_epochs) for (line, _, _), cell in SAM.grid().items()}
    assert epochs[6, 16000] == (40.0, 200)  # eta ~ 1/d, epochs ~ sqrt(d)
    assert epochs[7, 16000] == (40.0, 400)  # eta ~ 1/d, epochs ~ d
    assert {cell.n_forget / cell.n for cell in SGD.grid().values()} == {0.2}


def test_bounds_scale_as_the_theorems_state():
    base = sgd_boundary(TheoryConfig(d=1000))
    assert sgd_boundary(TheoryConfig(d=16000)) == pytest.approx(2 * base)
    assert sgd_boundary(TheoryConfig(d=1000, n=640)) == pytest.approx(base / 2)
    assert sgd_boundary(TheoryConfig(d=1000, patches=4, sigma_p=3.0)) == pytest.approx(6 * base)
    assert sam_boundary(TheoryConfig(d=1000)) == sam_boundary(TheoryConfig(d=16000, n=20))


def test_one_constant_fits_the_simulated_boundary_of_sgd_within_ten_percent():
    axis = [{"d": d} for d in (1000, 4000, 16000)]
    test = BoundaryTest(
        [Line(BASE.changed(epochs=0), "pretrained", "", axis)], sgd_boundary, lambda fit, stated: True, "{}"
    )
    cells = seeded(test.grid(), 6)
    runs = dict(zip(cells, simulate_many(list(cells.values()), oracle=False), strict=True))
    norms = test.measure(runs, 0).thresholds(np.arange(6))
    constants = [norm / sgd_boundary(BASE.changed(**point)) for norm, point in zip(norms, axis, strict=True)]
    assert np.std(constants) / np.mean(constants) < 0.1
    assert np.mean(constants) == pytest.approx(0.47, abs=0.05)  # 0.93 / 2: the measured constant in P-form
    assert slope(np.log([1000, 4000, 16000]), np.log(norms)) == pytest.approx(0.25, abs=0.05)


def test_the_headline_is_the_pretrained_network():
    for name, pretrain in (("theorem-3.2-sgd-boundary", "SGD"), ("theorem-3.3-sam-boundary", "SAM")):
        claim = load_claim(name)
        assert f"{pretrain}-pretrained network" in claim.quantity
        assert {cell.epochs for (line, _, _), cell in claim.grid().items() if line == 0} == {0}
        assert not claim.oracle
