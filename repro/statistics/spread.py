"""How far numbers scatter that are not means over seeds: the noise floor, and measures over models and images."""

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
    """Return ToW of each model averaged over all retrained models, `(models,)`: no run has a reference of its own.

    Args:
        ours: accuracies `(models, 3)`; references: those of the forget set's retrained models, `(references, 3)`.
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
        ConfigError: for fewer than three models, whose spread is unknown.
    """  # fmt: skip
    from scipy.special import chdtri

    count = len(retrained)
    if count < FEWEST:
        raise reject("retrained models", count, f"at least {FEWEST}")
    scores = tug_of_war(retrained[:, None], retrained[None])[~np.eye(count, dtype=bool)].reshape(count, count - 1)
    value = float(np.sqrt(2 * scores.var(axis=1, ddof=1).mean()))
    low, high = (value * float(np.sqrt((count - 1) / chdtri(count - 1, tail))) for tail in (0.025, 0.975))
    return Spread(value, low, high)


def draw_models_and_images(
    models: int, images: int, rng: np.random.Generator, *, repeats: int = REPEATS
) -> tuple[np.ndarray, np.ndarray]:
    """Return which models and which images each bootstrap sample has, `(repeats, models)` and `(repeats, images)`.

    Models and images are drawn with replacement, independently of each other (the pigeonhole bootstrap, Owen 2007). An
    interval over models alone would hold for these very images only, and a few of them may carry the result. The chance
    part of a pair of model and image counts more than once, so that the interval is rather too wide than too narrow.

    Args:
        models, images: their numbers; rng: the same one draws the same samples, so that two measures can be compared.
        repeats: how many samples.
    """
    drawn = [rng.integers(count, size=(repeats, count)) for count in (models, images)]
    return drawn[0], drawn[1]


def recentred(value: float, samples: np.ndarray) -> Spread:
    """Return a number with the 95 % interval of its bootstrap samples, moved by their bias: `value + q - mean`.

    A sample repeats models, which raises a divergence: its plain percentiles would lie too high.

    Args:
        value: the number; samples: the same number of each bootstrap sample, `(repeats,)`.
    """
    low, high = np.quantile(samples, (0.025, 0.975)) - samples.mean()
    return Spread(float(value), float(value + low), float(value + high))
