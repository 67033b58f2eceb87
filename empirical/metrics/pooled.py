"""Metrics of many models: they read runs that differ only in their seeds, image by image (KLoM, U-LiRA)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import rel_entr
from sklearn.metrics import roc_auc_score

from repro.base.parts import Term, metric
from repro.statistics.spread import draw_models_and_images, recentred

SETS = ("forget", "retain", "test")
BINS, CLIP, FLOOR = 20, 100.0, 1e-5
RESAMPLED = "models and images"
STATISTICS: dict[str, Callable[[np.ndarray], Any]] = {
    "mean": lambda values: values.mean(-1), "p95": lambda values: np.percentile(values, 95, axis=-1)
}  # fmt: skip
ONE_IN = {"tpr_at_1_percent": 100, "tpr_at_01_percent": 1000}  # retrained models' margins may raise a false alarm


@dataclass(frozen=True)
class SeedArrays:
    """The arrays of runs that differ only in their seeds.

    Attributes:
        arrays: the arrays of each run, in the order of the seeds.
    """

    arrays: Sequence[Mapping[str, np.ndarray]]

    def margins(self, role: str, name: str) -> np.ndarray:
        """Return the margins (log-odds of the true class) of a role and a set, `(runs, images)`."""
        return np.stack([one[f"klom_{role}_{name}"] for one in self.arrays]).astype(float)


@metric(
    "klom", version=2, needs=("klom_margins",), pooled=True,
    terms=(
        Term("klom_models", "Models on each side of KLoM's comparison.", "", "models", ">= 2", ""),
        Term("klom_*", "KLoM (Georgiev et al. 2024): divergence between an image's margins under many models and under "
             "many retrained models; mean or 95th percentile over images. `low` and `high` are its 95 % interval, "
             "`reverse` swaps the sides.", "KL(margins of retrained models || margins of models)", "nats", ">= 0", "0",
             also=("KLoM",)),
    ),
)  # fmt: skip
def klom(runs: SeedArrays) -> dict[str, Any]:
    """Return KLoM of the unlearned, the original and other retrained models on each set, with 95 % intervals.

    `klom_<role>_<set>_<statistic>`, in nats, is the mean or the 95th percentile over images of the divergence between
    an image's margins under the retrained models and under the role's models (Georgiev et al. 2024). `_reverse` swaps
    the two samples; `_low` and `_high` are the ends of the interval from resampled models and images. The role
    `retrained` compares retrained models with each other: this is the value when there is no difference. The arrays
    `..._mean_resampled`, `(400,)`, hold the mean of each bootstrap sample. All groups of as many seeds and images have
    the same samples, so that the difference of two groups has an interval. The intervals are too wide rather than too
    narrow: a sample without some of the models leaves bins empty. In a simulation of 50 models on each side and 36
    images they were 1.8 times as wide as needed.
    """
    found: dict[str, Any] = {"klom_models": len(runs.arrays) // 2, "resampled": RESAMPLED}
    for role in ("unlearned", "original", "retrained"):
        for name in SETS:
            reference, model = runs.margins("retrained", name), runs.margins(role, name)
            models, images = draw_models_and_images(len(reference) // 2, reference.shape[1], np.random.default_rng(0))
            drawn = np.take_along_axis(divergence_of_halves(reference, model, models), images, axis=1)
            samples = divergence_of_halves(reference, model), divergence_of_halves(model, reference), drawn
            for key, statistic in STATISTICS.items():
                value, reverse, resampled = (statistic(one) for one in samples)
                head, (_, low, high) = f"klom_{role}_{name}_{key}", recentred(value, resampled)
                found |= {head: float(value), f"{head}_reverse": float(reverse)}
                found |= {f"{head}_low": low, f"{head}_high": high}
                found |= {f"{head}_resampled": resampled} if key == "mean" else {}
    return found


def divergence(reference: np.ndarray, model: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Return `KL(reference || model)` of each image's margins, `(..., images)`, in nats.

    Both samples have histograms of 20 bins between their common minimum and maximum. Margins are clipped at +-100, and
    shares of `model` are at least 1e-5.

    Args:
        reference, model: margins `(models, images)`.
        drawn: which models each bootstrap sample has, of both samples alike, `(repeats, models)`; None: each once.
    """
    samples = np.clip(reference, -CLIP, CLIP), np.clip(model, -CLIP, CLIP)
    low = np.minimum(*(sample.min(0) for sample in samples))
    width = np.maximum(*(sample.max(0) for sample in samples)) - low
    width[width == 0] = 1.0
    p, q = (_bin_shares((sample - low) / width, drawn) for sample in samples)
    return np.where(p > 0, p * np.log(np.maximum(p, FLOOR) / np.maximum(q, FLOOR)), 0.0).sum(-1)


