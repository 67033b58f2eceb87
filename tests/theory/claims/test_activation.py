"""Lemma 3.1: what counts as switched off is counted jointly, and the survival threshold predicts it."""

from typing import Any

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, sides
from theory.claims.activation import GROUPS, JUDGED, STARTS, analyse, analyse_labels, grid, label_grid, share_of
from theory.claims.claim import load_claim, simulate_grid
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def patterns(*, retain: float, forget: float) -> dict:
    """Return runs in which a share of active retain and forget neurons survives before unlearning, none after.

    At W + eps as many neurons are active as before: only joint shares tell.
    """
    groups = [f"{side}_{sign}" for side in ("retain", "forget") for sign in ("match", "oppose")]
    active: dict[str, Any] = {f"active_{group}{where}": 0.5 for group in groups for where in ("", "_perturbed")}
    joint: dict[str, Any] = {
        "active_retain_match_joint": [[0.5 * retain, 0.0]],
        "active_forget_match_joint": [[0.5 * forget, 0.0]],
    }
    return {name: made(cell, epochs=(0, 10), **active, **joint) for name, cell in seeded(grid({}), SEEDS).items()}


@pytest.mark.parametrize("retain, forget, off, stays", [(0.4, 0.9, 1, 1), (0.6, 0.9, -1, 1), (0.4, 0.7, 1, -1)])
def test_half_of_retain_must_go_and_four_fifths_of_forget_must_stay(retain, forget, off, stays):
    finding = analyse(patterns(retain=retain, forget=forget), CONFIG)
    found = sides(finding)
    assert {side for part, side in found.items() if part.startswith("R")} == {off}
    assert {side for part, side in found.items() if part.startswith("F")} == {stays}
    assert len(found) == 2 * len(STARTS) * len(JUDGED)
    assert finding.estimate.value == pytest.approx(1 - retain)


def test_the_sentence_says_how_far_the_predicted_share_is_from_the_surviving_one():
    """Wrong classifications in both directions cancel in a share: it says nothing of single neurons."""
    runs = patterns(retain=0.4, forget=0.9)
    for (start, radius), run in runs.items():
        predicted = 0.45 if (start, radius) == ("SGD-pretrained", 3.0) else 0.4
        run.metrics["active_retain_match_predicted"] += 0.5 * predicted
    assert "(the surviving share is right to within 0.050 at any start and radius)" in analyse(runs, CONFIG).sentence


def test_simulation_switches_off_what_the_threshold_says_and_the_sign_pattern_is_exact(store):
    claim = load_claim("lemma-3.1-activation")
    config = ClaimConfig(claim="x", seeds=6)
    runs = simulate_grid(claim, config, store)
    for run in runs.values():
        found, predicted = (share_of(run, "retain_match", 0, what).mean() for what in ("_joint", "_predicted"))
        assert found == pytest.approx(predicted, abs=0.03)
        np.testing.assert_array_equal(share_of(run, "forget_match", 0), 1.0)
    share = {name: share_of(run, "retain_match", 0).mean() for name, run in runs.items()}
    assert share["SGD-pretrained", 1.0] > 0.9
    assert 0.3 < share["SGD-pretrained", 3.0] < 0.55
    assert share["SGD-pretrained", 10.0] == share["SAM-pretrained", 1.0] == share["initialization", 1.0] == 0.0
    finding = claim.analyse(runs, config)
    assert finding.answer == "only where"
    assert sides(finding)["R, j = y switched off, SGD-pretrained, 1 rho_th"] == -1
    rows = {(row["start"], row["rho_scale"]): row for row in finding.rows if row["epoch"] == 0}
    for name, run in runs.items():  # the radius enters through V_c alone
        depth = run.metrics["depth_retain_match"][:, 0].mean()
        assert rows[name]["depth"] == pytest.approx(depth, rel=1e-3)
        assert rows[name]["radius_in_V_over_V_c"] == pytest.approx(1 / depth, rel=1e-3)
    assert rows["SGD-pretrained", 0.1]["depth"] == pytest.approx(10 * rows["SGD-pretrained", 1.0]["depth"], rel=1e-3)


@pytest.mark.parametrize("apart, answer", [(0.0, "yes"), (0.2, "the opposite")])
def test_random_labels_leave_the_joint_pattern_of_neggrad_or_not(apart, answer):
    runs = {}
    for name, cell in seeded(label_grid({}), SEEDS).items():
        kept = 0.4 + apart * (name[1] == "random_label")
        shares = {
            f"active_{group}{where}": value for group in GROUPS for where, value in (("", 0.5), ("_joint", 0.5 * kept))
        }
        runs[name] = made(cell, epochs=(0,), **shares)
    finding = analyse_labels(runs, CONFIG)
    assert finding.answer == answer
    assert len(finding.parts) == len(STARTS) * len(GROUPS)
    assert f"is {apart:.3f} at initialization" in finding.sentence
