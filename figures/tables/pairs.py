"""Differences between two rules in the same cell and seed: what a claim about SAM against SGD rests on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.intervals import Table, interval
from figures.tables.names import family

SAME = ("dataset", "model", "method", "pretrain", "difficulty", "alpha", "epochs", "seed", "unlearn_seed")


def rule_differences(table: Table, metric: str, *, rules: Sequence[str], against: str = "sgd") -> Table:
    """Return `metric` under each rule minus `metric` under `against`, one row a shared cell and seed.

    Where the table has the noise floor of the metric, a row carries it as `floor`.

    Args:
        table: rows of `figures.tables.cells.unlearn_table`.
        metric: the number compared.
        rules: families such as "sam" and "asam".
        against: the family subtracted.
    """
    return _differences(table, metric, "rule", rules, against)


def pretrain_differences(table: Table, metric: str, *, rules: Sequence[str], against: str = "sgd") -> Table:
    """Return `metric` after pretraining with each rule minus after pretraining with `against`, unlearned alike."""
    return _differences(table, metric, "pretrain", rules, against)


def _differences(table: Table, metric: str, column: str, rules: Sequence[str], against: str) -> Table:
    other = {"rule": "pretrain", "pretrain": "rule"}[column]
    keys = list(dict.fromkeys(name for name in (*SAME, other) if name in table and name != column))
    if table.empty or metric not in table:
        return pd.DataFrame(columns=pd.Index([*keys, column, "floor", "difference"]))
    families = table[column].map(family)
    base = table[families == against][[*keys, metric]].rename(columns={metric: "base"})
    rows = table[families.isin(rules)]
    rows = rows.assign(floor=rows.get(f"floor_{metric}", np.nan))
    rows = rows[[*keys, column, metric, "floor"]].merge(base, on=keys)
    rows["difference"] = rows[metric].astype(float) - rows["base"].astype(float)
    return rows.dropna(subset=["difference"])


def by_cell(differences: Table, keys: Sequence[str]) -> Table:
    """Return mean difference and 95 % t-interval over training seeds, one row a value of `keys`.

    Cells that a key does not tell apart (other forget sets, say) are averaged within a seed first. `floor` is the root
    mean square of their noise floors: a floor is a standard deviation.
    """
    rows: list[dict[str, Any]] = []
    for key, cell in differences.groupby(list(keys), sort=False) if len(differences) else ():
        found = interval(cell.groupby("seed")["difference"].mean()) | {"floor": typical_floor(cell)}
        rows.append(dict(zip(keys, key, strict=True)) | found)
    return pd.DataFrame(rows, columns=pd.Index([*keys, "mean", "sd", "low", "high", "seeds", "floor"]))


def over_cells(differences: Table, keys: Sequence[str]) -> dict[str, float]:
    """Return the mean over cells, each counting once in a seed, and its 95 % t-interval over training seeds."""
    cells = differences.groupby([*keys, "seed"])["difference"].mean()
    return interval(cells.groupby("seed").mean()) | {"floor": typical_floor(differences)}


def typical_floor(differences: Table) -> float:
    """Return the root mean square of the noise floors of some differences, NaN where none is known."""
    known = differences["floor"].dropna().astype(float) if "floor" in differences else []
    return float(np.sqrt(np.mean(np.square(known)))) if len(known) else float("nan")
