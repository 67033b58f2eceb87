"""Figures of the theory show exactly the numbers of the records."""

from collections.abc import Callable

import numpy as np
import pytest

from figures.drawing.drawing import Drawing
from figures.theory.beside_networks import rows
from repro.records.store import Store

Draw = Callable[[str], Drawing]


def test_theory_curves_are_those_of_the_records(drawing: Draw) -> None:
    data = drawing("fig-theory-trajectories").data
    last = data[(data["epoch"] == 200) & (data["metric"] == "test_error")].set_index(["pretrain", "unlearn"])["mean"]
    expected = {("sgd", "sgd"): 0.41, ("sgd", "sam"): 0.31, ("sam", "sgd"): 0.21, ("sam", "sam"): 0.11}
    assert last.to_dict() == pytest.approx(expected)


def test_boundaries_are_drawn_from_the_claim_with_most_seeds(drawing: Draw) -> None:
    origin = drawing("fig-theory-phase")
    assert len(origin.run_ids) == 2
    assert "over 5 seeds" in origin.caption
    data = drawing("fig-theory-phase").data
    sgd = data[data["claim"] == "theorem-3.2-sgd-boundary"]
    np.testing.assert_allclose(sgd["boundary"], sgd["at"] ** 0.25)


def test_phase_cells_carry_their_signal_norm(drawing: Draw) -> None:
    data = drawing("fig-theory-map").data
    # |phi| = s (P - 1) sigma_p (d / n)^(1/4), with P = 2 and sigma_p = 1
    np.testing.assert_allclose(data["norm"], data["signal_strength"] * (data["d"] / data["n"]) ** 0.25)
    assert len(data) == 2 * 2 * 2 * 4
    np.testing.assert_allclose(data["error"], np.where(data["signal_strength"] > 1, 0.05, 0.5))


def test_the_noise_drive_grows_with_the_steps_of_pretraining(drawing: Draw) -> None:
    data = drawing("fig-theory-drive").data
    # X = 0.6 eta N (P - 1)^2 sigma_p^2 d / (n m), with eta d = 10, n = 4, m = 2 and two steps an epoch
    np.testing.assert_allclose(data["X"], 0.6 * 10 * 2 * data["pretrain_epochs"] / (4 * 2))
    np.testing.assert_allclose(data["error"], np.where(data["signal_strength"] > 1, 0.05, 0.4))


def test_survival_is_the_joint_share_of_the_active_at_its_depth(drawing: Draw) -> None:
    drawn = drawing("fig-theory-survival")
    np.testing.assert_allclose(drawn.data["survive"], (drawn.data["probe_rho_scale"] < 1) * 1.0)
    np.testing.assert_allclose(drawn.data["depth"], 1 / drawn.data["probe_rho_scale"])
    assert set(drawn.data["start"]) == {"initialization"}
    assert "gives the share within 0.010" in drawn.caption


def test_odds_are_the_ratio_of_the_weights(drawing: Draw) -> None:
    data = drawing("fig-theory-odds").data
    np.testing.assert_allclose(data["odds"], data["alpha"] / (1 - data["alpha"]))
    np.testing.assert_allclose(data["forget_error"], 1 - data["alpha"])


def test_the_surplus_stands_beside_its_closed_form_branch_by_branch(drawing: Draw) -> None:
    data = drawing("fig-theory-surplus").data
    difference = data[data["reading"] == "difference"]
    assert difference["value"].tolist() == [1.0, 4.0, 16.0]
    assert difference["closed"].tolist() == [1.0, 4.0, 12.0]
    assert "linear: 2.00 to 2.00 (closed form 2.00 to 2.00)" in drawing("fig-theory-surplus").caption


def test_theory_and_networks_stand_side_by_side_at_the_same_strength(golden: Store) -> None:
    found = rows([golden])
    key = {"stage": "after", "metric": "test_error", "pretrain": "sgd", "unlearn": "sam", "signal_strength": 0.5}
    (row,) = [row for row in found if key.items() <= row.items()]
    assert row["exact theory"] == "0.310 ± 0.010 (3)"
    assert row["two-layer network"] == "0.500 ± 0.000 (2)"
    assert row["ResNet"] == "0.500 ± 0.000 (2)"
    (strong,) = [row for row in found if (key | {"signal_strength": 1.0}).items() <= row.items()]
    assert strong["two-layer network"] == "0.000 ± 0.000 (2)"
    assert rows([Store(golden.root / "nothing")]) == []
