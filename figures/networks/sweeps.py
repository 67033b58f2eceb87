"""Curves over a setting that was swept: alpha (fig-alpha), the mask of Sharp MinMax (fig-mask), steps of relearning."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import floor_band, label_panels, outside_legend, panel_grid, spread_note
from figures.drawing.style import WIDE, Theme
from figures.marks import curve, limits
from figures.networks.strips import ACCURACIES
from figures.tables.floor import floor_of, noise_floors
from figures.tables.names import in_order, method_label, rule_label
from figures.tables.records import Records
from figures.tables.runs import FIRST, in_table, run_caption, study_table, swept_table
from figures.tables.texts import alt_text, span
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

ROW = ["dataset", "difficulty", "pretrain"]
TOW = {"tow": "ToW"} | ACCURACIES
REFERENCES = {"retrained": ("-", "retrained on R"), "original": (":", "do nothing")}
# Each polarity of the mask takes the look of a rule that cannot appear in that figure otherwise, and has a name.
POLARITY = {False: ("minmax", "large forget gradient forgets (paper)"),
            True: ("sgd", "small forget gradient forgets")}  # fmt: skip
RELEARNED = "relearning_forget"
RELEARNING = {"relearning_step": "relearning_steps"} | {name: name for name in (RELEARNED, f"retrained_{RELEARNED}")}
MARKS = "Lines are means, bands 95 % t-intervals; a wider interval than the values span is cut."


@figure("fig-alpha", place=60, shows="ToW and its accuracies against alpha", studies=("cifar10-alpha", "alpha"),
        claims=("4",))  # fmt: skip
def tow_over_alpha(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's ToW and accuracies against alpha, the weight of the retain loss, for SGD, SAM and ASAM."""
    runs, table = swept_studies(records, "alpha")
    if not runs:
        raise NotRun("a sweep of alpha")
    figure, data = swept_curves(table, "alpha", TOW, theme, x_label="alpha (retain weight)",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "What a smaller alpha, which pushes harder on the forget set, does to ToW and its three accuracies under "
        f"NegGrad. Black: retrained model (solid) and original model (dotted); grey band: noise floor of ToW. {MARKS} "
        f"{run_caption(table)}"
    )
    tow = data[(data["metric"] == "tow") & data["rule"].notna()]
    ends = tow[tow["alpha"] == tow["alpha"].min()]
    alt = alt_text(f"Curves over alpha. ToW at the smallest alpha, {tow['alpha'].min():g}", ends,
                   "{dataset}, {pretrain} to {rule}, {difficulty}: {mean:.2f}")  # fmt: skip
    return Drawing(data, caption, alt, tuple(runs), (), figure)


