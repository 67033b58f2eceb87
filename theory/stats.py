"""Intervals, fits and thresholds over seeds, free of any plotting or simulation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

REPEATS = 400  # bootstrap samples


class Estimate(NamedTuple):
    """A number with its 95 % confidence interval; None where too few values are finite.

    `seeds` is the number of values in the mean, if some seeds may have none: a seed that never forgets as much has no
    value at matched forgetting. None means all seeds.
    """

    value: float | None
    low: float | None
    high: float | None
    seeds: int | None = None

    def below(self, value: float) -> bool:
        """Return whether the whole interval lies below `value`."""
        return self.high is not None and self.high < value

    def above(self, value: float) -> bool:
        """Return whether the whole interval lies above `value`."""
        return self.low is not None and self.low > value


NOTHING = Estimate(None, None, None)


def mean_interval(values: Sequence[float] | np.ndarray) -> Estimate:
    """Return the mean of the finite values, one a seed, and its Student t interval; NaN is left out."""
    from repro.statistics.seeds import interval

    found = interval(value for value in values if np.isfinite(value))
    mean, low, high = (found[name] if np.isfinite(found[name]) else None for name in ("mean", "low", "high"))
    return Estimate(mean, low, high, int(found["seeds"])) if found["seeds"] else NOTHING


def simultaneous(estimate: Estimate, count: int, seeds: int) -> Estimate:
    """Return an estimate with a wider interval, so that the intervals of `count` estimates hold together (Bonferroni).

    Each end moves from the value by the ratio of Student's t at `1 - 0.025 / count` to that at `0.975`.

    Args:
        estimate: with its own 95 % interval.
        count: estimates that are judged together, >= 1.
        seeds: independent seeds that were run. The degrees of freedom are one less, or one less than `estimate.seeds`
            if it is given.
    """
    from scipy.special import stdtrit

    value, low, high, counted = estimate
    if value is None or low is None or high is None:
        return Estimate(value, None, None)
    freedom = (seeds if counted is None else counted) - 1
    wider = stdtrit(freedom, 1 - 0.025 / max(count, 1)) / stdtrit(freedom, 0.975)
    return Estimate(value, value - wider * (value - low), value + wider * (high - value), counted)


def share_interval(hits: Sequence[bool] | np.ndarray) -> Estimate:
    """Return a share of seeds and its 95 % interval (Wilson), which is open even where all seeds agree."""
    count, share, z2 = len(hits), float(np.mean(hits)), 1.959964**2
    middle, root = share + z2 / (2 * count), np.sqrt(z2 * (share * (1 - share) + z2 / (4 * count)) / count)
    low, high = ((middle + sign * root) / (1 + z2 / count) for sign in (-1, 1))
    return Estimate(share, float(max(low, 0.0)), float(min(high, 1.0)))


def mean_and_error(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Return mean and standard error of the finite values; None where there are too few."""
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    if not len(finite):
        return None, None
    error = float(finite.std(ddof=1) / np.sqrt(len(finite))) if len(finite) > 1 else None
    return float(finite.mean()), error


def quadrature_error(values: Sequence[float | None]) -> float | None:
    """Return what independent quadratures leave in a mean over seeds, `sqrt(sum_i e_i^2) / count`.

    The mean's standard error already contains it, as each seed has its own quadrature points.

    Args:
        values: standard errors e_i, one a seed; None and NaN are left out.
    """
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    return float(np.sqrt(np.sum(finite**2)) / len(finite)) if len(finite) else None


def bootstrap(statistic: Callable[[np.ndarray], float], seeds: int, rng: np.random.Generator) -> Estimate:
    """Return a statistic over seeds and its percentile bootstrap interval; samples without a value are left out.

    Args:
        statistic: from an index array, shape `(seeds,)`, to the statistic of those seeds; NaN where undefined.
        seeds: number of seeds.
        rng: source of resampling.
    """
    value = statistic(np.arange(seeds))
    drawn = np.array([statistic(rng.integers(seeds, size=seeds)) for _ in range(REPEATS)])
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(drawn) < REPEATS / 2:
        return NOTHING
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(float(value), float(low), float(high))


def slope(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Return the least-squares slope of y on x over finite pairs; NaN with fewer than three."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    keep = np.isfinite(x) & np.isfinite(y)
    if keep.sum() < 3:
        return float("nan")
    centered = x[keep] - x[keep].mean()
    return float(centered @ y[keep] / (centered @ centered))


def crossing(strengths: np.ndarray, errors: np.ndarray, level: float = 0.1) -> float:
    """Return the smallest strength at which the error falls below `level`, interpolated in the log of the strength.

    Args:
        strengths: increasing, shape `(S,)`.
        errors: test errors there, shape `(S,)`.
        level: the boundary's error.

    Returns:
        NaN when the boundary lies outside the grid.
    """
    below = np.flatnonzero(errors < level)
    if not len(below) or below[0] == 0:
        return float("nan")
    i = below[0]
    share = (errors[i - 1] - level) / (errors[i - 1] - errors[i])
    return float(np.exp(np.log(strengths[i - 1]) + share * np.log(strengths[i] / strengths[i - 1])))


def bisect(
    is_below: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each of K searches, the ends of an interval of at most `tolerance` that contains a change.

    Args:
        is_below: takes one place for each search, shape `(K,)`, and returns whether the change lies above it.
        low, high: the first intervals, shape `(K,)`; an interval of width 0 stays as it is.
        tolerance: > 0.
    """
    while np.max(high - low) > tolerance:
        middle = (low + high) / 2
        below = is_below(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return low, high
