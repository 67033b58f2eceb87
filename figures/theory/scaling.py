"""How the boundary scales: |phi| at test error 0.1 along d at the corners of a box, and its exponents three times."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import data_ticks, label_panels, log_axis, outside_legend, panel_grid, points
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.theory import claim_records
from repro.statistics.effects import Table

NAME = "scaling"
PLACE = ["a", "b", "c"]
MARKERS = "osD^vPX*"


@figure("fig-theory-scaling", place=210, shows="how the boundary moves with d, n, epochs and the start",
        studies=("measurements",), claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"),
        made_by="repro theory claims scaling")  # fmt: skip
def boundary_scaling(records: Records, theme: Theme) -> Drawing:
    """Draw one column per rule: above, the boundary along d at each corner; below, the exponents."""
    record = claim_records(records, [NAME], "theory_measurement").get(NAME)
    if record is None:
        raise NotRun("how the boundary scales")
    data: Table = pd.DataFrame(record.result["rows"])
    rules = list(data["rule"].unique())
    figure, axes = panel_grid(2, len(rules), width=WIDE, height=5.6, sharey="row")
    for column, rule in zip(axes.T, rules, strict=True):
        rows = data[data["rule"] == rule].reset_index(drop=True)
        _boundary_along_d(column[0], rows, theme.color(str(rule)))
        _exponents(column[1], rows, theme.color(str(rule)), theme)
    titles = [f"pretrained by {rule_label(rule)}" for rule in rules]
    label_panels(axes, titles=titles, rows=(r"$|\phi|$ at test error 0.1", r"exponent of $d$ in $|\phi|^*$"),
                 x="$a$, $b$, $c$ from above")  # fmt: skip
    outside_legend(figure, axes[1, 0], columns=4, head=f"95 % bootstrap intervals, {record.result['seeds']} seeds")
    table = data.explode(["axis", "boundary", "boundary_strength", "start_there", "predicted"], ignore_index=True)
    numbers = [*PLACE, "derived", "axis", "boundary", "predicted"]
    table = table.drop(columns=["predicted_far"]).astype(dict.fromkeys(numbers, float))
    return Drawing(table, _caption(record.result["seeds"]), _alt(data), (record,), (), figure)


def _boundary_along_d(axes: Any, rows: Table, color: str) -> None:
    for place, row in enumerate(rows.to_dict("records")):
        found, ours = (np.array(row[name], dtype=float) for name in ("boundary", "predicted"))
        axes.plot(row["axis"], found, color=color, marker=MARKERS[place % len(MARKERS)], linestyle="none", markersize=4,
                  fillstyle="full" if row["a"] == 1.0 else "none")  # fmt: skip
        axes.plot(row["axis"], ours, color=color, linewidth=0.6)
    log_axis(axes, "x")
    log_axis(axes, "y")
    data_ticks(axes, rows["axis"].iloc[0], most=4)
    axes.set_xlabel("dimension $d$")


def _exponents(axes: Any, rows: Table, color: str, theme: Theme) -> None:
    places = np.arange(len(rows))
    for place, derived in zip(places, rows["derived"], strict=True):
        axes.plot([place - 0.4, place + 0.4], [derived, derived], color=theme.ink, linewidth=1.2, label="derived")
    for place, a in zip(places, rows["a"], strict=True):
        points(axes, [place], rows[place : place + 1], "exponent", color=color, markersize=4, capsize=0,
               marker=MARKERS[place % len(MARKERS)], fillstyle="full" if a == 1.0 else "none",
               label="simulated" if place == 0 else None)  # fmt: skip
    axes.plot(places - 0.22, rows["mean_field"].astype(float), color=theme.ink, marker="+", linestyle="none",
              markersize=5, label="mean field, the same d")  # fmt: skip
    axes.plot(places + 0.22, rows["mean_field_far"].astype(float), color=theme.ink, marker="x", linestyle="none",
              markersize=4, label="mean field, far out")  # fmt: skip
    axes.axhline(0.0, color=theme.faint, linewidth=0.8, zorder=0)
    axes.set_xticks(places, ["\n".join(f"{row[name]:g}" for name in PLACE) for _, row in rows.iterrows()])


def _caption(seeds: int) -> str:
    return (
        "How the boundary of benign overfitting moves with the dimension d where the start follows d^-a, the epochs of "
        "pretraining d^b and the samples d^c. Above: the signal |phi| at test error 0.1. Marks are the simulation, and "
        "lines the mean field; open marks have a = 1/2. Below: the exponent of d at each corner of the box. "
        "Horizontal lines are derived from the closed forms, and the marks from above are simulated. Plus signs are "
        "the mean field over the same dimensions. Crosses are the mean field far out (d = 4e5 to 4e6), where "
        f"corrections to the powers are smaller. {seeds} seeds."
    )


def _alt(data: Table) -> str:
    parts = [f"{row.rule}, a = {row.a:g}, b = {row.b:g}, c = {row.c:g}: derived {row.derived:.2f}, "
             f"simulated {_exponent_text(row.exponent)}" for row in data.itertuples()]  # fmt: skip
    return "Boundary curves on log axes, and their exponents. " + "; ".join(parts) + "."


def _exponent_text(value: Any) -> str:
    return "off the grid" if value is None or np.isnan(value) else f"{value:.2f}"