@figure("fig-mask", place=370, shows="Sharp MinMax against the cutoff of its mask", studies=("cifar10-mask", "mask"))
def tow_over_mask_cutoff(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and accuracies of Sharp MinMax against the share of weights on the forget side, both polarities."""
    runs, table = swept_studies(records, "mask_fraction", ("switches",))
    if not runs:
        raise NotRun("a sweep of the mask cutoff")
    looks = table["switches"].astype(str).str.contains("mask_polarity=low").map(POLARITY)
    table = table.assign(rule=[rule for rule, _ in looks], line=[name for _, name in looks])
    figure, data = swept_curves(table, "mask_fraction", TOW, theme, x_label="share that forgets",
                               references=("retrained", "original"))  # fmt: skip
    caption = (
        "What Sharp MinMax does when a larger share of the weights forgets. These are the weights with the largest "
        "forget gradient, as in the paper, or those with the smallest. Black: retrained model (solid) and original "
        f"model (dotted); grey band: noise floor of ToW. {MARKS} {run_caption(table)}"
    )
    alt = "Curves of ToW and three accuracies over the mask cutoff, one line per polarity."
    return Drawing(data, caption, alt, tuple(runs), (), figure)


@figure("fig-relearning", place=390, shows="how fast F comes back under tuning on R", studies=("cifar10",))
def relearning_curves(records: Records, theme: Theme) -> Drawing:
    """Draw forget accuracy against relearning steps for each method and rule, with the retrained model's own curve."""
    runs, table = study_table(records, having=RELEARNED)
    if not runs:
        raise NotRun("runs with the relearning metric")
    steps = pd.concat([pd.DataFrame({"run_id": run.run_id} | {name: run.result.get(key, np.nan) for name, key in
                                                              RELEARNING.items()}) for run in runs])  # fmt: skip
    curves = table[["run_id", *FIRST]].merge(steps, on="run_id")
    figure, data = swept_curves(curves, "relearning_step", {RELEARNED: "forget accuracy"}, theme,
                               x_label="steps of tuning on R", references=("retrained",))  # fmt: skip
    caption = (
        "How fast the forget set comes back when an unlearned model is tuned on retain data alone. The black curve is "
        f"the retrained model under the same tuning; a curve above it shows knowledge that was left behind. {MARKS} "
        f"{run_caption(table)}"
    )
    return Drawing(data, caption, "Forget accuracy rising over relearning steps.", tuple(runs), (), figure)


def swept_studies(records: Records, x: str, shown: Sequence[str] = ()) -> tuple[list[Record], Table]:
    """Return NegGrad's runs over three or more values of a setting, study by study, and their table.

    Two studies of one data set are told apart by their names.

    Args:
        records: of one study or several.
        x: the config field that is swept.
        shown: further fields that tell curves apart.
    """
    runs, tables = [], []
    for part in records.parts:
        found, rows = study_table(part, shown=(x, *shown))
        tables.append(swept_table(rows, x).assign(of=part.study))
        runs += in_table(found, tables[-1])
    table: Table = pd.concat(tables, ignore_index=True)
    several = table.groupby("dataset")["of"].transform("nunique") > 1
    return runs, table.assign(dataset=table["dataset"].where(~several, table["dataset"] + ", " + table["of"]))


def swept_curves(
    table: Table, x: str, metrics: Mapping[str, str], theme: Theme, *, x_label: str, references: Sequence[str] = ()
) -> tuple[Any, Table]:
    """Draw `metrics` against `x`: one column per metric, one row per data set, forget set and pretraining rule.

    Each rule is a line. A panel has the reference models of its pretraining rule; a panel of ToW also has the noise
    floor of its forget set as a band.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`; a column `line` names the curves in place of their rules.
        x: the swept column.
        metrics: column to axis label.
        theme: the page.
        x_label: label of the horizontal axis.
        references: roles ("retrained", "original") whose value of the metric is drawn in ink.

    Returns:
        The figure and the numbers drawn.
    """
    rows = in_order(table[ROW].drop_duplicates(), ROW)
    # A single metric is narrow and a single row high, to stay near square.
    width, height = WIDE if len(metrics) > 2 else 4.2, 0.9 + max(1.5 * len(rows), 2.4)
    figure, axes = panel_grid(len(rows), len(metrics), width=width, height=height, sharex=True, sharey="col")
    parts: list[Table] = []
    for line, (dataset, difficulty, pretrain) in zip(axes, rows.itertuples(index=False), strict=True):
        same = table[(table["dataset"] == dataset) & (table["difficulty"] == difficulty)]
        here, floors = same[same["pretrain"] == pretrain], noise_floors(same)
        for panel, metric in zip(line, metrics, strict=True):
            parts += _sweep(panel, here, (x, metric), theme, references)
            for rule in sorted(set(here["retraining"])) if metric == "tow" else ():
                floor_band(panel, floor_of(floors, difficulty, rule), theme, label="noise floor")
        after = f"\nafter {rule_label(pretrain)}" if rows["pretrain"].nunique() > 1 else ""
        of = f"{dataset}, " if rows["dataset"].nunique() > 1 else ""
        line[0].set_ylabel(f"{of}F {difficulty}{after}")
    data: Table = pd.concat(parts, ignore_index=True)
    for panel, (metric, name) in zip(axes[0], metrics.items(), strict=True):
        columns = [table.get(f"{role}{metric}") for role in ("", *(f"{one}_" for one in references))]
        panel.set_title(name + limits(panel, columns, data[data["metric"] == metric]))
    label_panels(axes, x=x_label)
    fullest = max(axes[:, -1], key=lambda panel: len(panel.get_legend_handles_labels()[1]))
    outside_legend(figure, fullest, columns=4 if len(metrics) > 2 else 2, head=spread_note(span(data["seeds"])))
    return figure, data


def _sweep(axes: Any, table: Table, columns: tuple[str, str], theme: Theme, references: Sequence[str]) -> list[Table]:
    """Draw one metric of one row: one line per method and rule, and one thin black line per reference model."""
    x, metric = columns
    summary = summarize(table, ["method", "rule", *ROW, x], metric).assign(metric=metric).sort_values(x)
    names = dict(zip(table["rule"], table["line"] if "line" in table else table["rule"].map(rule_label), strict=True))
    lines = summary["method"].map(method_label) + ": " if summary["method"].nunique() > 1 else ""
    shown = in_order(summary.assign(line=lines + summary["rule"].map(names)), ["method", "rule"])
    looks = {line: theme.lines(rule) | {"label": line} for line, rule in zip(shown["line"], shown["rule"], strict=True)}
    parts, drawn = [summary], [shown]
    for role in references:
        name, (style, text) = f"{role}_{metric}", REFERENCES[role]
        if name in table and table[name].notna().any():
            parts.append(summarize(table, [x, *ROW], name).assign(metric=metric, method=role).sort_values(x))
            drawn.append(parts[-1].assign(line=role))
            looks[role] = {"color": theme.ink, "linestyle": style, "label": text, "linewidth": 0.9}
    curve(axes, pd.concat(drawn), x, theme, looks=looks)
    return parts
