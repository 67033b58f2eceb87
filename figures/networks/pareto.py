"""What quality costs: ToW against unlearning time and gradient evaluations, relative to retraining."""

from typing import Any

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import FLOOR_NOTE, floor_band, log_axis, panel_grid, rule_key, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import run_caption, seed_range, study_runs, unlearn_table
from figures.tables.floor import average_floor, noise_floors, own_reference
from figures.tables.intervals import Table, summarize
from figures.tables.names import METHOD_MARKERS, method_label, method_order, rule_label, rule_order, set_order
from figures.tables.records import Records

COSTS = {
    "time": ("seconds_unlearn", "seconds_retrain", "unlearning time / retraining time"),
    "gradients": ("gradient_evaluations", "retrain_gradient_evaluations", "gradient evaluations / those of retraining"),
}
KEYS = ["method", "pretrain", "rule", "difficulty"]


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ToW against cost, a row a forget set, with retraining and doing nothing; dominated points faded."""
    runs = [run for run in study_runs(records) if run.status == "ok"]
    table = unlearn_table(runs)
    if table.empty or "seconds_retrain" not in table:
        return empty_figure(lacking("fig-pareto", "network runs with times"), theme)
    cells = table[~own_reference(table, table["retraining"])]
    parts = {(cost, name): _summary(cells[cells["difficulty"] == name], cost)
             for cost in COSTS if COSTS[cost][1] in table for name in set_order(cells)}  # fmt: skip
    costs, sets = (list(dict.fromkeys(names)) for names in zip(*parts, strict=True))
    floors = noise_floors(table)
    figure, axes = panel_grid(
        len(sets), len(costs), width=WIDE, height=0.9 + 2.2 * len(sets), sharex="col", sharey="row"
    )
    for (cost, name), part in parts.items():
        panel, here = axes[sets.index(name), costs.index(cost)], table[table["difficulty"] == name]
        _panel(panel, part, theme)
        floor_band(panel, average_floor(floors[floors["difficulty"] == name]), theme)
        for nothing in here.groupby("pretrain")["original_tow"].mean().dropna():
            panel.axhline(nothing, color=theme.ink, linestyle=":", linewidth=0.9)
    for panel, cost in zip(axes[-1], costs, strict=True):
        panel.set_xlabel(COSTS[cost][2])
    for panel, name in zip(axes[:, 0], sets, strict=True):
        panel.set_ylabel(f"ToW, forget set: {name}")
    data: Table = pd.concat(parts.values(), ignore_index=True)
    methods = [(method_label(name), {"marker": METHOD_MARKERS.get(name, "o")}) for name in method_order(cells)]
    anchors = [("retrained on R", {"marker": "*"}), FLOOR_NOTE, ("do nothing", {"marker": "", "linestyle": ":"})]
    rules = [(rule_label(rule), {"color": theme.color(rule), "marker": "_", "markersize": 10, "markeredgewidth": 3})
             for rule in rule_order(cells)]  # fmt: skip
    rule_key(figure, theme, [], notes=[*rules, *methods, *anchors], head=spread_note(seed_range(cells)))
    return Drawing(data, _caption(runs, table), _alt(data), tuple(runs), (), figure)


def _summary(table: Table, cost: str) -> Table:
    mine, whole, _ = COSTS[cost]
    table = table.assign(ratio=table[mine] / table[whole])
    quality = summarize(table, KEYS, "tow")
    price = summarize(table, KEYS, "ratio").rename(columns={"mean": "ratio", "low": "ratio_low", "high": "ratio_high"})
    found = quality.merge(price[[*KEYS, "ratio", "ratio_low", "ratio_high"]], on=KEYS).assign(cost=cost)
    found["dominated"] = [_dominated(row, found) for _, row in found.iterrows()]
    return found


def _dominated(row: Any, others: Table) -> bool:
    better = (others["mean"] >= row["mean"]) & (others["ratio"] <= row["ratio"])
    strictly = (others["mean"] > row["mean"]) | (others["ratio"] < row["ratio"])
    return bool((better & strictly).any())


def _panel(axes: Any, data: Table, theme: Theme) -> None:
    for _, row in data.iterrows():
        look = {"color": theme.color(row["rule"]), "marker": METHOD_MARKERS.get(row["method"], "o")}
        fill = "none" if row["pretrain"] == "sgd" else "full"
        bars = {"yerr": [[row["mean"] - row["low"]], [row["high"] - row["mean"]]],
                "xerr": [[max(row["ratio"] - row["ratio_low"], 0)], [row["ratio_high"] - row["ratio"]]]}  # fmt: skip
        bars = {} if pd.isna(row["sd"]) else bars
        axes.errorbar([row["ratio"]], [row["mean"]], linestyle="none", elinewidth=0.7, fillstyle=fill,
                      alpha=0.35 if row["dominated"] else 1.0, **look, **bars)  # fmt: skip
    axes.plot([1.0], [1.0], color=theme.ink, marker="*", markersize=9, linestyle="none")
    log_axis(axes, "x")


def _caption(runs: list, table: Table) -> str:
    return (
        "Quality against cost, a row a forget set: ToW against unlearning time (left) and gradient evaluations "
        "(right), both as a share of retraining on R; runs that diverged are left out. Shape: method; colour: "
        "unlearning rule; open markers: pretrained with SGD. Star: retraining itself (ToW 1 at cost 1); dotted lines: "
        "doing nothing after each pretraining rule; grey band: noise floor, ToW of one retrained model against another "
        "of another seed, mean over retraining rules. Faded points are dominated: another on the same set is at least "
        "as good and cheap. Bars: 95 % t-intervals over seeds. "
        f"{run_caption(runs, table)}"
    )


def _alt(data: Table) -> str:
    front = data[~data["dominated"] & (data["cost"] == "time")]
    parts = [
        f"{row.difficulty}: {method_label(row.method)} with {rule_label(row.rule)}, {row.mean:.3f} at {row.ratio:.2g}"
        for row in front.itertuples()
    ]
    return "Scatter of ToW against relative cost. On the front by time, a forget set: " + "; ".join(parts) + "."
