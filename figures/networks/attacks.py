"""What an attacker can do: bring the forget set back (fig-relearning), tell that it was trained on (fig-roc)."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import lacking
from figures.drawing.curves import draw_curves
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import band, outside_legend, panel_grid, spread_note
from figures.drawing.style import Theme
from figures.tables.cells import FIRST, label, main_runs, one_forget_set, run_caption, seed_range, unlearn_table
from figures.tables.intervals import Table, interval
from figures.tables.names import rule_label, rule_order
from figures.tables.records import Records, has_arrays, measured
from repro.records.record import Record

RELEARNED = "relearning_forget"
LOW = 1e-3  # the smallest rate on the axes of the ROC


def draw_relearning(records: Records, theme: Theme) -> Drawing:
    """Draw forget accuracy against relearning steps for each method and rule, with the retrained model's own curve."""
    runs = main_runs(records, having=RELEARNED)
    if not runs:
        return empty_figure(lacking("fig-relearning", "runs with the relearning metric"), theme)
    table = pd.concat([_relearning_curve(run) for run in runs], ignore_index=True)
    figure, data = draw_curves(table, "relearning_step", {RELEARNED: "forget accuracy"}, theme,
                               x_label="steps of tuning on R", references=("retrained",))  # fmt: skip
    caption = (
        "Relearning attack: accuracy on the forget set while an unlearned model is fine-tuned on retain data alone. "
        "Black: the retrained model under the same tuning; a curve above it shows that knowledge of F was left behind. "
        f"Lines: means; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    return Drawing(data, caption, "Forget accuracy rising over relearning steps.", tuple(runs), (), figure)


def _relearning_curve(run: Record) -> Table:
    steps = run.result["relearning_steps"]
    retrained = run.result.get(f"retrained_{RELEARNED}", [np.nan] * len(steps))
    head = unlearn_table([run])[list(FIRST)].iloc[0].to_dict()
    columns = {"relearning_step": steps, RELEARNED: run.result[RELEARNED], f"retrained_{RELEARNED}": retrained}
    return pd.DataFrame(columns).assign(**head)


def draw_roc(records: Records, theme: Theme) -> Drawing:
    """Draw true against false positive rate, log axes (what matters is few false alarms): a line a NegGrad rule.

    Shown are NegGrad runs from the SGD-pretrained model, where the attack was run, and the retrained model's line.
    """
    runs = one_forget_set([run for run in main_runs(records) if measured(run, "attacks") and has_arrays(run)
                           and (label(run, "method"), label(run, "pretrain")) == ("neggrad", "sgd")])  # fmt: skip
    if not runs:
        return empty_figure(lacking("fig-roc", "runs with attack scores"), theme)
    table = unlearn_table(runs)
    figure, axes = panel_grid(1, 1, width=4.2, height=3.6)
    by_rule = {rule: [run for run in runs if label(run, "rule") == rule] for rule in rule_order(table)}
    parts = [_roc_line(axes[0, 0], group, "unlearned", theme.lines(rule) | {"label": rule_label(rule)})
             for rule, group in by_rule.items()]  # fmt: skip
    ink = {"color": theme.ink, "linewidth": 0.9}
    parts.append(_roc_line(axes[0, 0], next(iter(by_rule.values())), "retrained", ink | {"label": "retrained on R"}))
    axes[0, 0].plot([LOW, 1], [LOW, 1], linestyle=":", label="chance", **ink)
    axes[0, 0].set(xscale="log", yscale="log", xlabel="false positive rate", ylabel="true positive rate",
                   xlim=(LOW, 1), ylim=(LOW, 1.05))  # fmt: skip
    outside_legend(figure, axes[0, 0], columns=3, head=spread_note(seed_range(table)))
    caption = (
        "ROC of the membership attack that tells forget samples of the unlearned model from test samples, both axes "
        "logarithmic; the target is the retrained model's curve; the dotted diagonal is chance. "
        f"Lines: means at each false positive rate; bands: 95 % t-intervals. {run_caption(runs, table)}"
    )
    return Drawing(pd.concat(parts, ignore_index=True), caption, "ROC curves on log axes.", tuple(runs), (), figure)


def _roc_line(axes: Any, runs: list[Record], model: str, look: dict[str, Any]) -> Table:
    """Draw the mean true positive rate of the seeds at each false positive rate."""
    found = [run.arrays() for run in runs]
    alarms = np.maximum(np.asarray(found[0]["attack_roc_fpr"], dtype=float), LOW)
    hits = np.transpose([arrays[f"attack_roc_tpr_{model}"] for arrays in found])
    table = pd.DataFrame([interval(column) for column in hits])
    shown = table.assign(**{name: table[name].clip(LOW) for name in ("mean", "low", "high")})
    band(axes, alarms, shown, **look)
    return table.assign(false_positive_rate=alarms, line=look["label"])
