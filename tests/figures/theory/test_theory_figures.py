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