@metric(
    "klom_easydub", version=2, needs=("klom_margins",), pooled=True,
    terms=(
        Term("klom_easydub_*", "KLoM with the histograms of EasyDUB.", "see klom_*", "nats", ">= 0", "0"),
    ),
)  # fmt: skip
def klom_easydub(runs: SeedArrays) -> dict[str, Any]:
    """Return KLoM as EasyDUB's published code computes it, for comparison with its leaderboard.

    `klom_easydub_<role>_<set>_<statistic>`, in nats, compares all models of the role with all retrained models. The
    role `retrained` compares even with odd seeds; half as many models alone already raise the divergence.
    """
    found: dict[str, Any] = {}
    for role in ("unlearned", "original", "retrained"):
        for name in SETS:
            reference, model = runs.margins("retrained", name), runs.margins(role, name)
            if role == "retrained":
                even = len(reference) // 2 * 2
                reference, model = reference[0:even:2], model[1:even:2]
            values = easydub_divergence(reference, model)
            found |= {f"klom_easydub_{role}_{name}_{key}": float(make(values)) for key, make in STATISTICS.items()}
    return found


def easydub_divergence(reference: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Return `KL(model || reference)` of each image's margins, `(images,)`, in nats, by EasyDUB's histograms.

    `sum over p_k > 0 of p_k log(p_k / q_k)`, where p and q are the shares of the model's and the reference's margins
    in bin k. It differs from `divergence` in three ways. The direction is the opposite. The largest margin of both
    samples falls past the last of the 20 bins (as with `digitize`) and is dropped; shares are of the remaining margins.
    And q is raised to 1e-5 where p > 0, then divided by its sum. An image whose model margins are all dropped has 0.

    Args:
        reference, model: margins `(models, images)`.
    """
    samples = np.clip(reference, -CLIP, CLIP), np.clip(model, -CLIP, CLIP)
    joint = np.concatenate(samples)
    edges = np.linspace(joint.min(0), joint.max(0), BINS + 1)
    q, p = (_shares_in_bins(sample, edges) for sample in samples)
    q = np.where(p > 0, np.maximum(q, FLOOR), q)
    return rel_entr(p, q / np.maximum(q.sum(0), FLOOR)).sum(0)


def _shares_in_bins(sample: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the shares of margins `(models, images)` in each bin, `(bins, images)`, without those past the last bin.

    Args:
        sample: margins.
        edges: `(bins + 1, images)`; if all margins of an image are equal, so are its edges, and all are dropped.
    """
    places = (sample[None] >= edges[:, None]).sum(0) - 1
    counts = (places[None] == np.arange(BINS)[:, None, None]).sum(1)
    return counts / np.maximum(counts.sum(0), 1)


def _bin_shares(scaled: np.ndarray, drawn: np.ndarray | None) -> np.ndarray:
    """Return the share of each bin, `(..., images, bins)`."""
    hits = np.minimum((scaled * BINS).astype(int), BINS - 1)[..., None] == np.arange(BINS)
    if drawn is None:
        return hits.mean(0)
    counts = (drawn[..., None] == np.arange(len(hits))).sum(1)
    return np.tensordot(counts / len(hits), hits.astype(float), 1)


def divergence_of_halves(reference: np.ndarray, model: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Return the divergence of each image, `(..., images)`: the mean of even seeds against odd and odd against even.

    So no model is compared with itself or a model of its seed. Retrained models can then be compared with each other.
    This gives the noise floor of a divergence between few models, from as many models as every other value.

    Args:
        reference, model: margins `(models, images)`, in the order of the seeds.
        drawn: which models of each half every bootstrap sample has, `(repeats, models of a half)`; None: each once.
    """
    even = len(reference) // 2 * 2
    sides = ((slice(0, even, 2), slice(1, even, 2)), (slice(1, even, 2), slice(0, even, 2)))
    return np.mean([divergence(reference[a], model[b], drawn) for a, b in sides], axis=0)


@metric(
    "ulira", version=2, needs=("klom_margins",), pooled=True,
    terms=(
        Term("ulira_*_auc*", "AUC of U-LiRA, an attack that tells unlearned from retrained models by the margin of an "
             "image; 0.5 is best.", goal="0.5"),
        Term("ulira_*", "True-positive rate of U-LiRA at a low false-positive rate.", goal="the false positive rate",
             also=("U-LiRA",)),
    ),
)  # fmt: skip
def ulira(runs: SeedArrays) -> dict[str, Any]:
    """Return how well an attacker tells unlearned (or original) models from retrained models by a forget image.

    U-LiRA (Hayes et al. 2024): two Gaussians are fitted to an image's margins under the models of each kind, without
    the models of the seed itself. The score of a margin is its log-likelihood ratio. The numbers are
    `ulira_<role>_auc` and the true-positive rates at 1 % and 0.1 % false positives, which are 0.01 and 0.001 if nothing
    tells the models apart. `_low` and `_high` are the ends of the 95 % interval from resampled models and images. The
    arrays `..._resampled`, `(400,)`, hold the number of each bootstrap sample, the same samples for every role.
    """
    found: dict[str, Any] = {"resampled": RESAMPLED}
    retrained = runs.margins("retrained", "forget")
    models, images = draw_models_and_images(*retrained.shape, rng=np.random.default_rng(0))
    samples = [np.ix_(*pair) for pair in zip(models, images, strict=True)]
    for role in ("unlearned", "original"):
        members, others = likelihood_ratios(runs.margins(role, "forget"), retrained)
        drawn = [attack_rates(members[rows], others[rows]) for rows in samples]
        for key, value in attack_rates(members, others).items():
            head, resampled = f"ulira_{role}_{key}", np.array([one[key] for one in drawn])
            low, high = np.clip(recentred(value, resampled)[1:], 0.0, 1.0)
            found |= {head: value, f"{head}_low": float(low), f"{head}_high": float(high)}
            found[f"{head}_resampled"] = resampled
    return found


def likelihood_ratios(model: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores of the model's and the reference's margins, each `(models, images)`; higher speaks for the model.

    The Gaussians of each score leave out the models of its seed.
    """
    fits = [_without_own(margins) for margins in (model, reference)]
    first, second = (log_density(margins, *fits[0]) - log_density(margins, *fits[1]) for margins in (model, reference))
    return first, second


def _without_own(margins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each image's margins over all other models, `(models, images)`."""
    count = len(margins) - 1
    mean = (margins.sum(0) - margins) / count
    variance = (((margins**2).sum(0) - margins**2) - count * mean**2) / (count - 1)
    return mean, np.sqrt(np.maximum(variance, 1e-12))


def log_density(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the log of the Gaussian density of each value, without the constant term."""
    return -0.5 * ((values - mean) / sd) ** 2 - np.log(sd)


def attack_rates(members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return AUC and true-positive rates of scores `(models, images)`."""
    truth = np.repeat((1, 0), members.size)
    rates = {"auc": float(roc_auc_score(truth, np.concatenate([members, others], axis=None)))}
    highest = np.sort(others, axis=None)[::-1]
    for name, margins in ONE_IN.items():
        # The lowest threshold whose false alarms do not exceed the rate.
        rates[name] = float((members > highest[others.size // margins]).mean())
    return rates
