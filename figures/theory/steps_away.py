"""Leaving the theory step by step: what each change of the network does to the curves that the theory predicts."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing
from figures.drawing.panels import data_ticks, label_panels, outside_legend, panel_grid, points
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.steps_away import LEVEL, ORDER, STAGES, distances, steps_away
from figures.tables.texts import alt_text, span
from figures.theory.networks import nothing_compared
from repro.statistics.effects import Table
from repro.statistics.seeds import interval

WHAT = (
    "Distance of a network from its matched theory: the exact theory on the same draw of the data, with the weights "
    "and batches of the network before the step. It is the mean over signal strengths of |mean over seeds of network "
    "- theory|, with its 95 % bootstrap interval over seeds. Before: test error of the original. Matched: test error "
    f"at the first measured epoch with forget error of at least {LEVEL:g}, where both come so far."
)
COLUMNS = ["step", "pretrain", "unlearn", "stage", "seeds", "distance", "low", "high", "reached", "reached_theory"]


@figure("fig-ladder", place=260, shows="leaving the theory step by step: how far each step leads away",
        studies=("ladder", "signal-noise"))  # fmt: skip
def test_error_by_step(records: Records, theme: Theme) -> Drawing:
    """Draw one panel per step: test error of the original against signal strength, and the distance from the theory."""
    pairs, table = steps_away(records)
    if not pairs:
        raise nothing_compared(records)
    data, numbers = _strength_points(table), distances(table)
    steps = [name for name in ORDER if name in set(table["step"])]
    rows = -(-len(steps) // 3)
    figure, axes = panel_grid(rows, 3, width=WIDE, height=0.8 + 1.75 * rows, sharex=True, sharey=True)
    for panel, step in zip(axes.flat, steps, strict=False):
        _one_step(panel, data[data["step"] == step], theme)
        panel.set_title(f"{step}\n{_distance_line(numbers[numbers['step'] == step])}")
    for panel in axes.flat[len(steps) :]:
        panel.set_visible(False)
    label_panels(axes, rows=["test error\nbefore unlearning"] * rows)
    for panel in axes.flat[max(0, len(steps) - 3) : len(steps)]:
        panel.set_xlabel("signal strength $s$")
        panel.tick_params(labelbottom=True)
    data_ticks(axes[0, 0], data["signal_strength"], most=6)
    outside_legend(figure, axes[0, 0], columns=4, head="lines: the theory on the same data; points: networks")
    caption = (
        "Test error of the original model against signal strength while the network leaves the theory, one "
        f"change per panel; means and 95 % t-intervals over {span(numbers['seeds'])} seeds, colour by the rule of "
        f"pretraining. D, before and at matched forgetting: {WHAT[0].lower()}{WHAT[1:]}"
    )
    return Drawing(data, caption, _alt(numbers), tuple(chain(*pairs)), _steps_missing(steps), figure)


@figure("tab-ladder", place=270, shows="the distance of each step from the theory, in numbers",
        studies=("ladder", "signal-noise"))  # fmt: skip
def distances_by_step(records: Records, theme: Theme) -> Drawing:
    """Draw the distances of each step as a table."""
    pairs, table = steps_away(records)
    if not pairs:
        raise nothing_compared(records, COLUMNS, WHAT)
    found = distances(table)
    display = pd.DataFrame([_distance_row(rows) for _, rows in found.groupby(["step", "pretrain"], sort=False)])
    missing = _steps_missing(list(found["step"]))
    return Drawing(found[COLUMNS], WHAT, _alt(found), tuple(chain(*pairs)), missing, display=display)


def _strength_points(table: Table) -> Table:
    """Return mean and interval of network and matched theory before unlearning, by step, rules and strength."""
    rows = []
    for key, runs in table.groupby(["step", "pretrain", "unlearn", "signal_strength"], sort=False):
        sides = {side: interval(runs[f"before{side}"]) for side in ("", "_theory")}
        numbers = {f"{name}{side}": value for side, found in sides.items() for name, value in found.items()}
        rows.append(dict(zip(("step", "pretrain", "unlearn", "signal_strength"), key, strict=True)) | numbers)
    return pd.DataFrame(rows)


def _one_step(axes: Any, data: Table, theme: Theme) -> None:
    for pretrain, line in data.groupby("pretrain"):
        line, look = line.sort_values("signal_strength"), theme.lines(str(pretrain))
        x = line["signal_strength"].astype(float)
        axes.plot(x, line["mean_theory"], label=f"pretrained {rule_label(pretrain)}", **look | {"marker": ""})
        points(axes, x, line, **look)
    axes.set_xscale("log", base=2)
    axes.set_ylim(-0.03, 0.63)


def _distance_line(numbers: Table) -> str:
    parts = []
    for pretrain, rows in numbers.groupby("pretrain", sort=False):
        values = rows.set_index("stage")["distance"]
        parts.append(f"{rule_label(pretrain)} " + ", ".join(f"{values[stage]:.2f}" for stage in STAGES))
    return f"D: {'; '.join(parts)}"


def _distance_row(rows: Table) -> dict[str, str]:
    first, by_stage = rows.iloc[0], rows.set_index("stage")
    shown = {"step": first["step"], "rules": f"{rule_label(first['pretrain'])} → {rule_label(first['unlearn'])}"}
    for stage in STAGES:
        row = by_stage.loc[stage]
        ends = "no interval" if np.isnan(row["low"]) else f"{row['low']:.3f}, {row['high']:.3f}"
        shown[stage] = "never both" if np.isnan(row["distance"]) else f"{row['distance']:.3f} [{ends}]"
    reached = by_stage.loc["matched"]
    shown["came to the level"] = f"{reached['reached']:.0%} (theory {reached['reached_theory']:.0%})"
    return shown | {"seeds": str(first["seeds"])}


def _steps_missing(steps: list[str]) -> tuple[str, ...]:
    """Return the steps of the recipe without records; a ResNet is no step of it."""
    return tuple(lacking("fig-ladder", f"step {name}") for name in ORDER[:-1] if name not in steps)


def _alt(numbers: Table) -> str:
    before = numbers[numbers["stage"] == "before"]
    shown = "Distances of test-error curves from the theory, step by step"
    return alt_text(shown, before, "{step}, pretrained {pretrain}: {distance:.2f}")
