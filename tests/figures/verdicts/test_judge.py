"""A verdict follows from intervals by one rule, and its number names every effect behind it."""

from typing import Any

import pandas as pd
import pytest

from figures.tables.intervals import Table
from figures.verdicts.judge import from_differences, from_effects, judge


def effects(*intervals: tuple[float, float]) -> Table:
    """Return effects of many seeds, whose simultaneous intervals are hardly wider."""
    return pd.DataFrame(
        [{"mean": (low + high) / 2, "low": low, "high": high, "seeds": 1000} for low, high in intervals]
    )


@pytest.mark.parametrize(("intervals", "verdict"), [
    ([(0.1, 0.2), (0.3, 0.4)], "holds"),
    ([(0.1, 0.2), (-0.1, 0.4)], "holds in a regime"),
    ([(0.1, 0.2), (-0.4, -0.1)], "holds in a regime"),
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


def test_several_effects_are_counted_by_simultaneous_intervals() -> None:
    # Alone cell a's interval would exclude 0: 0.06 - 0.0497 > 0. Two cells are widened to t(0.9875, 2) = 6.2053:
    # 0.06 - 0.0717 < 0. Their mean is judged by its own interval, +0.08 - 0.0497.
    cells = cell_differences([0.04, 0.06, 0.08], [0.08, 0.10, 0.12])
    found = from_differences(cells, ["cell"], name, what="gain", runs=[])
    assert found.verdict == "holds"
    assert found.number == (
        "gain: +0.080 [+0.030, +0.130] (3 seeds) on average over 2 cells, 1 above 0 and 0 below by simultaneous "
        "intervals; from +0.060 [+0.010, +0.110] (3 seeds) to +0.100 [+0.050, +0.150] (3 seeds)"
    )
    assert found.regime == "holds: cell b; on average"


def test_cells_on_both_sides_are_named_on_theirs() -> None:
    cells = cell_differences([0.19, 0.20, 0.21], [-0.41, -0.40, -0.39])
    greater = from_differences(cells, ["cell"], name, what="gain", runs=[])
    assert (greater.verdict, greater.regime) == ("holds in a regime", "holds: cell a. fails: cell b; on average")
    smaller = from_differences(cells, ["cell"], name, what="gain", runs=[], sign=-1)
    assert (smaller.verdict, smaller.regime) == ("holds in a regime", "holds: cell b; on average. fails: cell a")


def test_effects_without_differences_are_judged_by_their_own_intervals() -> None:
    table = effects((0.1, 0.3), (-0.5, -0.3))
    found = from_effects(table, ["a", "b"], "gain", [])
    assert (found.verdict, found.regime) == ("holds in a regime", "holds: a. fails: b")
    assert found.number.startswith("gain: -0.100 on average over 2 cells, 1 above 0 and 1 below")


def test_nothing_is_judged_where_nothing_was_run() -> None:
    assert from_differences(pd.DataFrame(), ["cell"], name, what="gain", runs=[]).verdict == "not run"


def test_one_seed_decides_nothing() -> None:
    assert from_differences(cell_differences([0.9]), ["cell"], name, what="gain", runs=[]).verdict == "undecided"
