"""Differences between two rules in the same setting and seed: what a claim about SAM against SGD rests on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.tables.names import family
from repro.statistics.effects import Table

SAME = (
    "dataset", "model", "method", "pretrain", "difficulty", "alpha", "forget_seed", "seed", "unlearn_seed"
)  # fmt: skip


def rule_differences(table: Table, metric: str, *, rules: Sequence[str] = ()) -> Table:
    """Return `metric` under each rule minus `metric` under SGD, one row a shared setting and seed.

    Where the table has the noise floor of the metric, a row carries it as `floor`.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`.
        metric: the number compared.
        rules: families such as "sam" and "asam"; none named takes every other one.
    """
    return _differences(table, metric, "rule", "pretrain", rules)


def pretrain_differences(table: Table, metric: str, *, rules: Sequence[str]) -> Table:
    """Return `metric` after pretraining with each rule minus after pretraining with SGD, unlearned alike."""
    return _differences(table, metric, "pretrain", "rule", rules)


def _differences(table: Table, metric: str, column: str, other: str, rules: Sequence[str]) -> Table:
    keys = list(dict.fromkeys(name for name in (*SAME, other) if name in table and name != column))
    if table.empty or metric not in table:
        return pd.DataFrame(columns=pd.Index([*keys, column, "floor", "difference"]))
    # Retraining is what methods are held against: it knows nothing of the original or how that was trained.
    table = table[table["method"] != "retrain"]
    families = table[column].map(family)
    base = table[families == "sgd"][[*keys, metric]].rename(columns={metric: "base"})
    rows = table[families.isin(rules or {*families} - {"sgd", ""})]
    rows = rows.assign(floor=rows.get(f"floor_{metric}", np.nan))
    rows = rows[[*keys, column, metric, "floor"]].merge(base, on=keys)
    rows["difference"] = rows[metric].astype(float) - rows["base"].astype(float)
    return rows.dropna(subset=["difference"])
