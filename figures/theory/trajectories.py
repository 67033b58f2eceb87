"""Signal learning and noise memorization on R and F while SGD and SAM unlearn."""

from typing import Any

import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import band, fill_style, label_panels, outside_legend, panel_grid, say_not_run, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import describe_theory, middle_strength, run_seeds, theory_runs, trajectory_summary
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
RULES = ("pretrain", "unlearn")


@figure("fig-theory-trajectories", place=100, shows="kappa and zeta on R and F while unlearning", studies=("theory",),
        claims=("lemma-3.4-surplus-difference",))  # fmt: skip
def signal_and_noise_while_unlearning(records: Records, theme: Theme) -> Drawing:
    """Draw kappa, zeta, test and forget error against the unlearning epoch for each pretraining and unlearning rule."""
    runs = middle_strength(theory_runs(records))
    if not runs:
        raise NotRun("records of the theory")
    data = pd.concat([_summary(run) for run in runs], ignore_index=True)
    figure, axes = panel_grid(2, 3, width=WIDE, height=3.9, sharex=True)
    missing = [_one_metric(panel, metric, data, theme) for panel, metric in zip(axes.flat, PANELS, strict=True)]
    label_panels(axes, x="epoch of unlearning")
    outside_legend(figure, axes[0, 0], columns=4, head=spread_note(run_seeds(runs)))
    return Drawing(data, _caption(runs), _alt(data), tuple(runs), tuple(filter(None, missing)), figure)


def _summary(run: Record) -> Table:
    rows = trajectory_summary(run, list(PANELS))
    names = {name: run.config[name] for name in (*RULES, "signal_strength")}
    return rows.assign(**names, run_id=run.run_id)


def _one_metric(axes: Any, metric: str, data: Table, theme: Theme) -> str:
    axes.set_ylabel(PANELS[metric])
    rows = data[data["metric"] == metric]
    if rows.empty:
        return say_not_run(axes, lacking("fig-theory-trajectories", f"{metric} over epochs"), theme)
    for (pretrain, unlearn), line in rows.groupby(list(RULES), sort=False):
        look = theme.lines(str(unlearn)) | {"fillstyle": fill_style(pretrain)}
        width = 0.9 if pretrain == "sgd" else 1.6
        label = f"{rule_label(pretrain)} → {rule_label(unlearn)}"
        band(axes, line["epoch"], line, label=label, linewidth=width, **look)
        if line["predicted"].notna().any():
            axes.plot(line["epoch"], line["predicted"], color=look["color"], linewidth=0.5, zorder=1)
    if metric.endswith("error"):
        axes.set_ylim(-0.03, 1.03)
    return ""


def _caption(runs: list[Record]) -> str:
    return (
        "Signal learning (kappa) and noise memorization (zeta) on retain and forget samples, with test error and "
        "forget error, while unlearning, from the exact simulation. Legend: pretraining rule → unlearning rule; open "
        "markers and thin lines start from SGD, filled markers and thick lines from SAM. Lines are means and bands "
        f"95 % t-intervals over {run_seeds(runs)} seeds; thin solid lines of the same colours, where there are "
        f"any, are what the mean field predicts without simulating. Setting: {describe_theory(runs[0])}."
    )


def _alt(data: Table) -> str:
    last = data[(data["epoch"] == data["epoch"].max()) & data["metric"].isin(["test_error", "forget_error"])]
    last = last.assign(metric=last["metric"].str.replace("_", " "))
    shown = "Six panels of curves over unlearning epochs. At the last epoch"
    return alt_text(shown, last, "{pretrain} to {unlearn}: {metric} {mean:.2f}")
