"""How far numbers scatter that are not means over seeds: the noise floor, and measures over models and images."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from repro.base.settings import reject
from repro.statistics.effects import FEWEST

REPEATS = 400  # bootstrap samples


class Spread(NamedTuple):
    """A number with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def tug_of_war(ours: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return `ToW = (1 - |a_R - b_R|) (1 - |a_F - b_F|) (1 - |a_T - b_T|)` of two models.

    Args:
        ours, reference: accuracies in [0, 1] on retain set, forget set and test set, on the last axis.
    """
    return np.prod(1 - np.abs(ours - reference), axis=-1)


def mean_tug_of_war(ours: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return ToW of each model averaged over all retrained models, `(models,)`: no reference is any run's own.

    Args:
        ours: accuracies `(models, 3)`; references: those of the retrained models of the forget set, `(references, 3)`.
    """
    return tug_of_war(ours[:, None], references[None]).mean(axis=1)


def noise_floor(retrained: np.ndarray) -> Spread:
    """Return the deviation of a difference in ToW between two retrained models, with its 95 % interval.

        floor^2 = 2 mean_i Var_{j != i} ToW(j, i),    floor sqrt(f / chi2_{q, f}),  f = n - 1

    Two models retrained with other seeds are both perfect unlearning: no method can be told from them within it. The
    interval covers 94 to 99 % for 3 to 20 models.

    Args:
        retrained: accuracies of all n models retrained on the same retain set, `(n, 3)`.

    Raises:
        ConfigError: for fewer than three models, of which nobody knows a spread.
    """  # fmt: skip
    from scipy.special import chdtri

    count = len(retrained)
    if count < FEWEST:
        raise reject("retrained models", count, f"at least {FEWEST}")
    scores = tug_of_war(retrained[:, None], retrained[None])[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    value = float(np.sqrt(2 * scores.var(axis=1, ddof=1).mean()))
    low, high = (value * float(np.sqrt((count - 1) / chdtri(count - 1, tail))) for tail in (0.025, 0.975))
    return Spread(value, low, high)


def over_models_and_images(
    statistic: Callable[[np.ndarray, np.ndarray], float], models: int, images: int, rng: np.random.Generator,
    *, repeats: int = REPEATS,
) -> Spread:  # fmt: skip
    """Return a statistic of many models on many images, with a 95 % interval that resamples both.

    Models and images are drawn with replacement independently of each other (the pigeonhole bootstrap, Owen 2007): an
    interval over models alone would be that of these very images, of which a few may carry the result. The ends are
    the percentiles of the samples moved by their bias, `value + q - mean`: a sample repeats models, which raises a
    divergence. What models and images have by chance together counts three times over; of many it is small.

    Args:
        statistic: from how often each model and each image counts, `(models,)` and `(images,)`, to the number. To
            compare two measures give their difference: both are resampled alike.
        models, images: their numbers, at least 2 each.
        rng: source of the samples; repeats: how many.
    """
    if min(models, images) < 2:
        raise reject("models and images", (models, images), "at least 2 each")
    value = statistic(np.ones(models), np.ones(images))
    draws = (rng.multinomial(count, np.full(count, 1 / count), repeats).astype(float) for count in (models, images))
    samples = np.array([statistic(*weights) for weights in zip(*draws, strict=True)])
    low, high = np.quantile(samples, (0.025, 0.975)) - samples.mean()
    return Spread(float(value), float(value + low), float(value + high))
