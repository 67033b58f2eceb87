"""Slots: marks of a group stand together, groups and regions apart, whatever their sizes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from figures.drawing.slots import arrange
from figures.drawing.style import Theme

MARKS = [("after SGD", "NegGrad", 1), ("after SGD", "NegGrad", 2), ("after SGD", "NegGrad", 3),
         ("after SGD", "SCRUB", 4), ("after SAM", "NegGrad", 5)]  # fmt: skip


def test_marks_of_a_group_are_a_step_apart_and_others_farther() -> None:
    slots = arrange(MARKS)
    steps = np.diff([slots.places[mark] for mark in range(1, 6)])
    assert steps[:2].tolist() == pytest.approx([1.0, 1.0])
    assert steps[2] > 1.5
    assert steps[3] > steps[2]


def test_a_name_stands_below_the_middle_of_its_group() -> None:
    slots = arrange(MARKS)
    assert [name for name, _ in slots.groups] == ["NegGrad", "SCRUB", "NegGrad"]
    assert [place for _, place in slots.groups] == pytest.approx([slots.places[mark] for mark in (2, 4, 5)])


def test_regions_hold_their_marks_and_a_line_stands_between_them() -> None:
    slots = arrange(MARKS)
    (low, high), (start, end) = slots.regions["after SGD"], slots.regions["after SAM"]
    assert low < slots.places[1] < slots.places[4] < high < start < slots.places[5] < end
    figure = Figure()
    axes = figure.subplots()
    slots.label(axes, Theme(), regions=True)
    assert [float(np.ravel(line.get_xdata())[0]) for line in axes.lines] == [pytest.approx((high + start) / 2)]
    assert {text.get_text() for text in axes.texts} == {"after SGD", "after SAM"}
    assert axes.get_xlim() == pytest.approx((low, end))


def test_one_region_needs_no_name_and_no_line() -> None:
    axes = Figure().subplots()
    arrange(MARKS[:4]).label(axes, Theme(), regions=True)
    assert not axes.lines
    assert not axes.texts
