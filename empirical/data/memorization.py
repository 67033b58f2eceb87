"""Memorization scores by the subset estimator of Feldman and Zhang (2020): settings and arithmetic."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from empirical.settings.run_config import RunConfig
from repro.records.identity import derive_seed
from repro.records.settings import check, setting

# Small models without augmentation fit their subset well before the original's epochs are over.
LONGEST = 20


@dataclass(frozen=True)
class MemorizationConfig:
    """How scores are estimated; the defaults suit `digits`."""

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set")
    n_train: int = setting(0, "stratified subset of the training images; 0 is all", low=0)
    model: str = setting("resnet8-narrow", "architecture of the subset models")
    subsets: int = setting(24, "subset models", low=4)
    fraction: float = setting(0.7, "share of the images in a subset", low=0, high=1, open_low=True, open_high=True)
    epochs: int = setting(10, "epochs of a subset model", low=1)
    lr: float = setting(0.1, "learning rate", low=0, open_low=True)
    batch_size: int = setting(64, "batch size", low=1)
    augment: str = setting("none", "augmentation; none, so that every image inside a subset is fitted")
    seed: int = setting(0, "seed of subsets and models", low=0)
    data: str = setting("", "digest the data set's files must have; empty takes the files that are there")

    def __post_init__(self) -> None:
        check(self)

    def training(self) -> RunConfig:
        """Return how one subset model is trained, as the pretraining of a run."""
        same = {
            name: getattr(self, name)
            for name in ("dataset", "dataset_options", "n_train", "model", "augment", "seed", "data")
        }
        return RunConfig(**same, pretrain_epochs=self.epochs, pretrain_lr=self.lr, pretrain_batch_size=self.batch_size)


def config_for(config: RunConfig) -> MemorizationConfig:
    """Return the estimate a run uses: small models on its own data, trained as long as its original or 20 epochs."""
    same = {name: getattr(config, name) for name in ("dataset", "dataset_options", "n_train", "subsets", "data")}
    small = config.model if config.model.startswith("resnet8") else "resnet8"
    epochs = min(config.pretrain_epochs, LONGEST)
    return MemorizationConfig(
        **same, model=small, epochs=epochs, batch_size=config.pretrain_batch_size, seed=config.forget_seed
    )


def draw_subsets(config: MemorizationConfig, count: int) -> np.ndarray:
    """Return which images each subset holds, `(subsets, n)` boolean, `fraction` of them in every row."""
    generator = np.random.default_rng(derive_seed(config.seed, "subsets"))
    inside = np.zeros((config.subsets, count), bool)
    for row in inside:
        row[generator.permutation(count)[: round(config.fraction * count)]] = True
    return inside


def summarize_subsets(inside: np.ndarray, correct: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbers and the arrays of an estimate's record."""
    scores, errors = estimate(inside, correct)
    accuracy = {"inside_accuracy": float(correct[inside].mean()), "outside_accuracy": float(correct[~inside].mean())}
    result = describe(scores, errors) | accuracy | {"rank_agreement": rank_agreement(inside, correct)}
    return result, {"scores": scores, "errors": errors, "inside": inside, "correct": correct}


def estimate(inside: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and their standard errors, each `(n,)`.

    `mem(i) = P[h(x_i) = y_i | i inside] - P[h(x_i) = y_i | i outside]` over the subset models (Feldman and Zhang
    2020, eq. 1); the variance of each share is `p (1 - p) / k`. An image that is always (or never) inside scores NaN.

    Args:
        inside: `(subsets, n)`, whether a model saw an image.
        correct: `(subsets, n)`, whether it classifies it correctly.
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


def agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two score lists over the images both know; None if one is constant."""
    from scipy.stats import spearmanr

    known = np.isfinite(first) & np.isfinite(second)
    if np.ptp(first[known]) == 0 or np.ptp(second[known]) == 0:
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
    """Return scores with unknown ones at the median, so that they are neither the lowest nor the highest."""
    return np.where(np.isnan(scores), np.nanmedian(scores), scores)
