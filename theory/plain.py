"""The engine in plain numpy, all seeds at once: what the compiled one computes, with nothing to compile.

The arrays of `theory.training.NetworkState` and `theory.draw.Problem` are stacked over R seeds. Noise vectors precede
neurons, so `V` and `q` have the shape `(R, n, 2m)`, and a batch of B noise vectors is one gather. The equations are
those at the heads of `theory/dynamics.py` and `theory/quadrature.py`. The compiled engine is tested against this one,
and this one against explicit weights.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from theory.draw import Draw, Problem
from theory.training import (
    ALL,
    BY_ENTRY,
    BY_NEURON,
    EXPONENT_LIMIT,
    FORGET,
    NetworkState,
    NeuronRule,
    Schedule,
    start_state,
)

STACKED = ("gram", "overlap", "labels", "true_labels")  # arrays of a `Problem`


class Seeds(NamedTuple):
    """The draws of R seeds.

    Attributes:
        problem: `theory.draw.Problem`, whose arrays have a first axis for the seeds.
        forget: whether a noise vector is of a forget sample, shape `(n,)`.
        signs: `j_a`, shape `(2m,)`.
        start: `u` and `V` at the start, and in place of `share` the Gram matrix `K` of `theory.draw.InitialWeights`.
        explicit: signals `(R, 2, d)`, noise `(R, n, d)` and initial weights `(R, 2m, d)` of explicit draws, else None.
    """

    problem: Problem
    forget: np.ndarray
    signs: np.ndarray
    start: "Networks"
    explicit: tuple[np.ndarray, np.ndarray, np.ndarray] | None

    @classmethod
    def of(cls, draws: Sequence[Draw]) -> "Seeds":
        """Stack the draws of one setting."""
        first = draws[0].problem
        problem = first._replace(**{name: np.stack([getattr(one.problem, name) for one in draws]) for name in STACKED})
        start = Networks.of([start_state(one.start) for one in draws])
        start = start._replace(share=np.stack([one.start.K for one in draws]))
        known = [(np.stack([one.vectors[0], one.forget_signal]), *one.vectors[1:]) for one in draws
                 if one.vectors is not None and one.forget_signal is not None]  # fmt: skip
        explicit = _thrice(zip(*known, strict=True), np.stack) if known else None
        forget = np.arange(first.labels.size) >= first.n_retain
        return cls(problem, forget, np.repeat([1.0, -1.0], draws[0].start.V.shape[0] // 2), start, explicit)

    def only(self, keep: np.ndarray) -> "Seeds":
        """Return some of the seeds."""
        problem = self.problem._replace(**{name: getattr(self.problem, name)[keep] for name in STACKED})
        explicit = None if self.explicit is None else _thrice(self.explicit, lambda array: array[keep])
        return self._replace(problem=problem, start=self.start.only(keep), explicit=explicit)


def _thrice(arrays: Iterable[Any], change: Callable[[Any], np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    signals, noise, weights = map(change, arrays)
    return signals, noise, weights


class Networks(NamedTuple):
    """The states of R seeds, or their velocities; `u`, `p` have the shape `(R, 2, 2m)`, `V`, `q` `(R, n, 2m)`."""

    u: np.ndarray
    V: np.ndarray
    p: np.ndarray
    q: np.ndarray
    share: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, states: Sequence[NetworkState]) -> "Networks":
        """Stack states."""
        stack = lambda name: np.stack([getattr(state, name) for state in states])  # noqa: E731
        across = lambda name: np.ascontiguousarray(stack(name).swapaxes(1, 2))  # noqa: E731
        return cls(stack("u"), across("V"), stack("p"), across("q"), stack("share"), stack("mask"))

    def only(self, keep: np.ndarray) -> "Networks":
        """Return some of the seeds."""
        return Networks(*(array[keep] for array in self))

    def state(self, row: int) -> NetworkState:
        """Return the state of one seed."""
        u, V, p, q, share, mask = (array[row] for array in self)
        return NetworkState(
            u.copy(), np.ascontiguousarray(V.T), p.copy(), np.ascontiguousarray(q.T), mask.copy(), share.copy()
        )


class Batch(NamedTuple):
    """One batch of every seed, B noise vectors; `own` is 1 for the neurons that a group may move.

    Attributes:
        samples: which noise vectors, shape `(R, B)`.
        rows: their rows of the Gram matrix, shape `(R, B, n)`.
        gram: among themselves, shape `(R, B, B)`.
        overlap: shape `(R, 2, B)`.
        y, label: what the signal patches carry and what the loss sees, shape `(R, B)`.
        forget: shape `(R, B)`.
        weights: signed loss weights c, shape `(R, B)`; 0 outside the group.
        own: shape `(R, 2m)`.
    """

    samples: np.ndarray
    rows: np.ndarray
    gram: np.ndarray
    overlap: np.ndarray
    y: np.ndarray
    label: np.ndarray
    forget: np.ndarray
    weights: np.ndarray
    own: np.ndarray


def batch_of(seeds: Seeds, samples: np.ndarray, weights: np.ndarray, loss_labels: np.ndarray) -> Batch:
    """Gather a batch; `samples` and `weights` have the shape `(R, B)`."""
    count = np.arange(len(samples))[:, None]
    rows = seeds.problem.gram[count, samples]
    gram = np.take_along_axis(rows, samples[:, None, :], axis=2)
    overlap = np.take_along_axis(seeds.problem.overlap, samples[:, None, :], axis=2)
    return Batch(samples, rows, gram, overlap, seeds.problem.true_labels[count, samples], loss_labels[count, samples],
                 seeds.forget[samples], weights, np.ones((len(samples), seeds.signs.size)))  # fmt: skip


Gradient = tuple[np.ndarray, np.ndarray]  # gp (R, 2, 2m) along phi_R and phi_F, gq (R, B, 2m)


def gradient(seeds: Seeds, batch: Batch, u: np.ndarray, V: np.ndarray) -> tuple[Gradient, np.ndarray]:
    """Return the gradient at signal preactivations u, `(R, 2, 2m)`, and noise V, `(R, B, 2m)`, and the outputs' sum."""
    q, signs, m = seeds.problem.power, seeds.signs, seeds.signs.size // 2
    active_u, active_V = np.maximum(u, 0.0), np.maximum(V, 0.0)
    other_u = np.maximum(-u, 0.0)
    f = seeds.problem.noise_patches * (raised(active_V, q) @ signs)
    if seeds.problem.vectors > 1:
        f = pooled(f, seeds.problem.vectors)
    plus, minus = raised(active_u, q) @ signs, raised(other_u, q) @ signs  # (R, 2): on labels +1 and -1, of R and of F
    side = batch.forget.astype(int)
    f = (f + np.where(batch.y > 0.0, np.take_along_axis(plus, side, 1), np.take_along_axis(minus, side, 1))) / m
    margin = np.minimum(batch.label * f, EXPONENT_LIMIT)
    residual = -batch.weights * batch.label / (m * (1.0 + np.exp(margin)))
    scale = signs * batch.own
    gq = (seeds.problem.noise_patches * residual)[..., None] * scale[:, None] * (V > 0.0)
    shares = (
        residual / seeds.problem.vectors
    )  # the signal patch of a sample counts once, however many noise vectors it has
    up, down = shares * (batch.y > 0.0), shares * (batch.y <= 0.0)
    forget = batch.forget
    sums = [(np.where(forget == part, up, 0.0).sum(1), np.where(forget == part, down, 0.0).sum(1)) for part in (0, 1)]
    gp = np.stack([scale * ((u[:, part] > 0.0) * up_[:, None] - (u[:, part] < 0.0) * down_[:, None])
                   for part, (up_, down_) in enumerate(sums)], axis=1)  # fmt: skip
    if q != 1.0:
        gp *= q * np.abs(u) ** (q - 1.0)
        gq *= q * active_V ** (q - 1.0)
    return (gp, gq), f.sum(axis=1)


