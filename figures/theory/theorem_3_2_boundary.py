"""Theorems 3.2 and 3.3, where overfitting turns benign: the signal at which test error crosses 0.1, over d and n."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import data_ticks, log_axis, panel_grid, say_not_run
from figures.drawing.style import WIDE, Theme
from figures.tables.records import Records
from figures.tables.theory import claim_command, claim_records, claim_seeds
from repro.statistics.effects import Table

CLAIMS = {"theorem-3.2-sgd-boundary": "SGD-pretrained", "theorem-3.3-sam-boundary": "SAM-pretrained"}
SGD, SAM = CLAIMS
LINES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)), (0, (3, 3)), (0, (8, 2))]
MARKERS = "osD^vPX*"
POWERS = {(SGD, "d"): 0.25, (SGD, "n"): -0.25, (SAM, "d"): 0.0}  # of the theorems
RANDOM_START = "pretrained by SAM"
BEYOND = "#808080"  # of lines beyond the hypothesis, seen on both themes


@figure("fig-theory-phase", place=120, shows="boundary of benign overfitting, fitted and theoretical",
        studies=("claims",), claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"))  # fmt: skip
def boundary_of_benign_overfitting(records: Records, theme: Theme) -> Drawing:
    """Draw the boundary along d inside and beyond each hypothesis, the crossover to start noise, the random start."""
    found = claim_records(records, CLAIMS)
    missing = [f"{CLAIMS[name]} boundary: {claim_command(name)}" for name in CLAIMS if name not in found]
    if not found:
        raise NotRun(f"{CLAIMS[SGD]} boundary", command=claim_command(SGD))
    parts = [_boundary_points(name, record.result["rows"]) for name, record in found.items()]
    data: Table = pd.concat(parts, ignore_index=True)
    figure, axes = panel_grid(2, 2, width=WIDE, height=7.8)  # the keys need the height
    for panel, name in zip(axes[0], CLAIMS, strict=True):
        panel.set_title(f"{CLAIMS[name]}, along $d$")
        rows = data[(data["claim"] == name) & (data["axis"] == "d") & (data["points"] > 1)]
        if rows.empty:
            say_not_run(panel, f"{CLAIMS[name]}: {claim_command(name)}", theme)
            continue
        _boundary(panel, rows, theme)
    _crossover(axes[1, 0], data[(data["claim"] == SGD) & data["stage"].str.startswith("pretrained")], theme)
    _random_start(axes[1, 1], data[data["stage"].str.startswith(RANDOM_START) & data["predicted"].notna()], theme)
    used = tuple(found.values())
    return Drawing(data, _caption(claim_seeds(used)), _alt(data), used, tuple(missing), figure)


def _boundary_points(name: str, rows: list[dict]) -> Table:
    """Return one row per stage and point of the boundary, with the fitted exponent and its interval."""
    parts, nothing = [], {"exponent": None, "exponent_low": None, "exponent_high": None}
    for row in rows:
        points = {"at": row["axis"], "boundary": row["boundary"], "forget_error": row["forget_error_there"],
                  "strength": row.get("boundary_strength"), "start_over_learned": row.get("start_there"),
                  "predicted": row.get("predicted"), "crossover": row.get("crossover")}  # fmt: skip
        points = {key: values or [None] * len(row["axis"]) for key, values in points.items()}
        names = {"claim": name, "stage": row["stage"], "axis": row["along"], "inside": row.get("inside", True)}
        names["points"] = len(row["axis"])
        parts.append(pd.DataFrame(points).assign(**names, **{key: row.get(key) for key in nothing}))
    numbers = ("boundary", "forget_error", "predicted", "strength", "start_over_learned", "crossover", *nothing)
    return pd.concat(parts, ignore_index=True).astype(dict.fromkeys(numbers, float))


def _boundary(axes: Any, rows: Table, theme: Theme) -> None:
    """Draw the lines inside the hypothesis in color and those beyond it in grey, with the theorem's own power."""
    claim, axis = rows["claim"].iloc[0], rows["axis"].iloc[0]
    for place, (stage, line) in enumerate(rows.groupby("stage", sort=False)):
        inside, fit = bool(line["inside"].iloc[0]), line.iloc[0]
        color = theme.color("sgd" if claim == SGD else "sam") if inside else BEYOND
        text = f"{'' if inside else 'beyond: '}{_short_stage(str(stage))}, {_fitted(fit, interval=inside)}"
        axes.plot(line["at"], line["boundary"], color=color, marker=MARKERS[place % len(MARKERS)], label=text,
                  linestyle=LINES[place % len(LINES)], linewidth=1.4 if inside else 0.9, markersize=4)  # fmt: skip
        if inside and line["predicted"].notna().any():
            axes.plot(line["at"], line["predicted"], color=color, linewidth=0.5, zorder=1)
    span = np.array([rows["at"].min(), rows["at"].max()], dtype=float)
    for first in rows.dropna(subset=["boundary"])[:1].to_dict("records"):  # none where all are off the grid
        power = POWERS[claim, axis]
        axes.plot(span, first["boundary"] * (span / first["at"]) ** power, color=theme.faint, linewidth=6, alpha=0.7,
                  zorder=0, label=f"theorem: $d^{{{power:g}}}$")  # fmt: skip
    _frame(axes, "dimension $d$", r"$|\phi|$ at test error 0.1", "fitted exponent [95 %]")
    data_ticks(axes, rows["at"])


