"""Mean, deviation and 95 % t-interval over training seeds, intervals that hold together, and both as text."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

# A pandas DataFrame and one of its rows. Any, because what pandas declares for indexing and grouping is a union of
# everything it might return, which no caller could use without a cast at every step.
Table = Any
Row = Any

FEWEST = 3  # seeds: a setting of fewer never decides


def interval(values: Iterable[float]) -> dict[str, float]:
    """Return mean, standard deviation, the ends of the 95 % t-interval and the count of finite values."""
    found = column_intervals(np.asarray(list(values), dtype=float)[:, None])
    return {name: found[name][0].item() for name in ("mean", "sd", "low", "high", "seeds")}


def column_intervals(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return `interval` of every column at once.

    Args:
        values: one row a seed, shape `(seeds, columns)`; NaN is left out.

    Returns:
        The keys of `interval`, each of shape `(columns,)`.
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=0)
    clean = np.where(finite, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = clean.sum(axis=0) / count
        sd = np.sqrt((np.where(finite, values - mean, 0.0) ** 2).sum(axis=0) / np.where(count > 1, count - 1, np.nan))
        half = stdtrit(np.maximum(count - 1, 1), 0.975) * sd / np.sqrt(count)
    return {"seeds": count, "mean": mean, "sd": sd, "high": mean + half, "low": mean - half}


def simultaneous(effects: Table) -> Table:
    """Return effects with intervals that all hold together at 95 %, the variance pooled over the settings.

    Among many settings some interval excludes 0 by luck: one in twenty does where nothing is there. Three seeds tell a
    mean, but hardly a deviation; over the settings of a study they tell one:

        mean +- t_{1 - 0.025/m, f} s / sqrt(k),   s^2 = sum (k_c - 1) s_c^2 / f,   f = sum (k_c - 1),

    Bonferroni over the m settings, k the seeds of a setting. It supposes that settings scatter alike.

    Args:
        effects: columns `mean`, `low`, `high`, `seeds` and `sd`, the deviation over seeds; without `sd` each interval
            is widened by itself. A setting of one seed, whose interval is NaN, is not counted.
    """
    known = effects["low"].notna()
    level, middle = 1 - 0.025 / max(int(known.sum()), 1), effects["mean"].astype(float)
    if "sd" not in effects:
        freedom = np.maximum(effects["seeds"].astype(float) - 1, 1)
        wider = stdtrit(freedom, level) / stdtrit(freedom, 0.975)
        ends = {end: middle + (effects[end].astype(float) - middle) * wider for end in ("low", "high")}
        return effects.assign(**ends)
    sd, freedom = pooled_deviation(effects)
    half = stdtrit(freedom, level) * sd / np.sqrt(effects["seeds"].astype(float))
    return effects.assign(low=(middle - half).where(known), high=(middle + half).where(known))


def pooled_deviation(effects: Table) -> tuple[float, int]:
    """Return the standard deviation over seeds pooled over settings, and its degrees of freedom, sum of (seeds - 1)."""
    known = effects[effects["sd"].notna()]
    freedom = known["seeds"].astype(int) - 1
    if not len(known):
        return float("nan"), 0
    return float(np.sqrt((freedom * known["sd"].astype(float) ** 2).sum() / freedom.sum())), int(freedom.sum())


def summarize(table: Table, keys: Sequence[str], value: str = "value") -> Table:
    """Return mean, standard deviation and 95 % t-interval of `value` over training seeds, one row a setting.

    `mean +- t_{0.975, k-1} sd / sqrt(k)` over `k` finite training seeds; unlearning seeds nested in a training seed
    are averaged first, for they do not make training seeds more.

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
        half = stdtrit(found["count"] - 1, 0.975) * found["std"] / np.sqrt(found["count"])
    return pd.DataFrame({
        "mean": found["mean"], "sd": found["std"], "low": found["mean"] - half, "high": found["mean"] + half,
        "seeds": found["count"], "diverged": settings["diverged"].sum(),
    }).reset_index()  # fmt: skip


def spread_text(row: Row, *, percent: bool = False, digits: int = 3) -> str:
    """Return a summary as `mean ± sd (k)`: a number never stands without its spread and its number of seeds."""
    scale, diverged = 100.0 if percent else 1.0, int(row.get("diverged", 0))
    if not row["seeds"]:
        return "diverged" if diverged else "not run"
    spread = "" if np.isnan(row["sd"]) else f" ± {scale * row['sd']:.{digits}f}"
    broken = f", {diverged} diverged" if diverged else ""
    return f"{scale * row['mean']:.{digits}f}{spread} ({int(row['seeds'])}{broken})"


def effect_text(row: Row) -> str:
    """Return a difference as `+mean [low, high]`, the 95 % interval, which one seed does not have."""
    if np.isnan(row["low"]):
        return f"{row['mean']:+.3f} [no interval]"
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def points_text(row: Row) -> str:
    """Return a difference in percentage points as `+mean [low, high]`, with * where the interval excludes 0."""
    mean, low, high = (100 * row[name] for name in ("mean", "low", "high"))
    if np.isnan(low):
        return f"{mean:+.1f}"
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]{' *' if low > 0 or high < 0 else ''}"


def span(counts: Iterable[Any]) -> str:
    """Return "3" or "3-5": the least and the greatest of some counts."""
    found = sorted(int(count) for count in counts)
    return str(found[0]) if found[0] == found[-1] else f"{found[0]}-{found[-1]}"
