"""Margins of forget samples: the unlearned model's distribution against the retrained model's."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import outside_legend, panel_grid, say_not_run, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, one_forget_set, run_caption, seed_range, study_runs, unlearn_table
from figures.tables.intervals import Table, interval
from figures.tables.names import MODELS, rule_label, rule_order
from figures.tables.records import Records, has_arrays, measured
from repro.records.record import Record

BINS = 40


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw the density of margins on F of the original, retrained and unlearned model, a panel a NegGrad rule.

    Shown are NegGrad runs from the SGD-pretrained model, where margins were recorded.
    """
    runs = one_forget_set([run for run in study_runs(records) if measured(run, "margins") and has_arrays(run)
                           and (label(run, "method"), label(run, "pretrain")) == ("neggrad", "sgd")])  # fmt: skip
    if not runs:
        return empty_figure(lacking("fig-margins", "runs with margins"), theme)
    table = unlearn_table(runs)
    rules = rule_order(table)
    figure, axes = panel_grid(1, max(len(rules), 2), width=WIDE, height=2.4, sharex=True)
    edges = _edges(runs)
    parts = [_panel(panel, rule, [run for run in runs if label(run, "rule") == rule], edges, theme)
             for panel, rule in zip(axes[0], rules, strict=False)]  # fmt: skip
    for panel in axes[0][len(rules) :]:
        say_not_run(panel, lacking("fig-margins", "another rule with margins"), theme)
    outside_legend(figure, axes[0, 0], columns=3, head=spread_note(seed_range(table)))
    axes[0, 0].set_ylabel("density")
    caption = (
        "Margins (true-class score minus the largest other) of forget samples before unlearning, after NegGrad and in "
        "the model retrained on R; the aim is the retrained model's distribution. Steps: mean density over training "
        "seeds; band: 95 % t-interval (cut at the top). W1: Wasserstein distance from unlearned to retrained margins, "
        f"mean ± standard deviation over seeds. Forget set: {label(runs[0], 'difficulty')}. {run_caption(runs, table)}"
    )
    alt = "Histograms of margins, a panel a rule, three models each."
    return Drawing(pd.concat(parts, ignore_index=True), caption, alt, tuple(runs), (), figure)


def _edges(runs: list[Record]) -> np.ndarray:
    values = np.concatenate([run.arrays()[f"margin_{model}"] for run in runs for model in ("unlearned", "retrained")])
    low, high = np.percentile(values, [0.5, 99.5])
    return np.linspace(low, high + 1e-9, BINS + 1)


def _panel(axes: Any, rule: str, runs: list[Record], edges: np.ndarray, theme: Theme) -> Table:
    looks = {"original": (":", theme.ink), "retrained": ("-", theme.ink), "unlearned": ("-", theme.color(rule))}
    centres, parts = (edges[1:] + edges[:-1]) / 2, []
    for model, (line, color) in looks.items():
        densities = [np.histogram(found, edges, density=True)[0] for run in runs
                     if (found := run.arrays().get(f"margin_{model}")) is not None]  # fmt: skip
        if not densities:
            continue
        table = pd.DataFrame([interval(column) for column in np.transpose(densities)])
        axes.step(centres, table["mean"], where="mid", color=color, linestyle=line, label=MODELS[model])
        axes.fill_between(
            centres, table["low"].clip(0), table["high"], step="mid", color=color, alpha=0.15, linewidth=0
        )
        parts.append(table.assign(margin=centres, model=model, rule=rule))
    axes.set_ylim(0, max(1.9 * part["mean"].max() for part in parts))
    distance = interval([_wasserstein(run) for run in runs])
    axes.set_title(f"NegGrad\n{rule_label(rule)}")
    axes.set_xlabel("margin on F")
    spread = f" ± {distance['sd']:.2f}" if distance["seeds"] > 1 else ""
    note = f"W1 =\n{distance['mean']:.2f}{spread} ({distance['seeds']})"
    axes.annotate(note, (0.03, 0.95), xycoords="axes fraction", va="top", fontsize=7)
    return pd.concat(parts, ignore_index=True).assign(w1_mean=distance["mean"], w1_sd=distance["sd"])


def _wasserstein(run: Record) -> float:
    """Return W1 of two samples of equal size: the mean gap of their sorted values."""
    arrays = run.arrays()
    return float(np.abs(np.sort(arrays["margin_unlearned"]) - np.sort(arrays["margin_retrained"])).mean())
