"""Differences between two rules in the same cell and seed: what a claim about SAM against SGD rests on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from figures.tables.intervals import FEWEST, Table, interval, summarize
from figures.tables.names import family

SAME = (
    "dataset", "model", "method", "pretrain", "difficulty", "alpha", "forget_seed", "seed", "unlearn_seed"
)  # fmt: skip
CELL = (*(name for name in SAME if "seed" not in name), "rule")


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


def by_cell(differences: Table, keys: Sequence[str]) -> Table:
    """Return mean difference and 95 % t-interval over training seeds, one row a value of `keys`.

    Cells that a key does not tell apart (other forget sets, say) are averaged within a seed first. `floor` is the root
    mean square of their noise floors: a floor is a standard deviation.
    """
    keys = list(keys)
    if differences.empty:
        return pd.DataFrame(columns=pd.Index([*keys, "mean", "sd", "low", "high", "seeds", "floor"]))
    found = summarize(by_seed(differences, keys), keys, "difference").drop(columns="diverged")
    squares = differences.reindex(columns=[*keys, "floor"]).astype({"floor": float})
    squares = squares.assign(floor=squares["floor"] ** 2).groupby(keys, sort=False)["floor"].mean()
    return found.merge(squares.pow(0.5).reset_index(), on=keys)


def over_cells(differences: Table, keys: Sequence[str]) -> dict[str, float]:
    """Return the mean over cells and its 95 % t-interval over training seeds.

    Where `keys` tell forget sets apart each of them counts once, and within it each cell: a set on which more was run
    weighs no more. Cells of fewer than `FEWEST` seeds decide nothing, here either: they count where there are no
    others.
    """
    cells = by_seed(differences, keys).assign(all="cells")
    enough = cells.groupby(list(keys))["seed"].transform("count") >= FEWEST
    cells = cells[enough] if enough.any() else cells
    if "difficulty" in keys:
        cells, keys = by_seed(cells, ["all", "difficulty"], cell=keys), ["difficulty"]
    return interval(by_seed(cells, ["all"], cell=keys)["difference"]) | {"floor": typical_floor(differences)}


def by_seed(differences: Table, keys: Sequence[str], *, cell: Sequence[str] = CELL) -> Table:
    """Return the mean over cells that `keys` do not tell apart, by training seed: `keys`, `seed` and `difference`.

    `cell` names the columns that tell one cell from another, those of `keys` beside them.

    The mean is that of every cell's own mean `m_c` over its seeds. What it scatters by is told by the seeds `s` that
    all of these cells have: a row is `mean_c m_c + r_s`, where `r_s = mean_c d_cs` less its mean over these seeds. A
    seed that only some cells have, because they were run for more, moves their means and is no further seed of all:
    cells of one seed move together, and its interval would be that of other models. A cell of one seed says nothing of
    the scatter; where the others share none, one row is left, whose interval nobody knows.
    """
    keys = list(keys)
    if differences.empty:
        return pd.DataFrame(columns=pd.Index([*keys, "seed", "difference"]))
    cell = [*keys, *(name for name in cell if name in differences and name not in keys)]
    table = differences.groupby([*cell, "seed"], dropna=False, sort=False)["difference"].mean().reset_index()
    groups, cells = (table.groupby(names, dropna=False, sort=False).ngroup().to_numpy() for names in (keys, cell))
    seeds, names = pd.factorize(table["seed"])
    values = np.full((cells.max() + 1, len(names)), np.nan)
    values[cells, seeds] = table["difference"]
    first = np.unique(cells, return_index=True)[1]
    means = np.stack([_mean_by_seed(values[groups[first] == group]) for group in range(groups.max() + 1)])
    known = np.argwhere(np.isfinite(means))
    heads = table[keys].drop_duplicates().iloc[known[:, 0]].reset_index(drop=True)
    return heads.assign(seed=names[known[:, 1]], difference=means[tuple(known.T)])


def _mean_by_seed(values: np.ndarray) -> np.ndarray:
    """Return the mean of some cells' means with the scatter of the seeds that they share, NaN for other seeds.

    Args:
        values: one row a cell, `(cells, seeds)`; NaN where a cell lacks a seed.
    """
    level = np.nanmean(values, axis=1).mean()
    known = np.isfinite(values)
    several = values[known.sum(axis=1) > 1]
    shared = np.isfinite(several).all(axis=0) & (len(several) > 0)
    if not shared.any():
        return np.where(np.arange(values.shape[1]) == np.argmax(known.any(axis=0)), level, np.nan)
    scatter = several.mean(axis=0)
    return np.where(shared, level + scatter - scatter[shared].mean(), np.nan)


def typical_floor(differences: Table) -> float:
    """Return the root mean square of the noise floors of some differences, NaN where none is known."""
    known = differences["floor"].dropna().astype(float) if "floor" in differences else []
    return float(np.sqrt(np.mean(np.square(known)))) if len(known) else float("nan")
