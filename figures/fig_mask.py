"""Sharp MinMax against the cutoff of its mask, for both polarities."""

from figures.commands import MASK
from figures.curves import draw_curves
from figures.drawing import Drawing, frame
from figures.fig_alpha import METRICS, swept
from figures.networks import CELL, main_runs, run_caption
from figures.records import Records
from figures.style import Theme, family
from figures.table import Table

# A polarity takes the look of a rule that cannot appear in this figure otherwise.
POLARITY = {"high": "minmax", "low": "sgd"}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and accuracies of Sharp MinMax against the share of weights on the forget side of the mask."""
    runs = main_runs(records, (*CELL, "mask_fraction", "switches"), swept="mask_fraction")
    runs = [run for run in runs if family(str(run.config.get("rule", ""))) == "minmax"]
    table = swept(runs, "mask_fraction")
    if table.empty:
        return frame(theme, missing=f"a sweep of the mask cutoff: {MASK}")
    low = table["switches"].astype(str).str.contains("mask_polarity=low") if "switches" in table else False
    table = table.assign(polarity="high").assign(polarity=lambda rows: rows["polarity"].mask(low, "low"))
    figure, data = draw_curves(_by_polarity(table), "mask_fraction", METRICS, theme, x_label="mask cutoff (share)",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "Sharp MinMax against the cutoff of its mask: the share of weights given to forgetting. Two "
        "polarities: the weights of large forget gradient forget, as in the paper, or those of small gradient. "
        f"Lines: means; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    ids = set(table["run_id"])
    alt = "Curves of ToW and three accuracies over the mask cutoff, a line a polarity."
    return Drawing(data, caption, alt, tuple(run for run in runs if run.run_id in ids), (), figure)


def _by_polarity(table: Table) -> Table:
    """Give each polarity the look of its own rule and a name in the legend."""
    sides = {"high": "large forget gradient forgets (paper)", "low": "small forget gradient forgets"}
    return table.assign(rule=table["polarity"].map(POLARITY), line=table["polarity"].map(sides))
