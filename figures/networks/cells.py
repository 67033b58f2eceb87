"""Cell by cell (fig-accuracies, fig-mia, fig-entanglement): a row a metric, a column a forget set, a group a method."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import estimate, fit_to_values, note, panel_grid, rule_key, spread_note
from figures.drawing.slots import Slots, arrange
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import numbers_with, run_caption, seed_range, study_runs, unlearn_table
from figures.tables.floor import own_reference
from figures.tables.intervals import Table, summarize
from figures.tables.names import (
    method_label,
    method_order,
    rule_label,
    rule_order,
    set_order,
)
from figures.tables.records import Records
from repro.records.record import Record

KEYS = ["method", "pretrain", "rule", "difficulty"]
SERIES = ["pretrain", "method", "rule"]
TOW = {
    "tow": "ToW",
    "retain_accuracy": "retain acc.",
    "forget_accuracy": "forget acc.",
    "test_accuracy": "test acc.",
}
ACCURACIES_WHAT = "The accuracies behind ToW on R, F and test; the aim is the retrained model's own value."
LABELS = {
    "mia_correctness": "MIA (correctness)",
    "mia_confidence": "MIA (confidence)",
    "mia_entropy": "MIA (entropy)",
    "mia_m_entropy": "MIA (mod. entropy)",
    "entanglement_var_raw": "$E_{Var}$",
    "entanglement_var_class_raw": "$E_{Var}$ by class",
    "entanglement_wp": "$E_{Wp}$",
    "entanglement_wp_class": "$E_{Wp}$ by class",
}
MIA_WHAT = (
    "Membership inference on the forget set: the share of F that the attack takes for non-members (or the named "
    "score). The aim is the retrained model's own value, not the largest one."
)
ENTANGLEMENT_WHAT = (
    "Entanglement of the features of R and F, before (dotted), after unlearning (markers) and in the retrained model "
    "(solid), over all samples and class by class. Lower is less entangled."
)
MARKS = (
    "Marker: mean; bar: 95 % t-interval; dots: training seeds. Colour and shape: unlearning rule; parts of a panel: "
    "pretraining rules, each with its own references. Solid line and band: the model retrained on R; dotted line: the "
    "original model, which does nothing. Panels span the seeds' values; a wider interval is cut."
)


def draw_accuracies(records: Records, theme: Theme) -> Drawing:
    """Draw the three accuracies: a row a metric, a column a forget set, a group a method, a colour a rule."""
    runs = study_runs(records)
    if not runs:
        return empty_figure(lacking("fig-accuracies", "network runs"), theme)
    accuracies = {name: title for name, title in TOW.items() if name != "tow"}
    return draw_cells(runs, accuracies, theme, what=ACCURACIES_WHAT)


def draw_with_prefix(records: Records, theme: Theme, *, name: str, prefix: str, what: str) -> Drawing:
    """Draw every recorded metric whose name starts with `prefix`, at most four, named ones first."""
    runs = [run for run in study_runs(records) if numbers_with([run], prefix)]
    names = numbers_with(runs, prefix)
    if not names:
        return empty_figure(lacking(name, f"network runs with metrics {prefix}*"), theme)
    names = [one for one in LABELS if one in names] + [one for one in names if one not in LABELS]
    return draw_cells(runs, {one: LABELS.get(one, one) for one in names[:4]}, theme, what=what)


draw_mia = partial(draw_with_prefix, name="fig-mia", prefix="mia_", what=MIA_WHAT)
draw_entanglement = partial(draw_with_prefix, name="fig-entanglement", prefix="entanglement_", what=ENTANGLEMENT_WHAT)


def draw_cells(runs: Sequence[Record], metrics: Mapping[str, str], theme: Theme, *, what: str) -> Drawing:
    """Draw `metrics` of every cell with seeds, intervals and the retrained and original model as reference lines.

    Args:
        runs: comparable network runs.
        metrics: result name to axis label, a row each; a metric's reference lines are its `retrained_` and `original_`
            values where the runs have them.
        theme: the page.
        what: first sentence of the caption.
    """
    table = unlearn_table(runs)
    cells = table[~own_reference(table, table["retraining"])]
    series = list(dict.fromkeys(cells[SERIES].itertuples(index=False, name=None)))
    slots = arrange((f"after {rule_label(pretrain)}", method_label(method), (pretrain, method, rule))
                    for pretrain in _pretrains(table) for method in method_order(table) for rule in rule_order(table)
                    if (pretrain, method, rule) in series)  # fmt: skip
    columns = set_order(table)
    height = 0.9 + 1.35 * len(metrics)
    figure, axes = panel_grid(len(metrics), len(columns), width=WIDE, height=height, sharex=True, sharey="row")
    summaries = []
    for place, (row, (metric, name)) in enumerate(zip(axes, metrics.items(), strict=True)):
        row[0].set_ylabel(name)
        for panel, difficulty in zip(row, columns, strict=True):
            summaries += _panel(panel, metric, cells[cells["difficulty"] == difficulty], slots, theme)
            slots.label(panel, theme, regions=place == 0)
        fit_to_values(row[0], [table.get(f"{role}{metric}") for role in ("", "retrained_", "original_")])
    for panel, difficulty in zip(axes[0], columns, strict=True):
        panel.set_title(f"forget set: {difficulty}", pad=14 if len(slots.regions) > 1 else None)
    lines = [("retrained on R", {"marker": "", "linestyle": "-"}), ("do nothing", {"marker": "", "linestyle": ":"})]
    rule_key(figure, theme, rule_order(table), notes=lines, head=spread_note(seed_range(table)))
    data = pd.concat(summaries, ignore_index=True)
    caption = f"{what} {MARKS} {run_caption(runs, table)}"
    return Drawing(data, caption, _alt(data, next(iter(metrics))), tuple(runs), (), figure)


def _pretrains(table: Table) -> list[str]:
    return sorted(set(table["pretrain"]), reverse=True)


def _panel(axes: Any, metric: str, rows: Table, slots: Slots, theme: Theme) -> list[Table]:
    """Draw one metric on one forget set; return the numbers of its cells and of its reference lines."""
    summary = summarize(rows, KEYS, metric).assign(metric=metric)
    seeds = {key: cell[metric].dropna() for key, cell in rows.groupby(KEYS)} if metric in rows else {}
    for _, row in summary.iterrows():
        place = slots.places[tuple(row[name] for name in SERIES)]
        look = theme.lines(row["rule"]) | {"markersize": 3.4}
        estimate(axes, place, row, seeds=seeds.get(tuple(row[name] for name in KEYS), ()), **look)
        if row["diverged"]:
            note(axes, place, f"{row['diverged']} diverged", upright=True)
    names = {f"after {rule_label(name)}" for name in rows["pretrain"]}
    for ends in [ends for region, ends in slots.regions.items() if region not in names]:
        note(axes, sum(ends) / 2, "not run")
    parts = rows.groupby("pretrain", sort=False)
    lines = [_references(axes, metric, part, slots.regions[f"after {rule_label(name)}"], theme) for name, part in parts]
    return [summary, *(line for found in lines for line in found)]


def _references(axes: Any, metric: str, table: Table, ends: tuple[float, float], theme: Theme) -> list[Table]:
    """Draw the retrained model (solid) and the original, which does nothing (dotted), as lines from end to end."""
    parts = []
    for role, line in (("retrained", "-"), ("original", ":")):
        name = f"{role}_{metric}"
        if name not in table or table[name].isna().all():
            continue
        summary = summarize(table, ["difficulty", "pretrain"], name).assign(method=role, metric=metric)
        row = summary.iloc[0]
        axes.hlines(row["mean"], *ends, color=theme.ink, linestyle=line, linewidth=0.9, zorder=1)
        if role == "retrained":
            axes.fill_between(ends, row["low"], row["high"], color=theme.ink, alpha=0.08, linewidth=0)
        parts.append(summary)
    return parts


def _alt(data: Table, metric: str) -> str:
    cells = data[(data["metric"] == metric) & data["rule"].notna()].sort_values("mean", ascending=False)
    parts = [f"{method_label(row.method)} with {row.rule} (from {row.pretrain}) on {row.difficulty}: {row.mean:.3f}"
             for row in cells.head(3).itertuples()]  # fmt: skip
    return f"Dots with error bars, a column a forget set. Highest {metric}: " + "; ".join(parts) + "."
