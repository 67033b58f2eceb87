"""The paper's ToW and ours, wherever the paper's is known (fig-published, and a column of the ToW tables)."""

from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import FLOOR_NOTE, floor_band, panel_grid, rule_key, spread_note
from figures.drawing.style import WIDE, Theme
from figures.marks import limits, strip
from figures.tables.floor import average_floor, noise_floors
from figures.tables.names import GRADED, family, in_order, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import complete, in_table, run_caption, seed_range, study_table
from figures.tables.texts import alt_text
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

# ToW in percent, mean over F_high, F_mid and F_low: method and unlearning rule (SAM 0.1, ASAM 1.0, Sharp MinMax with
# ASAM 1.0) to data set to value; Sharp MinMax is quoted to about a tenth.
TOW = {
    ("neggrad", "sgd"): {"ImageNet": 83.83, "CIFAR-100": 81.80},
    ("neggrad", "sam"): {"ImageNet": 83.68, "CIFAR-100": 72.78},
    ("neggrad", "asam"): {"ImageNet": 84.84, "CIFAR-100": 83.11},
    ("neggrad", "minmax"): {"ImageNet": 87.9, "CIFAR-100": 87.9},
}
SAME_DATA = {"cifar100": "CIFAR-100", "imagenet": "ImageNet"}
MARKS = {"ImageNet": "P", "CIFAR-100": "X"}


def published_text(method: str, rule: str) -> str:
    """Return the paper's values as text."""
    known = TOW.get((method, family(rule)), {})
    return ", ".join(f"{name} {value:g}" for name, value in known.items()) or "—"


@figure("fig-published", place=450, shows="the paper's ToW and ours", studies=("cifar10",))
def comparison_with_paper(records: Records, theme: Theme) -> Drawing:
    """Draw NegGrad's mean ToW for each rule, the paper's as open marks and ours with seeds and interval."""
    runs, table = study_table(records, having="tow")
    table = table.loc[[(row.method, family(row.rule)) in TOW for row in table.itertuples()]]
    table = complete(table[table["difficulty"].isin(GRADED)], ["rule"], ["pretrain", "difficulty"])
    if table.empty:
        raise NotRun("NegGrad on F_low, F_mid, F_high")
    dataset = str(table["dataset"].iloc[0])
    ours = summarize(table, ["rule"], "tow").assign(source=f"ours, {dataset}")
    theirs: Table = pd.DataFrame([
        {"rule": rule, "mean": value / 100, "source": f"paper, {name}"}
        for rule in order(ours, "rule") for name, value in TOW["neggrad", family(rule)].items()
    ])  # fmt: skip
    figure, axes = panel_grid(1, 1, width=WIDE, height=2.8)
    panel, named = axes[0, 0], lambda rows: rows.assign(region="", group=rows["rule"].map(rule_label))
    seeds = table.groupby(["rule", "seed"])["tow"].mean().rename("value").reset_index()
    strip(panel, named(in_order(ours, ["rule"])), theme, seeds=named(seeds))
    places = dict(zip(order(ours, "rule"), panel.get_xticks(), strict=True))
    for shift, (name, mark) in zip((-0.3, 0.3), MARKS.items(), strict=True):
        known = theirs[theirs["source"] == f"paper, {name}"]
        panel.plot(known["rule"].map(places) + shift, known["mean"], color=theme.ink, marker=mark, linestyle="none",
                   fillstyle="none")  # fmt: skip
    floor = average_floor(noise_floors(table))
    floor_band(panel, floor, theme)
    values = [ours["mean"], theirs["mean"], [floor["mean"]] if floor else None]
    panel.set_ylabel("ToW, mean over forget sets" + limits(panel, values, ours))
    notes: list[tuple[str, dict[str, Any]]] = [
        *((f"paper, {name}", {"marker": mark, "fillstyle": "none"}) for name, mark in MARKS.items()), FLOOR_NOTE,
    ]  # fmt: skip
    head = f"colour: ours, {dataset}, {spread_note(seed_range(table))}"
    rule_key(figure, theme, order(ours, "rule"), notes=notes, head=head)
    data: Table = pd.concat([ours, theirs], ignore_index=True)
    alt = alt_text("Markers by rule", data, "{rule} {source}: {mean:.3f}")
    return Drawing(data, _caption(table, dataset), alt, in_table(runs, table), (), figure)


def _caption(table: Table, dataset: str) -> str:
    if dataset in SAME_DATA:
        compare = f"Our data set is the paper's {SAME_DATA[dataset]}."
    else:
        compare = "Our data set is not one of the paper's: compare order and sign, not values."
    return (
        "Does each rule rank as in the paper? Coloured marks are our ToW of NegGrad, averaged over the three graded "
        f"forget sets and all pretraining rules; open marks are the paper's, without deviation. {compare} The paper's "
        "rules are SAM 0.1, ASAM 1.0 and Sharp MinMax with ASAM 1.0. Grey band: noise floor, one of our retrained "
        "models against another. "
        f"{run_caption(table)}"
    )
