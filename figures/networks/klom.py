"""KLoM of each unlearning rule on the forget, retain and test set, beside doing nothing and the measure's own floor."""

from typing import Any

from figures.catalogue import lacking
from figures.drawing.drawing import Drawing, empty_figure
from figures.drawing.panels import estimate, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.tables.cells import label, run_caption, unlearn_table
from figures.tables.intervals import Table
from figures.tables.klom import ORIGINAL, RETRAINED, SETS, STATISTICS, klom_cells, klom_table
from figures.tables.names import rule_label
from figures.tables.records import Records

REFERENCES = {ORIGINAL: "x", RETRAINED: "_"}


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
        f"Forget set: {label(runs[0], 'difficulty')}. {run_caption(runs, unlearn_table(runs))}"
    )
    return Drawing(table, caption, _alt(table), tuple(runs), (), figure)


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
