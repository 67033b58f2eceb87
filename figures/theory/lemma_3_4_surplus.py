"""Lemma 3.4: how much more retain signal SAM learns than SGD, as a ratio and as a difference, against |phi|."""

from typing import Any

import numpy as np
import pandas as pd

from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import outside_legend, panel_grid, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.intervals import Table
from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records, claim_seeds

READINGS = {
    "ratio": ("lemma-3.4-surplus-ratio", "growth of $\\kappa$: SAM / SGD"),
    "difference": ("lemma-3.4-surplus-difference", "growth of $\\kappa$: SAM − SGD"),
}
STARTS = {"initialization": ("asam", "o"), "SGD-pretrained": ("sgd", "s"), "SAM-pretrained": ("sam", "^")}


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ratio and difference of signal growth for each start and number of epochs, with a |phi|^2 guide."""
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
        parts.append(_panel(panel, how, found[name].result["rows"], theme))
    data = pd.concat(parts, ignore_index=True)
    seeds = claim_seeds(used)
    labelled = axes[0, 0] if parts[0]["reading"].iloc[0] == "ratio" else axes[0, 1]
    head = f"means over {seeds} seeds; exponents with 95 % intervals in the caption"
    outside_legend(figure, labelled, columns=4, head=head)
    return Drawing(data, _caption(data, seeds), _alt(data), tuple(used), tuple(missing), figure)


def _panel(axes: Any, how: str, rows: list[dict], theme: Theme) -> Table:
    parts = []
    for row in rows:
        rule, marker = STARTS.get(row["start"], ("minmax", "D"))
        long = row["epochs"] > 10
        axes.plot(row["norms"], row[how], color=theme.color(rule), marker=marker, linestyle="-" if long else ":",
                  fillstyle="full" if long else "none", label=f"{row['start']}, {row['epochs']} epochs")  # fmt: skip
        names = {key: row[key] for key in ("start", "epochs", "exponent", "exponent_low", "exponent_high")}
        parts.append(pd.DataFrame({"norm": row["norms"], "value": row[how]}).assign(reading=how, **names))
    norms = np.array([min(rows[0]["norms"]), max(rows[0]["norms"])])
    level = float(rows[0][how][0])
    axes.plot(norms, level * (norms / norms[0]) ** 2, color=theme.faint, linewidth=5, alpha=0.7, zorder=0,
              label=r"$|\phi|^2$ (claimed)")  # fmt: skip
    axes.set(xscale="log", yscale="log")
    return pd.concat(parts, ignore_index=True)


def _fits(data: Table, reading: str) -> str:
    rows = data[data["reading"] == reading].drop_duplicates(["start", "epochs"])
    return "; ".join(f"{row.start}, {row.epochs} epochs: {row.exponent:.2f} [{row.exponent_low:.2f}, "
                     f"{row.exponent_high:.2f}]" for row in rows.itertuples())  # fmt: skip


def _caption(data: Table, seeds: str) -> str:
    fits = " ".join(f"Exponents of |phi| in the {how}: {_fits(data, how)}." for how in data["reading"].unique())
    return (
        "Signal surplus (Lemma 3.4): growth of the retain signal kappa under SAM (radius rho_th) against SGD during "
        f"NegGrad, as a ratio (left) and as a difference (right); the broad line rises like |phi|^2. Means over "
        f"{seeds} seeds. {fits}"
    )


def _alt(data: Table) -> str:
    return "Ratio and difference of signal growth against signal norm, log axes. " + " ".join(
        f"{how}: {_fits(data, how)}." for how in data["reading"].unique()
    )
