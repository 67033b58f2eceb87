"""What an attacker can do: bring the forget set back (fig-relearning), tell it was trained on (fig-roc, tab-lira)."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import lacking
from figures.drawing.curves import draw_curves
from figures.drawing.drawing import Drawing, empty_figure, empty_table
from figures.drawing.panels import band, outside_legend, panel_grid, spread_note
from figures.drawing.style import Theme
from figures.tables.cells import FIRST, label, one_forget_set, run_caption, seed_range, study_runs, unlearn_table
from figures.tables.intervals import Table, interval, spread_text, summarize
from figures.tables.names import method_label, rule_label, rule_order
from figures.tables.records import Records, has_arrays, measured
from repro.records.record import Record

RELEARNED = "relearning_forget"
MODELS = {"original": "do nothing", "retrained": "retrained on R"}
LIRA = {
    "lira_auc": "AUC", "lira_tpr_at_1_percent": "TPR at 1 % FPR", "lira_tpr_at_01_percent": "TPR at .1 % FPR",
    "lira_member_share": "called members",
}  # fmt: skip
LOW = 1e-3  # the smallest rate on the axes of the ROC


def draw_relearning(records: Records, theme: Theme) -> Drawing:
    """Draw forget accuracy against relearning steps for each method and rule, with the retrained model's own curve."""
    runs = study_runs(records, having=RELEARNED)
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
    runs = one_forget_set([run for run in study_runs(records) if measured(run, "attacks") and has_arrays(run)
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


def draw_lira(records: Records, theme: Theme) -> Drawing:
    """Write what the likelihood-ratio attack tells of each model on the hardest forget set, retraining's last."""
    runs = one_forget_set(study_runs(records, having="lira_auc"))
    data = lira_table(unlearn_table(runs)) if runs else pd.DataFrame(columns=[*FIRST, "number", "mean"])
    if data.empty:
        return empty_table(lacking("tab-lira", "runs with the metric lira"), list(data.columns))
    shown = data.assign(text=[spread_text(row) for _, row in data.iterrows()])
    shown = shown.pivot(index=["pretrain", "method", "rule"], columns="number", values="text")
    shown = shown.loc[data[["pretrain", "method", "rule"]].drop_duplicates().itertuples(index=False), list(LIRA)]
    shown = shown.rename(columns=LIRA).reset_index()
    shown["pretrain"] = shown["pretrain"].map(rule_label)
    caption = (
        "LiRA (Carlini et al. 2022): an attacker who trained models of his own on parts of the data, here the subset "
        "models behind the memorization scores, tells images of F from test images by how far a model stands above "
        "what models without the image answer. AUC .5 and a TPR as large as its FPR are guessing; called members: the "
        "share of F whose answer is likelier for a model that saw it. The target is the row of the retrained model, "
        "not chance, for the attacker's models train shorter. Mean ± standard deviation over training seeds (number). "
        f"Forget set: {label(runs[0], 'difficulty')}. {run_caption(runs, unlearn_table(runs))}"
    )
    alt = f"A table of {len(shown)} rows: AUC, two true-positive rates and the share called members."
    return Drawing(data, caption, alt, tuple(runs), display=shown)


def lira_table(table: Table) -> Table:
    """Return the numbers of LiRA of every cell, and of the original and the retrained model of each pretraining rule.

    Columns: `pretrain`, `method`, `rule` (of the two models a name and nothing), `number` and its `mean`, `sd`, `low`,
    `high`, `seeds`; shares in [0, 1].
    """
    table = table.sort_values("rule", key=lambda rules: rules.map(rule_order(table).index), kind="stable")
    named = table.assign(method=table["method"].map(method_label), rule=table["rule"].map(rule_label))
    one = table.drop_duplicates(["pretrain", "seed"])
    models = {"": named} | {f"{role}_": one.assign(method=called, rule="") for role, called in MODELS.items()}
    parts = [summarize(rows, ["pretrain", "method", "rule"], f"{head}{name}").assign(number=name)
             for head, rows in models.items() for name in LIRA]  # fmt: skip
    return pd.concat(parts, ignore_index=True).sort_values("pretrain", ascending=False, kind="stable")
