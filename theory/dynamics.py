"""The compiled training step in Gram space: SGD, SAM, sharpness maximization, Sharp MinMax, retain-only SAM.

Weights `w_a = w0_a + p_a phi + sum_i q_ai xi_i` are followed through `u_a = <w_a, phi>` and `V_ai = <w_a, xi_i>`
(theory.md section 1). For a batch with signed weights `c_b` and loss labels `yl_b`, neuron a of sign `j_a`:

    f_b  = (1/m) sum_a j_a [relu(y_b u_a) + (P-1) relu(V_ab)]
    r_b  = -c_b yl_b / (m (1 + exp(yl_b f_b)))
    gp_a = j_a sum_b r_b y_b 1[y_b u_a > 0],   gq_ab = j_a (P-1) r_b 1[V_ab > 0]       gradient = gp phi + sum_b gq_ab xi_b
    du_a = gp_a |phi|^2 + sum_b gq_ab h_b,     dV_ak = gp_a h_k + sum_b gq_ab G_bk     its image in (u, V)

A rule is a list of groups (samples, neurons, radius rho, sharpness s). Each group moves by `g0 + s (g1 - g0)`, where g1
is its gradient at `W + rho g0/|g0|`: s = +1 is SAM, s = -1 maximizes sharpness, rho = 0 is SGD. No formula contains d.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from theory.gram import Problem, Start
from theory.rules import ALL, FORGET, RETAIN, Rule
from theory.schedule import Schedule

EXPONENT_LIMIT = 700.0  # exp(709) is the largest finite double
# Multiply-add contraction is the only liberty taken with the order of operations: sums are never reordered.
compiled = njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")


class State(NamedTuple):
    """Where a network stands; arrays are updated in place.

    Attributes:
        u: `<w_a, phi>`, shape `(2m,)`.
        V: `<w_a, xi_i>`, shape `(2m, n)`.
        p: signal coefficients that retain (row 0) and forget samples (row 1) have contributed, shape `(2, 2m)`.
        q: noise coefficients, shape `(2m, n)`.
        mask: 1.0 where Sharp MinMax gives a neuron to forgetting, shape `(2m,)`.
    """

    u: np.ndarray
    V: np.ndarray
    p: np.ndarray
    q: np.ndarray
    mask: np.ndarray


def start_state(start: Start) -> State:
    """Return the state at initialization: `p = q = 0`."""
    neurons, n = start.V.shape
    return State(start.u.copy(), start.V.copy(), np.zeros((2, neurons)), np.zeros((neurons, n)), np.zeros(neurons))


def copy_state(state: State) -> State:
    """Return an independent copy."""
    return State(*(array.copy() for array in state))


@compiled
def advance(problem: Problem, state: State, schedule: Schedule, rule: Rule, first: int, last: int) -> int:
    """Take steps `first` to `last - 1` in place.

    Returns:
        The step whose output left the finite range, or -1.
    """
    neurons, width = state.V.shape[0], schedule.samples.shape[1]
    V_batch, V_near = np.empty((neurons, width)), np.empty((neurons, width))
    G_batch, u_near = np.empty((width, width)), np.empty(neurons)
    near = (np.empty((2, neurons)), np.empty((neurons, width)))
    base = (np.empty((2, neurons)), np.empty((neurons, width)))
    total = (np.empty((2, neurons)), np.empty((neurons, width)))
    own = np.ones(neurons)
    for t in range(first, last):
        if rule.mask_size > 0 and _mask_is_due(t, schedule.per_epoch, rule.mask_epochs):
            _refresh_mask(problem, state, schedule, rule.mask_size)
        batch = (schedule.samples[t], schedule.weights[t], schedule.retain[t], schedule.size[t])
        _gather(problem, state.V, batch, V_batch, G_batch)
        total[0][:], total[1][:] = 0.0, 0.0
        for group in range(rule.samples.size):
            low = batch[2] if rule.samples[group] == FORGET else 0
            high = batch[2] if rule.samples[group] == RETAIN else batch[3]
            if rule.neurons[group] != ALL:
                own[:] = state.mask if rule.neurons[group] == FORGET else 1.0 - state.mask
            output = _gradient(problem, schedule, batch, (low, high), (state.u, V_batch, own), base)
            if not np.isfinite(output):
                return t
            step = base
            if rule.rho[group] > 0.0:
                place = (state.u, V_batch, u_near, V_near)
                _perturb(problem, batch, (low, high), G_batch, base, place, rule.rho[group])
                output = _gradient(problem, schedule, batch, (low, high), (u_near, V_near, own), near)
                if not np.isfinite(output):
                    return t
                step = near
            _accumulate(total, base, step, rule.sharpness[group], (low, high))
        _apply(problem, state, batch, total, rule.eta)
    return -1 if np.isfinite(np.sum(state.u)) and np.isfinite(np.sum(state.V)) else last - 1


@compiled
def probe(problem: Problem, state: State, schedule: Schedule, rho: float) -> np.ndarray:
    """Count active noise preactivations at W and at W + eps over the batches of a schedule, the state held fixed.

    Args:
        problem: the draw.
        state: the network.
        schedule: batches, each with its own perturbation `eps = rho g / |g|`.
        rho: radius.

    Returns:
        Shape `(2, 2, 3)`: retain or forget, `j = y` or `j = -y`, (active at W, active at W + eps, all pairs).
    """
    neurons, width = state.V.shape[0], schedule.samples.shape[1]
    V_batch, V_near = np.empty((neurons, width)), np.empty((neurons, width))
    G_batch, u_near, own = np.empty((width, width)), np.empty(neurons), np.ones(neurons)
    base = (np.empty((2, neurons)), np.empty((neurons, width)))
    counts = np.zeros((2, 2, 3))
    for t in range(schedule.samples.shape[0]):
        batch = (schedule.samples[t], schedule.weights[t], schedule.retain[t], schedule.size[t])
        _gather(problem, state.V, batch, V_batch, G_batch)
        _gradient(problem, schedule, batch, (0, batch[3]), (state.u, V_batch, own), base)
        _perturb(problem, batch, (0, batch[3]), G_batch, base, (state.u, V_batch, u_near, V_near), rho)
        for a in range(neurons):
            for b in range(batch[3]):
                part = counts[0 if b < batch[2] else 1, 0 if _sign(a, neurons) == problem.labels[batch[0][b]] else 1]
                part[0] += V_batch[a, b] > 0.0
                part[1] += V_near[a, b] > 0.0
                part[2] += 1.0
    return counts


@compiled
def _sign(a, neurons):
    return 1.0 if 2 * a < neurons else -1.0


@compiled
def _mask_is_due(t, per_epoch, mask_epochs):
    return t == 0 or (mask_epochs > 0 and t % (mask_epochs * per_epoch) == 0)


@compiled
def _gather(problem, V, batch, V_batch, G_batch):
    samples, size = batch[0], batch[3]
    for a in range(V.shape[0]):
        for b in range(size):
            V_batch[a, b] = V[a, samples[b]]
    for b in range(size):
        for k in range(size):
            G_batch[b, k] = problem.gram[samples[b], samples[k]]


@compiled
def _gradient(problem, schedule, batch, window, weights, out):
    """Write (gp, gq) of the samples in `window`, restricted to own neurons; return the sum of outputs."""
    (samples, c, n_retain, _), (low, high), (u, V, own), (gp, gq) = batch, window, weights, out
    neurons = u.size
    m = neurons // 2
    f = np.zeros(high)
    signal = np.zeros(2)
    for a in range(neurons):
        sign = _sign(a, neurons)
        signal[0] += sign * (0.0 if u[a] <= 0.0 else u[a])  # so written, NaN passes through and is seen
        signal[1] += sign * (0.0 if u[a] >= 0.0 else -u[a])
        for b in range(low, high):
            f[b] += sign * (0.0 if V[a, b] <= 0.0 else V[a, b])
    output, pull = 0.0, np.zeros((2, 2))
    for b in range(low, high):
        y, label = problem.labels[samples[b]], schedule.loss_labels[samples[b]]
        f[b] = (signal[0 if y > 0.0 else 1] + problem.noise_patches * f[b]) / m
        output += f[b]
        f[b] = -c[b] * label / (m * (1.0 + np.exp(min(label * f[b], EXPONENT_LIMIT))))
        pull[0 if b < n_retain else 1, 0 if y > 0.0 else 1] += f[b]
        f[b] *= problem.noise_patches
    for a in range(neurons):
        scale = _sign(a, neurons) * own[a]
        for part in range(2):
            gp[part, a] = scale * ((u[a] > 0.0) * pull[part, 0] - (u[a] < 0.0) * pull[part, 1])
        for b in range(low, high):
            gq[a, b] = scale * f[b] if V[a, b] > 0.0 else 0.0
    return output


@compiled
def _perturb(problem, batch, window, G, gradient, place, rho):
    """Write `(u, V) + rho (du, dV) / |g|` into the near arrays of `place`; a zero gradient perturbs nothing."""
    (u, V, u_near, V_near), (gp, gq), (low, high) = place, gradient, window
    norm2 = 0.0
    for a in range(u.size):
        g = gp[0, a] + gp[1, a]
        u_near[a] = g * problem.signal2
        for k in range(low, high):
            V_near[a, k] = g * problem.overlap[batch[0][k]]
        for b in range(low, high):
            if gq[a, b] != 0.0:
                u_near[a] += gq[a, b] * problem.overlap[batch[0][b]]
                for k in range(low, high):
                    V_near[a, k] += gq[a, b] * G[b, k]
        norm2 += g * u_near[a]
        for b in range(low, high):
            norm2 += gq[a, b] * V_near[a, b]
    scale = rho / np.sqrt(norm2) if norm2 > 0.0 else 0.0
    for a in range(u.size):
        u_near[a] = u[a] + scale * u_near[a]
        for k in range(low, high):
            V_near[a, k] = V[a, k] + scale * V_near[a, k]


@compiled
def _accumulate(total, base, near, sharpness, window):
    """Add `(1 - s) g0 + s g1`, exactly g1 for s = 1."""
    for a in range(base[0].shape[1]):
        for part in range(2):
            total[0][part, a] += (1.0 - sharpness) * base[0][part, a] + sharpness * near[0][part, a]
        for b in range(window[0], window[1]):
            total[1][a, b] += (1.0 - sharpness) * base[1][a, b] + sharpness * near[1][a, b]


@compiled
def _apply(problem, state, batch, gradient, eta):
    """Move p, q, u and V by `-eta` times the gradient and its image; inactive neurons cost nothing."""
    (samples, _, _, size), (gp, gq) = batch, gradient
    for a in range(state.u.size):
        g = gp[0, a] + gp[1, a]
        state.p[0, a] -= eta * gp[0, a]
        state.p[1, a] -= eta * gp[1, a]
        state.u[a] -= eta * g * problem.signal2
        row = state.V[a]
        if not problem.orthogonal:
            for k in range(row.size):
                row[k] -= eta * g * problem.overlap[k]
        for b in range(size):
            if gq[a, b] != 0.0:
                move = eta * gq[a, b]
                state.q[a, samples[b]] -= move
                state.u[a] -= move * problem.overlap[samples[b]]
                other = problem.gram[samples[b]]
                for k in range(row.size):
                    row[k] -= move * other[k]


@compiled
def _refresh_mask(problem, state, schedule, size):
    """Mark the `size` neurons with the largest gradient of the forget loss, `|g_F,a|^2`; ties go to the lower index."""
    n_retain, neurons = problem.n_retain, state.u.size
    count = state.V.shape[1] - n_retain
    batch = (np.arange(n_retain, n_retain + count), np.ones(count), 0, count)
    weights = (state.u, np.ascontiguousarray(state.V[:, n_retain:]), np.ones(neurons))
    gp, gq = np.empty((2, neurons)), np.empty((neurons, count))
    _gradient(problem, schedule, batch, (0, count), weights, (gp, gq))
    score = np.zeros(neurons)
    for a in range(neurons):
        score[a] = gp[1, a] ** 2 * problem.signal2
        for b in range(count):
            score[a] += 2.0 * gp[1, a] * gq[a, b] * problem.overlap[n_retain + b]
            for k in range(count):
                score[a] += gq[a, b] * gq[a, k] * problem.gram[n_retain + b, n_retain + k]
    for a in range(neurons):
        rank = np.sum(score > score[a]) + np.sum(score[:a] == score[a])
        state.mask[a] = 1.0 if rank < size else 0.0
