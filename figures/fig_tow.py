"""ToW of every method, rule and forget set, with the three accuracies it is the product of."""

from figures.cells import PAPER_METHODS, draw_cells
from figures.commands import STUDY
from figures.drawing import Drawing, frame
from figures.networks import CELL, main_runs
from figures.records import Records
from figures.style import Theme

METRICS = {
    "tow": "ToW",
    "retain_accuracy": "retain acc.",
    "forget_accuracy": "forget acc.",
    "test_accuracy": "test acc.",
}
WHAT = (
    "Tug-of-war (ToW, product of one minus the absolute gaps of the three accuracies to the model retrained on R; 1 is "
    "best) and the three accuracies."
)


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and its accuracies: a row a metric, a column a forget set, a group a method, a colour a rule."""
    runs = main_runs(records, CELL)
    if not runs:
        return frame(theme, missing=f"network runs: {STUDY}")
    return draw_cells(runs, METRICS, theme, what=WHAT, wanted=PAPER_METHODS)
