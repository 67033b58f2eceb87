"""ToW of every method, rule and forget set, with the three accuracies it is the product of."""

from typing import Any

import pandas as pd

from figures.commands import STUDY
from figures.drawing import Drawing, frame
from figures.networks import CELL, DIFFICULTIES, main_runs, run_caption, seed_range
from figures.panels import estimate, fill_style, panel_grid, rule_key
from figures.records import Records
from figures.style import WIDE, Theme, method_label, rule_label
from figures.table import Table, summarize, unlearn_table

METRICS = {
    "tow": "ToW",
    "retain_accuracy": "retain acc.",
    "forget_accuracy": "forget acc.",
    "test_accuracy": "test acc.",
}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and its accuracies: a row a metric, a column a forget set, a group a method, a colour a rule."""
    runs = main_runs(records, CELL)
    if not runs:
        return frame(theme, missing=f"network runs: {STUDY}")
    table = unlearn_table(runs)
    columns = [name for name in DIFFICULTIES if name in set(table["difficulty"])]
    figure, axes = panel_grid(len(METRICS), len(columns), width=WIDE, height=6.4, sharex=True, sharey="row")
    summaries = []
    for row, (metric, name) in zip(axes, METRICS.items(), strict=True):
        row[0].set_ylabel(name)
        for panel, difficulty in zip(row, columns, strict=True):
            cell = table[table["difficulty"] == difficulty]
            summaries.append(_panel(panel, metric, cell, theme, _methods(table)))
    for panel, difficulty in zip(axes[0], columns, strict=True):
        panel.set_title(f"forget set: {difficulty}")
    lines = [("retrained on R", {"marker": "", "linestyle": "-"}), ("do nothing", {"marker": "", "linestyle": ":"})]
    pretrains = sorted(set(table["pretrain"]), reverse=True)
    rule_key(figure, theme, _rules(table), pretrains=pretrains, notes=lines, seeds=seed_range(table))
    data = pd.concat(summaries, ignore_index=True)
    return Drawing(data, _caption(runs, table), _alt(data), tuple(runs), tuple(_missing(data, columns)), figure)


def _methods(table: Table) -> list[str]:
    return list(dict.fromkeys(table["method"]))


def _rules(table: Table) -> list[str]:
    return sorted(set(table["rule"]), key=lambda rule: (rule != "sgd", rule))


def _panel(axes: Any, metric: str, table: Table, theme: Theme, methods: list[str]) -> Table:
    series = sorted({(str(row.pretrain), str(row.rule)) for row in table.itertuples()}, reverse=True)
    keys = ["method", "pretrain", "rule", "difficulty"]
    summary = summarize(table, keys, metric).assign(metric=metric)
    for _, row in summary.iterrows():
        offset = series.index((row["pretrain"], row["rule"])) - (len(series) - 1) / 2
        place = methods.index(row["method"]) + 0.8 * offset / max(len(series), 4)
        seeds = table[(table[keys] == row[keys]).all(axis=1)][metric]
        look = theme.lines(row["rule"]) | {"fillstyle": fill_style(row["pretrain"])}
        estimate(axes, place, row, seeds=seeds, **look)
        if not row["seeds"]:
            axes.text(place, 0.5, "diverged", rotation=90, ha="center", va="center", fontsize=7)
    references = _reference(axes, metric, table, theme)
    axes.set_xticks(range(len(methods)), [method_label(name) for name in methods], rotation=30, ha="right")
    axes.set_xlim(-0.6, len(methods) - 0.4)
    return pd.concat([summary, references.assign(metric=metric)], ignore_index=True)


def _reference(axes: Any, metric: str, table: Table, theme: Theme) -> Table:
    """Draw the retrained model (solid) and the original, which does nothing (dotted), as lines across a panel."""
    names = {"original_tow": ":"} if metric == "tow" else {f"retrained_{metric}": "-", f"original_{metric}": ":"}
    rows = []
    for name, line in names.items():
        if name not in table:
            continue
        summary = summarize(table, ["difficulty"], name).assign(method=name)
        axes.axhline(summary["mean"].iloc[0], color=theme.ink, linestyle=line, linewidth=0.9, zorder=1)
        axes.axhspan(summary["low"].iloc[0], summary["high"].iloc[0], color=theme.ink, alpha=0.08, linewidth=0)
        rows.append(summary)
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _missing(data: Table, columns: list[str]) -> list[str]:
    wanted = [name for name in ("low", "mid", "high") if name not in columns]
    lines = [f"forget set {name}: {STUDY}" for name in wanted]
    cells = data[(data["metric"] == "tow") & data["rule"].notna()]
    have = {(row.method, row.pretrain, row.rule, row.difficulty) for row in cells.itertuples()}
    methods, pairs = {cell[0] for cell in have}, {cell[1:3] for cell in have}
    gaps = [
        (method, *pair, difficulty) for method in sorted(methods) for pair in sorted(pairs) for difficulty in columns
    ]
    return lines + [f"{' / '.join(gap)}: {STUDY}" for gap in gaps if gap not in have]


def _caption(runs: list, table: Table) -> str:
    return (
        "Tug-of-war (ToW, product of one minus the absolute accuracy gaps to the model retrained on R; 1 is best) and "
        "the three accuracies. Marker: mean; bar: 95 % t-interval; dots: training seeds. Colour and shape: unlearning "
        "rule; filling: pretraining rule (open SGD). Solid line and band: retrained model; dotted line: the original "
        f"model, which does nothing. {run_caption(runs, table)}"
    )


def _alt(data: Table) -> str:
    cells = data[(data["metric"] == "tow") & data["rule"].notna()].sort_values("mean", ascending=False)
    parts = [f"{method_label(row.method)} with {rule_label(row.rule)} on {row.difficulty}: {row.mean:.3f}"
             for row in cells.head(3).itertuples()]  # fmt: skip
    return "Dots with error bars. Highest ToW: " + "; ".join(parts) + "."