def raised(x: np.ndarray, power: float) -> np.ndarray:
    """Return `x^q`."""
    return x if power == 1.0 else x**power


def pooled(f: np.ndarray, vectors: int) -> np.ndarray:
    """Replace what each noise vector of a sample adds to its output by their sum; they stand next to each other."""
    return np.repeat(f.reshape(len(f), -1, vectors).sum(axis=2), vectors, axis=1)


def image(seeds: Seeds, step: Gradient, gram: np.ndarray, overlap: tuple[np.ndarray, np.ndarray]) -> Gradient:
    """Return what a step along a gradient changes: `(du, dV)`, V of the noise vectors that `gram` leads to.

    Args:
        seeds: the draws.
        step: the gradient of a batch.
        gram: Gram matrix between those noise vectors and the batch, shape `(R, K, B)`.
        overlap: overlaps of the batch, `(R, 2, B)`, and of those noise vectors, `(R, 2, K)`.
    """
    (gp, gq), c = step, seeds.problem.cosine
    du = seeds.problem.signal2 * np.stack([gp[:, 0] + c * gp[:, 1], c * gp[:, 0] + gp[:, 1]], axis=1)
    dV = gram @ gq
    if not seeds.problem.orthogonal:
        of_batch, of_all = overlap
        du += of_batch @ gq
        both, only = gp[:, 0] + gp[:, 1], gp[:, 1]
        dV += of_all[:, 0, :, None] * both[:, None] + (of_all[:, 1] - of_all[:, 0])[..., None] * only[:, None]
    return du, dV


