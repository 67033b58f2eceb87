"""The inputs of the mean field: constants of a setting, representative samples, and the plan of an epoch.

The equations are in `theory/mean_field/compiled_field.py`.
"""

import math
from typing import NamedTuple

import numpy as np

from theory.config import TheoryConfig

SAMPLES = 64  # about the number of representative samples of R, and of F
FRESH = 2**15
SUBSTEPS = 4  # an epoch has at least this many parts if it has enough batches; cavity fields change between parts


class Constants(NamedTuple):
    """All constants of a setting that enter the recursion.

    Attributes:
        d: dimension.
        D: `sigma_p^2 d`, the squared norm of a noise vector.
        start: `sigma_0^2 d`, the squared norm of an initial weight.
        signal2: `|phi|^2`.
        noise_patches: `P - 1`.
        eta: learning rate.
        counts: samples of R and of F, shape `(2,)`.
    """

    d: float
    D: float
    start: float
    signal2: float
    noise_patches: float
    eta: float
    counts: np.ndarray


class Population(NamedTuple):
    """The representative samples; axes: R or F, sample, neuron (m that match its label, m that oppose it).

    Attributes:
        V0: noise preactivations at the start, shape `(2, M, 2m)`.
        own: what the gradient of the sample itself has added, `q D`, shape `(2, M, 2m)`.
        cavity: standard normal directions of the four blocks' cavity fields, shape `(4, 2, M, 2m)`.
        shared: the part of them that neurons of one sign share, shape `(4, 2, M, 2)`.
        kappa: signal learned from R and from F, shape `(2,)`.
        overlaps: `<xi_i, xi_k> / D` of the forget samples of one set, shape `(M, n_F)`; the width is 0 if F is large.
        labels: y of the representative forget samples, shape `(M,)`.
        fresh: standard normals for the part that is new in every batch, shape `(FRESH,)`.
    """

    V0: np.ndarray
    own: np.ndarray
    cavity: np.ndarray
    shared: np.ndarray
    kappa: np.ndarray
    overlaps: np.ndarray
    labels: np.ndarray
    fresh: np.ndarray


class EpochPlan(NamedTuple):
    """The plan of an epoch; arrays have one entry for R and one for F.

    Attributes:
        weights: how hard a sample of a batch pulls its matching neurons up, `c` in units of `-l' / m`; F pulls down.
        batch: samples of a batch.
        cohorts: parts a set is cut into; one moves in each substep.
        visits: visits of a moving sample in a substep; 1.0 up to rounding.
        substeps: parts of an epoch.
        steps: batches in a substep.
        rho: radius of the perturbation.
        sharpness: +1 for the gradient at `W + eps`, -1 for the reflected one.
        perturbed: 1.0 if the loss of the set takes part in the perturbation.
        flipped: whether F is trained on flipped labels.
    """

    weights: np.ndarray
    batch: np.ndarray
    cohorts: np.ndarray
    visits: np.ndarray
    substeps: int
    steps: float
    rho: float
    sharpness: float
    perturbed: np.ndarray
    flipped: bool


def law_of(config: TheoryConfig) -> Constants:
    """Return the constants of a setting."""
    counts = np.array([config.n_retain, config.n_forget], float)
    return Constants(float(config.d), config.sigma_p**2 * config.d, config.sigma_0**2 * config.d, config.signal_norm**2,
               config.patches - 1.0, config.eta, counts)  # fmt: skip


