"""A training stage as data: the network that it trains, its mini-batches and its gradient rule.

The compiled step (`theory/steps/dynamics.py`) reads only these three, so a stage is fixed before it begins.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from theory.config import TheoryConfig
from theory.draw import InitialWeights

EXPONENT_LIMIT = 700.0  # exp(709) is the largest finite double
LANES = 4  # doubles of a 256-bit register: batches are padded to whole registers
ALL, RETAIN, FORGET = 0, 1, 2  # which samples or neurons a group of a rule is about
UNSCALED, BY_NEURON, BY_ENTRY = 0, 1, 2  # what scales a perturbation: nothing, |w_a|, or |w_ai|


class NetworkState(NamedTuple):
    """The state of a network, `w_a = share w0_a + p_a phi + sum_i q_ai xi_i`; arrays are updated in place.

    u and V follow from the other arrays. They are stored so that a step reads one row of the Gram matrix for each noise
    vector of its batch, not for all n.

    Attributes:
        u: `<w_a, phi_R>` and `<w_a, phi_F>`, shape `(2, 2m)`; equal rows if F has the signal of R.
        V: `<w_a, xi_i>` of every noise vector, shape `(2m, n)`.
        p: coefficients of phi_R and phi_F, which retain and forget samples have contributed, shape `(2, 2m)`.
        q: noise coefficients, shape `(2m, n)`.
        mask: 1.0 where Sharp MinMax gives a neuron to forgetting, shape `(2m,)`.
        share: coefficient of `w0_a`, shape `(1, 1)`: 1 until weight decay shrinks it.
    """

    u: np.ndarray
    V: np.ndarray
    p: np.ndarray
    q: np.ndarray
    mask: np.ndarray
    share: np.ndarray


def start_state(start: InitialWeights) -> NetworkState:
    """Return the state at initialization: `p = q = 0`."""
    neurons, n = start.V.shape
    nothing = np.zeros((2, neurons)), np.zeros((neurons, n)), np.zeros(neurons)
    return NetworkState(start.u.copy(), start.V.copy(), *nothing, np.ones((1, 1)))


def copy_state(state: NetworkState) -> NetworkState:
    """Return an independent copy."""
    return NetworkState(*(array.copy() for array in state))


def zero_velocity(config: TheoryConfig, state: NetworkState) -> NetworkState | None:
    """Return the velocity at the start of a stage, zero; None if training has neither momentum nor weight decay.

    It has the coordinates of a state; its mask is not used.
    """
    return NetworkState(*map(np.zeros_like, state)) if config.inertial else None


def phases_between(phases: Sequence[tuple[Any, int]], first: int, last: int) -> list[tuple[Any, int, int]]:
    """Return the phases between two epochs: each rule or plan with its first and last epoch there.

    A phase is the part of a stage with one rule. Pretraining may have several, such as SAM first and then SGD.

    Args:
        phases: rules of the engine, or epoch plans of the mean field, in order, each with the number of its epochs.
        first, last: epochs.
    """
    found, begin = [], 0
    for what, epochs in phases:
        start, end, begin = max(first, begin), min(last, begin + epochs), begin + epochs
        found += [(what, start, end)] if start < end else []
    return found


class Schedule(NamedTuple):
    """The mini-batches of a stage. In each batch retain samples come first, then forget samples, then padding.

    Attributes:
        samples: the noise vectors of each step, shape `(steps, width)`: one for each sample, or its P - 1 next to each
            other. The width is rounded up to a multiple of `LANES`.
        weights: signed loss weights `c_b` of their samples, shape `(steps, width)`; zero on padding, so that padding
            changes nothing.
        size: noise vectors in each batch without padding, shape `(steps,)`.
        loss_labels: the label that the loss reads for each vector's sample, shape `(n,)`; flipped on F under random
            labels.
        per_epoch: steps an epoch.
    """

    samples: np.ndarray
    weights: np.ndarray
    size: np.ndarray
    loss_labels: np.ndarray
    per_epoch: int


def pretrain_schedule(
    config: TheoryConfig, labels: np.ndarray, rng: np.random.Generator, *, members: np.ndarray
) -> Schedule:
    """Return plain mini-batch training on `members`, without replacement within an epoch: `c_b = 1 / B`."""
    per_epoch = -(-len(members) // config.batch_size)
    rows = _batches(members, config.batch_size, config.pretrain_epochs * per_epoch, rng, pad=config.n)
    return plain_schedule(config, labels, rows, per_epoch=per_epoch)


def plain_schedule(config: TheoryConfig, labels: np.ndarray, rows: np.ndarray, *, per_epoch: int) -> Schedule:
    """Return the schedule of plain training on given batches.

    Args:
        config: settings.
        labels: shape `(n,)`.
        rows: sample indices of each step, shape `(steps, B)`; a short batch is filled up with n.
        per_epoch: steps an epoch.
    """
    rows = np.sort(rows, axis=1)
    weights = (rows < config.n) / np.maximum(1, np.sum(rows < config.n, axis=1, keepdims=True))
    return _padded(config, rows, weights, labels, per_epoch=per_epoch)


def unlearn_schedule(config: TheoryConfig, labels: np.ndarray, rng: np.random.Generator) -> Schedule:
    """Return the schedule of unlearning: each retain batch is paired with the next batch of a cycled forget set.

    Batches depend only on sizes and epochs: settings that differ in rule or loss weights read the same batches.
    """
    per_epoch = -(-config.n_retain // config.retain_batch)
    sets = (
        (np.arange(config.n_retain), config.retain_batch),
        (np.arange(config.n_retain, config.n), config.forget_batch),
    )
    rows = np.hstack([_batches(*one, config.epochs * per_epoch, rng, pad=config.n) for one in sets])
    return forgetting_schedule(config, labels, rows, per_epoch=per_epoch)


def forgetting_schedule(config: TheoryConfig, labels: np.ndarray, rows: np.ndarray, *, per_epoch: int) -> Schedule:
    """Return the schedule of unlearning on given batches; arguments as in `plain_schedule`.

    NegGrad, `L = alpha mean_R - (1 - alpha) mean_F`: `c = alpha / B_R` and `-(1 - alpha) / B_F`. Random labels: the
    forget weight is positive and the forget loss sees `-y`, while the signal patch stays `y phi`.
    """
    sign = -1.0 if config.method == "neggrad" else 1.0
    loss_labels = labels.copy()
    if config.method == "random_label":
        loss_labels[config.n_retain * config.noise_vectors :] *= -1.0
    rows = np.sort(rows, axis=1)
    in_retain, in_forget = rows < config.n_retain, (rows >= config.n_retain) & (rows < config.n)
    weights = in_retain * config.alpha / np.maximum(1, in_retain.sum(axis=1, keepdims=True))
    weights = weights + in_forget * sign * (1 - config.alpha) / np.maximum(1, in_forget.sum(axis=1, keepdims=True))
    return _padded(config, rows, weights, loss_labels, per_epoch=per_epoch)


def _batches(members: np.ndarray, size: int, steps: int, rng: np.random.Generator, *, pad: int) -> np.ndarray:
    """Return `steps` batches, shape `(steps, size)`: random orders cut into batches, a short batch padded with `pad`.

    A batch is at most as large as its set: `size <= len(members)`.
    """
    size = min(size, len(members))
    per_pass = -(-len(members) // size)
    orders = rng.permuted(np.tile(members, (-(-steps // per_pass), 1)), axis=1)
    return _widened(orders, per_pass * size, pad).reshape(-1, size)[:steps]


def _widened(rows: np.ndarray, width: int, value: int) -> np.ndarray:
    """Return rows filled up with a value to a width."""
    found = np.full((len(rows), width), value, rows.dtype)
    found[:, : rows.shape[1]] = rows
    return found


def _padded(
    config: TheoryConfig, rows: np.ndarray, weights: np.ndarray, loss_labels: np.ndarray, *, per_epoch: int
) -> Schedule:
    vectors = config.noise_vectors
    size = np.sum(rows < config.n, axis=1) * vectors
    places = np.repeat(np.where(rows < config.n, rows, 0) * vectors, vectors, axis=1)
    places = places + np.tile(np.arange(vectors), rows.shape[1])
    width = -(-places.shape[1] // LANES) * LANES
    weights = _widened(np.repeat(weights, vectors, axis=1), width, 0)
    return Schedule(_widened(places, width, 0), weights, size, loss_labels, per_epoch)


class NeuronRule(NamedTuple):
    """How a loss becomes a step. An array has one entry per group.

    Attributes:
        samples: which samples of the batch a group reads: `ALL`, `RETAIN` or `FORGET`.
        neurons: which neurons it may move: `ALL`, those that Sharp MinMax keeps (`RETAIN`), or its mask (`FORGET`).
        rho: radius of its perturbation.
        sharpness: +1 for the gradient at `W + eps`, -1 for the reflected `2 g(W) - g(W + eps)`.
        eta: learning rate.
        momentum: share of the velocity that a step keeps.
        decay: weight decay.
        part_size: most samples in a part of the batch with a perturbation of its own (m-sharpness); 0 is the whole
            batch.
        mask_size: neurons that the mask gives to forgetting; 0 when the rule has no mask.
        mask_epochs: epochs between two masks; 0 keeps the first.
        scaled: what scales a perturbation, `UNSCALED`, `BY_NEURON` or `BY_ENTRY`.
    """

    samples: np.ndarray
    neurons: np.ndarray
    rho: np.ndarray
    sharpness: np.ndarray
    eta: float
    momentum: float
    decay: float
    part_size: int
    mask_size: int
    mask_epochs: int
    scaled: int


def make_rule(name: str, config: TheoryConfig, *, rho: float) -> NeuronRule:
    """Return the rule `name` with absolute radius `rho`.

    Sharp MinMax: sharpness maximization on F for the neurons of the mask, SAM on R for the others, each with its own
    gradient norm. Retain-only SAM: SAM on R, the plain gradient on F. All gradients start from the same weights.

    ASAM (Kwon et al. 2021, arXiv 2102.11600) measures the perturbation in units of the weights,

        eps = rho' T^2 g / |T g|,    T = |w_a| for every weight of neuron a, or |w_ai| for each entry ("asam_entry"),

    with `rho' = rho / (sigma_0 sqrt(d))`, or `rho / sigma_0`: at initialization both are then SAM at radius rho.
    """
    groups = {
        "sgd": [(ALL, ALL, 0.0, 1.0)],
        "sam": [(ALL, ALL, rho, 1.0)],
        "asam": [(ALL, ALL, rho / (config.sigma_0 * config.d**0.5), 1.0)],
        "asam_entry": [(ALL, ALL, rho / config.sigma_0, 1.0)],
        "sharpen": [(ALL, ALL, rho, -1.0)],
        "minmax": [(RETAIN, RETAIN, rho, 1.0), (FORGET, FORGET, rho, -1.0)],
        "retain_sam": [(RETAIN, ALL, rho, 1.0), (FORGET, ALL, 0.0, 1.0)],
    }[name]
    samples, neurons, radius, sharpness = (np.array(column) for column in zip(*groups, strict=True))
    size = round(config.mask_fraction * 2 * config.m) if name == "minmax" else 0
    part_size = config.sharpness_batch if radius.any() else 0
    scaled = {"asam": BY_NEURON, "asam_entry": BY_ENTRY}.get(name, UNSCALED)
    inertia = config.momentum, config.weight_decay
    return NeuronRule(samples, neurons, radius, sharpness, config.eta, *inertia, part_size, size, config.mask_refresh,
                      scaled)  # fmt: skip
