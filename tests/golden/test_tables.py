"""The numbers of every figure and table are those that were frozen, to the last digit that a summation order leaves."""

import json

import pytest

from figures.catalogue import FIGURES
from figures.tables.records import Studies
from tests.golden.tables import FOLDER, INDEX, WRONG, as_csv, differences, drawn, stable

# Every figure is the product of all records; these take more than half a second of one core.
SLOW = {
    "fig-umap", "fig-accuracies", "fig-trajectories", "fig-alpha", "fig-mia", "fig-landscape", "fig-theory-map",
    "fig-ladder", "tab-ladder", "fig-predictions", "tab-minmax", "tab-differences", "tab-matched", "tab-ablations",
    "fig-mask", "fig-pareto", "fig-klom", "fig-margins", "fig-theory-activation", "fig-theory-twin", "fig-entanglement",
    "fig-theory-alpha",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FIGURES]
)
def test_a_figure_of_the_committed_records_has_its_frozen_numbers(name: str, committed: Studies) -> None:
    remedy = f"python -m tests.golden.freeze tables {name}"
    known = f" (known to be wrong: issue {WRONG[name]})" if name in WRONG else ""
    assert differences(drawn(name, committed), name) == [], f"meant to move{known}? {remedy}"


def test_every_figure_is_frozen_and_nothing_else() -> None:
    index = json.loads(INDEX.read_text())
    assert set(index) == set(FIGURES)
    assert {path.stem for path in FOLDER.glob("*.csv")} == {name for name in index if "columns" not in index[name]}
    assert set(WRONG) <= set(FIGURES)


@pytest.mark.parametrize("name", ["tab-neggrad", "tab-agreement"])  # kept whole, and as digests
def test_one_cell_that_moves_is_named_by_row_and_column(name: str, committed: Studies) -> None:
    from dataclasses import replace

    drawing = drawn(name, committed)
    column = next(column for column in stable(drawing.data, name).select_dtypes("float") if drawing.data[column].any())
    moved = drawing.data.copy()
    place = moved.columns.get_loc(column)
    moved.iloc[5, place] += 1e-4
    assert as_csv(moved) != as_csv(drawing.data)
    found = differences(replace(drawing, data=moved), name)
    assert len(found) == 1
    assert "row 5" in found[0] or "rows [5]" in found[0]
    assert column in found[0]
