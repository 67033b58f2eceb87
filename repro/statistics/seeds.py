"""Means over training seeds with 95 % t-intervals: of one number, of whole columns, of a table setting by setting."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from repro.statistics.effects import FEWEST, Table, quantile

Row = Any  # of a table
# What tells one setting of networks from another.
SETTING = ("dataset", "model", "method", "pretrain", "difficulty", "alpha", "rule")


def interval(values: Iterable[float]) -> dict[str, float]:
    """Return mean, standard deviation, the ends of the 95 % t-interval and the count of finite values."""
    found = column_intervals(np.asarray(list(values), dtype=float)[:, None])
    return {name: found[name][0].item() for name in ("mean", "sd", "low", "high", "seeds")}


def column_intervals(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return `interval` of every column at once.

    Args:
        values: one row per seed, shape `(seeds, columns)`; NaN is left out.

    Returns:
        The keys of `interval`, each of shape `(columns,)`.
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    clean = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = clean.sum(axis=0) / count
        sd = np.sqrt((np.where(finite, values - mean, 0.0) ** 2).sum(axis=0) / np.where(count > 1, count - 1, np.nan))
        half = quantile(np.maximum(count - 1, 1), 0.95) * sd / np.sqrt(count)
    return {"seeds": count, "mean": mean, "sd": sd, "high": mean + half, "low": mean - half}


def simultaneous(effects: Table) -> Table:
    """Return effects with intervals that all hold together at 95 %, the variance pooled over the settings.

    Among many settings some interval excludes 0 by luck: one in twenty does where nothing is there. Three seeds tell a
    mean, but hardly a deviation; all settings of a study together tell a deviation:

        mean +- t_{1 - 0.025/m, f} s / sqrt(k),   s^2 = sum (k_c - 1) s_c^2 / f,   f = sum (k_c - 1),

    with Bonferroni over the m settings and k the seeds of a setting. It assumes that all settings scatter equally.

    Args:
        effects: columns `mean`, `low`, `high`, `seeds` and `sd`, the deviation over seeds. A setting of one seed, whose
            interval is NaN, is not counted.
    """
    known, middle, seeds = effects["low"].notna(), effects["mean"].astype(float), effects["seeds"].astype(float)
    freedom = (seeds - 1).where(effects["sd"].notna(), 0.0)
    with np.errstate(invalid="ignore"):
        sd = np.sqrt((freedom * effects["sd"].astype(float).fillna(0.0) ** 2).sum() / freedom.sum())
    half = quantile(freedom.sum(), 1 - 0.05 / max(int(known.sum()), 1)) * sd / np.sqrt(seeds)
    return effects.assign(low=(middle - half).where(known), high=(middle + half).where(known))


def summarize(table: Table, keys: Sequence[str], value: str = "value") -> Table:
    """Return mean, standard deviation and 95 % t-interval of `value` over training seeds, one row per setting.

    `mean +- t_{0.975, k-1} sd / sqrt(k)` over `k` finite training seeds; unlearning seeds nested in a training seed
    are averaged first, because they are no further training seeds.

    Args:
        table: tidy rows with columns `keys`, `value` and, where there are several, `seed` and `status`.
        keys: columns that name a setting.
        value: the column to summarize.

    Returns:
        Columns `keys`, `mean`, `sd`, `low`, `high`, `seeds` (finite training seeds), `diverged` (rows that diverged).
        With one seed sd, low and high are NaN: one run has no spread.
    """
    keys = list(keys)
    if table.empty:
        return pd.DataFrame(columns=pd.Index([*keys, "mean", "sd", "low", "high", "seeds", "diverged"]))
    rows = table[[name for name in (*keys, "seed") if name in table]].assign(
        mean=pd.to_numeric(table[value]) if value in table else np.nan,
        diverged=(table["status"] == "diverged").astype(int) if "status" in table else 0,
    )
    settings = rows.groupby(keys, sort=False, dropna=False)
    if "seed" in rows:
        rows = rows.groupby([*keys, "seed"], sort=False, dropna=False)["mean"].mean().reset_index()
    found = rows.groupby(keys, sort=False, dropna=False)["mean"].agg(["mean", "std", "count"])
    with np.errstate(invalid="ignore"):
        half = quantile(found["count"] - 1, 0.95) * found["std"] / np.sqrt(found["count"])
    return pd.DataFrame({
        "mean": found["mean"], "sd": found["std"], "low": found["mean"] - half, "high": found["mean"] + half,
        "seeds": found["count"], "diverged": settings["diverged"].sum(),
    }).reset_index()  # fmt: skip


def by_setting(differences: Table, keys: Sequence[str]) -> Table:
    """Return mean difference and 95 % t-interval over training seeds, one row per value of `keys`.

    Settings that a key does not tell apart (other forget sets, say) are averaged within a seed first. `floor` is the
    root mean square of their noise floors: a floor is a standard deviation.
    """
    keys = list(keys)
    if differences.empty:
        return pd.DataFrame(columns=pd.Index([*keys, "mean", "sd", "low", "high", "seeds", "floor"]))
    found = summarize(by_seed(differences, keys), keys, "difference").drop(columns="diverged")
    squares = differences.reindex(columns=[*keys, "floor"]).astype({"floor": float})
    squares = squares.assign(floor=squares["floor"] ** 2).groupby(keys, sort=False)["floor"].mean()
    return found.merge(squares.pow(0.5).reset_index(), on=keys)


def over_settings(differences: Table, keys: Sequence[str]) -> dict[str, float]:
    """Return the mean over settings and its 95 % t-interval over training seeds.

    Where `keys` tell forget sets apart each of them counts once, and within it each setting: a set with more runs
    weighs no more. Settings of fewer than `FEWEST` seeds count only where there are no others.
    """
    found = by_seed(differences, keys).assign(all="settings")
    enough = found.groupby(list(keys))["seed"].transform("count") >= FEWEST
    found = found[enough] if enough.any() else found
    if "difficulty" in keys:
        found, keys = by_seed(found, ["all", "difficulty"], setting=keys), ["difficulty"]
    return interval(by_seed(found, ["all"], setting=keys)["difference"]) | {"floor": typical_floor(differences)}


def by_seed(differences: Table, keys: Sequence[str], *, setting: Sequence[str] = SETTING) -> Table:
    """Return the mean over settings that `keys` do not tell apart, by training seed: `keys`, `seed` and `difference`.

    `setting` names the columns that tell one setting from another, in addition to `keys`.

    The mean is the mean of every setting's own mean `m_c` over its seeds. Its scatter comes from the seeds `s` that
    all of these settings have: a row is `mean_c m_c + r_s`, where `r_s = mean_c d_cs` less its mean over these seeds. A
    seed that only some settings have, because they were run for more, moves their means but is no further seed of all:
    settings of one seed move together, and the interval would describe other models. A setting of one seed says nothing
    about the scatter. If the others share no seed, one row is left, whose interval is unknown.
    """
    keys = list(keys)
    if differences.empty:
        return pd.DataFrame(columns=pd.Index([*keys, "seed", "difference"]))
    setting = [*keys, *(name for name in setting if name in differences and name not in keys)]
    table = differences.groupby([*setting, "seed"], dropna=False, sort=False)["difference"].mean().reset_index()
    groups, rows = (table.groupby(names, dropna=False, sort=False).ngroup().to_numpy() for names in (keys, setting))
    seeds, names = pd.factorize(table["seed"])
    values = np.full((rows.max() + 1, len(names)), np.nan)
    values[rows, seeds] = table["difference"]
    first = np.unique(rows, return_index=True)[1]
    means = np.stack([_mean_by_seed(values[groups[first] == group]) for group in range(groups.max() + 1)])
    known = np.argwhere(np.isfinite(means))
    heads = table[keys].drop_duplicates().iloc[known[:, 0]].reset_index(drop=True)
    return heads.assign(seed=names[known[:, 1]], difference=means[tuple(known.T)])


def _mean_by_seed(values: np.ndarray) -> np.ndarray:
    """Return the mean of some settings' means with the scatter of the seeds that they share, NaN for other seeds.

    Args:
        values: one row per setting, `(settings, seeds)`; NaN where a setting lacks a seed.
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
