"""The drawing shared by figures of a network study: a row a metric, a column a forget set, a group a method."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from figures.commands import ALL_METHODS, ALL_RULES
from figures.drawing import Drawing
from figures.networks import DIFFICULTIES, GRADED, run_caption, seed_range
from figures.panels import estimate, fill_style, fit_to_values, panel_grid, rule_key, spread_note
from figures.style import METHODS, WIDE, Theme, family, method_label
from figures.table import Table, summarize, unlearn_table
from repro.records.record import Record

KEYS = ["method", "pretrain", "rule", "difficulty"]
MARKS = (
    "Marker: mean; bar: 95 % t-interval; dots: training seeds. Colour and shape: unlearning rule; filling: pretraining "
    "rule (open SGD, full SAM, half ASAM). Solid line and band: the model retrained on R; dotted line: the original "
    "model, which does nothing. Panels span the seeds' values; a wider interval is cut."
)
# The paper crosses each of these methods with SGD, SAM and ASAM; Sharp MinMax belongs to NegGrad alone.
PAPER_METHODS = ("neggrad", "random_label", "salun", "l1_sparse", "scrub")
CROSSED = ("sgd", "sam", "asam")


def draw_cells(
    runs: Sequence[Record], metrics: Mapping[str, str], theme: Theme, *, what: str, wanted: Sequence[str] = ()
) -> Drawing:
    """Draw `metrics` of every cell with seeds, intervals and the retrained and original model as reference lines.

    Args:
        runs: comparable network runs.
        metrics: result name to axis label, a row each; a metric's reference lines are its `retrained_` and `original_`
            values where the runs have them.
        theme: the page.
        what: first sentence of the caption.
        wanted: methods that should be there; a missing one is listed with the command that runs it.
    """
    table = unlearn_table(runs)
    columns = [name for name in DIFFICULTIES if name in set(table["difficulty"])]
    height = 0.9 + 1.35 * len(metrics)
    figure, axes = panel_grid(len(metrics), len(columns), width=WIDE, height=height, sharex=True, sharey="row")
    summaries = []
    for row, (metric, name) in zip(axes, metrics.items(), strict=True):
        row[0].set_ylabel(name)
        for panel, difficulty in zip(row, columns, strict=True):
            summaries.append(_panel(panel, metric, table, difficulty, theme))
        fit_to_values(row[0], [table.get(f"{role}{metric}") for role in ("", "retrained_", "original_")])
    for panel, difficulty in zip(axes[0], columns, strict=True):
        panel.set_title(f"forget set: {difficulty}")
    _key(figure, table, theme)
    data = pd.concat(summaries, ignore_index=True)
    caption = f"{what} {MARKS} {run_caption(runs, table)}"
    return Drawing(data, caption, _alt(data, next(iter(metrics))), tuple(runs), missing_cells(table, wanted), figure)


def missing_cells(table: Table, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return one line for each wanted method, forget set or cell that has no run, `what: command`."""
    have = set(table[["method", "pretrain", "rule", "difficulty"]].itertuples(index=False, name=None))
    sets = set(table["difficulty"])
    lines = [f"forget set {name}: {ALL_METHODS}" for name in GRADED if name not in sets]
    lines += [f"{method_label(name)}: {ALL_METHODS}" for name in wanted if name not in set(table["method"])]
    crossed = sorted({cell[1:3] for cell in have if family(str(cell[2])) in CROSSED})
    methods = sorted({cell[0] for cell in have} & set(PAPER_METHODS))
    gaps = [(method, *pair, name) for method in methods for pair in crossed for name in sorted(sets)]
    return tuple(lines + [f"{' / '.join(map(str, gap))}: {ALL_RULES}" for gap in gaps if gap not in have])


def method_order(table: Table) -> list[str]:
    """Return the methods of a table, those of the paper first, in its order."""
    found = list(dict.fromkeys(table["method"]))
    return [name for name in METHODS if name in found] + [name for name in found if name not in METHODS]


def rule_order(table: Table) -> list[str]:
    """Return the rules of a table: SGD, SAM, ASAM, MinMax, then the others."""
    known = ["sgd", "sam", "asam", "minmax", "retain-sam"]
    place = {name: index for index, name in enumerate(known)}
    return sorted(set(table["rule"]), key=lambda rule: (place.get(family(str(rule)), len(known)), str(rule)))


def _panel(axes: Any, metric: str, table: Table, difficulty: str, theme: Theme) -> Table:
    rows = table[table["difficulty"] == difficulty]
    methods, rules = method_order(table), rule_order(table)
    series = [(pretrain, rule) for pretrain in sorted(set(table["pretrain"]), reverse=True) for rule in rules]
    summary = summarize(rows, KEYS, metric).assign(metric=metric)
    seeds = {key: cell[metric].dropna() for key, cell in rows.groupby(KEYS)} if metric in rows else {}
    for _, row in summary.iterrows():
        offset = series.index((row["pretrain"], row["rule"])) - (len(series) - 1) / 2
        place = methods.index(row["method"]) + 0.84 * offset / len(series)
        look = theme.lines(row["rule"]) | {"fillstyle": fill_style(row["pretrain"]), "markersize": 3.4}
        estimate(axes, place, row, seeds=seeds.get(tuple(row[name] for name in KEYS), ()), **look)
        if not row["seeds"]:
            axes.text(place, 0.5, "diverged", rotation=90, ha="center", va="center", fontsize=7,
                      transform=axes.get_xaxis_transform())  # fmt: skip
    axes.set_xticks(range(len(methods)), [method_label(name) for name in methods], rotation=30, ha="right")
    axes.set_xlim(-0.55, len(methods) - 0.45)
    return pd.concat([summary, _references(axes, metric, rows, theme).assign(metric=metric)], ignore_index=True)


def _references(axes: Any, metric: str, table: Table, theme: Theme) -> Table:
    """Draw the retrained model (solid) and the original, which does nothing (dotted), as lines across a panel."""
    parts = []
    for role, line in (("retrained", "-"), ("original", ":")):
        name = f"{role}_{metric}"
        if name not in table or table[name].isna().all():
            continue
        summary = summarize(table, ["difficulty"], name).assign(method=role)
        axes.axhline(summary["mean"].iloc[0], color=theme.ink, linestyle=line, linewidth=0.9, zorder=1)
        if role == "retrained":
            axes.axhspan(summary["low"].iloc[0], summary["high"].iloc[0], color=theme.ink, alpha=0.08, linewidth=0)
        parts.append(summary)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _key(figure: Any, table: Table, theme: Theme) -> None:
    lines = [("retrained on R", {"marker": "", "linestyle": "-"}), ("do nothing", {"marker": "", "linestyle": ":"})]
    pretrains = sorted(set(table["pretrain"]), reverse=True)
    rule_key(figure, theme, rule_order(table), pretrains=pretrains, notes=lines, head=spread_note(seed_range(table)))


def _alt(data: Table, metric: str) -> str:
    cells = data[(data["metric"] == metric) & data["rule"].notna()].sort_values("mean", ascending=False)
    parts = [f"{method_label(row.method)} with {row.rule} (from {row.pretrain}) on {row.difficulty}: {row.mean:.3f}"
             for row in cells.head(3).itertuples()]  # fmt: skip
    return f"Dots with error bars, a column a forget set. Highest {metric}: " + "; ".join(parts) + "."
