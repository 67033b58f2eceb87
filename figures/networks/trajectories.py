"""Unlearning as it goes (fig-trajectories), and rules at matched forgetting and at matched epochs (tab-matched)."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import floor_band, label_panels, outside_legend, panel_grid
from figures.drawing.style import WIDE, Theme
from figures.marks import curve, limits
from figures.tables.floor import floor_of, floor_text, noise_floors
from figures.tables.names import family, in_order, method_label, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import in_table, run_caption, seed_range, study_table
from figures.tables.texts import alt_text, points_text, spread_text
from figures.tables.trajectories import matched_rows, trajectory_rows
from repro.statistics.effects import Table
from repro.statistics.seeds import interval

METRICS = {"tow": "ToW", "forget": "forget acc."}
ROW = ["method", "pretrain", "difficulty", "rule"]
COST = "gradient_evaluations"
NOTHING = "runs with accuracies along the way"
NUMBERS = {"ToW, matched forgetting": ("tow_matched", True), "test acc. there": ("test_matched", True),
           "gradient evaluations to it": ("gradient_evaluations_matched", False),
           "ToW, matched epochs": ("tow_end", True)}  # fmt: skip
DIFFERENCES = {"minus SGD, matched forgetting": "tow_matched", "minus SGD, matched epochs": "tow_end"}


@figure("fig-trajectories", place=50, shows="ToW and forget accuracy while unlearning", studies=("cifar10",))
def tow_while_unlearning(records: Records, theme: Theme) -> Drawing:
    """Draw ToW and forget accuracy against gradient evaluations.

    There is one colour per rule, a thin line per seed, and a thick line for the mean.
    """
    runs, table = study_table(records)
    rows = trajectory_rows(runs)
    if rows.empty:
        raise NotRun(NOTHING)
    method = order(rows, "method")[0]
    rows = rows[rows["method"] == method]
    table = table[table["run_id"].isin(rows["run_id"])]
    floors, sets = noise_floors(table), order(rows, "difficulty")
    lines = [(pretrain, metric) for pretrain in order(rows, "pretrain") for metric in METRICS]
    height = 0.9 + 1.35 * len(lines)
    figure, axes = panel_grid(len(lines), len(sets), width=WIDE, height=height, sharex="col", sharey="row")
    parts = []
    for line, (pretrain, metric) in zip(axes, lines, strict=True):
        here = rows[rows["pretrain"] == pretrain]
        for panel, difficulty in zip(line, sets, strict=True):
            parts.append(_runs_and_mean(panel, here[here["difficulty"] == difficulty], metric, theme))
            _goal(panel, metric, table, floors, (pretrain, difficulty), theme)
        start = limits(line[0], [here[metric]])
        line[0].set_ylabel(f"{METRICS[metric]}\npretrained {rule_label(pretrain)}{start}")
    label_panels(axes, titles=[f"forget set: {name}" for name in sets], x="gradient evaluations")
    axes[0, 0].plot([], [], color=theme.ink, linewidth=0.9, label="retrained on R")
    outside_legend(figure, axes[0, 0], columns=4, head=f"thick: mean, thin: a training seed, {seed_range(table)} seeds")
    data: Table = pd.concat(parts, ignore_index=True)
    caption = (
        f"How fast {method_label(method)} comes to the retrained model. ToW should rise to the grey noise floor; "
        "accuracy on the forget set should fall to the black line of the retrained model. All rules start from the "
        "original model; a step of SAM takes two gradient evaluations. On the way, retain accuracy may be measured on "
        f"a part of the retain set and shifted to end where the accuracy on the whole set ends. {run_caption(table)}"
    )
    return Drawing(data, caption, _alt(data), in_table(runs, table), (), figure)


def _runs_and_mean(axes: Any, runs: Table, metric: str, theme: Theme) -> Table:
    """Draw the runs of each rule and their mean point by point; return the means."""
    for _, run in runs.groupby("run_id"):
        axes.plot(run[COST], run[metric], color=theme.color(run["rule"].iloc[0]), linewidth=0.5, alpha=0.5)
    means = runs.groupby([*ROW, "point"], sort=False).agg(**{
        COST: (COST, "mean"), "mean": (metric, "mean"), "sd": (metric, "std"), "seeds": ("seed", "nunique"),
    })  # fmt: skip
    means = in_order(means.reset_index().assign(metric=metric), ["rule"])
    curve(axes, means.assign(line=means["rule"]), COST, theme)
    return means


def _goal(axes: Any, metric: str, table: Table, floors: Table, where: tuple[str, str], theme: Theme) -> None:
    """Draw what the curves should come to: the noise floor of ToW, or the retrained model's forget accuracy."""
    pretrain, difficulty = where
    here = table[(table["pretrain"] == pretrain) & (table["difficulty"] == difficulty)]
    if metric == "forget" and len(here):
        value = here["retrained_forget_accuracy"].mean()
        axes.axhline(value, color=theme.ink, linewidth=0.9, zorder=1)
    for rule in set(here["retraining"]) if metric == "tow" else ():
        floor_band(axes, floor_of(floors, difficulty, rule), theme, label="noise floor")


