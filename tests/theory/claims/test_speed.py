"""Whether SAM acts like SGD on F: the noise memory that neurons opposing F hold when both have forgotten as much."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, sides
from theory.claims.speed import DIMENSIONS, analyse, grid
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)
SPREAD = np.array([[0.8], [1.0], [1.2], [1.0]])


def memories(factor: float = 1.0, at: dict | None = None) -> dict:
    """Return runs in which SGD leaves a memory of 2 and SAM `factor` times as much, or that of `at[name]`."""
    runs = {}
    for name, cell in seeded(grid({}), SEEDS).items():
        value = (at or {}).get(name, 2.0 * (factor if name[2] else 1.0))
        runs[name] = made(cell, stopped_at=np.array([100, 110, 120, 130]), zeta_forget_oppose=value * SPREAD)
    return runs


@pytest.mark.parametrize("factor, side", [(1.0, 1), (1.2, 1), (1.3, -1), (0.85, 1), (0.7, -1), (0.0, -1)])
def test_the_same_memory_is_within_a_quarter_either_way(factor, side):
    finding = analyse(memories(factor), CONFIG)
    assert set(sides(finding).values()) == {side}
    assert finding.answer == {1: "yes", -1: "the opposite"}[side]
    assert finding.estimate.value == pytest.approx(factor)


def test_only_full_radius_is_inside_the_hypothesis():
    parts = analyse(memories(), CONFIG).parts
    assert {row["part"] for row in parts if row["inside"]} == {
        f"opposing memory as SGD's, SAM 1, d = {d:g}, pretrained {before}"
        for d in DIMENSIONS
        for before in ("sgd", "sam")
    }


def test_the_sentence_quotes_the_memory_of_each_setting_it_names():
    at = {("sgd", 4000, 0.1): 0.3, ("sgd", 4000, 1.0): 0.1, ("sgd", 1000000, 0.0): 0.7, ("sam", 4000, 0.1): 1.5}
    sentence = analyse(memories(at=at), CONFIG).sentence
    for words in ("hold 2 [1.5, 2.5] of noise memory after SGD, 0.3 [", "at a tenth of rho_th and 0.1 [",
                  "they hold 0.7 [", "and 1.5 ["):  # fmt: skip
        assert words in sentence


def test_a_rule_that_hardly_ever_forgets_decides_nothing():
    runs, name = memories(), ("sgd", 4000, 1.0)
    runs[name] = made(runs[name].config, stopped_at=np.array([5, -1, -1, -1]), zeta_forget_oppose=9.0)
    finding = analyse(runs, CONFIG)
    part = "opposing memory as SGD's, SAM 1, d = 4000, pretrained sgd"
    assert sides(finding)[part] == 0
    assert f"{part} (never forgets)" in finding.regime
