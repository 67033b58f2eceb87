"""One panel for each finding of the first screen, legible at the width of a phone, from the numbers of a figure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from figures.drawing.files import render
from figures.drawing.panels import panel_grid
from figures.drawing.style import Theme, themed
from figures.tables.intervals import Table
from figures.tables.names import GRADED, rule_label

SIZE = (4.6, 2.8)  # inches: shown at about 100 pixels an inch


def panel_of(name: str, folder: Path, theme: Theme) -> bytes | None:
    """Return a PNG of the one panel that a figure comes down to, or None where its numbers are not there.

    Args:
        name: of a figure in `PICTURES`.
        folder: where `<name>.csv`, the numbers that the figure draws, is.
        theme: light or dark.
    """
    path = folder / f"{name}.csv"
    if name not in PICTURES or not path.exists():
        return None
    data = pd.read_csv(path)
    with themed(theme):
        figure, axes = panel_grid(1, 1, width=SIZE[0], height=SIZE[1])
        if "not_run" in data or not PICTURES[name](axes[0, 0], data, theme):
            return None
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
        return render(figure, "png")


def _alpha(axes: Any, data: Table, theme: Theme) -> bool:
    """Draw ToW against the weight of the retain loss, a line a rule."""
    rows = data[(data["metric"] == "tow") & data["rule"].notna() & (data["pretrain"] == "sgd")].sort_values("alpha")
    for rule, line in rows.groupby("rule", sort=False):
        axes.plot(line["alpha"], line["mean"], label=rule_label(rule), **theme.lines(str(rule)))
        axes.fill_between(line["alpha"], line["low"], line["high"], color=theme.color(str(rule)), alpha=0.15, lw=0)
    axes.set(xlabel="alpha, weight of the retain loss", ylabel="ToW (1: as retrained)")
    return rows["alpha"].nunique() > 1


def _tow(axes: Any, data: Table, theme: Theme) -> bool:
    """Draw ToW of NegGrad by forget set, a mark a rule, before a band of the noise floor."""
    sets = [name for name in (*GRADED, "random") if name in set(data["difficulty"])]
    rows = data[(data["metric"] == "tow") & (data["method"] == "neggrad") & (data["pretrain"] == "sgd")]
    rules = [rule for rule in rows["rule"].unique() if str(rule).split("-")[0] in ("sgd", "sam", "asam")]
    for place, rule in enumerate(rules):
        cells = rows[rows["rule"] == rule].set_index("difficulty").reindex(sets)
        x = [k + 0.16 * (place - (len(rules) - 1) / 2) for k in range(len(sets))]
        spread = [cells["mean"] - cells["low"], cells["high"] - cells["mean"]]
        axes.errorbar(
            x, cells["mean"], yerr=spread, label=rule_label(rule), **theme.lines(str(rule)) | {"linestyle": "none"}
        )
    floor = rows.drop_duplicates("difficulty").set_index("difficulty").reindex(sets)
    for k, (middle, half) in enumerate(zip(floor["floor"], floor["floor_sd"], strict=True)):
        label = "another retrained model" if k == 0 else None
        ends = (middle - half, middle + half)
        axes.fill_between([k - 0.4, k + 0.4], *ends, color=theme.ink, alpha=0.15, lw=0, label=label)
    axes.set_xticks(range(len(sets)), sets)
    axes.set(xlabel="forget set: how memorized", ylabel="ToW (1: as retrained)")
    return len(rules) > 1


def _matched(axes: Any, data: Table, theme: Theme) -> bool:
    """Draw test error of unlearning with SAM minus with SGD, at equal epochs and at equal forgetting."""
    rows = data[(data["rule"] == "SAM 0.1") & (data["pretrain"] == "sgd") & (data["method"] == "neggrad")]
    looks = {"epochs": ("after equally many epochs", "sam"), "forgetting": ("after equal forgetting", "minmax")}
    for matched, (label, look) in looks.items():
        line = rows[rows["matched"] == matched].sort_values("signal_strength")
        spread = [line["minus_sgd"] - line["minus_sgd_low"], line["minus_sgd_high"] - line["minus_sgd"]]
        axes.errorbar(line["signal_strength"], line["minus_sgd"], yerr=spread, label=label, **theme.lines(look))
    axes.axhline(0, color=theme.ink, lw=0.8)
    axes.set(xscale="log", xlabel="signal strength s", ylabel="test error: SAM minus SGD")
    ticks = sorted(rows["signal_strength"].unique())
    axes.set_xticks(ticks, [f"{value:g}" for value in ticks], minor=False)
    axes.set_xticks([], minor=True)
    return len(rows) > 1


PICTURES: dict[str, Callable[[Any, Table, Theme], bool]] = {
    "fig-alpha": _alpha,
    "fig-tow": _tow,
    "fig-theory-matched": _matched,
}
# What a reader who cannot see a picture is told.
SEEN = {
    "fig-alpha": "Lines: ToW against alpha, one for each rule of unlearning, with 95 % bands.",
    "fig-tow": "Points: ToW of NegGrad on each forget set, one for each rule, with 95 % intervals and the noise floor.",
    "fig-theory-matched": "Lines: test error of SAM minus that of SGD against signal strength; below 0 SAM is better.",
}
