"""Lemma 3.4: the smallest retain weight alpha that SGD and SAM tolerate, against d/n, with the forget error there."""

from typing import Any

import pandas as pd

from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import data_ticks, log_axis, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.tables.intervals import Table
from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records

CLAIM = "lemma-3.4-alpha-gap"
SETTING = ["signal_strength", "pretrain", "clock"]
ROWS = {"alpha": "smallest benign alpha", "forget_error": "forget error there"}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw both thresholds and the forget error at them, a column a setting."""
    record = claim_records(records).get(CLAIM)
    if record is None:
        return empty_figure(f"alpha thresholds: {claim_command(CLAIM)}", theme)
    data: Table = pd.DataFrame(record.result["rows"])
    data = data.assign(clock=data.get("clock", "fixed eta"))
    settings = list(data.groupby(SETTING, sort=False))
    figure, axes = panel_grid(2, len(settings), width=WIDE, height=3.6, sharex=True, sharey="row")
    for place, (key, rows) in enumerate(settings):
        _column(axes[:, place], rows, theme)
        strength, pretrain, clock = key
        fit = rows.iloc[0]
        exponent = "" if pd.isna(fit["exponent"]) else f"\nexponent {fit['exponent']:.2f}"
        axes[0, place].set_title(f"s = {strength:g}, pre {str(pretrain).upper()}\n{clock}{exponent}", fontsize=7)
        axes[1, place].set_xlabel("$d/n$")
    for row, name in zip(axes, ROWS.values(), strict=True):
        row[0].set_ylabel(name)
    floor = [("at the grid's floor", {"marker": "o", "fillstyle": "none"})]
    rule_key(figure, theme, ["sgd", "sam"], notes=floor,
             head=f"thresholds of mean errors over {record.result['seeds']} seeds")  # fmt: skip
    return Drawing(data, _caption(record.result["seeds"]), _alt(data), (record,), (), figure)


def _column(axes: Any, rows: Table, theme: Theme) -> None:
    for rule in ("sgd", "sam"):
        look = theme.lines(rule)
        for panel, name in zip(axes, ROWS, strict=True):
            panel.plot(rows["d_over_n"], rows[f"{name}_{rule}"], **(look | {"marker": ""}))
            for floor, points in rows.groupby(f"at_grid_floor_{rule}"):
                panel.plot(points["d_over_n"], points[f"{name}_{rule}"],
                           **(look | {"linestyle": "none", "fillstyle": "none" if floor else "full"}))  # fmt: skip
            log_axis(panel, "x")
            data_ticks(panel, rows["d_over_n"])
            panel.set_ylim(-0.05, 1.05)


def _caption(seeds: int) -> str:
    return (
        "Smallest retain weight alpha from which on the mean test error stays at most 0.1 after 100 epochs of NegGrad, "
        "for SGD and for SAM (radius rho_th), against d/n, and the forget error each rule has at its threshold (a rule "
        "that forgets nothing tolerates any alpha). Open markers: the smallest alpha of the grid, so the threshold may "
        "lie lower. Above each column: signal strength, pretraining rule, how the learning rate moves with d, and the "
        f"fitted exponent of d/n in the gap SGD − SAM (as a rate, Lemma 3.4 says 0.5). {seeds} seeds."
    )


def _alt(data: Table) -> str:
    parts = [f"s = {row.signal_strength:g}, {row.pretrain}, d/n = {row.d_over_n:g}: SGD {row.alpha_sgd:.2f}, "
             f"SAM {row.alpha_sam:.2f}" for row in data.itertuples()]  # fmt: skip
    return "Thresholds of alpha against d over n. " + "; ".join(parts) + "."
