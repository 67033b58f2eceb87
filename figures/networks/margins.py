"""Margins of forget samples: the unlearned model's distribution against the retrained model's."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import outside_legend, panel_grid, spread_note
from figures.drawing.style import WIDE, Theme
from figures.marks import curve
from figures.tables.names import order, rule_label
from figures.tables.records import Records, measured
from figures.tables.runs import label, one_forget_set, run_caption, seed_range, study_runs, unlearn_table
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import column_intervals, interval

BINS = 40
MODELS = {"original": "before", "retrained": "retrained on R", "unlearned": "unlearned"}


@figure("fig-margins", place=420, shows="margins of forget samples", studies=("cifar10",))
def draw(records: Records, theme: Theme) -> Drawing:
    """Draw the density of margins on F of the original, retrained and unlearned model, a panel a NegGrad rule.

    Shown are NegGrad runs from the SGD-pretrained model, where margins were recorded.
    """
    runs = one_forget_set([run for run in study_runs(records) if measured(run, "margins") and run.has_arrays()
                           and (label(run, "method"), label(run, "pretrain")) == ("neggrad", "sgd")])  # fmt: skip
    if not runs:
        raise NotRun("runs with margins")
    table, edges = unlearn_table(runs), _edges(runs)
    rules = order(table, "rule")
    width = min(1.5 * len(rules) + 1, WIDE)
    figure, axes = panel_grid(1, len(rules), width=width, height=2.4, sharex=True, sharey=True)
    parts = [_panel(panel, rule, [run for run in runs if label(run, "rule") == rule], edges, theme)
             for panel, rule in zip(axes[0], rules, strict=True)]  # fmt: skip
    data = pd.concat(parts, ignore_index=True)
    axes[0, 0].set_ylim(0, 1.9 * data["mean"].max())
    axes[0, 0].set_ylabel("density")
    outside_legend(figure, axes[0, 0], columns=3, head=spread_note(seed_range(table)))
    caption = (
        "Does NegGrad bring the margins of forget images to where a retrained model has them? A margin is the score of "
        "the true class minus the largest other one; the coloured steps should lie on the solid black ones. Steps are "
        "means over training seeds, bands 95 % t-intervals, cut at the top. W1: Wasserstein distance between unlearned "
        "and retrained margins, mean ± standard deviation (seeds). "
        f"Forget set: {label(runs[0], 'difficulty')}. {run_caption(table)}"
    )
    alt = "Histograms of margins, a panel a rule, three models each."
    return Drawing(data, caption, alt, tuple(runs), (), figure)


def _edges(runs: list[Record]) -> np.ndarray:
    models = "margin_unlearned", "margin_retrained"
    values = np.concatenate([found for run in runs for found in run.arrays(*models).values()])
    low, high = np.percentile(values, [0.5, 99.5])
    return np.linspace(low, high + 1e-9, BINS + 1)


def _panel(axes: Any, rule: str, runs: list[Record], edges: np.ndarray, theme: Theme) -> Table:
    styles = {"original": (":", theme.ink), "retrained": ("-", theme.ink), "unlearned": ("-", theme.color(rule))}
    looks = {model: {"color": color, "linestyle": line, "label": MODELS[model]}
             for model, (line, color) in styles.items()}  # fmt: skip
    centres, parts = (edges[1:] + edges[:-1]) / 2, []
    for model in looks:
        densities = [np.histogram(found, edges, density=True)[0] for run in runs
                     if (found := run.arrays(f"margin_{model}").get(f"margin_{model}")) is not None]  # fmt: skip
        if densities:
            numbers = pd.DataFrame(column_intervals(np.asarray(densities)))[["mean", "sd", "low", "high", "seeds"]]
            parts.append(numbers.assign(margin=centres, model=model, rule=rule))
    data = pd.concat(parts, ignore_index=True)
    curve(axes, data.assign(line=data["model"], low=data["low"].clip(0)), "margin", theme, looks=looks,
          drawstyle="steps-mid")  # fmt: skip
    distance = interval([_wasserstein(run) for run in runs])
    axes.set(title=f"NegGrad\n{rule_label(rule)}", xlabel="margin on F")
    spread = f" ± {distance['sd']:.2f}" if distance["seeds"] > 1 else ""
    note = f"W1 =\n{distance['mean']:.2f}{spread} ({distance['seeds']})"
    axes.annotate(note, (0.03, 0.95), xycoords="axes fraction", va="top", fontsize=7)
    return data.assign(w1_mean=distance["mean"], w1_sd=distance["sd"])


def _wasserstein(run: Record) -> float:
    """Return W1 of two samples of equal size: the mean gap of their sorted values."""
    ours, goal = (run.arrays(name)[name] for name in ("margin_unlearned", "margin_retrained"))
    return float(np.abs(np.sort(ours) - np.sort(goal)).mean())
