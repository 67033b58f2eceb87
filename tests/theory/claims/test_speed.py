"""Whether SAM acts like SGD on F: what counts as the same speed, in epochs and in the first growth of zeta."""

import numpy as np
import pytest

from tests.theory.claims.synthetic import made, seeded, sides
from theory.claims.speed import DIMENSIONS, FIRST, RADII, analyse, grid, ratio
from theory.config import ClaimConfig

SEEDS = 4
CONFIG = ClaimConfig(claim="x", seeds=SEEDS)


def speeds(*, epochs: float = 1.0, growth: float = 1.0, kept: float = 0.9) -> dict:
    """Return runs in which SAM needs `epochs` times SGD's epochs, zeta on F falls `growth` times as fast, and a share

    of the forget neurons with j = -y stays active.
    """
    runs = {}
    for name, cell in seeded(grid({}), SEEDS).items():
        if isinstance(name, str):
            active = {"active_forget_oppose": 0.5, "active_forget_oppose_joint": 0.5 * kept}
            runs[name] = made(cell, epochs=(0, 10)[: 1 + (cell.epochs > 0)], **active)
        elif name[3] == "forgotten":
            needed = np.array([100, 110, 120, 130])
            stopped = np.rint(needed * epochs).astype(int) if name[2] else needed
            runs[name] = made(cell, epochs=(0, 1000), stopped_at=stopped)
        else:
            fall = np.array([1.0, 2.0, 3.0, 4.0])[:, None] * (growth if name[2] else 1.0)
            runs[name] = made(cell, epochs=(0, FIRST), zeta_forget=5.0 - fall * np.array([[0.0, 1.0]]))
    return runs


def found(**how) -> dict[str, set[int]]:
    parts = sides(analyse(speeds(**how), CONFIG))
    return {word: {side for part, side in parts.items() if part.startswith(word)} for word in ("epochs", "growth", "F")}


@pytest.mark.parametrize("factor, side", [(1.0, 1), (1.2, 1), (1.3, -1), (0.85, 1), (0.7, -1)])
def test_the_same_speed_is_within_a_quarter_either_way(factor, side):
    assert found(epochs=factor) == {"epochs": {side}, "growth": {1}, "F": {1}}
    assert found(growth=factor) == {"epochs": {1}, "growth": {side}, "F": {1}}
    assert analyse(speeds(epochs=factor), CONFIG).estimate.value == pytest.approx(factor, rel=0.01)


def test_the_sentence_quotes_the_ratio_of_each_dimension_and_radius_it_names():
    runs, needed = speeds(), np.array([100, 110, 120, 130])
    for (d, radius), factor in {(1000, 0.1): 2, (1000000, 0.1): 3, (4000, 1.0): 4, (1000000, 1.0): 5}.items():
        name = ("sgd", d, radius, "forgotten")
        runs[name] = made(runs[name].config, stopped_at=factor * needed)
    grown = runs["sgd", 4000, 0.1, "first"].metrics["zeta_forget"]
    grown[:, 1] = grown[:, 0] - 0.5 * np.array([1.0, 2.0, 3.0, 4.0])
    sentence = analyse(runs, CONFIG).sentence
    for words in ("needs 2 [2, 2] times SGD's epochs to forget at d = 1000 and 3 [3, 3] times at d = 1e6",
                  "of F growing 0.5 [0.5, 0.5] times as fast in the first 3 epochs",
                  "at rho_th it needs 4 [4, 4] times at d = 4000 and 5 [5, 5] at d = 1e6."):  # fmt: skip
        assert words in sentence


@pytest.mark.parametrize("kept, side", [(0.85, 1), (0.75, -1)])
def test_forget_neurons_stay_active_when_more_than_four_fifths_do(kept, side):
    assert found(kept=kept)["F"] == {side}


def test_a_ratio_is_of_the_seeds_in_which_both_forget_and_counts_those():
    found = ratio(np.array([2.0, 4.0, 8.0, 0.0]), np.array([1.0, 2.0, 2.0, 1.0]))
    assert found.value == pytest.approx(16 ** (1 / 3))
    assert found.seeds == 3


def test_a_rule_that_never_forgets_decides_nothing_about_its_speed():
    runs = speeds()
    name = ("sgd", 4000, 1.0, "forgotten")
    runs[name] = made(runs[name].config, stopped_at=-1)
    finding = analyse(runs, CONFIG)
    part = "epochs to forget as SGD's, SAM 1, d = 4000, pretrained sgd"
    assert sides(finding)[part] == 0
    assert f"{part} (never forgets)" in finding.regime


def test_speed_is_measured_by_dimension_and_radius_until_half_the_forget_set_is_wrong():
    cells = {name: cell for name, cell in grid({}).items() if isinstance(name, tuple)}
    assert {name[1] for name in cells} == set(DIMENSIONS) >= {1000, 1000000}
    for (pretrain, d, radius, what), cell in cells.items():
        assert (cell.pretrain, cell.d, cell.alpha) == (pretrain, d, 0.7)
        assert (cell.unlearn, cell.rho_scale) == (("sam", radius) if radius else ("sgd", 0.1))
        assert cell.stop_forget_error == (0.5 if what == "forgotten" else None)
        assert (cell.epochs == FIRST) == (what == "first")
    assert {name[2] for name in cells} == {0.0, *RADII}