def start_population(config: TheoryConfig) -> Population:
    """Return the population at initialization: a quadrature of its distribution, the same numbers each time.

    `V0 ~ N(0, sigma_0^2 sigma_p^2 d)`. Across samples every neuron's V0 and cavity fields are normal quantiles in a
    random order (a Latin hypercube). The number of active neurons of a sample follows the quantiles of Binomial(m,
    1/2): a sample without any can never be memorized, so their number must not depend on chance. A forget set often has
    few samples, and its ascent has no bound, so it is far from Gaussian. If it has at most `SAMPLES` samples, the
    representative samples of F are whole forget sets with their own overlaps.
    """
    rng, m, size = np.random.default_rng(0), config.m, config.n_forget
    whole = size <= SAMPLES
    samples = size * max(1, round(SAMPLES / size)) if whole else SAMPLES
    shape = (2, samples, 2 * m)
    V0 = np.abs(_spread_normal(rng, shape)) * (config.sigma_0 * config.sigma_p * config.d**0.5)
    active = np.concatenate([_active_at_start(rng, samples, m), _active_at_start(rng, samples, m)], axis=2)
    cavity = np.stack([_spread_normal(rng, shape) for _ in range(4)])
    shared = np.stack([_spread_normal(rng, (2, samples, 2)) for _ in range(4)])
    width = size if whole else 0
    pairs = np.tril(rng.standard_normal((samples // size if whole else 0, width, width)), -1)
    overlaps = (pairs + pairs.transpose(0, 2, 1)).reshape(samples, width) / config.d**0.5
    labels = rng.choice(np.array([-1.0, 1.0]), size=samples)
    return Population(np.where(active, V0, -V0), np.zeros(shape), cavity, shared, np.zeros(2),
                      overlaps, labels, rng.standard_normal(FRESH))  # fmt: skip


def _spread_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return normal quantiles along the axis of samples, each column in a separate random order."""
    from scipy.special import ndtri

    quantiles = ndtri((np.arange(shape[1]) + 0.5) / shape[1])
    return rng.permuted(np.tile(quantiles[None, :, None], (shape[0], 1, shape[2])), axis=1)


def _active_at_start(rng: np.random.Generator, samples: int, m: int) -> np.ndarray:
    """Return which of m neurons are active at each sample, shape `(2, samples, m)`; counts are binomial quantiles."""
    logs = [math.lgamma(m + 1) - math.lgamma(k + 1) - math.lgamma(m - k + 1) - m * math.log(2) for k in range(m + 1)]
    counts = np.searchsorted(np.cumsum(np.exp(logs)), (np.arange(samples) + 0.5) / samples).clip(0, m)
    rows = rng.permuted(np.tile(counts, (2, 1)), axis=1)
    return rng.permuted(np.arange(m) < rows[..., None], axis=2)


def pretrain_epoch(config: TheoryConfig, rho: float) -> EpochPlan:
    """Return the plan of plain training on R and F, `c = 1 / B`, with SAM of radius rho (0.0 is SGD)."""
    steps = -(-config.n // config.batch_size)
    batch = config.n / steps * np.array([config.n_retain, config.n_forget]) / config.n
    substeps = min(steps, SUBSTEPS)
    weight, one = steps / config.n, np.ones(2)
    return EpochPlan(weight * one, batch, np.array([substeps, substeps]), one, substeps, steps / substeps, rho, 1.0,
                     one, False)  # fmt: skip


def unlearn_epoch(config: TheoryConfig) -> EpochPlan:
    """Return the plan of unlearning: `alpha / B_R` on R, `-(1 - alpha) / B_F` on F, which is cycled.

    Descent on the flipped label pushes like ascent on the true one; only the margin in the loss differs.
    """
    steps = -(-config.n_retain // config.retain_batch)
    retain, forget = config.n_retain / steps, min(config.forget_batch, config.n_forget)
    visits = steps * forget / config.n_forget
    substeps = min(steps, max(SUBSTEPS, math.ceil(visits)))
    cohorts = np.array([substeps, max(1, min(SAMPLES, round(substeps / visits)))])
    flipped = config.method == "random_label"
    weights, batch = (
        np.array([config.alpha / retain, -(1.0 - config.alpha) / forget]),
        np.array([retain, forget], float),
    )
    of_moving = np.array([1.0, visits / substeps * cohorts[1]])
    rho = 0.0 if config.unlearn == "sgd" else config.rho
    perturbed = np.array([1.0, 0.0 if config.unlearn == "retain_sam" else 1.0])
    return EpochPlan(weights, batch, cohorts, of_moving, substeps, steps / substeps, rho,
                     -1.0 if config.unlearn == "sharpen" else 1.0, perturbed, flipped)  # fmt: skip
