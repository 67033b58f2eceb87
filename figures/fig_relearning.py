"""Relearning attack: how fast the forget set comes back when an unlearned model is tuned on retain data."""

import numpy as np
import pandas as pd

from figures.commands import STUDY
from figures.curves import draw_curves
from figures.drawing import Drawing, frame
from figures.networks import CELL, main_runs, run_caption
from figures.records import Records
from figures.style import Theme
from figures.table import NETWORK_CELL, Table, unlearn_table
from repro.records.record import Record

METRIC = "relearning_forget"


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw forget accuracy against relearning steps for each method and rule, with the retrained model's own curve."""
    runs = main_runs(records, CELL, having=METRIC)
    if not runs:
        return frame(theme, missing=f"runs with the relearning metric: {STUDY}")
    table = pd.concat([_curve(run) for run in runs], ignore_index=True)
    metrics = {METRIC: "forget accuracy"}
    figure, data = draw_curves(table, "relearning_step", metrics, theme, x_label="steps of tuning on R",
                               references=("retrained",))  # fmt: skip
    caption = (
        "Relearning attack: accuracy on the forget set while an unlearned model is fine-tuned on retain data alone. "
        "Black: the retrained model under the same tuning; a curve above it shows that knowledge of F was left behind. "
        f"Lines: means; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    return Drawing(data, caption, "Forget accuracy rising over relearning steps.", tuple(runs), (), figure)


def _curve(run: Record) -> Table:
    steps = run.result["relearning_steps"]
    retrained = run.result.get(f"retrained_{METRIC}", [np.nan] * len(steps))
    head = unlearn_table([run])[list(NETWORK_CELL)].iloc[0].to_dict()
    columns = {"relearning_step": steps, METRIC: run.result[METRIC], f"retrained_{METRIC}": retrained}
    return pd.DataFrame(columns).assign(**head)
