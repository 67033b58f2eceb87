"""What a run is compared with: the noise floor, one common SGD retrain for every pretraining rule, the run by SGD.

Two models retrained on the same R with other seeds are both perfect unlearning; what they differ by is the floor that
no method can be told from. A floor needs retrained models of several seeds on *the same* forget set.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.tables.names import family
from repro.statistics.effects import FEWEST, Table
from repro.statistics.spread import noise_floor, tug_of_war

ACCURACIES = ("retain_accuracy", "forget_accuracy", "test_accuracy")
SAME = (
    "dataset", "model", "method", "pretrain", "difficulty", "alpha", "forget_seed", "seed", "unlearn_seed"
)  # fmt: skip
KEYS = ["difficulty", "forget_set", "retraining"]
RETRAINED = [f"retrained_{name}" for name in ACCURACIES]


def retrained_models(table: Table, by: Sequence[str] = ()) -> Table:
    """Return one row per retrained model whose forget set is known: `difficulty`, `forget_set`, `retraining`, `seed`.

    Its accuracies stand in columns `retrained_{retain,forget,test}_accuracy`; many runs share one retrained model.
    A study that went on elsewhere may have trained a model again: the one with most runs is taken, counted among the
    runs with the same values of the columns `by`.
    """
    key = [*KEYS, *by, "seed"]
    columns = [*key, *RETRAINED]
    if not set(columns) <= set(table.columns):
        return pd.DataFrame(columns=pd.Index(columns))
    known = table[table["forget_set"] != ""].dropna(subset=RETRAINED)
    known = known.assign(runs=known.groupby(columns)["seed"].transform("size"))
    known = known.sort_values("runs", ascending=False, kind="stable")
    return known.drop_duplicates(key)[columns].astype(dict.fromkeys(RETRAINED, float))


def own_reference(table: Table, retraining: Any) -> Any:
    """Return which rows are the retrained model that they are compared with, `(rows,)` boolean.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`.
        retraining: the rule of the retrained model they are compared with, one for all or one per row.
    """
    first = table["unlearn_seed"].isin([0, None, float("nan")])  # another seed is another model
    return (table["method"] == "retrain") & (table["rule"] == retraining) & first


def noise_floors(table: Table) -> Table:
    """Return the noise floor of every forget set and retraining rule with at least two seeds.

    All ordered pairs of seeds are taken; they are not independent, so mean and deviation describe them and no interval
    is given.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`.

    Returns:
        Columns `difficulty`, `forget_set`, `retraining`, `metric` ("tow" or an accuracy), `mean` and `sd` of the ToW
        of one retrained model against another (for an accuracy: of its absolute gap), `difference_sd`, `seeds`; all
        as shares. `difference_sd` is the deviation of a *difference* between two rules that both do as well as
        retraining: `a_j - a_k` over pairs for an accuracy (sqrt(2) times the deviation over seeds), `ToW(j, i) -
        ToW(k, i)` over triples of seeds for ToW (NaN with two seeds): the root of twice the variance over models,
        averaged over the references i.
    """
    return _floors(retrained_models(table))


def _floors(retrained: Table) -> Table:
    rows = []
    for key, models in retrained.groupby(KEYS):
        values, seeds = models[RETRAINED].to_numpy(), len(models)
        if seeds < 2:
            continue
        apart = ~np.eye(len(values), dtype=bool)
        scores = tug_of_war(values[:, None], values[None])[apart]
        found = [("tow", scores, noise_floor(values).value if seeds >= FEWEST else np.nan)]
        for k, name in enumerate(ACCURACIES):
            gaps = np.abs(values[:, None, k] - values[None, :, k])[apart]
            found.append((name, gaps, np.sqrt(2) * values[:, k].std(ddof=1)))
        for metric, levels, spread in found:
            numbers = {"mean": float(levels.mean()), "sd": float(levels.std()), "difference_sd": float(spread)}
            rows.append(dict(zip(KEYS, key, strict=True)) | {"metric": metric} | numbers | {"seeds": seeds})
    return pd.DataFrame(rows, columns=pd.Index([*KEYS, "metric", "mean", "sd", "difference_sd", "seeds"]))


def with_references(table: Table) -> Table:
    """Return a table of runs with two more references of ToW: the common SGD retrain and the noise floor.

    `common_tow` is ToW against the model retrained with SGD on the same forget set and seed, whatever the run's own
    reference is, and `original_common_tow` is the same for the original; NaN where there is none. `floor_<metric>` is
    the noise floor of a difference in `<metric>`.
    """
    models = retrained_models(table)
    if models.empty:
        return table
    common = _common_references(table, models)
    for role in ("", "original_"):
        if {f"{role}{name}" for name in ACCURACIES} <= set(table):
            ours = table[[f"{role}{name}" for name in ACCURACIES]].to_numpy(float)
            table[f"{role}common_tow"] = tug_of_war(ours, common)
    if "common_tow" in table:
        table["common_tow"] = table["common_tow"].mask(table["status"] == "diverged", 0.0)
    floors = _floors(models)
    wide = floors.pivot(index=KEYS, columns="metric", values="difference_sd").reindex(columns=["tow", *ACCURACIES])
    table = table.merge(wide.add_prefix("floor_").reset_index(), on=KEYS, how="left")
    # Both sides of such a difference are held against SGD retrains.
    plain = floors[(floors["metric"] == "tow") & (floors["retraining"].map(family) == "sgd")]
    common_floor = plain.rename(columns={"difference_sd": "floor_common_tow"})
    return table.merge(common_floor[["difficulty", "forget_set", "floor_common_tow"]], on=KEYS[:2], how="left")


def _common_references(table: Table, models: Table) -> np.ndarray:
    """Return the accuracies of the model retrained with SGD that each row is compared with, `(rows, 3)`.

    It is the reference of the row's method after SGD, so that both sides of a difference have one reference. A method
    without one takes the reference of most runs.
    """
    same, parts = ["difficulty", "forget_set", "seed"], []
    for by, found in ((["method"], retrained_models(table, ["method"])), ([], models)):
        sgd = found[found["retraining"].map(family) == "sgd"].drop_duplicates([*same, *by])
        parts.append(table[[*same, *by]].merge(sgd[[*same, *by, *RETRAINED]], on=[*same, *by], how="left")[RETRAINED])
    return parts[0].fillna(parts[1]).to_numpy(float)


def floor_of(floors: Table, difficulty: str, retraining: str, metric: str = "tow") -> dict[str, float] | None:
    """Return the row of `noise_floors` for one difficulty, retraining rule and metric.

    Return None if there is no such row, or more than one.

    Args:
        floors: rows of `noise_floors`; difficulty, retraining, metric: the row to return.
    """
    rows = floors[(floors["difficulty"] == difficulty) & (floors["retraining"] == retraining)]
    rows = rows[rows["metric"] == metric]
    return rows.iloc[0].to_dict() if len(rows) == 1 else None


def floor_text(floor: dict[str, float] | None) -> str:
    """Return a noise floor in percent, mean ± standard deviation; a dash where none is known."""
    return f"{100 * floor['mean']:.1f} ± {100 * floor['sd']:.1f}" if floor else "—"


def average_floor(floors: Table) -> dict[str, float] | None:
    """Return the floor of a ToW that is averaged over forget sets: means of `mean` and `sd`; None where none is known.

    The deviation of an average over sets would be smaller, but the records do not say which sets move together.
    """
    rows = floors[floors["metric"] == "tow"]
    return {name: float(rows[name].mean()) for name in ("mean", "sd")} if len(rows) else None


def reaches(row: Table, floor: dict[str, float] | None) -> bool:
    """Return whether a method is as good as retraining: the interval of its ToW reaches the band `mean - sd`.

    A setting of fewer than three seeds never counts as good: its interval would reach anything.
    """
    return floor is not None and bool(row["seeds"] >= FEWEST and row["high"] >= floor["mean"] - floor["sd"])


def rule_differences(table: Table, metric: str, *, rules: Sequence[str] = ()) -> Table:
    """Return `metric` under each rule minus `metric` under SGD, one row per shared setting and seed.

    Where the table has the noise floor of the metric, a row carries it as `floor`.

    Args:
        table: rows of `figures.tables.runs.unlearn_table`.
        metric: the number compared.
        rules: families such as "sam" and "asam"; without any, every family but SGD.
    """
    return _differences(table, metric, "rule", "pretrain", rules)


def pretrain_differences(table: Table, metric: str, *, rules: Sequence[str]) -> Table:
    """Return `metric` after pretraining with each rule minus after pretraining with SGD, with the same unlearning."""
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
