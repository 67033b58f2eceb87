"""KLoM's arithmetic (Georgiev et al. 2024): how far margins of unlearned models lie from those of retrained ones."""

import numpy as np

BINS, CLIP, FLOOR = 20, 100.0, 1e-5
RESAMPLES = 200
STATISTICS = {"mean": lambda x: x.mean(-1), "95th percentile": lambda x: np.percentile(x, 95, axis=-1)}


def klom(reference: np.ndarray, model: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return `KL(reference || model)` of each image's margins, `(..., images)`, in nats.

    Histograms of 20 bins between the least and the greatest of both samples, margins cut at +-100, and shares of the
    second one no smaller than 1e-5.

    Args:
        reference, model: margins `(models, images)` of retrained and of unlearned models.
        weights: how often each model counts, `(resamples, models)`; once each where it is None.
    """
    samples = np.clip(reference, -CLIP, CLIP), np.clip(model, -CLIP, CLIP)
    low = np.minimum(*(sample.min(0) for sample in samples))
    width = np.maximum(*(sample.max(0) for sample in samples)) - low
    width[width == 0] = 1.0
    p, q = (_shares((sample - low) / width, weights) for sample in samples)
    return np.where(p > 0, p * np.log(np.maximum(p, FLOOR) / np.maximum(q, FLOOR)), 0.0).sum(-1)


def _shares(scaled: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the share of each bin, `(..., images, bins)`."""
    hits = np.minimum((scaled * BINS).astype(int), BINS - 1)[..., None] == np.arange(BINS)
    if weights is None:
        return hits.mean(0)
    return np.tensordot(weights / weights.sum(1, keepdims=True), hits.astype(float), 1)


def halves(reference: np.ndarray, model: np.ndarray, *, weighted: bool = False) -> np.ndarray:
    """Return KLoM of each image, `(..., images)`: the even reference models against the odd others, and the reverse.

    No model meets itself or one of its seed, so that retrained models can be compared with other retrained ones: few
    models give a KLoM above 0 even then, and that floor has the same number of models as every other value.

    Args:
        reference, model: margins `(models, images)`, in the order of the seeds.
        weighted: resample the models of each half 200 times, which gives a leading axis.
    """
    even = len(reference) // 2 * 2
    weights = resamples(even // 2) if weighted else None
    sides = ((slice(0, even, 2), slice(1, even, 2)), (slice(1, even, 2), slice(0, even, 2)))
    return np.mean([klom(reference[a], model[b], weights) for a, b in sides], axis=0)


def resamples(models: int) -> np.ndarray:
    """Return how often each model is drawn in each bootstrap sample, `(200, models)`; the same at every call."""
    return np.random.default_rng(0).multinomial(models, np.full(models, 1 / models), RESAMPLES).astype(float)


def bootstrap_interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    """Return `value +- 1.96` bootstrap deviations; the percentiles themselves are biased, for a resample repeats."""
    half = 1.96 * float(np.std(resampled, ddof=1))
    return {"low": value - half, "high": value + half}
