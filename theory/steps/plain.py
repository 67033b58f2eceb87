"""The training step in plain numpy, for many networks at once: the numbers of the compiled step, with nothing to
compile.

On each of S draws K networks read the same batches; they differ in their initial state and in the radius of their rule.
A network is its coefficients, `w_a = s w0_a + p_a phi + sum_i q_ai xi_i`. Its preactivations follow from them:

    u_a = s u0_a + |phi|^2 p_a + sum_i q_ai h_i,    V_ak = s V0_ak + p_a h_k + sum_i q_ai G_ik

For the gradient see the equations in `theory/steps/dynamics.py`. Axes are (draw, noise vector or signal, network,
neuron): V of a batch of B noise vectors has the shape `(S, B, K, 2m)`, u has `(S, 2, K, 2m)`. So one product of
matrices serves all networks of a draw. Tests compare the compiled step with this one, and this one with explicit
weights.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from theory.draw import Draw, InitialWeights, Problem
from theory.training import (
    ALL,
    BY_ENTRY,
    BY_NEURON,
    EXPONENT_LIMIT,
    FORGET,
    NetworkState,
    NeuronRule,
    Schedule,
)

STACKED = ("gram", "overlap", "labels", "true_labels")  # arrays of a `Problem`


class Draws(NamedTuple):
    """S draws of one setting.

    Attributes:
        problem: `theory.draw.Problem`, whose arrays have a first axis for the draws.
        forget: 1 for a noise vector of a forget sample, else 0, shape `(n,)`.
        signs: `j_a`, shape `(2m,)`.
        start: `u`, `V` and `K` of the initial weights, of shapes `(S, 2, 2m)`, `(S, n, 2m)` and `(S, 2m, 2m)`.
        explicit: signals `(S, 2, d)`, noise `(S, n, d)` and initial weights `(S, 2m, d)` of explicit draws, else None.
    """

    problem: Problem
    forget: np.ndarray
    signs: np.ndarray
    start: InitialWeights
    explicit: tuple[np.ndarray, np.ndarray, np.ndarray] | None

    @classmethod
    def of(cls, draws: Sequence[Draw]) -> "Draws":
        """Stack draws."""
        first = draws[0].problem
        problem = first._replace(**{name: np.stack([getattr(one.problem, name) for one in draws]) for name in STACKED})
        u, V, K = (np.stack(arrays) for arrays in zip(*(one.start for one in draws), strict=True))
        known = [(np.stack([one.vectors[0], one.forget_signal]), *one.vectors[1:]) for one in draws
                 if one.vectors is not None and one.forget_signal is not None]  # fmt: skip
        stacks = [np.stack(arrays) for arrays in zip(*known, strict=True)]
        explicit = (stacks[0], stacks[1], stacks[2]) if stacks else None
        forget = (np.arange(first.labels.size) >= first.n_retain).astype(int)
        signs = np.repeat([1.0, -1.0], u.shape[2] // 2)
        return cls(problem, forget, signs, InitialWeights(u, V.swapaxes(1, 2).copy(), K), explicit)


class Networks(NamedTuple):
    """The coefficients of K networks on each of S draws, or their velocities.

    Attributes:
        p: of the two signals, shape `(S, 2, K, 2m)`.
        q: of the noise vectors, shape `(S, n, K, 2m)`.
        share: of the initial weights, shape `(S, 1, K, 1)`.
        mask: 1.0 where Sharp MinMax gives a neuron to forgetting, shape `(S, K, 2m)`.
    """

    p: np.ndarray
    q: np.ndarray
    share: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, states: Sequence[Sequence[NetworkState]]) -> "Networks":
        """Stack states, K of each draw."""
        p = np.stack([np.stack([one.p for one in row], axis=1) for row in states])
        q = np.ascontiguousarray(np.stack([np.stack([one.q.T for one in row], axis=1) for row in states]))
        share = np.array([[[one.share[0] for one in row]] for row in states])
        return cls(p, q, share, np.stack([[one.mask for one in row] for row in states]))

    def at_rest(self) -> "Networks":
        """Return velocities of zero."""
        return Networks(*(np.zeros_like(array) for array in self))

    def only(self, keep: np.ndarray) -> "Networks":
        """Return the networks of some of the draws."""
        return Networks(*(array[keep] for array in self))

    def states(self, draws: Draws) -> list[list[NetworkState]]:
        """Return every state, K of each draw."""
        u, V = preactivations(draws, self)
        return [[NetworkState(u[s, :, k].copy(), V[s, :, k].T.copy(), self.p[s, :, k].copy(), self.q[s, :, k].T.copy(),
                              self.mask[s, k].copy(), self.share[s, :, k].copy()) for k in range(u.shape[2])]
                for s in range(len(u))]  # fmt: skip


class Batch(NamedTuple):
    """One batch on every draw, B noise vectors.

    Attributes:
        places: which noise vectors, counted through all draws, shape `(S B,)`.
        rows: their rows of the Gram matrix, shape `(S, B, n)`.
        gram: among themselves, shape `(S, B, B)`.
        start: V0, shape `(S, B, 1, 2m)`.
        overlap: shape `(S, 2, B)`.
        forget: 1 for a forget sample, shape `(S, B)`.
        label: the label that the loss reads, shape `(S, B, 1)`.
        pull: `-c y_l / m`, the residual r without its logistic factor; 0 outside the group, shape `(S, B, 1)`.
        kind: the kind of signal patch, of R or F with y = 1 or -1, counted through all draws, shape `(S, B)`.
        kinds: the same as 1.0 and 0.0, shape `(S, 4, B)`.
    """

    places: np.ndarray
    rows: np.ndarray
    gram: np.ndarray
    start: np.ndarray
    overlap: np.ndarray
    forget: np.ndarray
    label: np.ndarray
    pull: np.ndarray
    kind: np.ndarray
    kinds: np.ndarray


def batches(draws: Draws, samples: np.ndarray, weights: np.ndarray, loss_labels: np.ndarray) -> Iterator[Batch]:
    """Gather T batches.

    Args:
        draws: the draws.
        samples: noise vectors, none twice in a batch, shape `(T, S, B)`.
        weights: signed loss weights c, of the same shape.
        loss_labels: the label that the loss of each noise vector sees, shape `(S, n)`.
    """
    problem, (_, S, B) = draws.problem, samples.shape
    n, m = loss_labels.shape[1], draws.signs.size // 2
    places = samples + n * np.arange(S)[:, None]
    gram, V0 = problem.gram.reshape(S * n, n), draws.start.V.reshape(S * n, -1)
    among = np.take(problem.gram, places[..., None] * n + samples[..., None, :])
    overlap = problem.overlap[np.arange(S)[:, None, None], np.arange(2)[:, None], samples[:, :, None]]
    forget, label = draws.forget[samples], np.take(loss_labels, places)
    kind = 2 * forget + (np.take(problem.true_labels, places) <= 0.0)
    kinds = (kind[:, :, None] == np.arange(4)[:, None]).astype(float)
    pull, kind = -weights * label / m, kind + 4 * np.arange(S)[:, None]
    for t, own in enumerate(places.reshape(len(samples), -1)):
        yield Batch(own, np.take(gram, own, axis=0).reshape(S, B, n), among[t],
                    np.take(V0, own, axis=0).reshape(S, B, 1, -1), overlap[t], forget[t], label[t, ..., None],
                    pull[t, ..., None], kind[t], kinds[t])  # fmt: skip


def scheduled(draws: Draws, schedules: Sequence[Schedule], first: int, last: int) -> tuple[Iterator[Batch], np.ndarray]:
    """Return batches `first` to `last - 1` of the schedule of each draw, and their sizes, shape `(T, S)`.

    A short batch is padded with other noise vectors, of weight 0.
    """
    sizes = np.stack([schedule.size[first:last] for schedule in schedules], axis=1)
    width = sizes.max(initial=0)
    samples = np.stack([schedule.samples[first:last, :width] for schedule in schedules], axis=1)
    weights = np.stack([schedule.weights[first:last, :width] for schedule in schedules], axis=1)
    loss_labels = np.stack([schedule.loss_labels for schedule in schedules])
    beyond = np.arange(width) - sizes[..., None]
    if np.any(beyond >= 0):
        n = loss_labels.shape[1]
        used = np.zeros((*sizes.shape, n + 1), bool)
        np.put_along_axis(used, np.where(beyond >= 0, n, samples), True, axis=2)
        unused = np.argsort(used[..., :n], axis=2, kind="stable")
        samples = np.where(beyond >= 0, np.take_along_axis(unused, np.maximum(beyond, 0), axis=2), samples)
    return batches(draws, samples, weights, loss_labels), sizes


def preactivations(draws: Draws, nets: Networks, batch: Batch | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return u, `(S, 2, K, 2m)`, and V, `(S, B, K, 2m)`, see the head of this file; without a batch V of all n
    vectors."""
    problem, (p, q, share, _) = draws.problem, nets
    rows, start, overlap = (problem.gram, draws.start.V[:, :, None], problem.overlap) if batch is None else (
        batch.rows, batch.start, batch.overlap)  # fmt: skip
    V = times(rows, q)
    V += share * start
    u = share * draws.start.u[:, :, None] + problem.signal2 * (p + problem.cosine * p[:, ::-1])
    if not problem.orthogonal:
        u += times(problem.overlap, q)
        V += times(overlap.swapaxes(1, 2), p)
    return u, V


