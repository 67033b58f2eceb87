"""Unlearned models against retrained ones, many of each: KLoM (fig-klom) and U-LiRA (tab-ulira)."""

from typing import Any

import pandas as pd

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure, empty_table
from figures.drawing.panels import estimate, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, run_caption, unlearn_table
from figures.tables.intervals import Table
from figures.tables.names import rule_label
from figures.tables.pooled import (
    ORIGINAL,
    RETRAINED,
    SETS,
    STATISTICS,
    ULIRA,
    klom_cells,
    klom_table,
    pool_size,
    pooled,
    rate_text,
    ulira_table,
)
from figures.tables.records import Records
from repro.records.record import Record

REFERENCES = {ORIGINAL: "x", RETRAINED: "_"}
TITLES = dict(zip(ULIRA, ("AUC", "TPR at 1 % FPR", "TPR at .1 % FPR"), strict=True))


def draw(records: Records, theme: Theme) -> Drawing:
    """Draw the mean and the 95th percentile of KLoM over images, a column a set, a group a pretraining rule."""
    found = klom_cells(records)
    if not found:
        return empty_figure(lacking("fig-klom", "at least 20 retrained models"), theme)
    table = klom_table(found)
    runs = [run for cell in found for run in cell.runs]
    figure, axes = panel_grid(len(STATISTICS), len(SETS), width=WIDE, height=4.2, sharex=True, sharey="row")
    for row, statistic in zip(axes, STATISTICS, strict=True):
        row[0].set_ylabel(f"KLoM, {statistic}\nover images (nats)")
        for panel, name in zip(row, SETS, strict=True):
            _panel(panel, table[(table["set"] == name) & (table["statistic"] == statistic)], theme)
        row[0].set_ylim(bottom=0)
    for panel, name in zip(axes[0], SETS, strict=True):
        panel.set_title(f"{name} set")
    rules = list(dict.fromkeys(cell.rule for cell in found))
    notes = [(name, _look(name, theme) | {"linestyle": "none"}) for name in REFERENCES]
    models = found[0].pooled.result["klom_models"]
    head = f"estimate and 95 % bootstrap interval, {models} models on each side"
    rule_key(figure, theme, rules, notes=notes, head=head)
    caption = (
        "KLoM: KL divergence of each image's margin (log-odds of its true class) under retrained models from that "
        "under unlearned models, histograms of 20 bins; lower is nearer to retraining. Dots: mean or 95th percentile "
        "over at most 100 images; bars: 95 % intervals from 200 resamples of the models. Cross: the original models. "
        "Dash: retrained models of other seeds, what the measure gives where there is nothing to find. Each value is "
        f"the mean of {models} even against {models} odd seeds and the reverse. "
        f"Forget set: {label(found[0].pooled, 'difficulty')}.{_setting(runs)}"
    )
    return Drawing(table, caption, _alt(table), tuple(runs), (), figure)


def _setting(runs: list[Record]) -> str:
    """Return what a caption says of a pool's runs; nothing where the pools came without them."""
    return f" {run_caption(runs, unlearn_table(runs))}" if runs else ""


def _panel(axes: Any, table: Table, theme: Theme) -> None:
    pretrains = list(dict.fromkeys(table["pretrain"]))
    for place, pretrain in enumerate(pretrains):
        rows = table[table["pretrain"] == pretrain]
        rows = rows.sort_values("model", key=lambda models: models.isin(list(REFERENCES)), kind="stable")
        for number, (_, row) in enumerate(rows.iterrows()):
            offset = 0.7 * ((number + 0.5) / len(rows) - 0.5)
            bar = {"mean": row["value"], "sd": 0.0, "low": row["low"], "high": row["high"]}
            estimate(axes, place + offset, bar, **_look(row["model"], theme))
    axes.set_xticks(range(len(pretrains)), [f"pretrained\n{rule_label(name)}" for name in pretrains])
    axes.set_xlim(-0.5, len(pretrains) - 0.5)


def _look(model: str, theme: Theme) -> dict[str, Any]:
    return {"color": theme.ink, "marker": REFERENCES[model]} if model in REFERENCES else theme.lines(model)


def _alt(table: Table) -> str:
    rows = table[(table["set"] == "forget") & (table["statistic"] == "mean")].sort_values("value")
    parts = [f"{row.model} (pretrained {row.pretrain}) {row.value:.2f}" for row in rows.itertuples()]
    return "Dots with error bars. Mean KLoM on the forget set, lowest first: " + "; ".join(parts) + "."


def draw_ulira(records: Records, theme: Theme) -> Drawing:
    """Write the rates of the untouched original and of each rule, with 95 % intervals that resample models."""
    pools = pooled(records, "ulira")
    data = ulira_table(pools)
    if data.empty:
        return empty_table(lacking("tab-ulira", "pools of at least 20 models"), list(data.columns))
    wanted = {identity for pool in pools for identity in pool.result["runs"]}
    runs = [run for run in records.of("unlearn") if run.run_id in wanted]
    caption = (
        "U-LiRA (Hayes et al. 2024): an attacker who knows the margins of many unlearned and of many retrained models "
        "on an image of F says which kind a further model is. Rates that nothing could beat by chance: AUC .5, TPR .01 "
        "at 1 % and .001 at .1 % false positives; lower is nearer to retraining. 95 % intervals resample the "
        f"{len(pools[0].result['runs'])} models of a pool, for the images of a model are not independent. Forget set: "
        f"{label(pools[0], 'difficulty')}.{_setting(runs)}"
    )
    shown: Table = pd.DataFrame(
        {"pretrain": rule_label(row["pretrain"]), "unlearn": row["model"] if row["model"] == ORIGINAL else
         rule_label(row["model"])} | {title: rate_text(row, name) for name, title in TITLES.items()}
        for _, row in data.sort_values(["pretrain", "tpr_at_1_percent"], ascending=[False, True]).iterrows()
    )  # fmt: skip
    alt = f"A table of {len(shown)} rows: AUC and true-positive rates, {pool_size(pools[0])} models on either side."
    return Drawing(data, caption, alt, (*runs, *pools), display=shown)