def near(
    seeds: Seeds, batch: Batch, state: tuple[np.ndarray, np.ndarray], step: Gradient, rho: float,
    scales: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return `(u, V)` at `W + rho T^2 g / |T g|`; a zero gradient perturbs nothing.

    Args:
        seeds, batch: the draws, and the batch.
        state: `(u, V)` of the batch at W.
        step: the gradient g there.
        rho: radius.
        scales: `T^2`: 1 where there are none (SAM); `|w_a|^2`, shape `(R, 2m)`, or `w_ai^2`, shape `(R, 2m, d)`
            (ASAM by neuron or by entry).
    """
    (u, V), (gp, gq) = state, step
    if scales is not None and scales.ndim == 3 and seeds.explicit is not None:
        signals, noise = seeds.explicit[0], seeds.explicit[1][np.arange(len(u))[:, None], batch.samples]
        g = gp.swapaxes(1, 2) @ signals + gq.swapaxes(1, 2) @ noise
        move = scales * g
        norm2, du, dV = (move * g).sum((1, 2)), signals @ move.swapaxes(1, 2), noise @ move.swapaxes(1, 2)
    else:
        du, dV = image(seeds, step, batch.gram, (batch.overlap, batch.overlap))
        lengths = np.ones(u.shape[::2]) if scales is None else scales
        of_signal = (gp[:, 0] + gp[:, 1]) * du[:, 0] + gp[:, 1] * (du[:, 1] - du[:, 0])
        norm2 = (lengths * (of_signal + (gq * dV).sum(axis=1))).sum(axis=1)
        du, dV = lengths[:, None] * du, lengths[:, None] * dV
    factor = np.where(norm2 > 0.0, rho / np.sqrt(np.where(norm2 > 0.0, norm2, 1.0)), 0.0)[:, None, None]
    return u + factor * du, V + factor * dV


def weight_scales(seeds: Seeds, nets: Networks, scaled: int) -> np.ndarray | None:
    """Return `T^2` of `near`, see `theory.training.make_rule`; None where a rule scales nothing."""
    if scaled == BY_ENTRY:
        if seeds.explicit is None:
            raise ValueError("asam_entry needs explicit vectors: draw = 'dense', or Draw.from_vectors")
        signals, noise, start = seeds.explicit
        weights = nets.share * start + nets.p.swapaxes(1, 2) @ signals + nets.q.swapaxes(1, 2) @ noise
        return weights**2
    if scaled != BY_NEURON:
        return None
    s, start = nets.share[:, 0], seeds.start
    signal = nets.share * start.u + nets.u
    both, only = nets.p[:, 0] + nets.p[:, 1], nets.p[:, 1]
    size2 = s**2 * np.diagonal(start.share, axis1=1, axis2=2) + both * signal[:, 0]
    size2 += only * (signal[:, 1] - signal[:, 0]) + (nets.q * (nets.share * start.V + nets.V)).sum(axis=1)
    return np.maximum(size2, 0.0)


def advance(
    seeds: Seeds, nets: Networks, schedules: Sequence[Schedule], rule: NeuronRule, first: int, last: int,
    velocity: Networks | None = None,
) -> np.ndarray:  # fmt: skip
    """Take steps `first` to `last - 1` in place.

    Args:
        seeds: the draws.
        nets: the networks of the same seeds.
        schedules: one a seed, which differ in their samples alone.
        rule: what a step is.
        first, last: steps.
        velocity: of momentum or weight decay, moved alike.

    Returns:
        For each seed the step whose output left the finite range, or -1; what such a seed does after it means nothing.
    """
    one, sizes = schedules[0], schedules[0].size
    samples = np.stack([schedule.samples[first:last] for schedule in schedules], axis=1)
    weights = np.stack([schedule.weights[first:last] for schedule in schedules], axis=1)
    loss_labels = np.stack([schedule.loss_labels for schedule in schedules])
    diverged = np.full(len(schedules), -1)
    between = rule.mask_epochs * one.per_epoch
    for t in range(first, last):
        if rule.mask_size > 0 and (t == 0 or (between > 0 and t % between == 0)):
            refresh_mask(seeds, nets, loss_labels, rule.mask_size)
        chosen, c = samples[t - first, :, : sizes[t]], weights[t - first, :, : sizes[t]]
        batch = batch_of(seeds, chosen, c, loss_labels)
        output = _step(seeds, nets, batch, rule, velocity)
        diverged[(diverged < 0) & ~np.isfinite(output)] = t
    total = nets.u.sum((1, 2)) + nets.V.sum((1, 2))
    diverged[(diverged < 0) & ~np.isfinite(total)] = last - 1
    return diverged


def _step(seeds: Seeds, nets: Networks, batch: Batch, rule: NeuronRule, velocity: Networks | None) -> np.ndarray:
    """Take one step; return the sum of outputs, which is how divergence is seen."""
    count = np.arange(len(batch.samples))[:, None]
    here, output = (nets.u.copy(), nets.V[count, batch.samples]), np.zeros(len(batch.samples))
    scales = weight_scales(seeds, nets, rule.scaled)
    if velocity is not None:
        for moved, values in zip(velocity[:5], nets[:5], strict=True):
            moved[:] = rule.momentum * moved + rule.decay * values
    moved, eta = (nets, rule.eta) if velocity is None else (velocity, -1.0)
    parts = part_count(rule.part_size, batch.samples.shape[1] // seeds.problem.vectors)
    turn = np.arange(batch.samples.shape[1]) // seeds.problem.vectors % parts
    for samples, neurons, rho, sharpness in zip(*rule[:4], strict=True):
        group = batch._replace(own=_owned(nets.mask, neurons),
                               weights=batch.weights if samples == ALL else
                               np.where(batch.forget == (samples == FORGET), batch.weights, 0.0))  # fmt: skip
        for part in range(parts):
            piece = group if parts == 1 else group._replace(weights=np.where(turn == part, group.weights, 0.0))
            step, value = gradient(seeds, piece, *here)
            output = output + value
            if rho > 0.0:
                there, value = gradient(seeds, piece, *near(seeds, piece, here, step, rho, scales))
                output = output + value
                step = there if sharpness == 1.0 else tuple(
                    (1.0 - sharpness) * a + sharpness * b for a, b in zip(step, there, strict=True))  # fmt: skip
            _apply(seeds, moved, batch, eta, step)
    if velocity is not None:
        for moved, values in zip(velocity[:5], nets[:5], strict=True):
            values -= rule.eta * moved
    return output


def _owned(mask: np.ndarray, neurons: int) -> np.ndarray:
    return np.ones_like(mask) if neurons == ALL else ((mask > 0.0) == (neurons == FORGET)).astype(float)


def part_count(part_size: int, samples: int) -> int:
    """Return into how many parts a batch falls: as few as have at most `part_size` samples each; 0 is the whole."""
    return max(1, -(-samples // part_size)) if part_size > 0 else 1


def _apply(seeds: Seeds, moved: Networks, batch: Batch, eta: float, step: Gradient) -> None:
    """Move p, q, u and V by `-eta` times a gradient and its image; a batch holds no noise vector twice."""
    du, dV = image(seeds, step, batch.rows.swapaxes(1, 2), (batch.overlap, seeds.problem.overlap))
    moved.p[:] -= eta * step[0]
    moved.q[np.arange(len(batch.samples))[:, None], batch.samples] -= eta * step[1]
    moved.u[:] -= eta * du
    moved.V[:] -= eta * dV


def refresh_mask(seeds: Seeds, nets: Networks, loss_labels: np.ndarray, size: int) -> None:
    """Mark the `size` neurons with the largest gradient of the forget loss, `|g_F,a|^2`; ties go to the lower index."""
    forget = np.flatnonzero(seeds.forget)
    samples = np.tile(forget, (len(nets.u), 1))
    batch = batch_of(seeds, samples, np.ones(samples.shape), loss_labels)
    step, _ = gradient(seeds, batch, nets.u, nets.V[:, forget])
    g, gq = step[0][:, 1], step[1]
    score = g * g * seeds.problem.signal2 + 2.0 * g * np.einsum("rba,rb->ra", gq, batch.overlap[:, 1])
    score += (gq * (batch.gram @ gq)).sum(axis=1)
    order = np.argsort(-score, axis=1, kind="stable")
    nets.mask[:] = 0.0
    np.put_along_axis(nets.mask, order[:, :size], 1.0, axis=1)
