"""How the boundary scales: derived exponents, the path in d of every corner, and what the page says of made-up runs."""

from itertools import product

import numpy as np
import pytest

from tests.theory.claims.synthetic import falling, grown, made
from theory.claims import scaling
from theory.claims.scaling import (
    CORNERS,
    DIMENSIONS,
    FAR,
    LINES,
    PLACES,
    Corner,
    analyse,
    boundary_errors,
    scaling_section,
    worst_exponent,
)
from theory.config import ClaimConfig
from theory.predict import noise_drive, saturate, signal_drive

SEEDS = 5
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def balance(rule: str, corner: Corner, d: int) -> float:
    """Return the |phi| at which the closed forms' signal equals the larger of learned noise and start noise.

    By bisection over whole cells: nothing of the derivation's powers enters. SAM learns a V of 0.3, whatever the cell.
    """
    line = LINES.lines[PLACES.index((rule, corner))]
    cell = line.clock(line.setting.changed(d=d))
    low, high = 1e-6, 1e6
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        at = cell.changed(signal_strength=middle / cell.signal_unit)
        Y, X = signal_drive(at), noise_drive(at, 0.6) if rule == "sgd" else 0.0
        f = saturate(2 * Y + X)
        kappa = f * 2 * Y / (2 * Y + X)
        V = (f - kappa) / 0.6 if rule == "sgd" else 0.3
        noise = max(V * (0.3 * at.n / d) ** 0.5, at.sigma_0 * d**0.5 / 10)
        low, high = (middle, high) if kappa < noise else (low, middle)
    return middle


@pytest.mark.parametrize("rule", ["sgd", "sam"])
@pytest.mark.parametrize("corner", [*CORNERS[:2], *CORNERS[4:]], ids=str)  # a = 1/2, b = 1/2: but for a logarithm
def test_the_derived_exponents_are_those_of_balanced_closed_forms(rule, corner):
    """Far out, where powers alone are left; n is at most 5000 there."""
    ends = (10**6, 4 * 10**7) if corner.c else (10**9, 10**11)
    norms = [balance(rule, corner, d) for d in ends]
    assert np.log(norms[1] / norms[0]) / np.log(ends[1] / ends[0]) == pytest.approx(corner.exponent(rule), abs=0.02)


def test_the_formula_is_continuous_and_that_of_the_theorem_where_the_start_is_small():
    assert {Corner(1.0, b, 0.0).exponent("sgd") for b in (0.0, 0.5)} == {0.25}
    for c in (0.0, 0.25, 0.5):
        assert Corner(1 - c / 2, 0.0, c).exponent("sgd") == pytest.approx((1 - c) / 4)
    assert Corner(0.5, 0.0, 0.0).exponent("sgd") == Corner(0.5, 0.0, 0.0).exponent("sam") == 0.5


def power_runs(power: float) -> dict:
    """Return runs whose boundary is |phi| = 2 (d / 4000)^power on every line."""
    return falling(LINES.grid, SEEDS, lambda name, cell: 2 * (cell.d / 4000) ** power)


@pytest.fixture
def few(monkeypatch):
    """Let the mean field's boundary be |phi| = 2.2 (d / 4000)^0.3, without integrating it."""
    monkeypatch.setattr(scaling, "boundary", lambda cell: 2.2 * (cell.d / 4000) ** 0.3 / cell.signal_unit)


def test_every_corner_has_its_exponent_three_times_and_the_error_of_the_mean_field(few):
    finding = analyse(power_runs(0.25), CONFIG)
    assert [(row["rule"], row["a"], row["b"], row["c"]) for row in finding.rows] == [
        (rule, *corner) for rule, corner in product(("sgd", "sam"), CORNERS)
    ]
    for row, (rule, corner) in zip(finding.rows, PLACES, strict=True):
        assert row["derived"] == corner.exponent(rule)
        assert row["exponent"] == pytest.approx(0.25, abs=1e-3)
        assert (row["mean_field"], row["mean_field_far"]) == (0.3, 0.3)
        assert max(boundary_errors(row)) == pytest.approx(1.1 * 16**0.05 - 1, abs=2e-3)
        assert row["predicted_far"] == pytest.approx([2.2 * (d / 4000) ** 0.3 for d in FAR], rel=1e-3)
    assert (finding.answer, finding.regime, finding.parts) == ("", "", [])
    assert worst_exponent(finding.rows, "sam") == pytest.approx(0.375, abs=1e-3)  # a = 1, b = c = 1/2: derived -1/8
    assert "SGD: the simulated exponent is that of the mean field to 0.050 (median of 8 corners)" in finding.sentence


def test_the_section_has_a_line_a_corner_with_interval_and_error(few):
    finding = analyse(power_runs(0.25), CONFIG)
    text = scaling_section({"rows": finding.rows, "seeds": SEEDS, "sentence": finding.sentence})
    assert "| SAM | 1 | 0.5 | 0.5 | -0.125 | 0.300 | 0.250 [0.250, 0.250] | 0.300 | 26% | – |" in text
    assert text.count("| SGD |") == text.count("| SAM |") == 8
    told = " ".join(text.split())
    assert "inside the interval at 0 of 16 corners. It is off by 0.050 (median) and 0.050 (largest)" in told
    ends = [1.1 * (d / 4000) ** 0.05 for d in (DIMENSIONS[0], DIMENSIONS[-1])]
    assert f"{ends[0]:.2f} to {ends[1]:.2f} times the simulated one" in told


def test_a_boundary_off_the_grid_has_no_exponent(few):
    runs = grown(LINES.grid, lambda name, cell: made(cell, test_error=0.4), SEEDS)
    finding = analyse(runs, CONFIG)
    assert {row["exponent"] for row in finding.rows} == {None}
    assert finding.sentence == "."
    text = scaling_section({"rows": finding.rows, "seeds": SEEDS, "sentence": finding.sentence})
    assert "| – |" in text
    assert "No corner has both exponents." in text
