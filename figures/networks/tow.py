"""ToW at a glance (fig-tow): a panel a forget set and pretraining rule, few marks a method, the noise floor."""

from typing import Any, NamedTuple

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import (
    FLOOR_NOTE,
    estimate,
    fit_to_values,
    floor_band,
    note,
    panel_grid,
    rule_key,
    spread_note,
)
from figures.drawing.slots import Slots, arrange
from figures.drawing.style import WIDE, Theme
from figures.networks.cells import KEYS
from figures.tables.cells import run_caption, seed_range, study_runs, unlearn_table
from figures.tables.floor import floor_of, noise_floors, own_reference, reaches, with_references
from figures.tables.intervals import Table, summarize
from figures.tables.names import (
    family,
    method_label,
    method_order,
    rule_label,
    rule_order,
    set_order,
)
from figures.tables.records import Records

MOST = 5
WHAT = (
    "Tug-of-war (ToW, product of one minus the absolute gaps of retain, forget and test accuracy to the model "
    "retrained on R; 1 is best). A column a forget set, a row a pretraining rule and reference: SAM-pretrained cells "
    "against their own retrain and against the SGD retrain of the same seed. Marker: mean; bar: 95 % t-interval; dots: "
    "training seeds; a run that diverged has ToW 0. Grey band: noise floor, mean ± standard deviation of ToW of one "
    "retrained model against another of another seed; a method whose interval reaches it is as good as retraining. "
    "Dotted: the original model, which does nothing. Panels span the seeds' values; a wider interval is cut."
)


class Row(NamedTuple):
    """A row of panels: the pretraining rule, the column of ToW and the rule of the retrained models behind it."""

    pretrain: str
    metric: str
    retraining: str

    def title(self) -> str:
        """Return its name on the vertical axis."""
        against = f"\nagainst {rule_label(self.retraining)} retrain" if family(self.pretrain) != "sgd" else ""
        return f"ToW, pretrained\n{rule_label(self.pretrain)}{against}"


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw ToW of every cell beside the noise floor of its forget set."""
    runs = study_runs(records, having="tow")
    if not runs:
        return empty_figure(lacking("fig-tow", "network runs with ToW"), theme)
    table = with_references(unlearn_table(runs))
    rules = shown_rules(table)
    shown = table[table["rule"].isin(rules)]
    sets, rows, floors = set_order(shown), _rows(shown), noise_floors(table)
    figure, axes = panel_grid(len(rows), len(sets), width=WIDE, height=0.9 + 1.6 * len(rows), sharex="row", sharey=True)
    parts = []
    for line, row in zip(axes, rows, strict=True):
        line[0].set_ylabel(row.title())
        cells = shown[(shown["pretrain"] == row.pretrain) & ~own_reference(shown, row.retraining)]
        slots = arrange(("", method_label(method), (method, rule)) for method in method_order(cells) for rule in rules
                        if ((cells["method"] == method) & (cells["rule"] == rule)).any())  # fmt: skip
        for panel, difficulty in zip(line, sets, strict=True):
            floor = floor_of(floors, difficulty, row.retraining)
            parts.append(_panel(panel, (cells[cells["difficulty"] == difficulty], row.metric, slots), floor, theme))
    for panel, name in zip(axes[0], sets, strict=True):
        panel.set_title(f"forget set: {name}")
    values = [row.metric for row in rows] + [f"original_{row.metric}" for row in rows]
    fit_to_values(axes[0, 0], [*(shown.get(name) for name in values), floors["mean"][floors["metric"] == "tow"]])
    notes = [FLOOR_NOTE, ("do nothing", {"marker": "", "linestyle": ":"})]
    rule_key(figure, theme, rules, notes=notes, head=spread_note(seed_range(shown)))
    data: Table = pd.concat(parts, ignore_index=True)
    more = [rule_label(rule) for rule in rule_order(table) if rule not in rules]
    rest = f" Rules in the tables only: {', '.join(more)}." if more else ""
    caption = f"{WHAT}{rest} {run_caption(runs, table)}"
    return Drawing(data, caption, _alt(data), tuple(runs), (), figure)


def shown_rules(table: Table) -> list[str]:
    """Return at most five unlearning rules: of more, those with most runs, of each family the most common first."""
    counts = table["rule"].value_counts()
    place = {rule: rank for rank, rule in enumerate(sorted(counts.index, key=lambda rule: (-counts[rule], str(rule))))}
    first = {rule: min((place[one], one) for one in place if family(one) == family(rule))[1] == rule for rule in place}
    chosen = sorted(place, key=lambda rule: (not first[rule], place[rule]))[:MOST]
    return [rule for rule in rule_order(table) if rule in chosen]


def _rows(table: Table) -> list[Row]:
    """Return the rows: each pretraining rule against its own retrain, and where that is not SGD's, against SGD's."""
    rows = []
    for pretrain in sorted(set(table["pretrain"]), key=lambda rule: (family(rule) != "sgd", str(rule))):
        cells = table[table["pretrain"] == pretrain]
        rows += [Row(pretrain, "tow", str(rule)) for rule in sorted(set(cells["retraining"]))]
        if "common_tow" in cells and cells["common_tow"].notna().any() and family(rows[-1].retraining) != "sgd":
            rows.append(Row(pretrain, "common_tow", "sgd"))
    return rows


def _panel(axes: Any, what: tuple[Table, str, Slots], floor: dict[str, float] | None, theme: Theme) -> Table:
    """Draw the cells of one panel, its floor and its original; return the numbers drawn."""
    cells, metric, slots = what
    summary = summarize(cells, KEYS, metric)
    summary = summary.assign(
        metric=metric, floor=floor["mean"] if floor else float("nan"), floor_sd=floor["sd"] if floor else float("nan"),
        as_good_as_retraining=[reaches(row, floor) for _, row in summary.iterrows()],
    )  # fmt: skip
    for _, row in summary.iterrows():
        place = slots.places[row["method"], row["rule"]]
        chosen = (cells["method"] == row["method"]) & (cells["rule"] == row["rule"])
        estimate(axes, place, row, seeds=cells[metric][chosen].dropna(), **theme.lines(row["rule"]), markersize=3.6)
        if row["diverged"]:
            note(axes, place, f"{row['diverged']} diverged", upright=True)
    if summary.empty:
        note(axes, 0.5, "not run", relative=True)
    floor_band(axes, floor, theme)
    if f"original_{metric}" in cells and cells[f"original_{metric}"].notna().any():
        axes.axhline(cells[f"original_{metric}"].mean(), color=theme.ink, linestyle=":", linewidth=0.9, zorder=1)
    slots.label(axes, theme)
    return summary


def _alt(data: Table) -> str:
    cells = data[data["metric"] == "tow"].sort_values("mean", ascending=False)
    parts = [f"{method_label(row.method)} with {row.rule} (from {row.pretrain}) on {row.difficulty}: {row.mean:.3f}"
             for row in cells.head(3).itertuples()]  # fmt: skip
    good = f"{int(cells['as_good_as_retraining'].sum())} of {len(cells)} cells reach the noise floor"
    return f"Dots with error bars, a panel a forget set and pretraining rule; {good}. Highest: {'; '.join(parts)}."