def _alt(data: Table) -> str:
    last = data[data["metric"] == "tow"].groupby(ROW, sort=False).tail(1)
    shown = "Curves over gradient evaluations. ToW at the end"
    return alt_text(shown, last, "{rule} (from {pretrain}) on {difficulty}: {mean:.3f}")


@figure("tab-matched", place=330, shows="rules at matched forgetting and at matched epochs", studies=("cifar10",))
def tow_at_matched_forgetting(records: Records, theme: Theme) -> Drawing:
    """Write ToW of each rule where it has forgotten half as much as retraining would, and ToW after all epochs."""
    runs, table = study_table(records)
    rows = matched_rows(trajectory_rows(runs))
    data = matched_table(rows)
    if data.empty:
        raise NotRun(NOTHING, list(data.columns))
    table = table[table["run_id"].isin(rows["run_id"])]
    floors = noise_floors(table)
    retraining = {(row.pretrain, row.difficulty): row.retraining for row in table.itertuples()}
    shown = pd.DataFrame([
        {"method": method_label(row["method"]), "pretrain": rule_label(row["pretrain"]),
         "forget set": row["difficulty"], "unlearn": rule_label(row["rule"]),
         "reached": f"{row['reached']} of {row['runs']}"}
        | {title: _spread_or_never(row, name, percent=percent) for title, (name, percent) in NUMBERS.items()}
        | {title: _difference_text(row, name) for title, name in DIFFERENCES.items()}
        | {"floor": floor_text(floor_of(floors, row["difficulty"], retraining[row["pretrain"], row["difficulty"]]))}
        for _, row in data.iterrows()
    ])  # fmt: skip
    never = int((data["runs"] - data["reached"]).sum())
    caption = (
        "Is a rule better than SGD once both have forgotten equally much? Matched forgetting is the first moment at "
        "which forget accuracy is halfway from the original's to the retrained model's, interpolated linearly. "
        f"{never} of {int(data['runs'].sum())} runs never come so far and have no number there. ToW and test accuracy "
        "are in percent, mean ± standard deviation (seeds). Minus SGD: difference within a seed in percentage points, "
        "with its 95 % t-interval, * where that excludes 0. Floor: ToW of a second retraining. "
        f"{run_caption(table)}"
    )
    alt = f"A table of {len(shown)} rows: method, pretraining rule, forget set and rule; ToW at matched forgetting."
    return Drawing(data, caption, alt, in_table(runs, table), display=shown)


def matched_table(rows: Table) -> Table:
    """Return one row per setting: how many of its runs forgot half, its numbers over seeds, and its differences to SGD.

    Columns: method, pretraining rule, forget set, rule, `runs`, `reached`, and for each number of `matched_rows` its
    `<number>_{mean,sd,seeds}` and `<number>_minus_sgd_{mean,low,high,seeds}`.
    """
    found = []
    same = ["method", "pretrain", "difficulty", "seed"]
    names = [name for name, _ in NUMBERS.values()]
    base = rows[rows["rule"].map(family) == "sgd"].groupby(same)[names].mean().reset_index()
    both = rows.merge(base, on=same, how="left", suffixes=("", "_sgd"))
    for key, runs in both.groupby(ROW, sort=False) if len(both) else ():
        numbers: dict[str, Any] = {"runs": len(runs), "reached": int(runs["reached"].sum())}
        # Seeds of unlearning, nested in a training seed, make training seeds no more.
        seeds = runs.groupby("seed")[[*names, *(f"{name}_sgd" for name in names)]].mean()
        for name in names:
            values = interval(seeds[name])
            numbers |= {f"{name}_{part}": values[part] for part in ("mean", "sd", "seeds")}
            step = interval(seeds[name] - seeds[f"{name}_sgd"])
            numbers |= {f"{name}_minus_sgd_{part}": step[part] for part in ("mean", "low", "high", "seeds")}
        found.append(dict(zip(ROW, key, strict=True)) | numbers)
    return (
        in_order(pd.DataFrame(found), ROW)
        if found
        else pd.DataFrame(columns=pd.Index([*ROW, "runs", "reached", *names]))
    )


def _spread_or_never(row: Any, name: str, *, percent: bool) -> str:
    numbers = {part: row[f"{name}_{part}"] for part in ("mean", "sd", "seeds")}
    return spread_text(numbers, percent=percent, digits=1 if percent else 0) if numbers["seeds"] else "never reached"


def _difference_text(row: Any, name: str) -> str:
    numbers = {part: row[f"{name}_minus_sgd_{part}"] for part in ("mean", "low", "high")}
    return "—" if family(row["rule"]) == "sgd" or pd.isna(numbers["mean"]) else points_text(numbers)
