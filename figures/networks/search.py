"""How a study's learning rates were chosen (tab-choice), and ToW at rates between them on several seeds (fig-rates)."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from figures import marks
from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import data_ticks, label_panels, outside_legend, panel_grid
from figures.drawing.style import WIDE, Theme
from figures.marks import curve, limits
from figures.tables.names import in_order, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import (
    SETTING,
    in_table,
    original_accuracy,
    run_caption,
    seed_range,
    study_runs,
    study_table,
    swept_table,
    tag,
    unlearn_table,
)
from figures.tables.texts import alt_text
from repro.records.record import Record
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

ROW = list(SETTING)
COLUMNS = [*ROW, "candidate", "tow", "runs", "chosen", "state"]
INTERIOR, EDGE = "interior", "edge"
NOTHING = "no better than doing nothing"


@figure("tab-choice", place=340, shows="how the learning rates were chosen", studies=("cifar10",))
def learning_rate_search(records: Records, theme: Theme) -> Drawing:
    """Write ToW at every learning rate tried in each setting; mark the chosen rate and say whether it is on an edge."""
    runs = [run for run in study_runs(records) if run.result.get("choice")]
    stated = stated_searches(runs)
    rows = [dict(zip(ROW, place, strict=True))
            | {"candidate": rate, "tow": tow, "chosen": rate == said["value"]}
            | {"runs": 1 + len(said.get("more_seeds", ())), "state": said["state"]}
            for place, said in stated.items() for rate, tow in said["curve"]]  # fmt: skip
    data: Table = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    if data.empty:
        raise NotRun("runs whose rate was searched for", COLUMNS)
    name = next(iter(stated.values()))["name"]
    edges = sum(said["state"] == EDGE for said in stated.values())
    seeds = sorted({seed for said in stated.values() for seed in (said["seed"], *said.get("more_seeds", ()))})
    caption = (
        f"How the study chose {name}: ToW in percent of every value that was tried; * marks the one the study uses. "
        f"Winner: {INTERIOR} where values on both sides were tried, {EDGE} where it is the smallest or largest one. "
        f"'{NOTHING}': even the smallest is within the noise floor of the original model. "
        f"{edges} of {len(stated)} winners stand on an edge. Setting: {tag(runs[0], 'dataset')}, "
        f"{tag(runs[0], 'model')}, training seed {', '.join(map(str, seeds))}, which the study does not use. "
        f"{original_accuracy(unlearn_table(runs))}"
    )
    alt = f"A table of {len(stated)} rows, one per method, rule, forget set and pretraining rule: ToW by {name}."
    return Drawing(data, caption, alt, tuple(runs), display=_display(data, name, stated))


def stated_searches(runs: Iterable[Record]) -> dict[tuple[object, ...], dict[str, Any]]:
    """Return what the runs of a study say about the search in each setting: `name`, `value`, `curve`, `seed`, `state`.

    `result["choice"]` is the state, its numbers are in `result["choice_details"]`.
    """
    found = {tuple(tag(run, name) for name in ROW): run.result for run in runs}
    return {place: result["choice_details"] | {"state": result["choice"]} for place, result in sorted(found.items())
            if result["choice_details"]["value"] is not None}  # fmt: skip


def _display(data: Table, name: str, stated: dict[tuple[Any, ...], dict[str, Any]]) -> Table:
    """Return a line for each setting and a column for each rate."""
    nothing = [stated.get(key, {}).get("original_tow") for key in data[ROW].itertuples(index=False, name=None)]
    texts = data.assign(
        text=[
            "diverged" if pd.isna(row.tow) else f"{100 * row.tow:.2f}{' *' * row.chosen}" for row in data.itertuples()
        ],
        nothing=["—" if tow is None else f"{100 * tow:.2f}" for tow in nothing],
    )
    rows = {"method": "method", "rule": "unlearn", "difficulty": "forget set", "pretrain": "pretrain",
            "state": "winner", "nothing": "do nothing"}  # fmt: skip
    rates = {one: f"{name} {one:g}" for one in sorted(set(data["candidate"]))}
    return marks.table(texts, rows, rates, by="candidate")


@figure("fig-rates", place=345, shows="ToW against the learning rate, seed by seed",
        studies=("cifar10-rates", "cifar10-rates-asam"), claims=("1a",))  # fmt: skip
def tow_over_rates(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's ToW against the learning rate: a thin line per seed, a thick one for the mean of each rule."""
    runs, table = study_table(records, having="tow", shown=("lr",))
    table = swept_table(table, "lr")
    if table.empty:
        raise NotRun("NegGrad at three or more learning rates", [*ROW, "lr", "mean", "sd", "seeds"])
    means = summarize(table, [*ROW, "lr"], "tow").sort_values("lr").drop(columns=["low", "high", "diverged"])
    sets, before = order(table, "difficulty"), order(table, "pretrain")
    figure, axes = panel_grid(len(sets), len(before), width=WIDE, height=0.9 + 2.2 * len(sets), sharex=True,
                              sharey="row")  # fmt: skip
    for line, difficulty in zip(axes, sets, strict=True):
        seeds, mean = (rows[rows["difficulty"] == difficulty] for rows in (table, means))
        for panel, rule in zip(line, before, strict=True):
            _seeds_and_means(panel, seeds[seeds["pretrain"] == rule], mean[mean["pretrain"] == rule], theme)
        line[0].set_ylabel(f"ToW, forget set: {difficulty}" + limits(line[0], [seeds["tow"]]))
    for panel in axes.flat:
        panel.set_xscale("log")
        data_ticks(panel, means["lr"], most=4)
    label_panels(axes, titles=[f"NegGrad after {rule_label(rule)}" for rule in before], x="learning rate")
    outside_legend(figure, axes[0, 0], columns=4, head=f"thick: mean, thin: a training seed, {seed_range(table)} seeds")
    best = means.loc[means.groupby(ROW)["mean"].idxmax()]
    caption = (
        "Does a rule win because its best rate happened to be tried? ToW of NegGrad at rates between those of the "
        "study and next to them, on the seeds and the half of the forget and test images that only choose rates. "
        f"{run_caption(table)}"
    )
    alt = alt_text("Curves of ToW over the learning rate. Best mean", best,
                   "{pretrain} to {rule}, {difficulty}: {mean:.3f} at {lr:g}")  # fmt: skip
    return Drawing(means, caption, alt, in_table(runs, table), (), figure)


def _seeds_and_means(axes: Any, runs: Table, means: Table, theme: Theme) -> None:
    for (rule, _), seed in runs.sort_values("lr").groupby(["rule", "seed"]):
        axes.plot(seed["lr"], seed["tow"], color=theme.color(rule), linewidth=0.5, alpha=0.5)
    curve(axes, in_order(means.assign(line=means["rule"]), ["rule"]), "lr", theme)
