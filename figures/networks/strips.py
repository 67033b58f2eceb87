"""Strips of means (fig-tow, fig-accuracies, fig-mia, fig-entanglement): columns are forget sets, groups are methods."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import FLOOR_NOTE, floor_band, label_panels, panel_grid, rule_key, spread_note
from figures.drawing.style import WIDE, Theme
from figures.marks import limits, strip
from figures.tables.floor import floor_of, noise_floors, own_reference, reaches
from figures.tables.names import family, in_order, method_label, order, rule_label
from figures.tables.records import Records
from figures.tables.runs import in_table, run_caption, seed_range, study_table
from figures.tables.texts import alt_text
from repro.statistics.effects import Table
from repro.statistics.seeds import summarize

KEYS = ["method", "pretrain", "rule", "difficulty"]
ROLES = {"retrained": "-", "original": ":"}  # and their lines
MOST = 5  # rules that stay apart in one panel
Ends = dict[str, tuple[float, float]]
ACCURACIES = {"retain_accuracy": "retain acc.", "forget_accuracy": "forget acc.", "test_accuracy": "test acc."}
MIA = {
    "mia_correctness": "MIA (correctness)",
    "mia_confidence": "MIA (confidence)",
    "mia_entropy": "MIA (entropy)",
    "mia_m_entropy": "MIA (mod. entropy)",
}
ENTANGLEMENT = {
    "entanglement_var_raw": "$E_{Var}$",
    "entanglement_var_class_raw": "$E_{Var}$ by class",
    "entanglement_wp": "$E_{Wp}$",
    "entanglement_wp_class": "$E_{Wp}$ by class",
}
MARKS = (
    "Markers are means, bars 95 % t-intervals, small dots training seeds. Colour and shape name the unlearning rule. A "
    "panel shows what was run and nothing else."
)
TOW_WHAT = (
    "How near each method comes to retraining: the closer a marker is to the grey band, the better. ToW (tug of war) "
    "multiplies one minus the gap to the retrained model in retain, forget and test accuracy. 1 is best; a run that "
    "diverged has 0. Grey band: ToW of one retrained model against another of another seed, mean ± standard "
    "deviation; a method whose interval reaches it is as good as retraining. Dotted line: the original model, which "
    "does nothing. After ASAM or SAM pretraining, one row compares with the model retrained by the same rule and one "
    "with the model retrained by SGD."
)
REFERENCES = (
    "Solid line and band: the model retrained without the forget set; dotted line: the original model, which does "
    "nothing."
)
ACCURACIES_WHAT = f"The accuracies behind ToW: the nearer a marker is to the solid line, the better. {REFERENCES}"
MIA_WHAT = (
    "Fraction of forget images that a membership attack labels as not trained on, for four scores it may use. The aim "
    f"is the solid line, not the largest value. {REFERENCES}"
)
ENTANGLEMENT_WHAT = (
    "How strongly the features of retain and forget images are mixed, over all images and class by class. The aim is "
    f"the solid line; lower is less mixed. {REFERENCES}"
)


class Row(NamedTuple):
    """A row of panels: the pretraining rule, the column of ToW and the rule of the retrained models behind it."""

    pretrain: str
    metric: str
    retraining: str

    def title(self) -> str:
        """Return the name of the row on the vertical axis."""
        against = f"\nagainst {rule_label(self.retraining)} retrain" if family(self.pretrain) != "sgd" else ""
        return f"ToW, pretrained\n{rule_label(self.pretrain)}{against}"


@figure("fig-tow", place=20, shows="ToW per method, rule and forget set, with the noise floor", studies=("cifar10",),
        claims=("1a", "1b"))  # fmt: skip
def tow_by_setting(records: Records, theme: Theme) -> Drawing:
    """Draw ToW of every setting and the noise floor of its forget set: one row per pretraining rule and reference."""
    runs, table = study_table(records, having="tow")
    if not runs:
        raise NotRun("network runs with ToW")
    rules = shown_rules(table)
    shown = table[table["rule"].isin(rules)]
    sets, rows, floors = order(shown, "difficulty"), _panel_rows(shown), noise_floors(table)
    figure, axes = panel_grid(len(rows), len(sets), width=WIDE, height=0.9 + 1.7 * len(rows), sharey="row")
    parts = []
    for line, row in zip(axes, rows, strict=True):
        members = shown[(shown["pretrain"] == row.pretrain) & ~own_reference(shown, row.retraining)]
        summary = summarize(members, KEYS, row.metric).assign(metric=row.metric)
        levels = [floor_of(floors, name, row.retraining) for name in sets]
        found = []
        for panel, name, floor in zip(line, sets, levels, strict=True):
            part, here = (rows[rows["difficulty"] == name] for rows in (summary, members))
            found.append(_tow_panel(panel, part, here, floor, theme))
        columns = [members[row.metric], members.get(f"original_{row.metric}"), [one["mean"] for one in levels if one]]
        line[0].set_ylabel(row.title() + limits(line[0], columns, summary))
        parts += found
    label_panels(axes, titles=[f"forget set: {name}" for name in sets])
    notes = [FLOOR_NOTE, ("do nothing", {"marker": "", "linestyle": ":"})]
    rule_key(figure, theme, rules, notes=notes, head=spread_note(seed_range(shown)))
    data: Table = pd.concat(parts, ignore_index=True)
    more = [rule_label(rule) for rule in order(table, "rule") if rule not in rules]
    rest = f" Rules in the tables only: {', '.join(more)}." if more else ""
    good = f"{int(data['as_good_as_retraining'][data['metric'] == 'tow'].sum())} settings reach the noise floor"
    caption = f"{TOW_WHAT} {MARKS}{rest} {run_caption(table)}"
    return Drawing(data, caption, _alt(data, "tow", good), tuple(runs), (), figure)


def shown_rules(table: Table) -> list[str]:
    """Return at most five unlearning rules.

    The most common rule of each family comes first, then the rules with most runs.
    """
    counts = table["rule"].value_counts()
    place = {rule: rank for rank, rule in enumerate(sorted(counts.index, key=lambda rule: (-counts[rule], str(rule))))}
    first = {rule: min((place[one], one) for one in place if family(one) == family(rule))[1] == rule for rule in place}
    chosen = sorted(place, key=lambda rule: (not first[rule], place[rule]))[:MOST]
    return [rule for rule in order(table, "rule") if rule in chosen]


def _panel_rows(table: Table) -> list[Row]:
    """Return the rows: each pretraining rule against its own retrain, then, if that is not SGD's, against SGD's."""
    rows = []
    for pretrain in order(table, "pretrain"):
        members = table[table["pretrain"] == pretrain]
        rows += [Row(pretrain, "tow", str(rule)) for rule in sorted(set(members["retraining"]))]
        if "common_tow" in members and members["common_tow"].notna().any() and family(rows[-1].retraining) != "sgd":
            rows.append(Row(pretrain, "common_tow", "sgd"))
    return rows


def _tow_panel(axes: Any, summary: Table, members: Table, floor: dict[str, float] | None, theme: Theme) -> Table:
    """Draw the settings of one panel, its floor and its original; return the numbers drawn."""
    _strip(axes, summary, members, theme)
    floor_band(axes, floor, theme)
    for metric in summary["metric"].unique():
        if f"original_{metric}" in members and members[f"original_{metric}"].notna().any():
            axes.axhline(members[f"original_{metric}"].mean(), color=theme.ink, linestyle=":", linewidth=0.9, zorder=1)
    level = floor or {"mean": np.nan, "sd": np.nan}
    good = [reaches(row, floor) for row in summary.to_dict("records")]
    return summary.assign(floor=level["mean"], floor_sd=level["sd"], as_good_as_retraining=good)


def number_strips(records: Records, theme: Theme, numbers: Mapping[str, str], what: str) -> Drawing:
    """Draw numbers with their seeds and intervals: one row per number, one column per forget set, one group per method.

    Lines show the same number of the retrained and of the original model, where the runs have it.

    Args:
        records: what there is.
        theme: the page.
        numbers: names of results, with their labels; numbers that no run has measured are left out.
        what: first sentences of the caption.
    """
    runs, table = study_table(records)
    known, diverged = table.reindex(columns=list(numbers)).notna(), table["status"] == "diverged"
    metrics = {one: text for one, text in numbers.items() if known[one].any() or diverged.all()}
    if not runs or not metrics:
        raise NotRun(f"network runs with {', '.join(numbers)}")
    table = table[known.any(axis=1) | diverged]
    members, columns = table[~own_reference(table, table["retraining"])], order(table, "difficulty")
    height = 1.2 + 1.3 * len(metrics)
    figure, axes = panel_grid(len(metrics), len(columns), width=WIDE, height=height, sharex="col", sharey="row")
    parts = []
    for row, (metric, text) in zip(axes, metrics.items(), strict=True):
        summary = summarize(members, KEYS, metric).assign(metric=metric)
        lines = [summarize(members, ["difficulty", "pretrain"], f"{role}_{metric}").assign(method=role, metric=metric)
                 for role in ROLES if f"{role}_{metric}" in members]  # fmt: skip
        for panel, difficulty in zip(row, columns, strict=True):
            part, *references = (one[one["difficulty"] == difficulty] for one in (summary, *lines))
            ends = _strip(panel, part, members[members["difficulty"] == difficulty], theme, regions=True)
            known = [one[(one["pretrain"] == pretrain) & (one["seeds"] > 0)]
                     for pretrain in part["pretrain"].unique() for one in references]  # fmt: skip
            for line in known:
                _reference(panel, line, ends, theme)
            parts += [part, *known]
        values = [table.get(f"{role}{metric}") for role in ("", "retrained_", "original_")]
        row[0].set_ylabel(text + limits(row[0], values, pd.concat([summary, *lines])))
    several = members["pretrain"].nunique() > 1
    for panel, difficulty in zip(axes[0], columns, strict=True):
        panel.set_title(f"forget set: {difficulty}", pad=14 if several else None)
    for panel in axes[1:].flat:
        for text in [text for text in panel.texts if text.get_text().startswith("after ")]:
            text.remove()  # regions are named once, above the first row
    lines = [("retrained on R", {"marker": "", "linestyle": "-"}), ("do nothing", {"marker": "", "linestyle": ":"})]
    rule_key(figure, theme, order(table, "rule"), notes=lines, head=spread_note(seed_range(table)))
    data = pd.concat(parts, ignore_index=True)
    caption = f"{what} {MARKS} {run_caption(table)}"
    return Drawing(data, caption, _alt(data, next(iter(metrics))), in_table(runs, table), (), figure)


@figure("fig-accuracies", place=40, shows="the three accuracies under ToW", studies=("cifar10",), claims=("3",))
def accuracies(records: Records, theme: Theme) -> Drawing:
    """Draw the accuracies behind ToW."""
    return number_strips(records, theme, ACCURACIES, ACCURACIES_WHAT)


@figure("fig-entanglement", place=70, shows="E_Var and E_Wp, global and class-wise, before and after",
        studies=("cifar10",), claims=("5b",))  # fmt: skip
def entanglement(records: Records, theme: Theme) -> Drawing:
    """Draw how strongly the features of retain and forget images are mixed."""
    return number_strips(records, theme, ENTANGLEMENT, ENTANGLEMENT_WHAT)


@figure("fig-mia", place=80, shows="membership inference on F, with the retrained model's value",
        studies=("cifar10",), claims=("5a",))  # fmt: skip
def membership_inference(records: Records, theme: Theme) -> Drawing:
    """Draw what the paper's membership attack says about F, for four scores."""
    return number_strips(records, theme, MIA, MIA_WHAT)


