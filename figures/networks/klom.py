"""Unlearned models against retrained ones, many of each: KLoM (fig-klom) and U-LiRA (tab-ulira)."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from figures.catalogue import figure
from figures.drawing.drawing import Drawing, NotRun
from figures.drawing.panels import panel_grid, rule_key
from figures.drawing.style import WIDE, Theme
from figures.marks import strip
from figures.tables.names import order, rule_label
from figures.tables.pooled import ORIGINAL, ULIRA, pool_size, pooled, rate_text, resampled, ulira_table
from figures.tables.records import Records
from figures.tables.runs import label, run_caption, unlearn_table
from repro.records.record import Record
from repro.statistics.effects import Table

SETS = ("forget", "retain", "test")
STATISTICS = {"mean": "mean", "95th percentile": "p95"}
# What stands beside the unlearning rules: doing nothing, and what the measure gives where there is nothing to find.
RETRAINED = "other retrained models"
ROLES = {ORIGINAL: "original", RETRAINED: "retrained"}
REFERENCES = {ORIGINAL: "X", RETRAINED: "*"}
TITLES = dict(zip(ULIRA, ("AUC", "TPR at 1 % FPR", "TPR at .1 % FPR"), strict=True))


@figure("fig-klom", place=430, shows="KLoM of each rule on F, R and test data", studies=("klom",))
def draw(records: Records, theme: Theme) -> Drawing:
    """Draw the mean and the 95th percentile of KLoM over images, a column a set, a group a pretraining rule."""
    pools = pooled(records, "klom")
    if not pools:
        raise NotRun("at least 20 retrained models")
    table, runs = klom_table(pools), _runs(records, pools)
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
        line[0].set_ylabel(f"KLoM, {statistic}\nover images (nats)")
        line[0].set_ylim(bottom=0)
    for panel, name in zip(axes[0], SETS, strict=True):
        panel.set_title(f"{name} set")
    models = pools[0].result["klom_models"]
    rule_key(figure, theme, [rule for rule in order(rows, "rule") if rule not in REFERENCES],
             notes=[(name, dict(look)) for name, look in looks.items()],
             head=f"estimate and 95 % bootstrap interval, {models} models on each side")  # fmt: skip
    caption = (
        "How far unlearned models answer from retrained ones, image by image: lower is nearer. The star compares "
        "retrained models of different seeds, where there is nothing to find. KLoM is the KL divergence between two "
        "distributions of an image's margin (log-odds of its true class), over retrained and over unlearned models, "
        "in histograms of 20 bins. Shown are its mean and its 95th percentile over at most 100 images. Bars: 95 % "
        f"intervals that resample {resampled(pools)}. Each value is the mean of {models} even against {models} odd "
        f"seeds and the reverse. Forget set: {label(pools[0], 'difficulty')}.{_setting(runs)}"
    )
    return Drawing(table, caption, _alt(table), tuple(runs), (), figure)


def klom_table(pools: Sequence[Record]) -> Table:
    """Return one row a pretraining rule, model, set and statistic, with its 95 % bootstrap interval.

    Columns: `pretrain`, `model` (an unlearning rule, or what it is compared with), `set`, `statistic` (mean or 95th
    percentile over images), `value`, `reverse` (the same with the two samples exchanged), `low`, `high`, `models` on
    either side.
    """
    seen: set[str] = set()
    rows: list[dict[str, Any]] = []
    for result in (pool.result for pool in pools):
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


def _runs(records: Records, pools: Sequence[Record]) -> list[Record]:
    """Return the runs whose numbers some evaluations hold together."""
    wanted = {run_id for pool in pools for run_id in pool.result["runs"]}
    return [run for run in records.of("unlearn") if run.run_id in wanted]


def _setting(runs: list[Record]) -> str:
    """Return what a caption says of a pool's runs; nothing where the pools came without them."""
    return f" {run_caption(unlearn_table(runs))}" if runs else ""


def _alt(table: Table) -> str:
    rows = table[(table["set"] == "forget") & (table["statistic"] == "mean")].sort_values("value")
    parts = [f"{row.model} (pretrained {row.pretrain}) {row.value:.2f}" for row in rows.itertuples()]
    return "Dots with error bars. Mean KLoM on the forget set, lowest first: " + "; ".join(parts) + "."


@figure("tab-ulira", place=440, shows="U-LiRA of each rule and of doing nothing", studies=("klom",))
def draw_ulira(records: Records, theme: Theme) -> Drawing:
    """Write the rates of the untouched original and of each rule, with their 95 % intervals."""
    pools = pooled(records, "ulira")
    data = ulira_table(pools)
    if data.empty:
        raise NotRun("pools of at least 20 models", list(data.columns))
    runs = _runs(records, pools)
    caption = (
        "Can an attacker tell unlearned from retrained models? Lower is nearer to retraining; guessing has AUC .5 and "
        "TPR .01 at 1 % and .001 at .1 % false positives. U-LiRA (Hayes et al. 2024) knows the margins of many "
        "unlearned and many retrained models on an image of F and says which kind a further model is. 95 % intervals "
        f"resample {resampled(pools)}: {len(pools[0].result['runs'])} models of a pool on the images of F. Forget set: "
        f"{label(pools[0], 'difficulty')}.{_setting(runs)}"
    )
    shown: Table = pd.DataFrame(
        {"pretrain": rule_label(row["pretrain"]), "unlearn": rule_label(row["model"])}
        | {title: rate_text(row, name) for name, title in TITLES.items()}
        for _, row in data.sort_values(["pretrain", "tpr_at_1_percent"], ascending=[False, True]).iterrows()
    )  # fmt: skip
    alt = f"A table of {len(shown)} rows: AUC and true-positive rates, {pool_size(pools[0])} models on either side."
    return Drawing(data, caption, alt, (*runs, *pools), display=shown)
