"""Memorization scores by the subset estimator of Feldman and Zhang (2020)."""

from typing import Any, NamedTuple

import numpy as np

from empirical.data.forget import choose_forget
from empirical.settings.run_config import MemorizationConfig, RunConfig
from repro.base.settings import reject
from repro.records.identity import derive_seed

SPLITS = 20


def draw_subsets(config: MemorizationConfig, count: int) -> np.ndarray:
    """Return which images each subset holds, `(subsets, n)` boolean; each row has a `fraction` of the images.

    Raises:
        ConfigError: if a subset would hold no image or all images.
    """
    generator = np.random.default_rng(derive_seed(config.seed, "subsets"))
    size = round(config.fraction * count)
    if not 0 < size < count:
        raise reject("fraction", config.fraction, f"such that a subset holds 1 to {count - 1} of {count} images")
    inside = np.zeros((config.subsets, count), bool)
    for row in inside:
        row[generator.permutation(count)[:size]] = True
    return inside


def summarize_subsets(inside: np.ndarray, correct: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbers and the arrays for the record of an estimate."""
    scores, errors = estimate(inside, correct)
    accuracy = {"inside_accuracy": float(correct[inside].mean()), "outside_accuracy": float(correct[~inside].mean())}
    trust = {"rank_agreement": rank_agreement(inside, correct), "reliability": reliability(inside, correct)}
    result = describe(scores, errors) | accuracy | trust | {"ties": tied_share(scores)}
    return result, {"scores": scores, "errors": errors, "inside": inside, "correct": correct}


def estimate(inside: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and their standard errors, each `(n,)`.

    `mem(i) = P[h(x_i) = y_i | i inside] - P[h(x_i) = y_i | i outside]` over the subset models (Feldman and Zhang
    2020, eq. 1); the variance of each share is `p (1 - p) / k`. An image that is always (or never) inside scores NaN.

    Args:
        inside: `(subsets, n)`, whether a model was trained on an image.
        correct: `(subsets, n)`, whether it classifies the image correctly.
    """
    scores, variances = 0.0, 0.0
    for side, sign in ((inside, 1), (~inside, -1)):
        count = side.sum(0).astype(float)
        count[count == 0] = np.nan
        share = (correct & side).sum(0) / count
        scores, variances = scores + sign * share, variances + share * (1 - share) / count
    return np.asarray(scores), np.sqrt(variances)


def rank_agreement(inside: np.ndarray, correct: np.ndarray) -> float | None:
    """Return Spearman's correlation between the estimates of the even and of the odd subset models."""
    halves = [estimate(inside[start::2], correct[start::2])[0] for start in (0, 1)]
    return agreement(halves[0], halves[1])


def reliability(inside: np.ndarray, correct: np.ndarray) -> float | None:
    """Return how well the scores would agree with scores from as many other subset models, at most 1.

    `2 r / (1 + r)` (Spearman 1910, Brown 1910), with r Spearman's correlation between the estimates of two random
    halves of the models, averaged over 20 random splits; None if a half gives all images the same score.
    """
    generator = np.random.default_rng(derive_seed(0, "reliability"))
    found = []
    for _ in range(SPLITS):
        order = generator.permutation(len(inside))
        sides = order[::2], order[1::2]
        found.append(agreement(*(estimate(inside[side], correct[side])[0] for side in sides)))
    known = [value for value in found if value is not None]
    if len(known) < len(found) or not np.isfinite(known).all():
        return None
    mean = float(np.mean(known))
    return 2 * mean / (1 + mean) if mean > -1 else None


class Likeness(NamedTuple):
    """How similar the forget sets of two estimates are.

    Attributes:
        overlap: share of a set that the other estimate chooses too; chance: of two sets drawn at random.
        own: mean score of a set by the estimate that chose it; other: by the other one, without that one's luck.
        spread: deviation of the true scores over the images of a set.
    """

    overlap: float
    chance: float
    own: float
    other: float
    spread: float


def compare_draws(
    inside: np.ndarray, correct: np.ndarray, models: int, *, forget_fraction: float = 0.05, repeats: int = SPLITS
) -> dict[str, Likeness]:
    """Return how similar `low`, `mid` and `high` are that two estimates choose, each from `models` subset models.

        overlap = |A and B| / m,    by chance m / n,    spread^2 = Cov_{i in A}(s_i, t_i)

    with A and B the m of n images that the estimates choose, and s and t the scores by two halves of the models that
    did not choose A: their errors are independent. The two groups of models are drawn at random and share none; numbers
    are means over `repeats` draws and both sets.

    Args:
        inside, correct: `(subsets, n)`, as of `estimate`.
        models: in [4, subsets / 2]; forget_fraction: m / n, in (0, 1/3].

    Raises:
        ConfigError: when there are not twice as many subset models, or a forget set would be empty.
    """
    if not 4 <= models <= len(inside) // 2:
        raise reject("models", models, f"in [4, {len(inside) // 2}], half of the {len(inside)} subset models")
    generator = np.random.default_rng(derive_seed(0, "draws"))
    found: dict[str, list[tuple[float, ...]]] = {"low": [], "mid": [], "high": []}

    def scores_of(side: np.ndarray) -> np.ndarray:
        return filled(estimate(inside[side], correct[side])[0])

    def forgotten(name: str, scores: np.ndarray, seed: int) -> np.ndarray:
        config = RunConfig(difficulty=name, forget_fraction=forget_fraction, forget_seed=seed)
        return choose_forget(config, np.zeros(len(scores), int), memorization=lambda: scores).forget

    for repeat in range(repeats):
        order = generator.permutation(len(inside))
        groups = order[:models], order[-models:]
        scores = [scores_of(group) for group in groups]
        halves = [np.stack([scores_of(group[start::2]) for start in (0, 1)]) for group in groups]
        for name, seen in found.items():
            sets = [forgotten(name, one, 2 * repeat + draw) for draw, one in enumerate(scores)]
            shared, chance = len(np.intersect1d(sets[0], sets[1])) / len(sets[0]), len(sets[0]) / len(scores[0])
            for mine, theirs in ((0, 1), (1, 0)):
                rows = sets[mine]
                own, other = scores[mine][rows].mean(), scores[theirs][rows].mean()
                seen.append((shared, chance, own, other, np.cov(halves[theirs][:, rows])[0, 1]))
    means = {name: np.mean(seen, axis=0).tolist() for name, seen in found.items()}
    return {
        name: Likeness(shared, chance, own, other, max(0.0, common) ** 0.5)
        for name, (shared, chance, own, other, common) in means.items()
    }


def tied_share(scores: np.ndarray) -> float:
    """Return the share of images with the same score as another image, in [0, 1], without unknown scores."""
    _, counts = np.unique(scores[np.isfinite(scores)], return_counts=True)
    return float(counts[counts > 1].sum() / max(counts.sum(), 1))


def agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Spearman's correlation of two lists of scores, over images known to both; None if it is undefined."""
    from scipy.stats import spearmanr

    known = np.isfinite(first) & np.isfinite(second)
    if not known.any() or np.ptp(first[known]) == 0 or np.ptp(second[known]) == 0:
        return None
    found: Any = spearmanr(first[known], second[known])
    return float(found.statistic)


def describe(scores: np.ndarray, errors: np.ndarray) -> dict[str, float | int]:
    """Return the size, quartiles and mean standard error of scores."""
    low, middle, high = np.nanquantile(scores, (0.25, 0.5, 0.75))
    return {
        "n": len(scores), "unknown": int(np.isnan(scores).sum()), "mean": float(np.nanmean(scores)),
        "quartile_low": float(low), "median": float(middle), "quartile_high": float(high),
        "mean_standard_error": float(np.nanmean(errors)),
    }  # fmt: skip


def filled(scores: np.ndarray) -> np.ndarray:
    """Return scores with the median for unknown scores, so that these are neither the lowest nor the highest."""
    return np.where(np.isnan(scores), np.nanmedian(scores), scores)
