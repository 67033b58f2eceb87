"""Test error against signal strength: the exact theory beside networks trained on the same signal-noise data."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from figures.catalogue import THEORY, lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import band, data_ticks, fill_style, outside_legend, panel_grid, say_not_run, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, unlearn_table
from figures.tables.intervals import Table, span, spread_text, summarize
from figures.tables.names import family, rule_label
from figures.tables.records import Records, comparable
from figures.tables.theory import describe_theory, theory_cells, theory_table
from repro.records.record import Reader, Record

COLUMNS = {"theory": "exact theory", "two-layer": "two-layer network", "resnet": "ResNet"}
ROWS = {
    ("before", "test_error"): "test error\nbefore unlearning",
    ("after", "test_error"): "test error\nafter unlearning",
    ("after", "forget_error"): "forget error\nafter unlearning",
}
KEYS = ["column", "stage", "metric", "pretrain", "unlearn", "signal_strength"]
# Network result names of each stage; errors are one minus these.
ACCURACIES = {"before": "original_", "after": ""}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw test and forget error against signal strength, before and after unlearning, theory beside networks."""
    cells, runs = theory_cells(records), _networks(records)
    if not cells and not runs:
        return empty_figure(f"theory cells: {THEORY}", theme)
    data = _summary(cells, runs)
    figure, axes = panel_grid(3, 3, width=WIDE, height=5.6, sharex=True, sharey=True)
    missing = []
    for row, (stage, metric) in zip(axes, ROWS, strict=True):
        row[0].set_ylabel(ROWS[stage, metric])
        for panel, column in zip(row, COLUMNS, strict=True):
            chosen = data[(data["column"] == column) & (data["stage"] == stage) & (data["metric"] == metric)]
            missing.append(_panel(panel, column, chosen, theme))
    for panel, column in zip(axes[0], COLUMNS, strict=True):
        panel.set_title(COLUMNS[column])
    for panel in axes[-1]:
        panel.set_xlabel("signal strength $s$")
        data_ticks(panel, data["signal_strength"], most=6)
    fullest = max(axes[1], key=lambda panel: len(panel.get_legend_handles_labels()[1]))
    outside_legend(figure, fullest, columns=4, head=spread_note(span(data["seeds"])))
    notes = tuple(dict.fromkeys(filter(None, missing)))
    return Drawing(data, _caption(cells, runs, data), _alt(data), (*cells, *runs), notes, figure)


def rows(readers: Iterable[Reader]) -> list[dict[str, Any]]:
    """Return the figure's numbers, one row a signal strength and cell, theory and networks side by side."""
    records = Records(readers)
    data = _summary(theory_cells(records), _networks(records))
    if data.empty:
        return []
    data["value"] = [spread_text(row) for _, row in data.iterrows()]
    index = ["stage", "metric", "pretrain", "unlearn", "signal_strength"]
    wide = data.pivot(index=index, columns="column", values="value").reindex(columns=pd.Index(list(COLUMNS)))
    wide = wide.fillna("not run").rename(columns=COLUMNS).reset_index()
    return wide.to_dict("records")


def points(records: Records) -> list[dict[str, Any]]:
    """Return every point of the figure, one row a mean, its 95 % interval and seeds, for the interactive page."""
    data = _summary(theory_cells(records), _networks(records))
    names = [name for name in (*KEYS, "mean", "low", "high", "seeds") if name in data]
    return data[names].round(6).astype(object).where(data[names].notna(), None).to_dict("records")


def _networks(records: Records) -> list[Record]:
    """Return comparable runs on signal-noise data, of each model."""
    found = [run for run in records.of("unlearn") if label(run, "dataset") == "signal-noise" and run.status == "ok"]
    models = sorted({str(label(run, "model")) for run in found})
    vary = ("rule", "pretrain", "dataset_options", "metrics")
    return [run for model in models for run in comparable([r for r in found if label(r, "model") == model], vary)]


