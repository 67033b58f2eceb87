"""A verdict follows from intervals by one rule, and its number names every effect behind it."""

from typing import Any

import pandas as pd
import pytest

from figures.tables.intervals import Table
from figures.verdicts.judge import common_verdict, from_differences, from_effects, judge


def effects(*intervals: tuple[float, float]) -> Table:
    """Return effects of many seeds, whose simultaneous intervals are hardly wider."""
    return pd.DataFrame(
        [{"mean": (low + high) / 2, "low": low, "high": high, "seeds": 1000} for low, high in intervals]
    )


@pytest.mark.parametrize(("intervals", "verdict"), [
    ([(0.1, 0.2), (0.3, 0.4)], "holds"),
    ([(0.1, 0.2), (-0.1, 0.4)], "holds in a regime"),
    ([(0.1, 0.2), (-0.4, -0.1)], "mixed"),
    ([(0.1, 0.2), (-0.4, -0.1), (-0.1, 0.1)], "mixed"),
    ([(-0.2, -0.1), (-0.1, 0.4)], "contradicted"),
    ([(-0.2, 0.1)], "undecided"),
    ([], "not run"),
])  # fmt: skip
def test_the_verdict_follows_from_the_intervals(intervals: Any, verdict: str) -> None:
    table = effects(*intervals) if intervals else pd.DataFrame(columns=pd.Index(["low", "high"]))
    assert judge(table) == verdict


def test_one_cell_of_many_that_lies_beside_zero_by_luck_is_no_finding() -> None:
    lucky = (0.01, 0.21)
    assert judge(effects(lucky)) == "holds"
    assert judge(effects(lucky, *[(-0.1, 0.1)] * 19)) == "undecided"
    assert judge(effects((0.06, 0.26), *[(-0.1, 0.1)] * 19)) == "holds in a regime"


def test_a_mean_that_is_clear_of_zero_decides_where_no_cell_is() -> None:
    cells = effects((-0.1, 0.3), (-0.1, 0.3))
    means = [{"mean": mean, "low": mean - 0.05, "high": mean + 0.05, "seeds": 8} for mean in (0.1, 0.0, -0.1)]
    verdicts = [judge(cells, overall=mean) for mean in means]
    assert verdicts == ["holds in a regime", "undecided", "contradicted"]
    assert judge(effects((-0.3, -0.1), (-0.1, 0.9)), overall=means[0]) == "mixed"


def test_fewer_than_three_seeds_never_decide() -> None:
    table = effects((0.1, 0.2), (-0.3, -0.2))
    assert judge(table.assign(seeds=[3, 2])) == "holds in a regime"
    assert judge(table.assign(seeds=[2, 2])) == "undecided"
    mean = {"mean": 0.1, "low": 0.05, "high": 0.15, "seeds": 2}
    assert judge(effects((-0.1, 0.1)), overall=mean) == "undecided"


def test_items_together_are_judged_by_the_rule_of_their_cells() -> None:
    assert common_verdict(["holds", "holds"]) == "holds"
    assert common_verdict(["holds", "undecided", "not run"]) == "holds in a regime"
    assert common_verdict(["holds in a regime", "contradicted"]) == "mixed"
    assert common_verdict(["mixed", "undecided"]) == "mixed"
    assert common_verdict(["contradicted", "undecided"]) == "contradicted"
    assert common_verdict(["not run", "reported"]) == "not run"


def test_a_claim_of_smaller_mirrors_the_intervals() -> None:
    assert judge(effects((-0.2, -0.1)), sign=-1) == "holds"
    assert judge(effects((0.1, 0.2)), sign=-1) == "contradicted"


def cell_differences(*cells: list[float]) -> Table:
    """Return differences of cells "a", "b", ...: one a seed."""
    return pd.DataFrame([{"cell": name, "seed": seed, "difference": value}
                         for name, values in zip("abc", cells, strict=False)
                         for seed, value in enumerate(values)])  # fmt: skip


