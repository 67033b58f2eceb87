"""The paper's ToW beside ours, wherever one is known."""

from typing import Any

import pandas as pd

from figures.commands import STUDY
from figures.drawing import Drawing, frame
from figures.networks import CELL, GRADED, label, main_runs, run_caption, seed_range
from figures.panels import estimate, panel_grid, rule_key, spread_note
from figures.published import SAME_DATA, TOW, published
from figures.records import Records
from figures.style import Theme, family, rule_label
from figures.table import Table, summarize, unlearn_table

MARKS = {"ImageNet": "P", "CIFAR-100": "X"}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's mean ToW for each rule, the paper's as crosses and ours with seeds and interval."""
    runs = [run for run in main_runs(records, CELL) if (label(run, "method"), family(str(label(run, "rule")))) in TOW]
    table = unlearn_table(runs)
    table = table[table["difficulty"].isin(GRADED)]
    if table.empty:
        return frame(theme, missing=f"NegGrad on F_low, F_mid, F_high: {STUDY}")
    ours = summarize(table, ["rule"], "tow").assign(source=f"ours, {label(runs[0], 'dataset')}")
    rules = sorted(ours["rule"], key=lambda rule: list(TOW).index(("neggrad", family(rule))))
    figure, axes = panel_grid(1, 1, width=5.0, height=2.6)
    theirs = [_draw_rule(axes[0, 0], place, rule, table, theme) for place, rule in enumerate(rules)]
    axes[0, 0].set_xticks(range(len(rules)), [rule_label(rule) for rule in rules])
    axes[0, 0].set(ylabel="ToW, mean over F low, mid, high", xlim=(-0.5, len(rules) - 0.5))
    notes: list[tuple[str, dict[str, Any]]] = [
        (f"paper, {name}", {"marker": mark, "fillstyle": "none"}) for name, mark in MARKS.items()
    ]
    rule_key(
        figure,
        theme,
        [],
        notes=[*notes, (f"ours, {label(runs[0], 'dataset')}", {})],
        head=spread_note(seed_range(table)),
    )
    data = pd.concat([ours, *theirs], ignore_index=True)
    return Drawing(data, _caption(runs, table), _alt(data), tuple(runs), (), figure)


def _draw_rule(axes: Any, place: int, rule: str, table: Table, theme: Theme) -> Table:
    rows = table[table["rule"] == rule]
    seeds = rows.groupby("seed")["tow"].mean()
    estimate(axes, place, summarize(rows, ["rule"], "tow").iloc[0], seeds=seeds, **theme.lines(rule))
    known = published("neggrad", rule)
    for shift, (name, value) in zip((-0.15, 0.15), known.items(), strict=False):
        axes.plot(
            [place + shift], [value / 100], color=theme.ink, marker=MARKS[name], linestyle="none", fillstyle="none"
        )
    return pd.DataFrame(
        [{"rule": rule, "mean": value / 100, "source": f"paper, {name}"} for name, value in known.items()]
    )


def _caption(runs: list, table: Table) -> str:
    dataset = str(label(runs[0], "dataset"))
    if dataset in SAME_DATA:
        compare = f"Our data set is the paper's {SAME_DATA[dataset]}."
    else:
        compare = "Our data set is not one of the paper's: compare order and sign, not values."
    return (
        "ToW of NegGrad averaged over the three graded forget sets and all pretraining rules: the paper's published "
        f"averages (open marks; no deviation is published) beside ours. {compare} The paper's rows are SAM 0.1, ASAM "
        f"1.0 and Sharp MinMax with ASAM 1.0. {run_caption(runs, table)}"
    )


def _alt(data: Table) -> str:
    parts = [f"{rule_label(row.rule)} {row.source}: {row.mean:.3f}" for row in data.itertuples()]
    return "Markers by rule. " + "; ".join(parts) + "."
