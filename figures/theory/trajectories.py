"""Signal learning and noise memorization on R and F while SGD and SAM unlearn."""

from typing import Any

import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import band, fill_style, outside_legend, panel_grid, say_not_run, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.theory import cell_seeds, describe_theory, middle_strength, theory_cells, trajectory_summary
from repro.records.record import Record
from repro.statistics.effects import Table

# Where each metric stands, and the label of its axis.
PANELS = {
    "kappa_retain": r"$\kappa$ on R (signal)",
    "kappa_forget": r"$\kappa$ on F (signal)",
    "test_error": "test error",
    "zeta_retain": r"$\zeta$ on R (noise)",
    "zeta_forget": r"$\zeta$ on F (noise)",
    "forget_error": "forget error",
}
CELL = ("pretrain", "unlearn")


@figure("fig-theory-trajectories", place=100, shows="kappa and zeta on R and F while unlearning", studies=("theory",),
        claims=("lemma-3.4-surplus-difference",))  # fmt: skip
def draw(records: Records, theme: Theme) -> Drawing:
    """Draw kappa, zeta, test and forget error against the unlearning epoch for each pretraining and unlearning rule."""
    cells = middle_strength(theory_cells(records))
    if not cells:
        raise NotRun("records of the theory")
    data = pd.concat([_summary(cell) for cell in cells], ignore_index=True)
    figure, axes = panel_grid(2, 3, width=WIDE, height=3.9, sharex=True)
    missing = [_panel(panel, metric, data, theme) for panel, metric in zip(axes.flat, PANELS, strict=True)]
    for panel in axes[1]:
        panel.set_xlabel("epoch of unlearning")
    outside_legend(figure, axes[0, 0], columns=4, head=spread_note(cell_seeds(cells)))
    return Drawing(data, _caption(cells), _alt(data), tuple(cells), tuple(filter(None, missing)), figure)


def _summary(cell: Record) -> Table:
    rows = trajectory_summary(cell, list(PANELS))
    names = {name: cell.config[name] for name in (*CELL, "signal_strength")}
    return rows.assign(**names, run_id=cell.run_id)


def _panel(axes: Any, metric: str, data: Table, theme: Theme) -> str:
    axes.set_ylabel(PANELS[metric])
    rows = data[data["metric"] == metric]
    if rows.empty:
        missing = lacking("fig-theory-trajectories", f"{metric} over epochs")
        say_not_run(axes, missing, theme)
        return missing
    for (pretrain, unlearn), line in rows.groupby(list(CELL), sort=False):
        look = theme.lines(str(unlearn)) | {"fillstyle": fill_style(pretrain)}
        width = 0.9 if pretrain == "sgd" else 1.6
        label = f"{rule_label(pretrain)} → {rule_label(unlearn)}"
        band(axes, line["epoch"], line, label=label, linewidth=width, **look)
        if line["predicted"].notna().any():
            axes.plot(line["epoch"], line["predicted"], color=look["color"], linewidth=0.5, zorder=1)
    if metric.endswith("error"):
        axes.set_ylim(-0.03, 1.03)
    return ""


def _caption(cells: list[Record]) -> str:
    return (
        "Signal learning (kappa) and noise memorization (zeta) on retain and forget samples, with test error and "
        "forget error, while unlearning, from the exact simulation. Legend: pretraining rule → unlearning rule; open "
        "markers and thin lines start from SGD, filled markers and thick lines from SAM. Lines are means and bands "
        f"95 % t-intervals over {cell_seeds(cells)} seeds; thin solid lines of the same colours, where there are "
        f"any, are what the mean field predicts without simulating. Setting: {describe_theory(cells[0])}."
    )


def _alt(data: Table) -> str:
    last = data[data["epoch"] == data["epoch"].max()]
    ends = [
        f"{rule_label(row.pretrain)} to {rule_label(row.unlearn)}: {row.metric.replace('_', ' ')} {row.mean:.2f}"
        for row in last[last["metric"].isin(["test_error", "forget_error"])].itertuples()
    ]
    return "Six panels of curves over unlearning epochs. At the last epoch: " + "; ".join(ends) + "."