def _summary(cells: list[Record], runs: list[Record]) -> Table:
    """Return mean, deviation, interval and seeds of every point drawn."""
    parts = [_theory_points(cells), *(_network_points(runs, stage, metric) for stage, metric in ROWS)]
    found = [part for part in parts if not part.empty]
    return summarize(pd.concat(found, ignore_index=True) if found else pd.DataFrame(), KEYS)


def _theory_points(cells: list[Record]) -> Table:
    table = theory_table(cells)
    table = table[table["metric"].isin(["test_error", "forget_error"])].assign(column="theory")
    table["stage"] = table["stage"].map({"pretrained": "before", "final": "after"})
    return _once_before(table.dropna(subset=["stage"]))


def _network_points(runs: list[Record], stage: str, metric: str) -> Table:
    if not runs:
        return pd.DataFrame()
    table = unlearn_table(runs)
    accuracy = ACCURACIES[stage] + metric.replace("error", "accuracy")
    column = ["resnet" if str(model).startswith("resnet") else "two-layer" for model in table["model"]]
    # Families, not labels: the radius of SAM has another scale in each column, and the caption states it.
    rules = {"pretrain": table["pretrain"].map(family), "unlearn": table["rule"].map(family)}
    value = 1.0 - table[accuracy].astype(float)
    return _once_before(table.assign(column=column, stage=stage, metric=metric, value=value, **rules))


def _once_before(table: Table) -> Table:
    """Before unlearning the unlearning rule does not matter: keep one row a pretraining, seed and strength."""
    before = table[table["stage"] == "before"].assign(unlearn="")
    before = before.drop_duplicates(["column", "metric", "pretrain", "signal_strength", "seed"])
    return pd.concat([before, table[table["stage"] == "after"]], ignore_index=True)


def _panel(axes: Any, column: str, data: Table, theme: Theme) -> str:
    if data.empty:
        name = "fig-theory-trajectories" if column == "theory" else "fig-theory-vs-empirical"
        missing = lacking(name, COLUMNS[column])
        say_not_run(axes, missing, theme)
        return missing
    for (pretrain, unlearn), line in data.groupby(["pretrain", "unlearn"], sort=False):
        line = line.sort_values("signal_strength")
        look = theme.lines(str(unlearn or pretrain)) | {"fillstyle": fill_style(pretrain)}
        name = f"{rule_label(pretrain)} → {rule_label(unlearn)}" if unlearn else rule_label(pretrain)
        band(axes, line["signal_strength"], line, label=name, linewidth=0.9 if pretrain == "sgd" else 1.6, **look)
    axes.set_xscale("log", base=2)
    axes.set_ylim(-0.03, 1.03)
    return ""


def _caption(cells: list[Record], runs: list[Record], data: Table) -> str:
    theory = f" Theory: {describe_theory(cells[0])}." if cells else ""
    models = sorted({f"{label(run, 'model')} (n = {label(run, 'n')}, from {label(run, 'pretrain')}, "
                     f"unlearned with {label(run, 'rule')})" for run in runs})  # fmt: skip
    networks = f" Networks: {', '.join(models)}." if models else ""
    return (
        "Test error and forget error against the dimensionless signal strength s = |phi| / ((P-1) sigma_p "
        "(d/n)^(1/4)), before and after unlearning. Legend: pretraining rule → unlearning rule; before unlearning "
        "colours name the pretraining rule; open markers start from SGD. Lines are means and bands 95 % t-intervals "
        f"over {span(data['seeds'])} seeds.{theory}{networks}"
    )


def _alt(data: Table) -> str:
    after = data[(data["stage"] == "after") & (data["metric"] == "test_error") & (data["column"] == "theory")]
    parts = [f"{rule_label(row.pretrain)} to {rule_label(row.unlearn)} at s = {row.signal_strength:g}: {row.mean:.2f}"
             for row in after.itertuples()]  # fmt: skip
    return f"Error against signal strength in nine panels. Theory, test error after unlearning: {'; '.join(parts)}."
