"""ROC of the membership attack on log axes: what matters is the left end, few false alarms."""

from typing import Any

import numpy as np
import pandas as pd

from figures.cells import rule_order
from figures.commands import STUDY
from figures.drawing import Drawing, frame
from figures.networks import CELL, has_arrays, label, main_runs, one_forget_set, run_caption, seed_range
from figures.panels import band, outside_legend, panel_grid, spread_note
from figures.records import Records
from figures.style import Theme, rule_label
from figures.table import Table, interval, unlearn_table
from repro.records.record import Record

LOW = 1e-3  # the smallest rate on the axes


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw true against false positive rate, a line a NegGrad rule and one for the retrained model."""
    runs = one_forget_set([run for run in main_runs(records, CELL) if _shown(run)])
    if not runs:
        return frame(theme, missing=f"runs with attack scores: {STUDY}")
    figure, axes = panel_grid(1, 1, width=4.2, height=3.6)
    by_rule = {rule: [run for run in runs if label(run, "rule") == rule] for rule in rule_order(unlearn_table(runs))}
    parts = [_line(axes[0, 0], _rates(group, "unlearned"), theme.lines(rule), rule_label(rule))
             for rule, group in by_rule.items()]  # fmt: skip
    ink = {"color": theme.ink, "linewidth": 0.9}
    parts.append(_line(axes[0, 0], _rates(next(iter(by_rule.values())), "retrained"), ink, "retrained on R"))
    axes[0, 0].plot([LOW, 1], [LOW, 1], linestyle=":", label="chance", **ink)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="false positive rate", ylabel="true positive rate",
                   xlim=(LOW, 1), ylim=(LOW, 1.05))  # fmt: skip
    table = unlearn_table(runs)
    outside_legend(figure, axes[0, 0], columns=3, head=spread_note(seed_range(table)))
    caption = (
        "ROC of the membership attack that tells forget samples of the unlearned model from test samples, both axes "
        "logarithmic; the target is the retrained model's curve; the dotted diagonal is chance. "
        f"Lines: means at each false positive rate; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    return Drawing(pd.concat(parts, ignore_index=True), caption, "ROC curves on log axes.", tuple(runs), (), figure)


def _shown(run: Record) -> bool:
    """Keep NegGrad from the SGD-pretrained model, where the attack was run."""
    cell = label(run, "method"), label(run, "pretrain")
    return cell == ("neggrad", "sgd") and "attack_loss_auc" in run.result and has_arrays(run)


def _line(axes: Any, rates: list[tuple[Any, Any]], look: dict[str, Any], name: str) -> Table:
    """Draw the mean true positive rate of the seeds at each false positive rate."""
    alarms = np.maximum(np.asarray(rates[0][0], dtype=float), LOW)
    table = pd.DataFrame([interval(column) for column in np.transpose([hits for _, hits in rates])])
    shown = table.assign(mean=table["mean"].clip(LOW), low=table["low"].clip(LOW), high=table["high"].clip(LOW))
    band(axes, alarms, shown, label=name, **look)
    return table.assign(false_positive_rate=alarms, line=name)


def _rates(runs: list[Record], model: str) -> list[tuple[Any, Any]]:
    found = [run.arrays() for run in runs]
    return [(arrays["attack_roc_fpr"], arrays[f"attack_roc_tpr_{model}"]) for arrays in found]
