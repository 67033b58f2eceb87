"""What tells which images a model was trained on: attacks (fig-roc, tab-lira), and margins of F (fig-margins)."""

from typing import Any

import numpy as np
import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import outside_legend, panel_grid, spread_note
from figures.drawing.style import WIDE, Theme
from figures.networks.sweeps import MARKS
from figures.tables.names import in_order, method_label, order, rule_label
from figures.tables.records import Records, measured
from figures.tables.runs import FIRST, one_forget_set, run_caption, seed_range, study_runs, tag, unlearn_table
from figures.tables.texts import spread_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import column_intervals, interval, summarize

RATE = "false_positive_rate"
MODELS = {"original": "do nothing", "retrained": "retrained on R"}
LIRA = {
    "lira_auc": "AUC", "lira_tpr_at_1_percent": "TPR at 1 % FPR", "lira_tpr_at_01_percent": "TPR at .1 % FPR",
    "lira_member_share": "called members",
}  # fmt: skip
LOW = 1e-3  # the smallest rate that is told apart from 0
BINS = 40
MARGINS = {"original": "before", "retrained": "retrained on R", "unlearned": "unlearned"}


def _measured_runs(records: Records, metric: str) -> list[Record]:
    """Return the NegGrad runs from the SGD-pretrained model, of one forget set, that have the arrays of a metric."""
    return one_forget_set([run for run in study_runs(records) if measured(run, metric) and run.has_arrays()
                           and (tag(run, "method"), tag(run, "pretrain")) == ("neggrad", "sgd")])  # fmt: skip


@figure("fig-roc", place=400, shows="ROC of the membership attack", studies=("cifar10",))
def membership_attack_roc(records: Records, theme: Theme) -> Drawing:
    """Draw true against false positive rate of the membership attack: one line per NegGrad rule, one for retraining.

    It shows NegGrad runs from the SGD-pretrained model on one forget set, where the attack was run.
    """
    runs = _measured_runs(records, "attacks")
    if not runs:
        raise NotRun("runs with attack scores")
    table = unlearn_table(runs)
    figure, axes = panel_grid(1, 1, width=4.2, height=3.8)
    panel, rules = axes[0, 0], order(table, "rule")
    by_rule = [[run for run in runs if tag(run, "rule") == rule] for rule in rules]
    parts = [_roc(group, "unlearned", rule_label(rule)) for rule, group in zip(rules, by_rule, strict=True)]
    data: Table = pd.concat([*parts, _roc(by_rule[0], "retrained", "retrained on R")], ignore_index=True)
    looks = {rule_label(rule): theme.lines(rule) for rule in rules}
    looks["retrained on R"] = {"color": theme.ink, "linestyle": "-", "linewidth": 0.9}
    marks.curve(panel, data, RATE, theme, looks=looks)
    panel.plot([0, 1], [0, 1], color=theme.ink, linestyle=":", linewidth=0.9, label="chance")
    panel.set(xlabel="false positive rate (test images)", xlim=(0, 1), ylim=(0, 1.02),
              ylabel="true positive rate (forget images)")  # fmt: skip
    outside_legend(figure, panel, columns=3, head=spread_note(seed_range(table)))
    why = (
        " All curves, including the retrained model's, lie below chance: these models are less sure of the forget "
        "images than of test images."
        if (data["mean"] <= data[RATE] + 1e-9).all()
        else ""
    )
    caption = (
        "How well a membership attack tells forget images from test images: the aim is the black curve of the "
        f"retrained model, not the dotted line of chance.{why} {MARKS} Forget set: {tag(runs[0], 'difficulty')}. "
        f"{run_caption(table)}"
    )
    return Drawing(data, caption, "ROC curves, one line per rule.", tuple(runs), (), figure)


def _roc(runs: list[Record], model: str, line: str) -> Table:
    """Return the mean true positive rate of the seeds at each false positive rate, with its interval."""
    found = [run.arrays("attack_roc_fpr", f"attack_roc_tpr_{model}") for run in runs]
    alarms = np.maximum(np.asarray(found[0]["attack_roc_fpr"], dtype=float), LOW)
    hits = np.asarray([arrays[f"attack_roc_tpr_{model}"] for arrays in found], dtype=float)
    return pd.DataFrame(column_intervals(hits))[["mean", "sd", "low", "high", "seeds"]].assign(
        **{RATE: alarms}, line=line
    )


