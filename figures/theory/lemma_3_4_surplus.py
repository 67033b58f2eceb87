"""Lemma 3.4: how much more signal SAM learns than SGD, as a ratio and as a difference, branch by branch in |phi|."""

from typing import Any

import pandas as pd

from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import outside_legend, panel_grid, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.intervals import Table
from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records, claim_seeds

READINGS = {
    "ratio": ("lemma-3.4-surplus-ratio", "$\\kappa$: SAM / SGD"),
    "difference": ("lemma-3.4-surplus-difference", "$\\kappa$: SAM − SGD"),
}
LOOKS = (("sgd", "s"), ("asam", "o"), ("sam", "^"))  # by dimension


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ratio and difference of learned signal for each dimension and time, by branch, beside the closed form."""
    found = claim_records(records)
    missing = [f"surplus as a {how}: {claim_command(name)}" for how, (name, _) in READINGS.items() if name not in found]
    if len(missing) == len(READINGS):
        return empty_figure(missing[0], theme)
    figure, axes = panel_grid(1, 2, width=WIDE, height=3.2)
    parts, used = [], []
    for panel, (how, (name, axis)) in zip(axes[0], READINGS.items(), strict=True):
        panel.set_ylabel(axis)
        panel.set_xlabel(r"signal norm $|\phi|$")
        if name not in found:
            say_not_run(panel, f"surplus as a {how}: {claim_command(name)}", theme)
            continue
        used.append(found[name])
        data = _rows(how, found[name].result["rows"])
        parts.append(data)
        _panel(panel, data, theme)
    data = pd.concat(parts, ignore_index=True)
    seeds = claim_seeds(used)
    labelled = axes[0, 0] if parts[0]["reading"].iloc[0] == "ratio" else axes[0, 1]
    outside_legend(figure, labelled, columns=4, head=f"means over {seeds} seeds; exponents of each branch in the CSV")
    return Drawing(data, _caption(data, seeds), _alt(data), tuple(used), tuple(missing), figure)


def _rows(how: str, rows: list[dict]) -> Table:
    """Return one row a point of every branch: the simulation, the closed form, and the branch's local exponent."""
    parts = []
    for row in rows:
        names = ("stage", "start", "d", "epochs", "branch", "exponent", "exponent_low", "exponent_high",
                 "exponent_closed", "misfit")  # fmt: skip
        points = {"norm": row["norms"], "value": row[how], "closed": row[f"{how}_closed"]}
        frame = pd.DataFrame(points).astype({"value": float, "closed": float})
        parts.append(frame.assign(reading=how, **{name: row[name] for name in names}))
    return pd.concat(parts, ignore_index=True)


def _panel(axes: Any, data: Table, theme: Theme) -> None:
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
    axes.set(xscale="log", yscale="log")


def _fits(data: Table, reading: str) -> str:
    rows = data[(data["reading"] == reading) & (data["stage"] == "pretraining")]
    parts = []
    for branch, found in rows.groupby("branch", sort=False):
        fits, closed = found["exponent"].dropna(), found["exponent_closed"].dropna()
        parts.append(f"{branch}: {fits.min():.2f} to {fits.max():.2f} (closed form {closed.min():.2f} to "
                     f"{closed.max():.2f})")  # fmt: skip
    return "; ".join(parts)


def _caption(data: Table, seeds: str) -> str:
    fits = " ".join(f"Local exponents of |phi| in the {how}: {_fits(data, how)}." for how in data["reading"].unique())
    return (
        "Signal surplus (Lemma 3.4): signal kappa learned by SAM (radius rho_th) against SGD in the same epochs of "
        "pretraining, as a ratio (left) and as a difference (right), where learning is linear (Y < 0.1, solid) and "
        "where it saturates (Y > 3, dotted), Y = eta N |phi|^2 / (4 m). Thicker lines: more epochs. Broad lines: the "
        f"closed form f + e^f = 1 + drive, with 60 % of the noise neurons active. Means over {seeds} seeds. {fits}"
    )


def _alt(data: Table) -> str:
    return "Ratio and difference of learned signal against signal norm, log axes. " + " ".join(
        f"{how}: {_fits(data, how)}." for how in data["reading"].unique()
    )
