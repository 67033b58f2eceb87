"""Networks on the theory's own lines: quantities against signal strength, and along unlearning, at equal settings."""

from typing import Any

import numpy as np
import pandas as pd

from figures.catalogue import figure, lacking
from figures.drawing.drawing import Drawing, empty_figure, empty_table
from figures.drawing.panels import data_ticks, outside_legend, panel_grid
from figures.drawing.style import WIDE, Theme
from figures.tables.beside import (
    QUANTITIES,
    agreement,
    course_of,
    curves,
    moments,
    pairs,
    share_within,
    strength_of,
    theories,
    twins,
    unpaired,
)
from figures.tables.names import family, rule_label
from figures.tables.records import Records
from figures.tables.runs import label
from figures.tables.texts import span
from repro.records.record import Record
from repro.statistics.effects import Table

NAME, TWIN = "fig-theory-vs-empirical", "fig-theory-twin"
# Panels against signal strength: (stage, quantity).
PANELS = (("before", "test_error"), ("after", "test_error"), ("after", "forget_error"),
          ("after", "kappa"), ("after", "zeta_forget"), ("after", "active_forget_match"))  # fmt: skip
# Panels along unlearning.
ALONG = ("test_error", "forget_error", "kappa", "zeta_retain", "zeta_forget", "active_forget_match")
THIN = {"sgd": 0.9, "sam": 1.6}  # line width by the rule of pretraining


@figure("fig-theory-vs-empirical", place=230, shows="networks on the theory's lines, at their own setting",
        studies=("signal-noise",), claims=("theorem-3.2-sgd-boundary", "theorem-3.3-sam-boundary"))  # fmt: skip
def draw(records: Records, theme: Theme) -> Drawing:
    """Draw each quantity against signal strength: theory as a line with its band, networks as points with intervals."""
    data = agreement(records)
    data = data[data["course"] == ""] if len(data) else data  # others are in the table
    if data.empty:
        return empty_figure(_missing(records, NAME), theme)
    figure, axes = panel_grid(2, 3, width=WIDE, height=4.3, sharex=True)
    for panel, (stage, quantity) in zip(axes.flat, PANELS, strict=True):
        _against_strength(panel, data[(data["stage"] == stage) & (data["quantity"] == quantity)], theme)
        panel.set_ylabel(f"{QUANTITIES[quantity]}\n{stage} unlearning")
    for panel in axes[1]:
        panel.set_xlabel("signal strength $s$")
        data_ticks(panel, data["signal_strength"], most=6)
    _legend(figure, axes[0, 1])
    found = [pair for pair in pairs(records) if not course_of(pair[0])]
    used = {theory.run_id: theory for _, theory in found}
    left_out = "; ".join(f"{name} (no {', no '.join(lacks)})" for name, lacks in unpaired(records).items())
    caption = (
        "Two-layer networks (points, means and 95 % t-intervals) on the exact theory at the networks' own setting "
        f"(lines and bands, the same over {span(data['theory_seeds'])} seeds): {_setting(found[0][1])}. "
        f"{span(data['network_seeds'])} seeds a point; colour names the unlearning rule (before unlearning that of "
        f"pretraining), thin lines and open marks start from SGD. {share_within(data).capitalize()}."
    )
    caption += f" Not drawn, for the theory cannot express them: {left_out}." if left_out else ""
    return Drawing(data, caption, _alt(data), (*(run for run, _ in found), *used.values()), (), figure)


@figure("tab-agreement", place=250,
        shows="how many points of networks lie within 95 % of the theory, and how far twins are",
        studies=("signal-noise", "ladder"))  # fmt: skip
def draw_agreement(records: Records, theme: Theme) -> Drawing:
    """Draw how many points of each quantity agree with the theory, as a table; its numbers have z of every point."""
    data = agreement(records)
    what = (
        "Two-layer networks against the exact theory at their own setting, and on their own data, weights and batches."
    )
    if data.empty:
        return empty_table(_missing(records, "tab-agreement"), ["quantity", "z", "within", "twin_gap"], what)
    courses = ", ".join(filter(None, data["course"].unique()))
    known = data[data["z"].notna()]
    display = pd.DataFrame([_agreement_line(name, rows) for name, rows in known.groupby("quantity", sort=False)])
    found = pairs(records)
    caption = (
        f"{what} A point is a signal strength and a pair of rules, before or after unlearning; "
        f"{span(data['network_seeds'])} networks and {span(data['theory_seeds'])} seeds of the theory each"
        f"{f', {courses} among them' if courses else ''}. Within "
        "95 %: by Welch's interval of the difference. Distance from the twin: mean over networks of |network - "
        "theory on its data|, the largest of any point; of the test error that is the draw of a finite test set."
    )
    used = {theory.run_id: theory for _, theory in found}
    return Drawing(
        data, caption, f"{share_within(data)}.", (*(run for run, _ in found), *used.values()), display=display
    )


def _agreement_line(name: Any, rows: Table) -> dict[str, str]:
    inside = f"{int(rows['within'].sum())} of {len(rows)}"
    gap = f"{rows['twin_gap'].max():.2g}"
    return {"quantity": QUANTITIES[str(name)], "within 95 %": inside, "largest z": f"{rows['z'].abs().max():.1f}",
            "distance from the twin": gap}  # fmt: skip


