"""Networks on the theory's own lines: quantities against signal strength, and along unlearning, at equal settings."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import band, data_ticks, label_panels, outside_legend, panel_grid, points
from figures.drawing.style import WIDE, Theme
from figures.tables.matched_theory import (
    QUANTITIES,
    agreement,
    curves,
    matched_theory,
    moments,
    networks,
    optimizer_extras,
    pairs,
    share_within,
    strength_of,
    theories,
    without_theory,
)
from figures.tables.names import family, rule_label
from figures.tables.records import Records
from figures.tables.runs import tag
from figures.tables.texts import alt_text, span
from repro.records.record import Record
from repro.statistics.effects import Table

# Panels against signal strength: (stage, quantity).
PANELS = (("before", "test_error"), ("after", "test_error"), ("after", "forget_error"),
          ("after", "kappa"), ("after", "zeta_forget"), ("after", "active_forget_match"))  # fmt: skip
# Panels along unlearning.
ALONG = ("test_error", "forget_error", "kappa", "zeta_retain", "zeta_forget", "active_forget_match")
THIN = {"sgd": 0.9, "sam": 1.6}  # line width by the rule of pretraining


@figure("fig-theory-vs-empirical", place=230, shows="networks on the theory's lines, at their own setting",
        studies=("signal-noise",), claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"))  # fmt: skip
def networks_against_theory(records: Records, theme: Theme) -> Drawing:
    """Draw each quantity against signal strength: theory as a line with its band, networks as points with intervals."""
    data = agreement(records)
    data = data[data["course"] == ""] if len(data) else data  # others are in the table
    if data.empty:
        raise nothing_compared(records)
    figure, axes = panel_grid(2, 3, width=WIDE, height=4.3, sharex=True)
    for panel, (stage, quantity) in zip(axes.flat, PANELS, strict=True):
        _against_strength(panel, data[(data["stage"] == stage) & (data["quantity"] == quantity)], theme)
        panel.set_ylabel(f"{QUANTITIES[quantity]}\n{stage} unlearning")
    label_panels(axes, x="signal strength $s$")
    data_ticks(axes[1, 0], data["signal_strength"], most=6)
    _key(figure, axes[0, 1])
    found = [pair for pair in pairs(records) if not optimizer_extras(pair[0])]
    left_out = "; ".join(f"{name} (no {', no '.join(lacks)})" for name, lacks in without_theory(records).items())
    caption = (
        "Two-layer networks (points, means and 95 % t-intervals) on the exact theory at the networks' own setting "
        f"(lines and bands, the same over {span(data['theory_seeds'])} seeds): {_setting(found[0][1])}. "
        f"{span(data['network_seeds'])} seeds per point; colour names the unlearning rule (before unlearning, the rule "
        f"of pretraining), thin lines and open marks start from SGD. {share_within(data)}."
    )
    caption += f" Not drawn, because the theory cannot express them: {left_out}." if left_out else ""
    return Drawing(data, caption, _alt(data), tuple(chain(*found)), (), figure)


@figure("tab-agreement", place=250,
        shows="how many points of networks agree with the theory, and how far they are from matched theory",
        studies=("signal-noise", "ladder"))  # fmt: skip
def agreement_with_theory(records: Records, theme: Theme) -> Drawing:
    """Draw how many points of each quantity agree with the theory, as a table; its CSV has z of every point."""
    data = agreement(records)
    what = (
        "Two-layer networks against the exact theory at their own setting, and on their own data, weights and batches."
    )
    if data.empty:
        raise nothing_compared(records, ["quantity", "z", "within", "twin_gap"], what)
    extras = ", ".join(filter(None, data["course"].unique()))
    known = data[data["z"].notna()]
    display = pd.DataFrame([_agreement_line(name, rows) for name, rows in known.groupby("quantity", sort=False)])
    found = pairs(records)
    caption = (
        f"{what} A point is a signal strength and a pair of rules, before or after unlearning; "
        f"{span(data['network_seeds'])} networks and {span(data['theory_seeds'])} seeds of the theory each"
        f"{f', {extras} among them' if extras else ''}. Within "
        "95 %: by Welch's interval of the difference. Distance from matched theory: mean over networks of |network - "
        "theory on its data|, the largest of any point; for the test error it is due to the finite test set."
    )
    return Drawing(data, caption, f"{share_within(data)}.", tuple(chain(*found)), display=display)


def _agreement_line(name: Any, rows: Table) -> dict[str, str]:
    inside = f"{int(rows['within'].sum())} of {len(rows)}"
    gap = f"{rows['twin_gap'].max():.2g}"
    return {"quantity": QUANTITIES[str(name)], "within 95 %": inside, "largest z": f"{rows['z'].abs().max():.1f}",
            "distance from matched theory": gap}  # fmt: skip


@figure("fig-theory-twin", place=240,
        shows="networks and the theory on the same data, weights and batches, along unlearning",
        studies=("signal-noise",))  # fmt: skip
def networks_and_matched_theory(records: Records, theme: Theme) -> Drawing:
    """Draw what networks do along unlearning on the curves of their matched theory: same data, weights and batches."""
    known = matched_theory(records)
    found = [(run, known[run.run_id]) for run, _ in pairs(records) if run.run_id in known and moments(run)]
    if not found:
        raise nothing_compared(records)
    strengths = {strength_of(run) for run, _ in found}
    shown = min(strengths, key=lambda strength: (abs(strength - 0.5), strength))
    found = [pair for pair in found if strength_of(pair[0]) == shown]
    data: Table = pd.concat([_along(run, exact) for run, exact in found], ignore_index=True)
    mean: Table = data.groupby(["pretrain", "unlearn", "quantity", "epoch"], as_index=False)[
        ["network", "twin", "gap"]
    ].mean()
    figure, axes = panel_grid(2, 3, width=WIDE, height=4.0, sharex=True)
    for panel, quantity in zip(axes.flat, ALONG, strict=True):
        panel.set_ylabel(QUANTITIES[quantity])
        _along_epochs(panel, mean[mean["quantity"] == quantity], theme)
    label_panels(axes, x="epoch of unlearning")
    _key(figure, axes[0, 0])
    largest = dict(data.groupby("quantity")["gap"].max())
    gaps = ", ".join(f"{QUANTITIES[name]} {largest[name]:.2g}" for name in ALONG if name in largest)
    seeds = span(data.groupby(["pretrain", "unlearn"])["seed"].nunique())
    caption = (
        f"Networks while they unlearn (points, from their weights) and the exact theory on the same data, initial "
        f"weights and batches (lines), at s = {shown:g}; means over {seeds} seeds. The network computes in single "
        f"precision and its test error comes from a finite test set. Largest distance of any run at any epoch: {gaps}."
    )
    alt = f"Six panels of curves on which the networks' points lie. {gaps}."
    return Drawing(data, caption, alt, tuple(chain(*found)), (), figure)


def _along(run: Record, exact: Record) -> Table:
    """Return `quantity`, `epoch`, `network`, `twin` (the matched theory) and `gap` at the epochs that both have."""
    seen, theory = moments(run), curves(exact)
    names = {"pretrain": family(tag(run, "pretrain")), "unlearn": family(tag(run, "rule")),
             "seed": tag(run, "seed")}  # fmt: skip
    rows = []
    for place, epoch in enumerate(exact.result["epochs"]):
        for quantity in ALONG if epoch in seen else ():
            share = quantity.replace("_error", "")
            own = 1.0 - seen[epoch][share] if quantity.endswith("error") else seen[epoch].get(quantity, np.nan)
            rows.append(names | {"quantity": quantity, "epoch": epoch, "network": own,
                                 "twin": theory[quantity][0, place]})  # fmt: skip
    table = pd.DataFrame(rows)
    return table.assign(gap=(table["network"] - table["twin"]).abs())


def _against_strength(axes: Any, data: Table, theme: Theme) -> None:
    for (pretrain, unlearn), line in data.groupby(["pretrain", "unlearn"], sort=False):
        line = line.sort_values("signal_strength")
        rule = str(unlearn if line["stage"].iloc[0] == "after" else pretrain)
        look = theme.lines(rule)
        name = f"{rule_label(pretrain)} → {rule_label(unlearn)}"
        x = line["signal_strength"].astype(float)
        band(axes, x, line, "theory", label=name, linewidth=THIN.get(str(pretrain), 1.2), **look | {"marker": ""})
        points(axes, x, line, "network", **look, markerfacecolor="none" if pretrain == "sgd" else look["color"])
    axes.set_xscale("log", base=2)


def _along_epochs(axes: Any, data: Table, theme: Theme) -> None:
    for (pretrain, unlearn), line in data.groupby(["pretrain", "unlearn"]):
        look = theme.lines(str(unlearn))
        name = f"{rule_label(pretrain)} → {rule_label(unlearn)}"
        width = THIN.get(str(pretrain), 1.2)
        axes.plot(line["epoch"], line["twin"], label=name, linewidth=width, **look | {"marker": ""})
        fill = "none" if pretrain == "sgd" else look["color"]
        some = line.iloc[:: max(1, len(line) // 12)]
        axes.plot(some["epoch"], some["network"], **look | {"linestyle": "none"}, markerfacecolor=fill)


def _key(figure: Any, axes: Any) -> None:
    outside_legend(figure, axes, columns=4, head="lines: exact theory; points: networks; pretraining → unlearning")


def nothing_compared(records: Records, columns: Sequence[str] | None = None, said: str = "") -> NotRun:
    """Return what is missing: the networks, or the theory at their settings or on their data."""
    if theories(records) or pairs(records):
        return NotRun("theory on the networks' data", columns, said, command="repro compare")
    if networks(records):
        return NotRun("theory at the networks' setting", columns, said, command="repro compare")
    return NotRun("networks", columns, said)


def _setting(theory: Record) -> str:
    config = theory.result["theory"]
    names = ("d", "n", "n_forget", "m", "patches", "alpha", "pretrain_epochs", "epochs", "batch_size")
    return (
        ", ".join(f"{name} = {config[name]:g}" for name in names) + f", eta = {config['eta_scale'] / config['d']:.3g}"
    )


def _alt(data: Table) -> str:
    after = data[(data["stage"] == "after") & (data["quantity"] == "test_error")]
    form = "{pretrain} to {unlearn} at s = {signal_strength:g}: network {network:.2f}, theory {theory:.2f}"
    return alt_text("Six panels against signal strength. Test error after unlearning", after, form)
