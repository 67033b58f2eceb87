"""The forest plot: every row of its table where the table says, and the yardsticks beside 0."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from figures.drawing.style import Theme, themed
from figures.networks.forest import forest_figure

THEME = Theme()
EFFECTS = {"high": [0.06, 0.04, 0.05], "low": [0.01, -0.01, 0.0]}  # two settings and the pooled effect


@pytest.fixture
def rows() -> Any:
    parts = []
    for name, values in EFFECTS.items():
        part = pd.DataFrame({"forget_set": name, "setting": ["A", "B", "all settings"], "value": values})
        part = part.assign(low=part["value"] - 0.02, high=part["value"] + 0.02, pooled=[False, False, True])
        ends = {f"{prefix}_{end}": [np.nan, np.nan, values[-1] + side * width]
                for prefix, width in (("inner", 0.015), ("predicted", 0.08))
                for end, side in (("low", -1), ("high", 1))}  # fmt: skip
        ends |= {"i2": [np.nan, np.nan, 0.25], "above": [np.nan, np.nan, 0.5], "below": [np.nan, np.nan, 0.0]}
        parts.append(part.assign(**ends, no_vote=["", "nobody chose its strength", ""], answer=["", "", "yes"]))
    return pd.concat(parts)


def drawn(rows: Any, **options: Any) -> list[Any]:
    with themed(THEME):
        return forest_figure(rows, THEME, label="SAM minus SGD", floors={"high": 0.013}, **options).axes


def test_each_forget_set_has_its_effects_in_the_order_of_the_table(rows: Any) -> None:
    panels = drawn(rows)
    agree = "1 of 2 settings clearly above 0, 0 below; $I^2$ = 0.25"
    assert [panel.get_title(loc="left") for panel in panels] == [f"forget set: {name}; {agree}" for name in EFFECTS]
    for panel, values in zip(panels, EFFECTS.values(), strict=True):
        marks = [container.lines[0] for container in panel.containers]
        assert [float(mark.get_xdata()[0]) for mark in marks] == pytest.approx(values)
        assert [mark.get_marker() for mark in marks] == ["o", "o", "D"]
        bars = [container.lines[2][0].get_segments()[0][:, 0] for container in panel.containers]
        assert bars == [pytest.approx([value - 0.02, value + 0.02]) for value in values]


def test_a_setting_without_a_vote_is_hollow_and_says_why(rows: Any) -> None:
    panel = drawn(rows)[0]
    faces = [to_hex(container.lines[0].get_markerfacecolor()) for container in panel.containers]
    assert faces == [to_hex(color) for color in (THEME.ink, THEME.paper, THEME.ink)]
    labels = [text.get_text() for text in panel.get_yticklabels()]
    assert labels == ["A", "B: nobody chose its strength", "all settings: yes"]


def test_floor_and_margin_stand_on_both_sides_of_0(rows: Any) -> None:
    high, low = drawn(rows, margin=0.01)
    (band,) = high.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-0.013, 0.013))
    assert not low.patches  # its floor is not known
    dotted = [line.get_xdata()[0] for line in high.lines if line.get_linestyle() == ":"]
    assert dotted == pytest.approx([-0.01, 0.01])
    assert not [line for panel in drawn(rows) for line in panel.lines if line.get_linestyle() == ":"]


def test_an_absurdly_wide_interval_of_a_setting_does_not_set_the_axis(rows: Any) -> None:
    rows.loc[rows["setting"] == "A", ["low", "high"]] = [-5.0, 5.0]
    low, high = drawn(rows)[0].get_xlim()
    assert -0.1 < low < -0.02
    assert 0.07 < high < 0.15
