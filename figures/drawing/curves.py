"""Curves over a swept setting: a line a rule, with its 95 % band over training seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from figures.drawing.panels import band, fit_to_values, floor_band, outside_legend, panel_grid, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.floor import floor_of, noise_floors
from figures.tables.intervals import Table, span, summarize
from figures.tables.names import family, method_label, method_order, rule_label, rule_order, set_order

ROW = ["dataset", "difficulty", "pretrain"]
REFERENCES = {"retrained": ("-", "retrained on R"), "original": (":", "do nothing")}


def draw_curves(
    table: Table, x: str, metrics: Mapping[str, str], theme: Theme, *, x_label: str, references: Sequence[str] = ()
) -> tuple[Any, Table]:
    """Draw `metrics` against `x`: a column a metric, a row a data set, forget set and pretraining rule, a line a rule.

    Data sets keep the order of the table. A panel has the reference models of its pretraining rule; one of ToW the
    noise floor of its forget set as a band.

    Args:
        table: rows of `figures.tables.cells.unlearn_table`; a column `line` names the curves in place of their rules.
        x: the swept column.
        metrics: column to axis label.
        theme: the page.
        x_label: label of the horizontal axis.
        references: roles ("retrained", "original") whose value of the metric is drawn in ink.

    Returns:
        The figure and the numbers drawn.
    """
    have = dict.fromkeys(table[ROW].itertuples(index=False, name=None))
    datasets, sets, pretrains = list(dict.fromkeys(table["dataset"])), set_order(table), set(table["pretrain"])
    rows = sorted(have, key=lambda row: (datasets.index(row[0]), sets.index(row[1]), family(row[2]) != "sgd",
                                         str(row[2])))  # fmt: skip
    # A single metric is narrow and a single row high, to stay near square.
    width, height = WIDE if len(metrics) > 2 else 4.2, 0.9 + max(1.5 * len(rows), 2.4)
    figure, axes = panel_grid(len(rows), len(metrics), width=width, height=height, sharex=True, sharey="col")
    parts: list[Table] = []
    for line, (dataset, difficulty, pretrain) in zip(axes, rows, strict=True):
        same = table[(table["dataset"] == dataset) & (table["difficulty"] == difficulty)]
        cell, floors = same[same["pretrain"] == pretrain], noise_floors(same)
        for panel, metric in zip(line, metrics, strict=True):
            parts.append(_lines(panel, cell, (x, metric), theme))
            parts += _references(panel, cell, (x, metric), theme, references)
            for rule in sorted(set(cell["retraining"])) if metric == "tow" else ():
                floor_band(panel, floor_of(floors, difficulty, rule), theme, label="noise floor")
        after = f"\nafter {rule_label(pretrain)}" if len(pretrains) > 1 else ""
        of = f"{dataset}, " if len(datasets) > 1 else ""
        line[0].set_ylabel(f"{of}F {difficulty}{after}")
    for panel, (metric, name) in zip(axes[0], metrics.items(), strict=True):
        panel.set_title(name)
        fit_to_values(panel, [table.get(f"{role}{metric}") for role in ("", *(f"{one}_" for one in references))])
    for panel in axes[-1]:
        panel.set_xlabel(x_label)
    data: Table = pd.concat(parts, ignore_index=True)
    head = spread_note(span(data["seeds"]))
    fullest = max(axes[:, -1], key=lambda panel: len(panel.get_legend_handles_labels()[1]))
    outside_legend(figure, fullest, columns=4 if len(metrics) > 2 else 2, head=head)
    return figure, data


def _lines(axes: Any, table: Table, columns: tuple[str, str], theme: Theme) -> Table:
    x, metric = columns
    keys = ["method", "rule", *ROW, x]
    summary = summarize(table, keys, metric).assign(metric=metric).sort_values(x)
    names = None if "line" not in table else dict(zip(table["rule"], table["line"], strict=True))
    several: bool = len(method_order(table)) > 1
    for method, rule in ((method, rule) for method in method_order(table) for rule in rule_order(table)):
        line = summary[(summary["method"] == method) & (summary["rule"] == rule)]
        if len(line):
            name = names[rule] if names else rule_label(rule)
            label = f"{method_label(method)}: {name}" if several else name
            band(axes, line[x], line, label=label, **theme.lines(str(rule)))
    return summary


def _references(axes: Any, table: Table, columns: tuple[str, str], theme: Theme, roles: Sequence[str]) -> list[Table]:
    x, metric = columns
    found = []
    for role in roles:
        name = f"{role}_{metric}"
        if name in table and table[name].notna().any():
            line = summarize(table, [x, *ROW], name).assign(metric=metric, method=role).sort_values(x)
            style, text = REFERENCES[role]
            band(axes, line[x], line, label=text, color=theme.ink, linestyle=style, linewidth=0.9)
            found.append(line)
    return found