def _crossover(axes: Any, rows: Table, theme: Theme) -> None:
    """Draw s* against start noise over learned noise, with the law and the hypothesis shaded."""
    axes.set_title("crossover to the noise of the start")
    law = rows.dropna(subset=["start_over_learned", "crossover"]).sort_values("start_over_learned")
    if len(law):
        axes.axvspan(law["start_over_learned"].min(), 1.0, color=theme.faint, alpha=0.35, zorder=0,
                     label="inside the hypothesis")  # fmt: skip
        axes.plot(law["start_over_learned"], law["crossover"], color=theme.ink, linewidth=0.9,
                  label="$0.93\\,(1 + r^2 / (1 + (m-1)\\,a))^{1/4}$")  # fmt: skip
    for place, ((stage, axis), line) in enumerate(rows.groupby(["stage", "axis"], sort=False)):
        text = f"{_short_stage(str(stage))}, along {axis}"
        axes.plot(line["start_over_learned"], line["strength"], color=theme.color("sgd"), linestyle="none",
                  marker=MARKERS[place % len(MARKERS)], markersize=4, label=text)  # fmt: skip
    _frame(axes, "start noise / learned noise, $r$", "$s^*$ at test error 0.1")


def _random_start(axes: Any, rows: Table, theme: Theme) -> None:
    """Draw the boundary at fixed epochs of SAM against the closed form of the random start."""
    axes.set_title("SAM at fixed epochs: the random start")
    lines = rows[rows["points"] > 1]
    for place, (stage, line) in enumerate(lines.groupby("stage", sort=False)):
        axes.plot(line["predicted"], line["boundary"], color=theme.color("sam"), marker=MARKERS[place % len(MARKERS)],
                  linestyle="none", markersize=4, label=_short_stage(str(stage)))  # fmt: skip
    others = rows[rows["points"] == 1]
    axes.plot(others["predicted"], others["boundary"], color=BEYOND, marker="x", linestyle="none", markersize=5,
              label="one setting changed")  # fmt: skip
    if len(rows):
        ends = np.array([rows["predicted"].min(), rows["predicted"].max()])
        axes.plot(ends, ends, color=theme.ink, linewidth=0.9, label="as predicted")
    _frame(axes, "$|\\phi|^*$ of the closed form", "$|\\phi|^*$ simulated")
    data_ticks(axes, rows["predicted"].round(1), most=4)


def _frame(axes: Any, x: str, y: str, title: str | None = None) -> None:
    """Make both axes logarithmic, name them, and put the key below."""
    log_axis(axes, "x")
    log_axis(axes, "y")
    axes.set(xlabel=x, ylabel=y)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), title=title, fontsize=7, title_fontsize=7)


def _fitted(fit: Any, *, interval: bool = True) -> str:
    if np.isnan(fit["exponent"]):
        return "off the grid"
    bounds = f" [{fit['exponent_low']:.2f}, {fit['exponent_high']:.2f}]" if interval else ""
    return f"{fit['exponent']:.2f}{bounds}"


def _short_stage(stage: str) -> str:
    shorter = {" epochs": " ep.", "pretrained by SAM, ": "", "forget error": "eF"}
    for words, word in shorter.items():
        stage = stage.replace(words, word)
    return stage


def _caption(seeds: str) -> str:
    return (
        "Boundary of benign overfitting: the signal at which the mean test error crosses 0.1, from the exact "
        "simulation. Above: the norm |phi| against the dimension d. Colored lines lie inside the theorem's hypothesis, "
        "grey ones beyond it. The broad line has the exponent of the theorem (3.2 for SGD: 1/4; 3.3 for SAM: none) and "
        "passes through the first point. Thin lines without marks: the mean field, without simulating. Below, left: "
        "the boundary of SGD in units of (P-1) sigma_p (d/n)^(1/4) against start noise over learned noise; the "
        "hypothesis of Theorem 3.2 is shaded. Below, right: SAM at fixed epochs against the closed form of its start. "
        f"Exponents have 95 % bootstrap intervals over {seeds} seeds. eF: forget error, which is in the CSV for every "
        "point."
    )


def _alt(data: Table) -> str:
    fits = data[data["points"] > 1].drop_duplicates(["claim", "stage", "axis"])
    parts = [f"{CLAIMS[row['claim']]}, {row['stage']}, along {row['axis']}: {_fitted(row)}"
             for row in fits.to_dict("records")]  # fmt: skip
    return "Boundary curves on log axes. Fitted exponents: " + "; ".join(parts) + "."
