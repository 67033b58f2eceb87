"""Which noise neurons the SAM perturbation switches off, on R and on F, by sign (Lemma 3.1)."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import label_panels, panel_grid, points, rule_key, say_not_run, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.theory import describe_theory, middle_strength, run_seeds, theory_runs, trajectory_table
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

GROUPS = {
    "active_retain_match": "R, j = y",
    "active_forget_match": "F, j = y",
    "active_retain_oppose": "R, j = −y",
    "active_forget_oppose": "F, j = −y",
}
METRICS = [f"{group}{end}" for group in GROUPS for end in ("", "_perturbed")]
EPOCHS = (0, 10, 50, 200)


@figure("fig-theory-activation", place=110, shows="activation fractions at W and W + eps", studies=("theory",),
        claims=("lemma-3.1-activation", "lemma-3.1-sgd-on-forget"))  # fmt: skip
def activation_shares(records: Records, theme: Theme) -> Drawing:
    """Draw the active fraction at W and at W + eps, for each sign and set, at a few epochs of unlearning."""
    runs = middle_strength(theory_runs(records))
    if not runs:
        raise NotRun("records of the theory")
    data = pd.concat([_summary(run) for run in runs], ignore_index=True)
    pretrains = list(dict.fromkeys(run.config["pretrain"] for run in runs))
    rows = len(pretrains)
    figure, axes = panel_grid(rows, 4, width=WIDE, height=1.1 + 1.6 * rows, sharex=True, sharey=True)
    missing = []
    for row, pretrain in zip(axes, pretrains, strict=True):
        for panel, group in zip(row, GROUPS, strict=True):
            missing.append(_one_group(panel, group, data[data["pretrain"] == pretrain], theme))
    names = [f"active share\npretrained {rule_label(pretrain)}" for pretrain in pretrains]
    label_panels(axes, titles=GROUPS.values(), rows=names, x="epoch of unlearning")
    ends = [("at W", {"fillstyle": "none"}), ("at W + eps", {"fillstyle": "full"})]
    rules = sorted({run.config["unlearn"] for run in runs}, reverse=True)
    rule_key(figure, theme, rules, notes=ends, head=spread_note(run_seeds(runs)))
    return Drawing(data, _caption(runs), _alt(data), tuple(runs), tuple(filter(None, missing)), figure)


def _summary(run: Record) -> Table:
    epochs = run.result["epochs"]
    wanted = sorted({min(epochs, key=lambda have: (abs(have - want), have)) for want in EPOCHS})
    table = trajectory_table(run, METRICS)
    rows = summarize(table[table["epoch"].isin(wanted)], ["metric", "epoch"])
    rows["perturbed"] = rows["metric"].astype(str).str.endswith("_perturbed")
    rows["group"] = rows["metric"].astype(str).str.removesuffix("_perturbed")
    arrays, places = run.arrays(), {epoch: place for place, epoch in enumerate(epochs)}
    predicted = [arrays.get(f"predicted_{row.metric}", np.full(len(epochs), np.nan))[places[row.epoch]]
                 for row in rows.itertuples()]  # fmt: skip
    rows["predicted"] = np.array(predicted, dtype=float)
    names = {name: run.config[name] for name in ("pretrain", "unlearn", "signal_strength")}
    return rows.assign(**names, run_id=run.run_id)


def _one_group(axes: Any, group: str, data: Table, theme: Theme) -> str:
    rows = data[data["group"] == group]
    if rows.empty:
        return say_not_run(axes, lacking("fig-theory-activation", group), theme)
    epochs = sorted(rows["epoch"].unique())
    rules = sorted(rows["unlearn"].unique(), reverse=True)
    for (unlearn, epoch), pair in rows.groupby(["unlearn", "epoch"], sort=False):
        place = epochs.index(epoch) + 0.3 * (rules.index(unlearn) - (len(rules) - 1) / 2)
        _pair(axes, place, pair, theme.lines(str(unlearn)))
    for unlearn, line in rows[rows["predicted"].notna()].groupby("unlearn"):
        shift = 0.3 * (rules.index(unlearn) - (len(rules) - 1) / 2)
        places = [epochs.index(epoch) + shift for epoch in line["epoch"]]
        axes.plot(places, line["predicted"], color=theme.color(str(unlearn)), linewidth=0.5, zorder=1)
    axes.set_xticks(range(len(epochs)), [f"{epoch:g}" for epoch in epochs])
    axes.set(ylim=(-0.05, 1.05), xlim=(-0.5, len(epochs) - 0.5))
    return ""


def _pair(axes: Any, place: float, pair: Table, look: dict) -> None:
    """Join the open marker at W with the filled marker at W + eps."""
    if len(pair) == 2:
        axes.plot([place, place], pair["mean"], color=look["color"], linewidth=3, alpha=0.25)
    for perturbed, row in pair.groupby("perturbed"):
        points(axes, [place], row, fillstyle="full" if perturbed else "none", zorder=3, **look)


def _caption(runs: list[Record]) -> str:
    return (
        "Share of active noise neurons at the weights W (open marker) and at the SAM-perturbed weights W + eps (filled "
        "marker), by set and by the sign j of the neuron's output weight against the label y. Lemma 3.1 says that the "
        "perturbation switches off the neurons of retain samples (first column) and leaves those of forget samples "
        f"on (second column). Means with 95 % t-intervals over {run_seeds(runs)} seeds; thin lines, where there are "
        "any, are the shares at W that the mean field predicts without simulating. "
        f"Setting: {describe_theory(runs[0])}."
    )


def _alt(data: Table) -> str:
    first = data[(data["epoch"] == 0) & (data["unlearn"] == "sam")]
    parts = []
    for (pretrain, group), pair in first.groupby(["pretrain", "group"], sort=False):
        ends = {bool(row.perturbed): row.mean for row in pair.itertuples()}
        if len(ends) == 2:
            parts.append(f"pretrained {rule_label(pretrain)}, {GROUPS[str(group)]}: "
                         f"{ends[False]:.2f} to {ends[True]:.2f}")  # fmt: skip
    return "Active shares before and after the SAM perturbation, at the start of unlearning. " + "; ".join(parts) + "."
