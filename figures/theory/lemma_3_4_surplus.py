"""Lemma 3.4: how much more signal SAM learns than SGD, branch by branch in |phi|, and their ratio."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import outside_legend, panel_grid
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Records
from figures.tables.theory import claim_records
from repro.statistics.effects import Table

CLAIM = "lemma-3.4-surplus-difference"
READINGS = {"difference": "$\\kappa$: SAM − SGD", "ratio": "$\\kappa$: SAM / SGD"}
LOOKS = (("sgd", "s"), ("asam", "o"), ("sam", "^"))  # by dimension


@figure("fig-theory-surplus", place=170, shows="signal surplus against |phi|", studies=("claims",),
        claims=("lemma-3.4-surplus-difference",),
        made_by="repro theory claims lemma-3.4-surplus-difference")  # fmt: skip
def signal_surplus(records: Records, theme: Theme) -> Drawing:
    """Draw difference and ratio of learned signal for each dimension and time, by branch, with the closed form."""
    record = claim_records(records, [CLAIM]).get(CLAIM)
    if record is None:
        raise NotRun("signal surplus")
    figure, axes = panel_grid(1, 2, width=WIDE, height=3.2)
    parts = [_branch_points(how, record.result["rows"]) for how in READINGS]
    for panel, label, rows in zip(axes[0], READINGS.values(), parts, strict=True):
        panel.set(xlabel=r"signal norm $|\phi|$", ylabel=label)
        _surplus(panel, rows, theme)
    data, seeds = pd.concat(parts, ignore_index=True), str(record.result["seeds"])
    outside_legend(figure, axes[0, 0], columns=3, head=f"means over {seeds} seeds; exponents of each branch in the CSV")
    return Drawing(data, _caption(data, seeds), _alt(data), (record,), (), figure)


def _branch_points(how: str, rows: list[dict]) -> Table:
    """Return one row per point of every branch: simulation, closed form, and local exponent of the difference."""
    parts = []
    for row in rows:
        names = ("stage", "start", "d", "epochs", "branch", "exponent", "exponent_low", "exponent_high",
                 "exponent_closed")  # fmt: skip
        points = {"norm": row["norms"], "value": row[how], "closed": row[f"{how}_closed"]}
        frame = pd.DataFrame(points).astype({"value": float, "closed": float})
        parts.append(frame.assign(reading=how, **{name: row[name] for name in names}))
    return pd.concat(parts, ignore_index=True)


def _surplus(axes: Any, data: Table, theme: Theme) -> None:
    shown = data[data["stage"] == "pretraining"]
    times, named = sorted(shown["epochs"].unique()), set()
    for (d, epochs, branch), line in shown.groupby(["d", "epochs", "branch"], sort=False):
        look = LOOKS[sorted(shown["d"].unique()).index(d) % len(LOOKS)]
        color, marker = theme.color(look[0]), look[1]
        filled = "full" if epochs == times[-1] else "none"
        label = None if d in named else f"d = {d:g}"
        named.add(d)
        axes.plot(line["norm"], line["value"], color=color, marker=marker, fillstyle=filled, label=label,
                  linestyle="-" if branch == "linear" else ":", linewidth=0.5 + 0.4 * times.index(epochs))  # fmt: skip
        axes.plot(line["norm"], line["closed"], color=theme.faint, linewidth=4, alpha=0.5, zorder=0)
    axes.plot([], [], color=theme.faint, linewidth=4, alpha=0.5, label="closed form")
    axes.plot([], [], color=theme.ink, label="linear, inside the hypothesis")
    axes.plot([], [], color=theme.ink, linestyle=":", label="saturated, beyond it")
    axes.set(xscale="log", yscale="log")


def _fits(data: Table) -> str:
    rows = data[(data["reading"] == "difference") & (data["stage"] == "pretraining")]
    parts = []
    for branch, found in rows.groupby("branch", sort=False):
        fits, closed = found["exponent"].dropna(), found["exponent_closed"].dropna()
        parts.append(f"{branch}: {fits.min():.2f} to {fits.max():.2f} (closed form {closed.min():.2f} to "
                     f"{closed.max():.2f})")  # fmt: skip
    return "; ".join(parts)


def _caption(data: Table, seeds: str) -> str:
    return (
        "Signal surplus (Lemma 3.4): signal kappa learned by SAM (radius rho_th) against SGD in the same epochs of "
        "pretraining, as a difference (left) and as a ratio (right). Solid, inside the hypothesis: learning is linear "
        "(Y < 0.1, Y = eta N |phi|^2 / (4 m)). Dotted, beyond it: learning saturates (Y > 3). Thicker lines: more "
        "epochs. Broad lines: the closed form f + e^f = 1 + drive, with 60 % of the noise neurons active. Means over "
        f"{seeds} seeds. Local exponents of |phi| in the difference: {_fits(data)}."
    )


def _alt(data: Table) -> str:
    return (
        "Difference and ratio of learned signal against signal norm, log axes. "
        f"Exponents of the difference: {_fits(data)}."
    )
