"""The marks: every number where its table says, names and regions below and above, and an axis that says its start."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from figures import marks
from figures.drawing.style import Theme

THEME = Theme()


@pytest.fixture
def rows() -> Any:
    cells = [("after SGD", "NegGrad", "sgd"), ("after SGD", "NegGrad", "sam-0.1"), ("after SGD", "SCRUB", "sgd"),
             ("after SAM", "NegGrad", "sgd")]  # fmt: skip
    table = pd.DataFrame(cells, columns=["region", "group", "rule"])
    return table.assign(mean=[0.5, 0.6, 0.7, np.nan], low=[0.4, np.nan, 0.6, np.nan], high=[0.6, np.nan, 0.8, np.nan],
                        note=["", "", "", "3 diverged"])  # fmt: skip


def panel() -> Any:
    return Figure(figsize=(4, 3)).subplots()


def points(axes: Any) -> list[tuple[float, float]]:
    """Return the places of the means, from left to right."""
    return sorted((float(x), float(y)) for x, y in axes.collections[-2].get_offsets())


def test_marks_of_a_group_stand_together_and_groups_and_regions_apart(rows: Any) -> None:
    axes = panel()
    marks.strip(axes, rows.assign(mean=0.5), THEME)
    steps = np.diff([x for x, _ in points(axes)])
    assert 0 < steps[0] < steps[1] < steps[2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["NegGrad", "SCRUB", "NegGrad"]
    assert axes.get_xticks()[0] == pytest.approx(np.mean([x for x, _ in points(axes)[:2]]))


def test_a_strip_shows_its_means_its_intervals_and_its_seeds(rows: Any) -> None:
    axes = panel()
    seeds = pd.concat([rows.assign(value=rows["mean"] + shift) for shift in (-0.1, 0.1)])
    marks.strip(axes, rows, THEME, seeds=seeds)
    assert [y for _, y in points(axes)] == pytest.approx([0.5, 0.6, 0.7])
    ends = [sorted(segment[:, 1]) for segment in axes.collections[-1].get_segments() if segment.ndim > 1]
    assert ends == [pytest.approx([0.4, 0.6]), pytest.approx([0.6, 0.8])]
    dots = [round(float(y), 3) for _, y in axes.collections[0].get_offsets()]
    assert sorted(dots) == [0.4, 0.5, 0.6, 0.6, 0.7, 0.8]
    assert "3 diverged" in [text.get_text() for text in axes.texts]


def test_regions_hold_their_marks_and_a_line_stands_between_them(rows: Any) -> None:
    axes = panel()
    ends = marks.strip(axes, rows.assign(mean=0.5), THEME)
    places = [x for x, _ in points(axes)]
    (low, high), (start, end) = ends["after SGD"], ends["after SAM"]
    assert low < places[0] < places[2] < high <= start < places[3] < end
    assert [float(np.ravel(line.get_xdata())[0]) for line in axes.lines] == [pytest.approx((high + start) / 2)]
    assert {"after SGD", "after SAM"} <= {text.get_text() for text in axes.texts}
    alone = panel()
    marks.strip(alone, rows[:3], THEME)
    assert not alone.lines
    assert not alone.texts


def test_a_curve_has_its_means_in_the_look_of_its_rule_and_its_band() -> None:
    axes = panel()
    table = pd.DataFrame({"x": [1, 2], "mean": [0.2, 0.4], "low": [0.1, 0.3], "high": [0.3, 0.5], "line": "sam-0.1"})
    marks.curve(axes, table, "x", THEME)
    (line,) = axes.lines
    assert line.get_ydata().tolist() == [0.2, 0.4]
    assert (line.get_color(), line.get_label()) == (THEME.color("sam-0.1"), "SAM 0.1")
    (band,) = axes.collections
    assert (band.get_datalim(axes.transData).y0, band.get_datalim(axes.transData).y1) == pytest.approx((0.1, 0.5))


def test_a_field_has_its_first_row_below() -> None:
    axes = panel()
    grid = pd.DataFrame([[0.0, 1.0], [2.0, 3.0]])
    drawn = marks.field(axes, grid, limits=(0, 3), cbar=False)
    assert drawn.get_array().ravel().tolist() == [0, 1, 2, 3]
    assert axes.get_ylim()[0] < axes.get_ylim()[1]


def test_a_table_has_a_line_a_cell_in_the_order_of_the_house_and_a_dash_where_nothing_is() -> None:
    cells = [("salun", "sgd", "tow", "1"), ("neggrad", "sam-0.1", "tow", "2"), ("neggrad", "sgd", "test", "3")]
    texts = pd.DataFrame(cells, columns=["method", "rule", "metric", "text"])
    shown = marks.table(texts, {"method": "method", "rule": "unlearn"}, {"tow": "ToW", "test": "test acc."})
    assert list(shown.columns) == ["method", "unlearn", "ToW", "test acc."]
    assert shown.to_numpy().tolist() == [
        ["NegGrad", "SGD", "—", "3"], ["NegGrad", "SAM 0.1", "2", "—"], ["SalUn", "SGD", "1", "—"],
    ]  # fmt: skip


@pytest.mark.parametrize(("values", "start"), [([0.1, 0.9], 0.0), ([0.8, 0.9], 0.79), ([-1.0, 1.0], None)])
def test_an_axis_says_where_it_starts_if_that_is_above_0(values: list[float], start: float | None) -> None:
    axes = panel()
    said = marks.limits(axes, [values, None])
    low, high = axes.get_ylim()
    assert low <= min(values) < max(values) < high
    assert said == (f"\n(axis from {start:.2g})" if start else "")
    assert start is None or low == pytest.approx(start, abs=0.01)


def test_an_interval_is_whole_on_the_axis_unless_it_is_absurdly_wide() -> None:
    axes = panel()
    marks.limits(axes, [[0.5, 0.6]], pd.DataFrame({"low": [0.45], "high": [9.0]}))
    low, high = axes.get_ylim()
    assert low < 0.45
    assert 0.7 < high < 0.75
