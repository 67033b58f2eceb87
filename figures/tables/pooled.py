"""KLoM and U-LiRA, numbers of many runs together: which evaluations are compared, and differences of two rules."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.tables.intervals import Table
from figures.tables.records import Mixed, Records
from repro.records.record import Record

FEWEST = 10
ULIRA = ("auc", "tpr_at_1_percent", "tpr_at_01_percent")
ENDS = ("", "_low", "_high")
ORIGINAL = "do nothing"


def pooled(records: Records, metric: str) -> list[Record]:
    """Return the pooled evaluations of a metric, ordered by pretraining and unlearning rule.

    A study that went on with more seeds was pooled again: of two pools of a setting the larger one is taken. Pools of
    fewer than 10 models on either side are no distribution.

    Raises:
        Mixed: when two pools of the same rules differ in their forget set or another setting.
    """
    found = [one for one in records.of("evaluation") if one.config["metric"] == metric and pool_size(one) >= FEWEST]
    settings: dict[tuple[str, str], Record] = {}
    for one in sorted(found, key=pool_size):
        key = one.result["labels"]["pretrain"], one.result["labels"]["rule"]
        before = settings.get(key, one)
        if (before.result["labels"], before.config["forget_set"]) != (one.result["labels"], one.config["forget_set"]):
            raise Mixed(f"study {records.study}: pools of {key[1]} after {key[0]} differ in more than their size")
        settings[key] = one
    return [settings[key] for key in sorted(settings, reverse=True)]


def pool_size(pool: Record) -> int:
    """Return how many models stand on either side of a comparison: half the runs of a pool."""
    return int(pool.result.get("klom_models", len(pool.result["runs"]) // 2))


def ulira_table(pools: Sequence[Record]) -> Table:
    """Return U-LiRA of each rule, and once a pretraining rule of the original model, which nothing was done to.

    Columns: `pretrain`, `model` (an unlearning rule or "do nothing"), `models` in the pool, and for each of `auc`,
    `tpr_at_1_percent`, `tpr_at_01_percent` the value and its 95 % interval, `<number>`, `<number>_low`,
    `<number>_high`; all in [0, 1]. Where nothing tells unlearned from retrained models they are 0.5, 0.01 and 0.001.
    """
    rows, seen = [], set()
    for pool in pools:
        labels, result = pool.result["labels"], pool.result
        models = {"unlearned": labels["rule"]} | ({} if labels["pretrain"] in seen else {"original": ORIGINAL})
        seen.add(labels["pretrain"])
        for role, model in models.items():
            numbers = {f"{name}{end}": result[f"ulira_{role}_{name}{end}"] for name in ULIRA for end in ENDS}
            names = {"pretrain": labels["pretrain"], "model": model, "models": len(result["runs"])}
            rows.append(names | numbers)
    columns = ["pretrain", "model", "models", *(f"{name}{end}" for name in ULIRA for end in ENDS)]
    return pd.DataFrame(rows, columns=pd.Index(columns))


def ulira_differences(table: Table, number: str) -> Table:
    """Return a number of each rule minus that of doing nothing, after the same pretraining.

    The ends are those of the two intervals at their farthest, for the two numbers are not resampled together: an
    interval that excludes 0 belongs to two intervals that do not touch. Columns as `klom_differences`.
    """
    rows = []
    for _, base in table[table["model"] == ORIGINAL].iterrows():
        for _, row in table[(table["pretrain"] == base["pretrain"]) & (table["model"] != ORIGINAL)].iterrows():
            ends = {"low": row[f"{number}_low"] - base[f"{number}_high"],
                    "high": row[f"{number}_high"] - base[f"{number}_low"]}  # fmt: skip
            names = {"pretrain": row["pretrain"], "rule": row["model"], "seeds": row["models"]}
            rows.append(names | {"mean": row[number] - base[number], **ends})
    return pd.DataFrame(rows, columns=pd.Index(["pretrain", "rule", "seeds", "mean", "low", "high"]))


def klom_differences(pools: Sequence[Record]) -> Table:
    """Return mean KLoM on F of each rule, and of doing nothing, minus that of SGD, with intervals.

    Columns: `pretrain`, `rule`, `mean`, `low`, `high`, `seeds`; both sides of a difference are resampled alike.
    """
    rows = []
    for base in (pool for pool in pools if pool.result["labels"]["rule"] == "sgd"):
        pretrain, ours = base.result["labels"]["pretrain"], _on_forget_set(base, "unlearned")
        others = [(pool.result["labels"]["rule"], pool, "unlearned") for pool in pools
                  if pool.result["labels"]["pretrain"] == pretrain and pool != base]  # fmt: skip
        for rule, pool, role in [*others, (ORIGINAL, base, "original")]:
            value, resampled = (a - b for a, b in zip(_on_forget_set(pool, role), ours, strict=True))
            half = 1.96 * float(np.std(resampled, ddof=1))
            names = {"pretrain": pretrain, "rule": rule, "seeds": len(base.result["runs"])}
            rows.append(names | {"mean": value, "low": value - half, "high": value + half})
    return pd.DataFrame(rows)


def _on_forget_set(pool: Record, role: str) -> tuple[float, np.ndarray]:
    """Return mean KLoM on F of a model, and the same in each resample of the models, `(200,)`."""
    name = f"klom_{role}_forget_mean"
    return pool.result[name], pool.arrays(f"{name}_resampled")[f"{name}_resampled"]
