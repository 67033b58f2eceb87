"""Differences between two rules in the same cell and seed: what a claim about SAM against SGD rests on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.intervals import FEWEST, Table, interval
from figures.tables.names import family, method_label

SAME = (
    "dataset", "model", "method", "pretrain", "difficulty", "alpha", "forget_seed", "seed", "unlearn_seed"
)  # fmt: skip
CELL = (*(name for name in SAME if "seed" not in name), "rule")
# What tells the cells of a claim on rules apart, in the order in which they are named.
CLAIMED = ("rule", "method", "pretrain", "difficulty")


def cell_name(row: Any) -> str:
    """Return what a cell is called, from a named tuple of its `CLAIMED` columns."""
    return f"{method_label(row.method)} by {row.rule} after {row.pretrain} on {row.difficulty}"


def rule_differences(table: Table, metric: str, *, rules: Sequence[str] = (), against: str = "sgd") -> Table:
    """Return `metric` under each rule minus `metric` under `against`, one row a shared cell and seed.

    Where the table has the noise floor of the metric, a row carries it as `floor`.

    Args:
        table: rows of `figures.tables.cells.unlearn_table`.
        metric: the number compared.
        rules: families such as "sam" and "asam"; none named takes every other one.
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
    # Retraining is what methods are held against: it knows nothing of the original or how that was trained.
    table = table[table["method"] != "retrain"]
    families = table[column].map(family)
    base = table[families == against][[*keys, metric]].rename(columns={metric: "base"})
    rows = table[families.isin(rules or {*families} - {against, ""})]
    rows = rows.assign(floor=rows.get(f"floor_{metric}", np.nan))
    rows = rows[[*keys, column, metric, "floor"]].merge(base, on=keys)
    rows["difference"] = rows[metric].astype(float) - rows["base"].astype(float)
    return rows.dropna(subset=["difference"])


def by_cell(differences: Table, keys: Sequence[str]) -> Table:
    """Return mean difference and 95 % t-interval over training seeds, one row a value of `keys`.

    Cells that a key does not tell apart (other forget sets, say) are averaged within a seed first. `floor` is the root
    mean square of their noise floors: a floor is a standard deviation.
    """
    keys, rows = list(keys), []
    seeds = dict(iter(by_seed(differences, keys).groupby(keys)["difference"])) if len(differences) else {}
    for key, cell in differences.groupby(keys, sort=False) if seeds else ():
        rows.append(dict(zip(keys, key, strict=True)) | interval(seeds[key]) | {"floor": typical_floor(cell)})
    return pd.DataFrame(rows, columns=pd.Index([*keys, "mean", "sd", "low", "high", "seeds", "floor"]))


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
    cell = [*keys, *(name for name in cell if name in differences and name not in keys)]
    table = differences.groupby([*cell, "seed"], dropna=False, sort=False)["difference"].mean().reset_index()
    own = table.groupby(cell, dropna=False, sort=False)["difference"]
    table = table.assign(level=own.transform("mean"), several=own.transform("count") > 1)
    table["scatter"] = table["difference"].where(table["several"])
    cells = table.drop_duplicates(cell).groupby(keys, dropna=False, sort=False)
    means = cells.agg(level=("level", "mean"), cells=("several", "sum")).reset_index()
    seeds = table.groupby([*keys, "seed"], dropna=False, sort=False)["scatter"].agg(["mean", "count"]).reset_index()
    seeds = seeds.merge(means, on=keys)
    seeds["shared"] = (seeds["count"] == seeds["cells"]) & (seeds["cells"] > 0)
    seeds["scatter"] = seeds["mean"].where(seeds["shared"])
    own = seeds.groupby(keys, dropna=False)
    alone = ~own["shared"].transform("any") & ~seeds.duplicated(keys)
    scatter = (seeds["scatter"] - own["scatter"].transform("mean")).mask(alone, 0.0)
    return seeds.assign(difference=seeds["level"] + scatter).dropna(subset=["difference"])[
        [*keys, "seed", "difference"]
    ]


def typical_floor(differences: Table) -> float:
    """Return the root mean square of the noise floors of some differences, NaN where none is known."""
    known = differences["floor"].dropna().astype(float) if "floor" in differences else []
    return float(np.sqrt(np.mean(np.square(known)))) if len(known) else float("nan")