@figure("tab-lira", place=410, shows="the likelihood-ratio attack with shadow models", studies=("cifar10",))
def likelihood_ratio_attack(records: Records, theme: Theme) -> Drawing:
    """Write what the likelihood-ratio attack tells about models on the hardest forget set, retrained models last."""
    runs = one_forget_set(study_runs(records, having="lira_auc"))
    if not runs:
        raise NotRun("runs with the metric lira", [*FIRST, "number", "mean"])
    table = unlearn_table(runs)
    data = lira_table(table)
    texts = data.assign(text=[spread_text(row) for row in data.to_dict("records")])
    shown = marks.table(texts, {"pretrain": "pretrain", "method": "method", "rule": "rule"}, LIRA, by="number")
    shown["method"] = shown["method"].replace(MODELS)
    data = data.assign(method=data["method"].map(method_label).replace(MODELS), rule=data["rule"].map(rule_label))
    caption = (
        "Can a strong attacker tell that the forget images were once trained on? Compare each row with the retrained "
        "model's, not with chance, since the attacker's models train shorter. LiRA (Carlini et al. 2022) trains models "
        "on parts of the data; here they are the subset models behind the memorization scores. It asks how far a "
        "model's answer stands above the answers of models without the image. Guessing has AUC .5 and a true-positive "
        "rate as large as its false-positive rate. Called members: fraction of forget images whose answer is likelier "
        "for a model that saw them. Mean ± standard deviation over training seeds (number). "
        f"Forget set: {tag(runs[0], 'difficulty')}. {run_caption(table)}"
    )
    alt = f"A table of {len(shown)} rows: AUC, two true-positive rates and the share called members."
    return Drawing(data, caption, alt, tuple(runs), display=shown)


def lira_table(table: Table) -> Table:
    """Return the numbers of LiRA of every setting, and of the original and retrained model of each pretraining rule.

    Columns: `pretrain`, `method`, `rule` (for the two models their role and ""), `number` and its `mean`, `sd`, `low`,
    `high`, `seeds`; shares in [0, 1].
    """
    one, table = table.drop_duplicates(["pretrain", "seed"]), in_order(table, ["rule"])
    models = {"": table} | {f"{role}_": one.assign(method=role, rule="") for role in MODELS}
    parts = [summarize(rows, ["pretrain", "method", "rule"], f"{head}{name}").assign(number=name)
             for head, rows in models.items() for name in LIRA]  # fmt: skip
    return in_order(pd.concat(parts, ignore_index=True), ["pretrain"])


@figure("fig-margins", place=420, shows="margins of forget samples", studies=("cifar10",))
def forget_margins(records: Records, theme: Theme) -> Drawing:
    """Draw the density of margins on F of the original, retrained and unlearned model, one panel per NegGrad rule.

    It shows NegGrad runs from the SGD-pretrained model, where margins were recorded.
    """
    runs = _measured_runs(records, "margins")
    if not runs:
        raise NotRun("runs with margins")
    table, edges = unlearn_table(runs), _edges(runs)
    rules = order(table, "rule")
    width = min(1.5 * len(rules) + 1, WIDE)
    figure, axes = panel_grid(1, len(rules), width=width, height=2.4, sharex=True, sharey=True)
    parts = [_one_rule(panel, rule, [run for run in runs if tag(run, "rule") == rule], edges, theme)
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
        f"Forget set: {tag(runs[0], 'difficulty')}. {run_caption(table)}"
    )
    alt = "Histograms of margins, one panel per rule, three models each."
    return Drawing(data, caption, alt, tuple(runs), (), figure)


def _edges(runs: list[Record]) -> np.ndarray:
    models = "margin_unlearned", "margin_retrained"
    values = np.concatenate([found for run in runs for found in run.arrays(*models).values()])
    low, high = np.percentile(values, [0.5, 99.5])
    return np.linspace(low, high + 1e-9, BINS + 1)


def _one_rule(axes: Any, rule: str, runs: list[Record], edges: np.ndarray, theme: Theme) -> Table:
    styles = {"original": (":", theme.ink), "retrained": ("-", theme.ink), "unlearned": ("-", theme.color(rule))}
    looks = {model: {"color": color, "linestyle": line, "label": MARGINS[model]}
             for model, (line, color) in styles.items()}  # fmt: skip
    centres, parts = (edges[1:] + edges[:-1]) / 2, []
    for model in looks:
        densities = [np.histogram(found, edges, density=True)[0] for run in runs
                     if (found := run.arrays(f"margin_{model}").get(f"margin_{model}")) is not None]  # fmt: skip
        if densities:
            numbers = pd.DataFrame(column_intervals(np.asarray(densities)))[["mean", "sd", "low", "high", "seeds"]]
            parts.append(numbers.assign(margin=centres, model=model, rule=rule))
    data = pd.concat(parts, ignore_index=True)
    marks.curve(axes, data.assign(line=data["model"], low=data["low"].clip(0)), "margin", theme, looks=looks,
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
