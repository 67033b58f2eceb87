"""Lemma 3.1: what counts as switched off, and what as the same speed."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, verdicts
from theory.claims.activation import pattern, pattern_grid, speed, speed_grid
from theory.claims.claim import load_claim, simulate_grid
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def patterns(*, retain: float, forget: float) -> dict:
    """Return runs in which a share of retain and of forget neurons stays active before unlearning, none after."""
    active = {f"active_{side}_{sign}": 0.5 for side in ("retain", "forget") for sign in ("match", "oppose")}
    near = {
        "active_retain_match_perturbed": [[0.5 * retain, 0.0]],
        "active_forget_match_perturbed": [[0.5 * forget, 0]],
    }
    return {
        start: made(cell, epochs=(0, 10), **active, **near) for start, cell in seeded(pattern_grid(), SEEDS).items()
    }


@pytest.mark.parametrize(
    "retain, forget, holds", [(0.4, 0.9, True), (0.6, 0.9, False), (0.4, 0.7, False), (0.0, 1.0, True)]
)
def test_half_of_retain_must_go_and_four_fifths_of_forget_must_stay(retain, forget, holds):
    finding = pattern(patterns(retain=retain, forget=forget), CONFIG)
    assert set(verdicts(finding).values()) == {holds}
    assert finding.estimate.value == pytest.approx(1 - retain)


def test_the_pattern_is_measured_under_neggrad_with_sam_at_full_radius():
    for start, cell in pattern_grid().items():
        assert (cell.unlearn, cell.rho, cell.alpha, cell.method) == ("sam", cell.rho_th, 0.7, "neggrad")
        assert cell.probe_rho_scale == 1.0
        assert (cell.pretrain_epochs == 0) == (start == "initialization")
    assert pattern_grid()["SAM-pretrained"].pretrain == "sam"


def test_simulation_switches_retain_neurons_of_a_sam_pretrained_network_off_and_keeps_the_others():
    claim = load_claim("lemma-3.1-activation")
    found = verdicts(claim.analyse(simulate_grid(claim, CONFIG), CONFIG))
    assert found == {"initialization network, epoch 0": True, "SAM-pretrained network, epoch 0": True,
                     "SGD-pretrained network, epoch 0": False}  # fmt: skip


def speeds(*, factor: float, kept: float = 0.9) -> dict:
    """Return runs in which SAM needs `factor` times SGD's epochs to forget, a share of F's neurons staying active."""
    runs = {}
    for name, cell in seeded(speed_grid(), SEEDS).items():
        if isinstance(name, tuple):
            needed = np.array([100, 110, 120, 130])
            stopped = np.rint(needed * factor).astype(int) if name[1] != "SGD" else needed
            runs[name] = made(cell, epochs=(0, 1000), stopped_at=stopped)
        else:
            active = {"active_forget_oppose": 0.5, "active_forget_oppose_perturbed": [[0.5 * kept + s / 1e4]
                      for s in range(SEEDS)]}  # fmt: skip
            runs[name] = made(cell, epochs=tuple({0: None, cell.epochs: None}), **active)
    return runs


@pytest.mark.parametrize("factor, same", [(1.0, True), (1.2, True), (1.3, False), (0.85, True), (0.7, False)])
def test_the_same_speed_is_within_a_quarter_either_way(factor, same):
    finding = speed(speeds(factor=factor), CONFIG)
    found = {part: holds for part, holds in verdicts(finding).items() if "as fast as" in part}
    assert len(found) == 4
    assert set(found.values()) == {same}
    assert finding.estimate.value == pytest.approx(factor, rel=0.01)


@pytest.mark.parametrize("kept, holds", [(0.85, True), (0.75, False)])
def test_forget_neurons_stay_active_when_more_than_four_fifths_do(kept, holds):
    found = {part: good for part, good in verdicts(speed(speeds(factor=1.0, kept=kept), CONFIG)).items()
             if "stay active" in part}  # fmt: skip
    assert len(found) == 2
    assert set(found.values()) == {holds}


def test_speed_is_measured_until_half_the_forget_set_is_wrong():
    cells = {name: cell for name, cell in speed_grid().items() if isinstance(name, tuple)}
    assert {cell.stop_forget_error for cell in cells.values()} == {0.5}
    assert {
        name: (cell.pretrain, cell.unlearn, cell.rho_scale) for name, cell in cells.items() if name[1] != "SGD"
    } == {(pretrain, f"SAM {rho:g}"): (pretrain, "sam", rho) for pretrain in ("sgd", "sam") for rho in (0.1, 1.0)}
