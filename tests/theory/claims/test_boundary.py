"""Theorems 3.2 and 3.3: the boundary that is fitted, in which clock, what is matched, and which exponents count."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import falling, grown, made, sides
from theory.claims import boundary as boundaries
from theory.claims.boundary import (
    FEWEST,
    RANDOM_START,
    SAM,
    SGD,
    STRENGTHS,
    Axis,
    Boundary,
    BoundaryTest,
    Point,
    small_start,
    start_share,
    two_phases,
)
from theory.claims.bounds import random_start_boundary, sam_boundary, sgd_boundary
from theory.config import ClaimConfig, TheoryConfig
from theory.engine import simulate_many
from theory.stats import slope

SEEDS = 5
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def at_powers(in_d: float, in_n: float):
    """Return a boundary at |phi| = 2 (d/4000)^in_d (n/40)^in_n."""
    return lambda name, cell: 2 * (cell.d / 4000) ** in_d * (cell.n / 40) ** in_n


def runs_with(test: BoundaryTest, in_d: float, in_n: float) -> dict:
    return falling(test.grid, SEEDS, at_powers(in_d, in_n))


@pytest.mark.parametrize(
    "in_d, in_n, d_side, n_side",
    [(0.25, -0.25, 1, 1), (0.28, -0.22, 1, 1), (0.31, -0.25, -1, 1), (0.25, 0.25, 1, -1), (0.0, -0.32, -1, -1)],
)
def test_sgd_holds_where_the_exponents_are_a_quarter(in_d, in_n, d_side, n_side):
    finding = SGD.analyse(runs_with(SGD, in_d, in_n), CONFIG)
    found = sides(finding)
    assert [side for part, side in found.items() if part.startswith("exponent of d")] == [d_side] * 7
    assert [side for part, side in found.items() if part.startswith("exponent of n")] == [n_side]
    assert finding.estimate.value == pytest.approx(in_d, abs=1e-6)


@pytest.mark.parametrize("in_d, side", [(0.0, 1), (-0.2, 1), (0.04, 1), (0.06, -1), (0.2, -1)])
def test_sam_holds_where_the_boundary_does_not_grow_with_d(in_d, side):
    finding = SAM.analyse(runs_with(SAM, in_d, 0.0), CONFIG)
    assert set(sides(finding).values()) == {side}
    assert len(sides(finding)) == sum(len(line.axis) >= FEWEST for line in SAM.lines)
    assert finding.answer == {1: "yes", -1: "the opposite"}[side]


def powers(test: BoundaryTest, values: list[float]) -> dict:
    """Return runs in which the boundary of each line moves as its axis to the power of its own."""

    def norm(name, cell):
        line, i, _ = name
        return (test.lines[line].axis[i][test.lines[line].along] / 2000) ** values[line]

    return falling(test.grid, SEEDS, norm)


def test_the_sentence_quotes_the_line_that_it_speaks_of():
    exponents = [0.25, -0.2, 0.3, 0.26, 0.4, 0.5, 0.55, 0.6]
    told = [f"{power:.3g} [{power:.3g}, {power:.3g}]" for power in exponents]
    sentence = SGD.analyse(powers(SGD, exponents), CONFIG).sentence
    assert f"as d to the power {told[0]} before unlearning and {told[3]} at equal forgetting" in sentence
    assert f"as n to the power {told[1]} (stated" in sentence
    assert f"with sigma_0 ~ d^(-3/4) it is {told[2]} over" in sentence
    assert f"the local power of d is {', '.join(['0.40'] * 4)} from" in sentence
    assert f"{told[5]} at eta ~ 1/d, {told[7]} at fixed eta" in sentence
    sentence = SAM.analyse(powers(SAM, [0.1, 0.2, 0.3] + [0.0] * (len(SAM.lines) - 3)), CONFIG).sentence
    assert "as d to the power 0.1 [0.1, 0.1] (stated: not at all, as an upper bound)" in sentence
    assert "of SAM alone the power is 0.3 [0.3, 0.3] at a training loss of 0.60" in sentence


def test_lines_beyond_the_hypothesis_decide_nothing():
    held = [0.25, -0.25, 0.25, 0.25, 0.4, 0.4, 0.25, 0.4]
    finding = SGD.analyse(powers(SGD, held), CONFIG)
    assert finding.answer == "yes"
    assert "fails: exponent of d, pretrained, sigma_0 ~ d^(-1/2)" in finding.beyond
    assert [line.inside for line in SGD.lines] == [True] * 4 + [False] * 2 + [True, False]
    assert SGD.analyse(powers(SGD, [0.4, *held[1:]]), CONFIG).answer == "only where"


def test_the_closed_form_of_the_random_start_stands_beside_sam_before_unlearning_and_its_error_is_told():
    finding = SAM.analyse(runs_with(SAM, 0.0, 0.0), CONFIG)
    off = []
    for line, row in zip(SAM.lines, finding.rows, strict=True):
        starts = [random_start_boundary(line.at(i, 1.0)) for i in range(len(line.axis))]
        shown = line.setting.epochs == 0 and line.clock is not two_phases
        assert row.get("predicted") == (pytest.approx(starts, rel=1e-3) if shown else None)
        if line.stage.startswith(RANDOM_START):
            off += [abs(start / 2.0 - 1) for start in starts]
    assert f"is right to {np.median(off):.0%} (median of {len(off)} boundaries)" in finding.sentence
    assert f"to {max(off):.0%} at worst" in finding.sentence


def test_the_predicted_boundary_stands_beside_lines_of_sgd_that_are_not_unlearned(monkeypatch):
    monkeypatch.setattr(boundaries, "boundary", lambda cell: 2.0 * cell.eta_scale)
    rows = SGD.analyse(runs_with(SGD, 0.25, -0.25), CONFIG).rows
    for line, row in zip(SGD.lines, rows, strict=True):
        cells = [line.at(i, 1.0) for i in range(len(line.axis))]
        expected = [2.0 * cell.eta_scale * cell.signal_unit for cell in cells]
        assert row.get("predicted") == (pytest.approx(expected, rel=1e-3) if line.setting.epochs == 0 else None)


def test_start_noise_over_learned_noise_leaves_out_the_signal():
    cell = TheoryConfig(signal_strength=1.0, seeds=2)
    start, learned, kappa = cell.sigma_0**2 * cell.d, 0.04, 3.0
    norm = (2 * cell.m * (start + learned + (kappa / cell.signal_norm) ** 2)) ** 0.5
    run = made(cell, weight_norm=norm, kappa_retain=1.0, kappa_forget=2.0)
    np.testing.assert_allclose(start_share(run), (start / learned) ** 0.5)
    assert np.isnan(start_share(made(cell, weight_norm=0.0))).all()
    small = small_start(cell.changed(d=16000))
    assert small.sigma_0 / small_start(cell.changed(d=1000)).sigma_0 == pytest.approx(16**-0.75)


def test_a_boundary_off_the_grid_decides_nothing_and_has_no_number():
    runs = grown(SAM.grid, lambda name, cell: made(cell, test_error=0.4, stopped_at=5), SEEDS)
    assert len(runs) == sum(len(line.axis) for line in SAM.lines) * len(STRENGTHS)  # it looked everywhere
    finding = SAM.analyse(runs, CONFIG)
    assert finding.answer == "open"
    assert "off the grid" in finding.regime
    assert finding.estimate.value is None


def test_only_strengths_about_the_boundary_are_simulated_and_the_boundary_is_that_of_all():
    few = runs_with(SGD, 0.25, -0.25)
    every = {(k, i, s): line.at(i, s) for k, line in enumerate(SGD.lines) for i in range(len(line.axis))
             for s in STRENGTHS}  # fmt: skip
    assert len(few) < 0.6 * len(every)
    every = falling(lambda runs: every, SEEDS, at_powers(0.25, -0.25))
    for k in range(len(SGD.lines)):
        np.testing.assert_array_equal(SGD.measure(few, k).norms(np.arange(SEEDS)),
                                      SGD.measure(every, k).norms(np.arange(SEEDS)))  # fmt: skip


def test_a_strength_at_which_fewer_than_half_of_the_seeds_compare_does_not_count():
    errors = np.array([[0.3, 0.3, 0.3], [0.01, np.nan, np.nan], [0.05, 0.05, np.nan], [0.0, 0.0, 0.0]])
    strengths, kept = np.array([1.0, 2.0, 3.0, 4.0]), [0, 2, 3]
    point, same = Point(strengths, 1.0, errors, {}), Point(strengths[kept], 1.0, errors[kept], {})
    assert 1.0 < point.threshold(np.arange(3)) < 3.0
    assert point.threshold(np.arange(3)) == pytest.approx(same.threshold(np.arange(3)))


def test_a_boundary_beyond_the_grid_is_unknown_or_at_least_the_largest_strength():
    high = Point(np.array([1.0, 2.0]), 3.0, np.full((2, 4), 0.3), {})
    assert np.isnan(high.threshold(np.arange(4)))
    assert high.threshold(np.arange(4), censored=True) == 2.0
    low = Point(np.array([1.0, 2.0]), 3.0, np.full((2, 4), 0.01), {})
    assert np.isnan(low.threshold(np.arange(4), censored=True))


def test_at_equal_forgetting_a_seed_that_never_forgot_is_left_out():
    k = next(k for k, line in enumerate(SGD.lines) if line.setting.stop_forget_error)
    runs = {(k, 0, s): made(SGD.lines[k].at(0, s).changed(seeds=2), stopped_at=np.array([5, -1]),
                            test_error=np.array([[0.2], [9.0]])) for s in STRENGTHS}  # fmt: skip
    np.testing.assert_allclose(np.nanmean(SGD.point(runs, k, 0).errors, axis=1), 0.2)


def test_a_row_gives_the_boundary_in_both_units_and_the_forget_error_there():
    row = SGD.analyse(runs_with(SGD, 0.25, -0.25), CONFIG).rows[0]
    assert row["axis"] == [1000, 2000, 4000, 8000, 16000]
    np.testing.assert_allclose(row["boundary"], [2 * (d / 4000) ** 0.25 for d in row["axis"]], rtol=1e-3)
    units = [TheoryConfig(d=d).signal_unit for d in row["axis"]]
    np.testing.assert_allclose(np.multiply(row["boundary_strength"], units), row["boundary"], rtol=1e-3)
    step = np.log(STRENGTHS[1] / STRENGTHS[0])
    np.testing.assert_allclose(row["forget_error_there"], 0.5, atol=0.02 * step / 2)
    assert row["compared_there"] == [1.0] * 5
    assert row["loss_there"] == [0.6] * 5
    assert row["local_exponent"] == pytest.approx([0.25] * 4, abs=1e-3)


def test_the_exponents_compared_with_are_those_of_the_theorems_expressions():
    assert [SGD.stated(line) for line in SGD.lines[:2]] == pytest.approx([0.25, -0.25])
    assert {round(SAM.stated(line), 12) for line in SAM.lines if len(line.axis) >= FEWEST} == {0.0}
    assert sgd_boundary(TheoryConfig(d=16, n=16, n_forget=1, patches=3, sigma_p=2.0)) == 6.0
    assert sam_boundary(TheoryConfig()) == 1.0


def test_the_random_start_closed_form_is_where_sam_crosses_after_few_epochs():
    cell = TheoryConfig(pretrain="sam", pretrain_epochs=100, epochs=0, directions=256, seeds=20, checkpoint_every=1000)
    norm = random_start_boundary(cell)
    assert norm == pytest.approx(0.578, abs=0.001)  # at d = 4000; simulation crosses at 0.63
    low, high = (cell.changed(signal_strength=factor * norm / cell.signal_unit) for factor in (0.75, 1.25))
    errors = [run.pretrain["test_error"][:, -1].mean() for run in simulate_many([low, high], oracle=False)]
    assert errors[0] > 0.1 > errors[1]
    assert np.isnan(random_start_boundary(cell.changed(pretrain_epochs=0)))


def test_simulation_finds_a_quarter_for_sgd():
    line = Axis(
        TheoryConfig(epochs=0, checkpoint_every=1000, directions=64, seeds=3),
        "",
        [{"d": d} for d in (1000, 4000, 16000)],
    )
    points, strengths = [], np.array([0.6, 0.8, 1.0, 1.3])
    for place in range(3):
        runs = simulate_many([line.at(place, s) for s in strengths], oracle=False)
        errors = np.array([run.final("test_error") for run in runs])
        points.append(Point(strengths, runs[0].config.signal_unit, errors, {}))
    norms = Boundary(np.array([1000, 4000, 16000]), points).norms(np.arange(3))
    assert slope(np.log([1000, 4000, 16000]), np.log(norms)) == pytest.approx(0.23, abs=0.05)
