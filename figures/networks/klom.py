"""Unlearned models against retrained ones, many of each: KLoM (fig-klom) and U-LiRA (tab-ulira)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import label_panels, panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.marks import strip
from figures.tables.evaluations import ORIGINAL, ULIRA, evaluations_of, models_a_side, rate_text, resampled, ulira_table
from figures.tables.names import order, rule_label
from figures.tables.records import Records
from figures.tables.runs import run_caption, tag, unlearn_table
from figures.tables.texts import alt_text
from repro.records.record import Record
from repro.statistics.effects import Table

SETS = ("forget", "retain", "test")
STATISTICS = {"mean": "mean", "95th percentile": "p95"}
# What the unlearning rules are compared with: doing nothing, and what the measure gives where there is nothing to find.
RETRAINED = "other retrained models"
ROLES = {ORIGINAL: "original", RETRAINED: "retrained"}
REFERENCES = {ORIGINAL: "X", RETRAINED: "*"}
TITLES = dict(zip(ULIRA, ("AUC", "TPR at 1 % FPR", "TPR at .1 % FPR"), strict=True))


@figure("fig-klom", place=430, shows="KLoM of each rule on F, R and test data", studies=("klom",))
def klom_by_rule(records: Records, theme: Theme) -> Drawing:
    """Draw the mean and the 95th percentile of KLoM over images, one column per set, one group per pretraining rule."""
    evaluations = evaluations_of(records, "klom")
    if not evaluations:
        raise NotRun("at least 20 retrained models")
    table, runs = klom_table(evaluations), _runs(records, evaluations)
    looks = {name: {"color": theme.ink, "marker": marker} for name, marker in REFERENCES.items()}
    groups = table["pretrain"].map(lambda rule: f"pretrained\n{rule_label(rule)}")
    rows = table.assign(region="", group=groups, rule=table["model"], mean=table["value"])
    rows = rows.sort_values("model", key=lambda models: models.isin(list(REFERENCES)), kind="stable")
    rows = rows.sort_values("pretrain", key=lambda rules: rules.map(list(dict.fromkeys(table["pretrain"])).index),
                            kind="stable")  # fmt: skip
    figure, axes = panel_grid(len(STATISTICS), len(SETS), width=WIDE, height=4.2, sharex=True, sharey="row")
    for line, statistic in zip(axes, STATISTICS, strict=True):
        for panel, name in zip(line, SETS, strict=True):
            strip(panel, rows[(rows["set"] == name) & (rows["statistic"] == statistic)], theme, looks=looks)
        line[0].set_ylim(bottom=0)
    names = [f"KLoM, {statistic}\nover images (nats)" for statistic in STATISTICS]
    label_panels(axes, titles=[f"{name} set" for name in SETS], rows=names)
    models = evaluations[0].result["klom_models"]
    rule_key(figure, theme, [rule for rule in order(rows, "rule") if rule not in REFERENCES],
             notes=[(name, dict(look)) for name, look in looks.items()],
             head=f"estimate and 95 % bootstrap interval, {models} models on each side")  # fmt: skip
    caption = (
        "How far unlearned models answer from retrained ones, image by image: lower is nearer. The star compares "
        "retrained models of different seeds, where there is nothing to find. KLoM is the KL divergence between two "
        "distributions of an image's margin (log-odds of its true class), over retrained and over unlearned models, "
        "in histograms of 20 bins. Shown are its mean and its 95th percentile over at most 100 images. Bars: 95 % "
        f"intervals that resample {resampled(evaluations)}. Each value is the mean of {models} even against {models} "
        f"odd seeds and of the reverse. Forget set: {tag(evaluations[0], 'difficulty')}.{_setting_text(runs)}"
    )
    return Drawing(table, caption, _alt(table), tuple(runs), (), figure)


def klom_table(evaluations: Sequence[Record]) -> Table:
    """Return one row per pretraining rule, model, set and statistic, with its 95 % bootstrap interval.

    Columns: `pretrain`, `model` (an unlearning rule, or what it is compared with), `set`, `statistic` (mean or 95th
    percentile over images), `value`, `reverse` (the same with the two samples exchanged), `low`, `high`, `models` on
    either side.
    """
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    for result in (evaluation.result for evaluation in evaluations):
        pretrain = result["labels"]["pretrain"]
        models = {result["labels"]["rule"]: "unlearned"} | ({} if pretrain in seen else ROLES)
        seen.add(pretrain)
        for name in SETS:
            for model, role in models.items():
                for statistic, key in STATISTICS.items():
                    head = f"klom_{role}_{name}_{key}"
                    numbers = {end: result[f"{head}_{end}"] for end in ("reverse", "low", "high")}
                    names = {"pretrain": pretrain, "model": model, "set": name, "statistic": statistic}
                    rows.append(names | {"value": result[head], **numbers, "models": result["klom_models"]})
    return pd.DataFrame(rows)


def _runs(records: Records, evaluations: Sequence[Record]) -> list[Record]:
    """Return the runs whose numbers some evaluations hold together."""
    wanted = {run_id for evaluation in evaluations for run_id in evaluation.result["runs"]}
    return [run for run in records.of("unlearn") if run.run_id in wanted]


def _setting_text(runs: list[Record]) -> str:
    """Return what a caption says about the runs behind evaluations; "" if the evaluations came without runs."""
    return f" {run_caption(unlearn_table(runs))}" if runs else ""


def _alt(table: Table) -> str:
    rows = table[(table["set"] == "forget") & (table["statistic"] == "mean")].sort_values("value")
    shown = "Dots with error bars. Mean KLoM on the forget set, lowest first"
    return alt_text(shown, rows, "{model} (pretrained {pretrain}) {value:.2f}")


@figure("tab-ulira", place=440, shows="U-LiRA of each rule and of doing nothing", studies=("klom",))
def ulira_by_rule(records: Records, theme: Theme) -> Drawing:
    """Write the rates of the untouched original and of each rule, with their 95 % intervals."""
    evaluations = evaluations_of(records, "ulira")
    data = ulira_table(evaluations)
    if data.empty:
        raise NotRun("evaluations of at least 20 models", list(data.columns))
    runs = _runs(records, evaluations)
    caption = (
        "Can an attacker tell unlearned from retrained models? Lower is nearer to retraining; guessing has AUC .5 and "
        "TPR .01 at 1 % and .001 at .1 % false positives. U-LiRA (Hayes et al. 2024) knows the margins of many "
        "unlearned and many retrained models on an image of F and says which kind a further model is. 95 % intervals "
        f"resample {resampled(evaluations)}: {len(evaluations[0].result['runs'])} models on the images of F. "
        f"Forget set: {tag(evaluations[0], 'difficulty')}.{_setting_text(runs)}"
    )
    shown: Table = pd.DataFrame(
        {"pretrain": rule_label(row["pretrain"]), "unlearn": rule_label(row["model"])}
        | {title: rate_text(row, name) for name, title in TITLES.items()}
        for _, row in data.sort_values(["pretrain", "tpr_at_1_percent"], ascending=[False, True]).iterrows()
    )  # fmt: skip
    models = models_a_side(evaluations[0])
    alt = f"A table of {len(shown)} rows: AUC and true-positive rates, {models} models on either side."
    return Drawing(data, caption, alt, (*runs, *evaluations), display=shown)