def times(matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the product of `(S, B, n)` and `(S, n, K, 2m)`."""
    return (matrix @ x.reshape(*x.shape[:2], -1)).reshape(*matrix.shape[:2], *x.shape[2:])


Gradient = tuple[np.ndarray, np.ndarray]  # gp (S, 2, K, 2m) along phi_R and phi_F, gq (S, B, K, 2m)


def gradient(
    draws: Draws, batch: Batch, here: tuple[np.ndarray, np.ndarray], own: np.ndarray | None = None
) -> tuple[Gradient, np.ndarray]:
    """Return the gradient at preactivations u, `(S, 2, K, 2m)`, and V, `(S, B, K, 2m)`, and the sum of the outputs.

    Args:
        draws: the draws.
        batch: what is read.
        here: u and V.
        own: 1.0 for the neurons that may move, shape `(S, K, 2m)`; all by default.
    """
    (u, V), problem, signs = here, draws.problem, draws.signs
    power, m = problem.power, signs.size // 2
    f = problem.noise_patches * (raised(np.maximum(V, 0.0), power).reshape(-1, 2 * m) @ signs).reshape(V.shape[:3])
    if problem.vectors > 1:
        f = vector_sums(f, problem.vectors)
    on_labels = raised(np.maximum(u, 0.0), power) @ signs, raised(np.maximum(-u, 0.0), power) @ signs
    of_signal = np.stack(on_labels, axis=2).reshape(-1, V.shape[2])  # one row for each kind: what its signal patch adds
    f = (f + np.take(of_signal, batch.kind, axis=0)) / m
    residual = batch.pull / (1.0 + np.exp(np.minimum(batch.label * f, EXPONENT_LIMIT)))
    gq = (problem.noise_patches * residual)[..., None] * (signs * (V > 0.0))
    # the signal patch of a sample counts once, however many noise vectors it has
    by_kind = (batch.kinds @ (residual / problem.vectors)).reshape(len(V), 2, 2, -1, 1)
    gp = signs * ((u > 0.0) * by_kind[:, :, 0] - (u < 0.0) * by_kind[:, :, 1])
    if own is not None:
        gp, gq = own[:, None] * gp, own[:, None] * gq
    if power != 1.0:
        gp *= power * np.abs(u) ** (power - 1.0)
        gq *= power * np.maximum(V, 0.0) ** (power - 1.0)
    return (gp, gq), f.sum(axis=1)


def raised(x: np.ndarray, power: float) -> np.ndarray:
    """Return `x^q`."""
    return x if power == 1.0 else x**power


def vector_sums(f: np.ndarray, vectors: int) -> np.ndarray:
    """Replace the output of each noise vector by the sum over its sample, whose vectors are adjacent."""
    S, B, K = f.shape
    return np.repeat(f.reshape(S, B // vectors, vectors, K).sum(axis=2), vectors, axis=1)


def near(
    draws: Draws, batch: Batch, here: tuple[np.ndarray, np.ndarray], grad: Gradient, rho: np.ndarray,
    scales: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return `(u, V)` at `W + rho T^2 g / |T g|`; a zero gradient perturbs nothing.

    Args:
        draws, batch: the draws, and the batch.
        here: `(u, V)` of the batch at W.
        grad: the gradient g there.
        rho: radius of each network, shape `(K,)`.
        scales: `T^2`: None is 1 (SAM); `|w_a|^2`, shape `(S, K, 2m)`, for ASAM by neuron; `w_ai^2`, shape `(S, K, 2m,
            d)`, by entry.
    """
    (u, V), (gp, gq), problem = here, grad, draws.problem
    if scales is not None and scales.ndim == 4:
        g, signals, noise = in_weights(draws, gp, gq, batch)
        scaled = scales * g  # not in the span of signals and noise vectors: its image needs d-dimensional products
        norm2 = (scaled * g).sum((2, 3))
        du, dV = (np.einsum("sxd,skad->sxka", vectors, scaled) for vectors in (signals, noise))
    else:
        dV = times(batch.gram, gq)
        du = problem.signal2 * (gp + problem.cosine * gp[:, ::-1])
        if not problem.orthogonal:
            du += times(batch.overlap, gq)
            dV += times(batch.overlap.swapaxes(1, 2), gp)
        if scales is None:
            norm2 = np.einsum("sxka,sxka->sk", gp, du) + np.einsum("sbka,sbka->sk", gq, dV)
        else:
            norm2 = (scales * ((gp * du).sum(axis=1) + (gq * dV).sum(axis=1))).sum(axis=2)
            du, dV = scales[:, None] * du, scales[:, None] * dV
    factor = np.where(norm2 > 0.0, rho / np.sqrt(np.where(norm2 > 0.0, norm2, 1.0)), 0.0)[:, None, :, None]
    return u + factor * du, V + factor * dV


def in_weights(
    draws: Draws, p: np.ndarray, q: np.ndarray, batch: Batch | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return `p phi + sum_i q_i xi_i`, shape `(S, K, 2m, d)`, and the signals and noise vectors in it.

    Raises:
        ValueError: without explicit vectors.
    """
    signals, noise, _ = _vectors(draws)
    if batch is not None:
        noise = noise.reshape(-1, noise.shape[2])[batch.places].reshape(len(noise), -1, noise.shape[2])
    return np.einsum("sxka,sxd->skad", p, signals) + np.einsum("sbka,sbd->skad", q, noise), signals, noise


def _vectors(draws: Draws) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if draws.explicit is None:
        raise ValueError("asam_entry needs explicit vectors: draw = 'dense', or Draw.from_vectors")
    return draws.explicit


def weight_scales(draws: Draws, nets: Networks, scaled: int) -> np.ndarray | None:
    """Return `T^2` of `near`, see `theory.training.make_rule`; None if the rule scales nothing."""
    share = nets.share[:, 0, :, None]
    if scaled == BY_ENTRY:
        moved, _, _ = in_weights(draws, nets.p, nets.q)
        return (share * _vectors(draws)[2][:, None] + moved) ** 2
    if scaled != BY_NEURON:
        return None
    start, (u, V) = draws.start, preactivations(draws, nets)
    size2 = share[..., 0] ** 2 * np.diagonal(start.K, axis1=1, axis2=2)[:, None]
    size2 += (nets.p * (nets.share * start.u[:, :, None] + u)).sum(axis=1)
    return np.maximum(size2 + (nets.q * (nets.share * start.V[:, :, None] + V)).sum(axis=1), 0.0)


def advance_networks(
    draws: Draws, nets: Networks, schedules: Sequence[Schedule], rules: Sequence[NeuronRule], first: int, last: int,
    velocity: Networks | None = None,
) -> np.ndarray:  # fmt: skip
    """Take steps `first` to `last - 1` in place.

    Args:
        draws: the draws.
        nets: K networks on each.
        schedules: one for each draw, with the same number of steps in an epoch.
        rules: one for each network; they differ only in their radii, in ascending order. SGD is SAM of radius 0.
        first, last: steps.
        velocity: of momentum or weight decay, updated in place too.

    Returns:
        For each network the step whose output left the finite range, or -1, shape `(K, S)`. Its later state is
        meaningless.
    """
    rule = max(rules, key=lambda one: one.rho.max())  # a rule of radius 0 has no parts of a batch
    rule = rule._replace(rho=np.stack([one.rho for one in rules], axis=1))  # (groups, K)
    between, outputs = rule.mask_epochs * schedules[0].per_epoch, []
    following, sizes = scheduled(draws, schedules, first, last)
    for t, batch, size in zip(range(first, last), following, sizes, strict=True):
        if rule.mask_size > 0 and (t == 0 or (between > 0 and t % between == 0)):
            refresh_mask(draws, nets, np.stack([one.loss_labels for one in schedules]), rule.mask_size)
        outputs.append(_step(draws, nets, batch, size // draws.problem.vectors, rule, velocity))
    u, V = preactivations(draws, nets)
    outputs[-1] += u.sum((1, 3)) + V.sum((1, 3))
    lost = ~np.isfinite(outputs)
    return np.where(lost.any(axis=0), first + lost.argmax(axis=0), -1).T


def _step(
    draws: Draws, nets: Networks, batch: Batch, size: np.ndarray, rule: NeuronRule, velocity: Networks | None
) -> np.ndarray:
    """Take one step; return the sum of outputs, shape `(S, K)`, which shows divergence."""
    here, output = preactivations(draws, nets, batch), np.zeros(nets.mask.shape[:2])
    scales = weight_scales(draws, nets, rule.scaled)
    if velocity is not None:
        for moved, values in zip(velocity[:3], nets[:3], strict=True):
            moved[:] = rule.momentum * moved + rule.decay * values
    moved, eta = (nets, rule.eta) if velocity is None else (velocity, -1.0)
    parts = part_counts(rule.part_size, size)
    part_of = np.arange(batch.kind.shape[1]) // draws.problem.vectors % parts[:, None]  # dealt out in turn, (S, B)
    for samples, neurons, rho, sharpness in zip(*rule[:4], strict=True):
        pull = batch.pull if samples == ALL else batch.pull * (batch.forget == (samples == FORGET))[..., None]
        own = None if neurons == ALL else ((nets.mask > 0.0) == (neurons == FORGET)).astype(float)
        for part in range(parts.max()):
            piece = batch._replace(pull=pull * (part_of == part)[..., None] if parts.max() > 1 else pull)
            (gp, gq), value = gradient(draws, piece, here, own)
            output += value
            if rho.any():
                output += _perturbed(draws, piece, here, (gp, gq), (rho, sharpness), (scales, own))
            moved.p[:] -= eta * gp
            moved.q.reshape(-1, *gq.shape[2:])[batch.places] -= eta * gq.reshape(-1, *gq.shape[2:])
    if velocity is not None:
        for moved, values in zip(velocity[:3], nets[:3], strict=True):
            values -= rule.eta * moved
    return output


def _perturbed(
    draws: Draws, batch: Batch, here: tuple[np.ndarray, np.ndarray], grad: Gradient,
    size: tuple[np.ndarray, float], of_neurons: tuple[np.ndarray | None, np.ndarray | None],
) -> np.ndarray:  # fmt: skip
    """Replace a gradient g0 by `(1 - s) g0 + s g1`, where g1 is the gradient at `W + eps`; return the sum of outputs
    there.

    Networks of radius 0 come first and are left out.

    Args:
        draws, batch: the draws, and the batch.
        here: `(u, V)` at W.
        grad: g0, replaced in place.
        size: radius of each network, shape `(K,)`, and s.
        of_neurons: `scales` of `near` and `own` of `gradient`.
    """
    (rho, sharpness), (scales, own) = size, of_neurons
    last = slice(int(np.argmax(rho > 0.0)), None)
    of_last = lambda array: None if array is None else array[:, last]  # noqa: E731
    (u, V), base = here, (grad[0][:, :, last], grad[1][:, :, last])
    at = near(draws, batch, (u[:, :, last], V[:, :, last]), base, rho[last], of_last(scales))
    there, value = gradient(draws, batch, at, of_last(own))
    for g, g0, g1 in zip(grad, base, there, strict=True):
        g[:, :, last] = g1 if sharpness == 1.0 else (1.0 - sharpness) * g0 + sharpness * g1
    output = np.zeros((len(value), rho.size))
    output[:, last] = value
    return output


def part_counts(part_size: int, samples: np.ndarray) -> np.ndarray:
    """Return the number of parts of each batch: the fewest with at most `part_size` samples each; 0 means one part."""
    return np.maximum(1, -(-samples // part_size)) if part_size > 0 else np.ones_like(samples)


def refresh_mask(draws: Draws, nets: Networks, loss_labels: np.ndarray, size: int) -> None:
    """Mark the `size` neurons with the largest gradient of the forget loss, `|g_F,a|^2`; ties go to the lower index."""
    samples = np.tile(np.flatnonzero(draws.forget), (1, len(loss_labels), 1))
    batch = next(batches(draws, samples, np.ones(samples.shape), loss_labels))
    (gp, gq), _ = gradient(draws, batch, preactivations(draws, nets, batch))
    g = gp[:, 1]
    score = g * g * draws.problem.signal2 + 2.0 * g * times(batch.overlap, gq)[:, 1]
    score += (gq * times(batch.gram, gq)).sum(axis=1)
    order = np.argsort(-score, axis=2, kind="stable")
    nets.mask[:] = 0.0
    np.put_along_axis(nets.mask, order[..., :size], 1.0, axis=2)
