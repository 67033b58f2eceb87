"""What quality costs: ToW against unlearning time and gradient evaluations, relative to retraining."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import FLOOR_NOTE, floor_band, log_axis, panel_grid, rule_key, spread_note
from figures.drawing.style import WIDE, Theme
from figures.marks import limits, scatter
from figures.tables.floor import average_floor, noise_floors, own_reference
from figures.tables.names import METHOD_MARKERS, method_label, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import in_table, run_caption, seed_range, study_table
from figures.tables.texts import alt_text
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

COSTS = {
    "time": ("seconds_unlearn", "seconds_retrain", "unlearning time / retraining time"),
    "gradients": ("gradient_evaluations", "retrain_gradient_evaluations", "gradient evaluations / those of retraining"),
}
KEYS = ["method", "pretrain", "rule", "difficulty"]


@figure("fig-pareto", place=380, shows="ToW against time and gradient evaluations", studies=("cifar10",))
def quality_against_cost(records: Records, theme: Theme) -> Drawing:
    """Draw ToW against cost, one row per forget set, with retraining and doing nothing; name the best trade-offs."""
    runs, table = study_table(records)
    table = table[table["status"] == "ok"]
    if table.empty or "seconds_retrain" not in table:
        raise NotRun("network runs with times")
    unlearned = table[~own_reference(table, table["retraining"])]
    costs = [cost for cost in COSTS if COSTS[cost][1] in table]
    sets, floors = order(unlearned, "difficulty"), noise_floors(table)
    figure, axes = panel_grid(len(sets), len(costs), width=WIDE, height=0.9 + 2.2 * len(sets), sharex="col",
                              sharey="row")  # fmt: skip
    parts = [[_quality_and_cost(unlearned[unlearned["difficulty"] == name], cost) for cost in costs] for name in sets]
    for line, found, name in zip(axes, parts, sets, strict=True):
        here = table[table["difficulty"] == name]
        nothing = here.groupby("pretrain")["original_tow"].mean().dropna()
        values = pd.concat(found)
        for panel, part in zip(line, found, strict=True):
            _trade_offs(panel, part, theme)
            floor_band(panel, average_floor(floors[floors["difficulty"] == name]), theme)
            if len(nothing):
                across = panel.get_yaxis_transform()
                panel.hlines(nothing, 0, 1, color=theme.ink, linestyle=":", linewidth=0.9, label="do nothing",
                             transform=across)  # fmt: skip
                rules = " / ".join(rule_label(rule) for rule in nothing.sort_values(ascending=False).index)
                panel.annotate(f"do nothing, after {rules}", (0.1, nothing.max()), xytext=(0, 2), fontsize=7,
                               xycoords=across, textcoords="offset points")  # fmt: skip
        line[0].set_ylabel(f"ToW, forget set: {name}" + limits(line[0], [values["mean"], nothing, [1.0]], values))
    for panel, cost in zip(axes[-1], costs, strict=True):
        panel.set_xlabel(COSTS[cost][2])
    data: Table = pd.concat([parts[row][column] for column in range(len(costs)) for row in range(len(sets))],
                            ignore_index=True)  # fmt: skip
    methods = [(method_label(name), {"marker": METHOD_MARKERS.get(name, "o")}) for name in order(unlearned, "method")]
    rules = [(rule_label(rule), {"color": theme.color(rule), "marker": "_", "markersize": 10, "markeredgewidth": 3})
             for rule in order(unlearned, "rule")]  # fmt: skip
    notes = [*rules, *methods, ("reference: retraining, ToW 1", {"marker": "*", "markersize": 9}), FLOOR_NOTE]
    rule_key(figure, theme, [], notes=notes, head=spread_note(seed_range(unlearned)))
    return Drawing(data, _caption(table), _alt(data), in_table(runs, table), (), figure)


def _quality_and_cost(table: Table, cost: str) -> Table:
    mine, whole, _ = COSTS[cost]
    table = table.assign(ratio=table[mine] / table[whole])
    quality = summarize(table, KEYS, "tow")
    # The median: a clock on a shared machine errs to one side, and in some runs by much.
    price = table.groupby(KEYS)["ratio"].agg(ratio="median", ratio_low="min", ratio_high="max").reset_index()
    found = quality.merge(price, on=KEYS).assign(cost=cost)
    mean, ratio = (found[name].to_numpy()[:, None] for name in ("mean", "ratio"))
    better = (mean <= mean.T) & (ratio >= ratio.T) & ((mean < mean.T) | (ratio > ratio.T))
    return found.assign(dominated=better.any(axis=1))


def _trade_offs(axes: Any, data: Table, theme: Theme) -> None:
    """Draw points that another beats in quality and cost as faint outlines, all others with intervals and names."""
    for beaten, rows in data.groupby("dominated"):
        look = {"s": 12, "alpha": 0.5, "zorder": 2} if beaten else {"s": 34, "zorder": 3}
        palette = {rule: theme.color(rule) for rule in rows["rule"]}
        markers = {name: METHOD_MARKERS.get(name, "o") for name in rows["method"]}
        scatter(axes, rows, x="ratio", y="mean", hue="rule", palette=palette, style="method", markers=markers,
                linewidth=0, **look)  # fmt: skip
    front = data[~data["dominated"]].sort_values("ratio")
    axes.errorbar(front["ratio"], front["mean"], yerr=[front["mean"] - front["low"], front["high"] - front["mean"]],
                  linestyle="none", elinewidth=0.7, ecolor=[theme.color(rule) for rule in front["rule"]])  # fmt: skip
    axes.step(front["ratio"], front["mean"], where="post", color=theme.ink, linewidth=0.6, alpha=0.6)
    axes.plot([1.0], [1.0], color=theme.ink, marker="*", markersize=9, linestyle="none")
    log_axis(axes, "x")


def _caption(table: Table) -> str:
    return (
        "What a good unlearned model costs: ToW against time (left) and gradient evaluations (right), both as a share "
        "of retraining (median over seeds). Upper left is best: large marks on the thin line are those that no other "
        "mark beats in quality and cost; small marks are beaten. Shape: method; colour: unlearning rule; star: "
        "retraining itself; grey band: noise floor, ToW of one retrained model against another. Bars: 95 % t-intervals "
        "of ToW over seeds. Runs that diverged are left out. "
        f"{run_caption(table)}"
    )


def _alt(data: Table) -> str:
    front = data[~data["dominated"] & (data["cost"] == "time")]
    shown = "Scatter of ToW against relative cost. On the front by time, by forget set"
    return alt_text(shown, front, "{difficulty}: {method} with {rule}, {mean:.3f} at {ratio:.2g}")
