"""Lemma 3.4: the smallest retain weight alpha that SGD and SAM tolerate, along d and along n, with the forget error."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import data_ticks, label_panels, log_axis, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import claim_records
from repro.statistics.effects import Table

CLAIM = "lemma-3.4-alpha-gap"
SETTING = ["strength", "pretrain", "clock", "along"]
SHOWN = "eta ~ 1/d"  # the other clock is in the CSV
ROWS = {"alpha": "smallest benign alpha", "forget_error": "forget error there"}


@figure("fig-theory-alpha", place=180, shows="alpha thresholds against d/n", studies=("claims",),
        claims=("lemma-3.4-alpha-tolerance", "lemma-3.4-alpha-gap"),
        made_by="repro theory claims lemma-3.4-alpha-gap")  # fmt: skip
def alpha_thresholds(records: Records, theme: Theme) -> Drawing:
    """Draw both thresholds and the forget error at them, one column per setting."""
    record = claim_records(records).get(CLAIM)
    if record is None:
        raise NotRun("alpha thresholds")
    data: Table = pd.DataFrame(record.result["rows"])
    settings = list(data[data["clock"] == SHOWN].groupby(SETTING, sort=False))
    figure, axes = panel_grid(2, len(settings), width=WIDE, height=3.6, sharex="col", sharey="row")
    for place, (key, rows) in enumerate(settings):
        _thresholds(axes[:, place], rows, theme)
        strength, pretrain, _, along = key
        fit = rows.iloc[0]
        exponent = "" if pd.isna(fit["exponent"]) else f"\nexponent {fit['exponent']:.2f}"
        axes[0, place].set_title(f"s = {strength:g}, pre {str(pretrain).upper()}{exponent}", fontsize=7)
        fixed = {"d": f"n = {fit['n']:g}", "n": f"d = {fit['d']:g}"}[str(along)]
        axes[1, place].set_xlabel(f"${along}$ ({fixed})", fontsize=7)
    label_panels(axes, rows=ROWS.values())
    floor = [("every alpha is benign", {"marker": "o", "fillstyle": "none"})]
    rule_key(figure, theme, ["sgd", "sam"], notes=floor,
             head=f"thresholds of mean errors over {record.result['seeds']} seeds")  # fmt: skip
    form = "s = {strength:g}, {pretrain}, d = {d:g}, n = {n:g}: SGD {alpha_sgd:.2f}, SAM {alpha_sam:.2f}"
    alt = alt_text("Thresholds of alpha along d and along n", data[data["clock"] == SHOWN], form)
    return Drawing(data, _caption(record.result["seeds"]), alt, (record,), (), figure)


def _thresholds(axes: Any, rows: Table, theme: Theme) -> None:
    values = rows[rows["along"].iloc[0]]
    for rule in ("sgd", "sam"):
        look = theme.lines(rule)
        for panel, name in zip(axes, ROWS, strict=True):
            panel.plot(values, rows[f"{name}_{rule}"], **(look | {"marker": ""}))
            for floor, points in rows.groupby(f"every_alpha_{rule}"):
                panel.plot(values[points.index], points[f"{name}_{rule}"],
                           **(look | {"linestyle": "none", "fillstyle": "none" if floor else "full"}))  # fmt: skip
            log_axis(panel, "x")
            data_ticks(panel, values, most=2)  # more would collide in so narrow a column
            panel.set_ylim(-0.05, 1.05)


def _caption(seeds: int) -> str:
    return (
        "Smallest retain weight alpha from which on the mean test error stays at most 0.1 after 100 epochs of NegGrad, "
        "for SGD and for SAM (radius rho_th), along d at fixed n and along n at fixed d (eta ~ 1/d), and the forget "
        "error each rule has at its threshold (a rule that forgets nothing tolerates any alpha). Thresholds by "
        "bisection to 0.005; open markers: every alpha is benign. Above each column: signal strength, pretraining "
        "rule, and the fitted exponent in the gap SGD − SAM of the odds alpha / (1 − alpha); the "
        "bound of Lemma 3.4 grows as d to the power 0.5 and as n to −0.5. No predicted line: the thresholds lie below "
        f"alpha = 0.9, where seeds fall apart and the mean field does not hold. {seeds} seeds."
    )
