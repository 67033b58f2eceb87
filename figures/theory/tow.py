"""Tug of war in the theory, on the axes of fig-tow: one column per signal strength, one row per pretraining rule."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import label_panels, outside_legend, panel_grid, points, spread_note
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import claim_records
from repro.statistics.effects import Table

CLAIM = "tug-of-war"
# Rule of the claims to the family that gives its color and marker, and the marker's filling.
LOOKS = {"SGD": ("sgd", "full"), "SAM 0.1": ("sam", "full"), "SAM 1": ("sam", "none"), "ASAM 0.1": ("asam", "full"),
         "retain-only SAM 0.1": ("retain-sam", "full"), "MinMax 0.1": ("minmax", "full"),
         "MinMax 0.1, fixed mask": ("minmax", "none")}  # fmt: skip
ALONG = 0.7  # alpha of the curves over epochs


@figure("fig-theory-tow", place=200, shows="ToW in theory, at each rule's best epoch and along unlearning",
        studies=("claims",), claims=("tug-of-war",), made_by="repro theory claims tug-of-war")  # fmt: skip
def tow_in_theory(records: Records, theme: Theme) -> Drawing:
    """Draw ToW at each rule's best epoch over alpha; below it, ToW along unlearning after SGD pretraining."""
    record = claim_records(records, [CLAIM]).get(CLAIM)
    if record is None:
        raise NotRun("ToW in theory")
    data: Table = pd.DataFrame(record.result["rows"])
    befores, strengths = list(data["pretrain"].unique()), sorted(data["signal_strength"].unique())
    figure, axes = panel_grid(len(befores) + 1, len(strengths), width=WIDE, height=1.6 * (len(befores) + 1) + 0.9,
                              sharey=True)  # fmt: skip
    for row, before in zip(axes, befores, strict=False):
        for panel, s in zip(row, strengths, strict=True):
            _best(panel, data[(data["pretrain"] == before) & (data["signal_strength"] == s)], theme)
    along = data[(data["pretrain"] == "sgd") & (data["alpha"] == ALONG)]
    for panel, s in zip(axes[-1], strengths, strict=True):
        _curves_along(panel, along[along["signal_strength"] == s], theme)
    names = [*(f"ToW, pretrained\n{rule_label(before)}" for before in befores), f"ToW, pretrained SGD\nα = {ALONG:g}"]
    label_panels(axes, titles=[f"$s$ = {s:g}" for s in strengths], rows=names, x="epoch of unlearning")
    axes[0, 0].set_ylim(-0.03, 1.08)
    outside_legend(figure, axes[0, 0], columns=4, head=spread_note(record.result["seeds"]))
    return Drawing(data.drop(columns=["epochs", "curve"]), _caption(record.result["seeds"]), _alt(data), (record,), (),
                   figure)  # fmt: skip


def _best(axes: Any, rows: Table, theme: Theme) -> None:
    alphas = sorted(rows["alpha"].unique())
    rule_marks(axes, rows, "alpha", "tow", theme, spread=0.12, markersize=3.6)
    for place, alpha in enumerate(alphas):
        level = rows["untouched"][rows["alpha"] == alpha].mean()
        axes.plot([place - 0.42, place + 0.42], [level, level], color=theme.ink, linestyle=":", linewidth=0.9,
                  label="do nothing" if place == 0 else None)  # fmt: skip
    axes.set_xticks(range(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    axes.set_xlabel("retain weight $\\alpha$")


def rule_marks(axes: Any, rows: Table, x: str, value: str, theme: Theme, *, spread: float, markersize: float) -> None:
    """Draw a value from `<value>_low` to `<value>_high` for every rule, side by side at each place of the axis."""
    places, rules = sorted(rows[x].unique()), [rule for rule in LOOKS if (rows["rule"] == rule).any()]
    for order, rule in enumerate(rules):
        family, fill = LOOKS[rule]
        marks = rows[rows["rule"] == rule].sort_values(x)
        at = [places.index(one) + spread * (order - (len(rules) - 1) / 2) for one in marks[x]]
        points(axes, at, marks, value, **theme.lines(family), fillstyle=fill, markersize=markersize, capsize=0,
               label=rule)  # fmt: skip


def _curves_along(axes: Any, rows: Table, theme: Theme) -> None:
    for row in rows.to_dict("records"):
        family, fill = LOOKS[row["rule"]]
        width = 1.2 if fill == "full" else 0.7
        axes.plot(row["epochs"], row["curve"], **(theme.lines(family) | {"marker": "", "linewidth": width}))


def _caption(seeds: int) -> str:
    return (
        "Tug of war (ToW, product of one minus the absolute gaps of retain, forget and test accuracy to the model "
        "retrained on R; 1 is best) in the exact simulation, NegGrad. Upper rows: at each rule's best epoch of 200, "
        "which is chosen for each seed on the other seeds; 0 epochs may be the best. One column per signal strength s, "
        "one row per pretraining rule; bars: 95 % intervals. Dotted: the pretrained model, which does nothing. Lowest "
        f"row: means of ToW along unlearning. Radii in units of rho_th. {seeds} seeds."
    )


def _alt(data: Table) -> str:
    rows = data[(data["signal_strength"] == 0.5) & (data["alpha"] == ALONG)]
    shown = f"Marks with error bars, ToW at the best epoch. At s = 0.5 and alpha = {ALONG:g}"
    return alt_text(shown, rows, "{rule} from {pretrain}: {tow:.3f}")