def name(row: Any) -> str:
    return f"cell {row.cell}"


def test_one_effect_stands_with_its_interval_and_seeds() -> None:
    # t(0.975, 2) sd / sqrt(3) = 4.30265 * 0.01 / 1.73205 = 0.02484
    found = from_differences(cell_differences([0.19, 0.20, 0.21]), ["cell"], name, what="gain", runs=[])
    assert (found.verdict, found.regime) == ("holds", "holds: cell a")
    assert found.number == "gain: +0.200 [+0.175, +0.225] (3 seeds)"


def test_several_effects_are_counted_by_simultaneous_intervals_of_one_variance() -> None:
    # Pooled over both cells the deviation is 0.02 with 4 degrees of freedom: t(0.9875, 4) = 3.495, +-0.0404; by itself
    # cell a would have t(0.9875, 2) = 6.205, +-0.0717, and hold 0. Cell c, of two seeds, is shown and decides nothing.
    cells = cell_differences([0.045, 0.065, 0.085], [0.081, 0.101, 0.121], [-0.9, -0.8])
    found = from_differences(cells[cells["cell"] != "c"], ["cell"], name, what="gain", runs=[])
    assert found.verdict == "holds"
    assert found.number == (
        "gain: +0.083 [+0.033, +0.133] (3 seeds) on average over 2 cells, 2 above 0 and 0 below by simultaneous "
        "intervals (pooled sd 0.020, 4 degrees of freedom); from +0.065 [+0.015, +0.115] (3 seeds) to +0.101 "
        "[+0.051, +0.151] (3 seeds)"
    )
    assert found.regime == "holds: cell a; cell b; on average"
    three = from_differences(cells, ["cell"], name, what="gain", runs=[])
    assert "2 above 0 and 0 below" in three.number
    assert "1 of fewer than 3 seeds decide nothing" in three.number
    assert three.number.startswith("gain: +0.083 [+0.033, +0.133] (3 seeds) on average over 2 cells"), "nor in the mean"
    assert "fails" not in three.regime


def test_an_effect_is_told_in_units_of_its_noise_floor() -> None:
    cells = cell_differences([0.19, 0.20, 0.21]).assign(floor=0.05)
    found = from_differences(cells, ["cell"], name, what="gain", runs=[])
    assert found.number == "gain: +0.200 [+0.175, +0.225] (3 seeds, 4.0 floors)"
    assert found.effect == "+0.200 [+0.175, +0.225], 4.0 x floor 0.050"


def test_cells_on_both_sides_are_named_on_theirs() -> None:
    cells = cell_differences([0.19, 0.20, 0.21], [-0.41, -0.40, -0.39])
    greater = from_differences(cells, ["cell"], name, what="gain", runs=[])
    assert (greater.verdict, greater.regime) == ("mixed", "holds: cell a. fails: cell b; on average")
    smaller = from_differences(cells, ["cell"], name, what="gain", runs=[], sign=-1)
    assert (smaller.verdict, smaller.regime) == ("mixed", "holds: cell b; on average. fails: cell a")


def test_effects_without_differences_are_judged_by_their_own_intervals() -> None:
    table = effects((0.1, 0.3), (-0.5, -0.3))
    found = from_effects(table, ["a", "b"], "gain", [])
    assert (found.verdict, found.regime) == ("mixed", "holds: a. fails: b")
    assert found.number.startswith("gain: -0.100 on average over 2 cells, 1 above 0 and 1 below")


def test_nothing_is_judged_where_nothing_was_run() -> None:
    assert from_differences(pd.DataFrame(), ["cell"], name, what="gain", runs=[]).verdict == "not run"


def test_one_seed_decides_nothing() -> None:
    assert from_differences(cell_differences([0.9]), ["cell"], name, what="gain", runs=[]).verdict == "undecided"