def _strip(axes: Any, summary: Table, members: Table, theme: Theme, *, regions: bool = False) -> Ends:
    """Draw settings of one forget set and their seeds, one region per pretraining rule; return the regions' ends."""
    if summary.empty:
        axes.set_xticks([])
        axes.text(0.5, 0.5, "not run", ha="center", va="center", fontsize=7, transform=axes.transAxes)
        return {}

    def named(rows: Table) -> Table:
        region = rows["pretrain"].map(_after) if regions else ""
        return rows.assign(region=region, group=rows["method"].map(method_label))

    diverged = summary["diverged"].map(lambda count: f"{count} diverged" if count else "")
    rows = named(in_order(summary.assign(note=diverged), ["pretrain", "method", "rule"]))
    return strip(axes, rows, theme, seeds=named(members.assign(value=members.get(summary["metric"].iloc[0]))))


def _after(pretrain: str) -> str:
    return f"after {rule_label(pretrain)}"


def _reference(axes: Any, line: Table, ends: Ends, theme: Theme) -> None:
    """Draw the retrained model (solid) or the original, which does nothing (dotted), across its region."""
    for row in line.itertuples():
        region = ends[_after(row.pretrain)]
        axes.hlines(row.mean, *region, color=theme.ink, linestyle=ROLES[row.method], linewidth=0.9, zorder=1)
        if row.method == "retrained":
            axes.fill_between(region, row.low, row.high, color=theme.ink, alpha=0.08, linewidth=0)


def _alt(data: Table, metric: str, more: str = "") -> str:
    members = data[(data["metric"] == metric) & data["rule"].notna()].sort_values("mean", ascending=False)
    name = metric.replace("_", " ")
    shown = f"Dots with error bars, one column per forget set{'; ' if more else ''}{more}. Highest {name}"
    return alt_text(shown, members.head(3), "{method} with {rule} (from {pretrain}) on {difficulty}: {mean:.3f}")
