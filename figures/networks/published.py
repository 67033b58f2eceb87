"""The paper's ToW beside ours, wherever one is known (fig-published, and a column of the ToW tables)."""

from typing import Any

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import FLOOR_NOTE, estimate, floor_band, panel_grid, rule_key, spread_note
from figures.drawing.style import Theme
from figures.tables.cells import complete, label, run_caption, seed_range, study_runs, unlearn_table
from figures.tables.floor import average_floor, noise_floors
from figures.tables.intervals import Table, summarize
from figures.tables.names import GRADED, family, rule_label
from figures.tables.records import Records
from repro.records.record import Record

# ToW in percent, mean over F_high, F_mid and F_low: method and unlearning rule (SAM 0.1, ASAM 1.0, Sharp MinMax with
# ASAM 1.0) to data set to value; Sharp MinMax is quoted to about a tenth.
TOW = {
    ("neggrad", "sgd"): {"ImageNet": 83.83, "CIFAR-100": 81.80},
    ("neggrad", "sam"): {"ImageNet": 83.68, "CIFAR-100": 72.78},
    ("neggrad", "asam"): {"ImageNet": 84.84, "CIFAR-100": 83.11},
    ("neggrad", "minmax"): {"ImageNet": 87.9, "CIFAR-100": 87.9},
}
SAME_DATA = {"cifar100": "CIFAR-100", "imagenet": "ImageNet"}
MARKS = {"ImageNet": "P", "CIFAR-100": "X"}


def published_text(method: str, rule: str) -> str:
    """Return the paper's values as a table cell."""
    known = TOW.get((method, family(rule)), {})
    return ", ".join(f"{name} {value:g}" for name, value in known.items()) or "—"


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's mean ToW for each rule, the paper's as crosses and ours with seeds and interval."""
    runs = [run for run in study_runs(records, having="tow")
            if (label(run, "method"), family(label(run, "rule"))) in TOW]  # fmt: skip
    table = unlearn_table(runs)
    table = complete(table[table["difficulty"].isin(GRADED)], ["rule"], ["pretrain", "difficulty"])
    if table.empty:
        return empty_figure(lacking("fig-published", "NegGrad on F_low, F_mid, F_high"), theme)
    dataset = str(label(runs[0], "dataset"))
    ours = summarize(table, ["rule"], "tow").assign(source=f"ours, {dataset}")
    rules = sorted(ours["rule"], key=lambda rule: list(TOW).index(("neggrad", family(rule))))
    figure, axes = panel_grid(1, 1, width=5.0, height=2.6)
    theirs = [_draw_rule(axes[0, 0], place, rule, table, theme) for place, rule in enumerate(rules)]
    floor_band(axes[0, 0], average_floor(noise_floors(table)), theme)
    axes[0, 0].set_xticks(range(len(rules)), [rule_label(rule) for rule in rules])
    axes[0, 0].set(ylabel="ToW, mean over F low, mid, high", xlim=(-0.5, len(rules) - 0.5))
    notes: list[tuple[str, dict[str, Any]]] = [
        *((f"paper, {name}", {"marker": mark, "fillstyle": "none"}) for name, mark in MARKS.items()),
        (f"ours, {dataset}", {}),
        FLOOR_NOTE,
    ]
    rule_key(figure, theme, [], notes=notes, head=spread_note(seed_range(table)))
    data: Table = pd.concat([ours, *theirs], ignore_index=True)
    alt = "; ".join(f"{rule_label(row.rule)} {row.source}: {row.mean:.3f}" for row in data.itertuples())
    return Drawing(data, _caption(runs, table, dataset), f"Markers by rule. {alt}.", tuple(runs), (), figure)


def _draw_rule(axes: Any, place: int, rule: str, table: Table, theme: Theme) -> Table:
    rows = table[table["rule"] == rule]
    seeds = rows.groupby("seed")["tow"].mean()
    estimate(axes, place, summarize(rows, ["rule"], "tow").iloc[0], seeds=seeds, **theme.lines(rule))
    known = {name: value / 100 for name, value in TOW["neggrad", family(rule)].items()}
    for shift, (name, value) in zip((-0.15, 0.15), known.items(), strict=False):
        look = {"color": theme.ink, "marker": MARKS[name], "linestyle": "none", "fillstyle": "none"}
        axes.plot([place + shift], [value], **look)
    return pd.DataFrame([{"rule": rule, "mean": value, "source": f"paper, {name}"} for name, value in known.items()])


def _caption(runs: list[Record], table: Table, dataset: str) -> str:
    if dataset in SAME_DATA:
        compare = f"Our data set is the paper's {SAME_DATA[dataset]}."
    else:
        compare = "Our data set is not one of the paper's: compare order and sign, not values."
    return (
        "ToW of NegGrad averaged over the three graded forget sets and all pretraining rules: the paper's published "
        f"averages (open marks; no deviation is published) beside ours, of the seeds that have all of them. {compare} "
        "The paper's rows are SAM 0.1, ASAM 1.0 and Sharp MinMax with ASAM 1.0. Grey band: noise floor, one of our "
        "retrained models against another. "
        f"{run_caption(runs, table)}"
    )
