"""Attacks on F in the theory at equal forgetting: the membership attack's AUC, and the epochs until F is back."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import label_panels, outside_legend, panel_grid
from figures.drawing.style import WIDE, Theme
from figures.tables.names import rule_label
from figures.tables.records import Records
from figures.tables.texts import alt_text
from figures.tables.theory import claim_command, claim_records
from figures.theory.tow import rule_marks
from repro.statistics.effects import Table

PANELS = {"membership": "AUC of the\nmembership attack on F", "relearning": "epochs until\nF is relearned"}
# A stage that no rule has unlearned: its line.
LINES = {"pretrained": ":", "retrained": "-", "start": "--"}
WORDS = {"pretrained": "pretrained", "retrained": "retrained on R", "start": "random start"}


@figure("fig-theory-attacks", place=220, shows="membership attack and relearning at equal forgetting",
        studies=("measurements",), made_by="repro theory claims membership relearning")  # fmt: skip
def attacks_at_equal_forgetting(records: Records, theme: Theme) -> Drawing:
    """Draw one row per attack and one column per pretraining rule: every rule and stage over the signal strength."""
    found = claim_records(records, PANELS, "theory_measurement")
    if missing := [name for name in PANELS if name not in found]:
        raise NotRun(f"{missing[0]} in theory", command=claim_command(missing[0]))
    data: Table = pd.concat([pd.DataFrame(found[name].result["rows"]).assign(attack=name) for name in PANELS],
                            ignore_index=True)  # fmt: skip
    befores, strengths = list(data["pretrain"].unique()), sorted(data["signal_strength"].unique())
    figure, axes = panel_grid(len(PANELS), len(befores), width=WIDE, height=5.2, sharex=True, sharey="row")
    for row, name in zip(axes, PANELS, strict=True):
        for panel, before in zip(row, befores, strict=True):
            _one_attack(panel, data[(data["attack"] == name) & (data["pretrain"] == before)], strengths, theme)
    titles = [f"pretrained by {rule_label(before)}" for before in befores]
    label_panels(axes, titles=titles, rows=PANELS.values(), x="signal strength $s$")
    axes[-1, 0].set_xticks(range(len(strengths)), [f"{s:g}" for s in strengths])
    axes[0, 0].set_ylim(-0.03, 1.03)
    seeds = found["membership"].result["seeds"]
    head = f"above means, below medians, with 95 % intervals, {seeds} seeds"
    outside_legend(figure, axes[0, 0], columns=4, head=head)
    return Drawing(data, _caption(seeds), _alt(data), tuple(found.values()), (), figure)


def _one_attack(axes: Any, rows: Table, strengths: list[float], theme: Theme) -> None:
    for place, s in enumerate(strengths):
        at = rows[rows["signal_strength"] == s]
        for stage, line in LINES.items():
            for level in at.loc[at["stage"] == stage, "value"]:
                axes.plot([place - 0.4, place + 0.4], [level, level], color=theme.ink, linestyle=line, linewidth=0.9,
                          label=WORDS[stage])  # fmt: skip
    rule_marks(axes, rows, "signal_strength", "value", theme, spread=0.14, markersize=4)


def _caption(seeds: int) -> str:
    return (
        "Two attacks on networks that have forgotten a quarter of F by NegGrad (alpha = 0.7), in the exact simulation. "
        "Above: the probability that a forget image has a larger margin than a fresh one, which is the AUC of the "
        "membership attack by loss or margin; 0.5 is chance, and below it forget images stand out as worse than fresh "
        "ones. Below: the median of epochs of gradient descent on F, at the learning rate of training, until no forget "
        "image is wrong, at most 50. Bars: 95 % intervals. Lines: the pretrained model, the model retrained on R and "
        "the random start. A rule has no mark where fewer than half of the seeds forget as much. Radii in units of "
        f"rho_th. {seeds} seeds."
    )


def _alt(data: Table) -> str:
    rows = data[data["signal_strength"] == 0.5].dropna(subset=["value"])
    rows = rows.assign(rule=rows["rule"].where(rows["rule"] != "", rows["stage"]))
    form = "{attack}, pretrained {pretrain}, {rule}: {value:.2f}"
    return alt_text("Marks with error bars over the signal strength. At s = 0.5", rows, form)