@figure("fig-theory-twin", place=240,
        shows="networks and the theory on the same data, weights and batches, along unlearning",
        studies=("signal-noise",))  # fmt: skip
def draw_twin(records: Records, theme: Theme) -> Drawing:
    """Draw what networks do along unlearning on the curves of their twins: same data, weights and batches."""
    known = twins(records)
    found = [(run, known[run.run_id]) for run, _ in pairs(records) if run.run_id in known and moments(run)]
    if not found:
        return empty_figure(_missing(records, TWIN), theme)
    strengths = {strength_of(run) for run, _ in found}
    shown = min(strengths, key=lambda strength: (abs(strength - 0.5), strength))
    found = [pair for pair in found if strength_of(pair[0]) == shown]
    data: Table = pd.concat([_along(run, twin) for run, twin in found], ignore_index=True)
    mean: Table = data.groupby(["pretrain", "unlearn", "quantity", "epoch"], as_index=False)[
        ["network", "twin", "gap"]
    ].mean()
    figure, axes = panel_grid(2, 3, width=WIDE, height=4.0, sharex=True)
    for panel, quantity in zip(axes.flat, ALONG, strict=True):
        panel.set_ylabel(QUANTITIES[quantity])
        _along_epochs(panel, mean[mean["quantity"] == quantity], theme)
    for panel in axes[1]:
        panel.set_xlabel("epoch of unlearning")
    _legend(figure, axes[0, 0])
    largest = dict(data.groupby("quantity")["gap"].max())
    gaps = ", ".join(f"{QUANTITIES[name]} {largest[name]:.2g}" for name in ALONG if name in largest)
    seeds = span(data.groupby(["pretrain", "unlearn"])["seed"].nunique())
    caption = (
        f"Networks while they unlearn (points, from their weights) and the exact theory on the same data, initial "
        f"weights and batches (lines), at s = {shown:g}; means over {seeds} seeds. The network computes in single "
        f"precision and its test error is that of a finite test set. Largest distance of any run at any epoch: {gaps}."
    )
    runs = tuple(record for pair in found for record in pair)
    return Drawing(data, caption, f"Six panels of curves on which the networks' points lie. {gaps}.", runs, (), figure)


def _along(run: Record, twin: Record) -> Table:
    """Return a run and its twin at the epochs that both have: `quantity`, `epoch`, `network`, `twin`, `gap`."""
    seen, theory = moments(run), curves(twin)
    names = {"pretrain": family(label(run, "pretrain")), "unlearn": family(label(run, "rule")),
             "seed": label(run, "seed")}  # fmt: skip
    rows = []
    for place, epoch in enumerate(twin.result["epochs"]):
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
        axes.plot(x, line["theory"], label=name, linewidth=THIN.get(str(pretrain), 1.2), **look | {"marker": ""})
        axes.fill_between(x, line["theory_low"], line["theory_high"], color=look["color"], alpha=0.18, linewidth=0)
        bars = (line[["network", "network_high"]].to_numpy() - line[["network_low", "network"]].to_numpy()).T
        fill = "none" if pretrain == "sgd" else look["color"]
        axes.errorbar(x, line["network"], yerr=bars, capsize=1.6, elinewidth=0.9, linestyle="none",
                      marker=look["marker"], color=look["color"], markerfacecolor=fill)  # fmt: skip
    axes.set_xscale("log", base=2)


def _along_epochs(axes: Any, data: Table, theme: Theme) -> None:
    for (pretrain, unlearn), line in data.groupby(["pretrain", "unlearn"]):
        look = theme.lines(str(unlearn))
        name = f"{rule_label(pretrain)} → {rule_label(unlearn)}"
        width = THIN.get(str(pretrain), 1.2)
        axes.plot(line["epoch"], line["twin"], label=name, linewidth=width, **look | {"marker": ""})
        fill = "none" if pretrain == "sgd" else look["color"]
        points = line.iloc[:: max(1, len(line) // 12)]
        axes.plot(points["epoch"], points["network"], **look | {"linestyle": "none"}, markerfacecolor=fill)


def _legend(figure: Any, axes: Any) -> None:
    outside_legend(figure, axes, columns=4, head="lines: exact theory; points: networks; pretraining → unlearning")


def _missing(records: Records, name: str) -> str:
    """Return what is missing: the networks, or the theory beside them."""
    if theories(records) or pairs(records):
        return "theory on the networks' data: repro compare"
    found = [run for run in records.of("unlearn") if label(run, "dataset") == "signal-noise"]
    return "theory at the networks' setting: repro compare" if found else lacking(name, "networks")


def _setting(theory: Record) -> str:
    config = theory.result["theory"]
    names = ("d", "n", "n_forget", "m", "patches", "alpha", "pretrain_epochs", "epochs", "batch_size")
    return (
        ", ".join(f"{name} = {config[name]:g}" for name in names) + f", eta = {config['eta_scale'] / config['d']:.3g}"
    )


def _alt(data: Table) -> str:
    after = data[(data["stage"] == "after") & (data["quantity"] == "test_error")]
    parts = [f"{rule_label(row.pretrain)} to {rule_label(row.unlearn)} at s = {row.signal_strength:g}: network "
             f"{row.network:.2f}, theory {row.theory:.2f}" for row in after.itertuples()]  # fmt: skip
    return f"Six panels against signal strength. Test error after unlearning: {'; '.join(parts)}."
