"""Metrics beside ToW, cell by cell: membership inference on F, and entanglement of R and F."""

from functools import partial

from figures.cells import draw_cells
from figures.commands import STUDY
from figures.drawing import Drawing, frame
from figures.networks import CELL, main_runs, numbers_with
from figures.records import Records
from figures.style import Theme

LABELS = {
    "mia_correctness": "MIA (correctness)",
    "mia_confidence": "MIA (confidence)",
    "mia_entropy": "MIA (entropy)",
    "mia_m_entropy": "MIA (mod. entropy)",
    "entanglement_var_raw": "$E_{Var}$",
    "entanglement_var_class_raw": "$E_{Var}$ by class",
    "entanglement_wp": "$E_{Wp}$",
    "entanglement_wp_class": "$E_{Wp}$ by class",
}
MIA_WHAT = (
    "Membership inference on the forget set: the share of F that the attack takes for non-members (or the named "
    "score). The aim is the retrained model's own value, not the largest one."
)
ENTANGLEMENT_WHAT = (
    "Entanglement of the features of R and F, before (dotted), after unlearning (markers) and in the retrained model "
    "(solid), over all samples and class by class. Lower is less entangled."
)


def draw(records: Records, theme: Theme, *, prefix: str, what: str, shown: int = 4) -> Drawing:
    """Draw every recorded metric whose name starts with `prefix`, at most `shown`, named ones first."""
    runs = [run for run in main_runs(records, CELL) if numbers_with([run], prefix)]
    names = numbers_with(runs, prefix)
    if not names:
        return frame(theme, missing=f"network runs with metrics {prefix}*: {STUDY}")
    names = [name for name in LABELS if name in names] + [name for name in names if name not in LABELS]
    return draw_cells(runs, {name: LABELS.get(name, name) for name in names[:shown]}, theme, what=what)


draw_mia = partial(draw, prefix="mia_", what=MIA_WHAT)
draw_entanglement = partial(draw, prefix="entanglement_", what=ENTANGLEMENT_WHAT)
