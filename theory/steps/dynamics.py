"""The compiled training step in Gram space: SGD, SAM, ASAM, sharpness maximization, Sharp MinMax, retain-only SAM.

`theory/__init__.py` states the model. A gradient is a combination of phi and the xi_i, and depends on the weights
through `u_a = <w_a, phi>` and `V_ai = <w_a, xi_i>` alone. So u, V, p and q follow exactly the weights
`w_a = w0_a + p_a phi + sum_i q_ai xi_i`.

The loss is `sum_b c_b log(1 + exp(-yl_b f_b))`, with signed weights `c_b` and the labels `yl_b` that the loss reads.
The signal patch carries the label `y_b`; `h_b = <phi, xi_b>` and `G_bk = <xi_b, xi_k>`. For neuron a of sign `j_a`:

    f_b  = (1/m) sum_a j_a [relu(y_b u_a) + (P-1) relu(V_ab)]
    r_b  = -c_b yl_b / (m (1 + exp(yl_b f_b)))
    gp_a = j_a sum_b r_b y_b 1[y_b u_a > 0],   gq_ab = j_a (P-1) r_b 1[V_ab > 0]     gradient gp phi + sum_b gq_ab xi_b
    du_a = gp_a |phi|^2 + sum_b gq_ab h_b,     dV_ak = gp_a h_k + sum_b gq_ab G_bk    its image in (u, V)
    |g|^2 = sum_a (gp_a du_a + sum_b gq_ab dV_ab)

If F has its own signal, there are two of phi, u, p and gp: of phi_R for retain samples, of phi_F for forget samples.

Here b counts noise vectors; usually a sample has one, repeated in P - 1 patches. If every patch has its own vector, f
sums relu(V) over the vectors of a sample, P - 1 is replaced by 1, and r_b y_b enters gp once for each sample.

A rule is a list of groups (samples, neurons, radius rho, sharpness s). Each group adds `-eta (g0 + s (g1 - g0))`. Here
g0 is the gradient of its samples in its neurons, and g1 the same gradient at `W + rho g0/|g0|`. All groups start from
the W before the step. s = +1 is SAM, s = -1 maximizes sharpness, rho = 0 is SGD. No formula contains d.

Momentum and weight decay are linear, so they act on coordinates: `B <- mu B + lambda X + G, X <- X - eta B`. X is u, V,
p, q or c0, the share of w0, whose gradient is zero. With `relu(x)^q` every indicator `1[x > 0]` becomes
`q x^(q-1)`. With m-sharpness each part of a batch has a perturbation of its own.

ASAM by neuron perturbs by `eps_a = rho |w_a|^2 g_a / sqrt(sum_b |w_b|^2 |g_b|^2)`. That stays in the span of signals
and noise, so it is exact here as well. Each neuron's part of the image and of the norm is multiplied by `|w_a|^2`, with

    |w_a|^2 = c0^2 |w0_a|^2 + p_a (c0 u0_a + u_a) + sum_i q_ai (c0 V0_ai + V_ai),   w = c0 w0 + p phi + sum_i q_i xi_i.

If all neurons have the same length, `|w_a| = c`, it is SAM with the radius `c rho`. ASAM by entry leaves that span in
its perturbation, so its steps need explicit vectors: see `theory/steps/plain.py`. Its gradients are in the span, so
these steps are exact too.
"""

from typing import NamedTuple

import numpy as np

from theory.compiled import apart, compiled, inlined
from theory.draw import InitialWeights, Problem
from theory.measures.metrics import ActivationNumbers
from theory.training import ALL, EXPONENT_LIMIT, FORGET, LANES, UNSCALED, NetworkState, NeuronRule, Schedule


class StepArrays(NamedTuple):
    """Scratch arrays of one step; B is the padded batch width, N = 2m. Allocated once a call, filled every step."""

    u: np.ndarray  # (2, N) signal preactivations before the step
    V: np.ndarray  # (N, B) noise preactivations of the batch before the step
    u_near: np.ndarray  # the same at W + eps; du and dV until `_perturb` ends
    V_near: np.ndarray
    gp: np.ndarray  # (2, N) signal gradient from retain and from forget samples, along phi_R and phi_F
    gq: np.ndarray  # (N, B) noise gradient
    gp_near: np.ndarray  # the same at W + eps
    gq_near: np.ndarray
    G: np.ndarray  # (B, B) Gram matrix of the batch
    h: np.ndarray  # (2, B) overlaps of the batch
    y: np.ndarray  # (B,) labels that the signal patches carry
    label: np.ndarray  # (B,) labels the loss sees
    c: np.ndarray  # (B,) weights; zero outside the group
    side: np.ndarray  # (B,) 0 for retain samples, 1 for forget samples
    u_high: np.ndarray  # (2, N) and (N, B): |x|^q with the sign of x, where q is not 1
    V_high: np.ndarray
    f: np.ndarray  # (B,) the noise part of the outputs, then (P-1) r_b
    own: np.ndarray  # (N,) 1.0 for neurons the group may move
    size2: np.ndarray  # (N,) |w_a|^2 where it scales the perturbation, else 1.0
    order: np.ndarray  # (B,) 0, 1, ..., B - 1: every row of G, as `_add_product` reads rows by index
    rows: np.ndarray  # (B,) rows that `_add_product` adds up, and their factors
    moves: np.ndarray  # (B,)


def advance_network(
    problem: Problem, state: NetworkState, schedule: Schedule, rule: NeuronRule, first: int, last: int,
    velocity: NetworkState | None = None, start: InitialWeights | None = None,
) -> int:  # fmt: skip
    """Take steps `first` to `last - 1` in place; with momentum or weight decay the velocity is updated too.

    ASAM needs the start, from which a neuron's length follows.

    Returns:
        The step whose output left the finite range, or -1.
    """
    power, start = curved(problem), None if rule.scaled == UNSCALED else start
    between = rule.mask_epochs * schedule.per_epoch if rule.mask_size > 0 else 0
    while first < last:
        if rule.mask_size > 0 and (first == 0 or (between > 0 and first % between == 0)):
            _refresh_mask(problem, power, state, schedule, rule.mask_size)
        until = min(last, (first // between + 1) * between) if between > 0 else last
        diverged_at = _take_steps(problem, power, state, schedule, rule, first, until, velocity, start)
        if diverged_at >= 0:
            return diverged_at
        first = until
    return -1


def curved(problem: Problem) -> float | None:
    """Return q, or None for ReLU: the code compiled for None has no powers and is shorter."""
    return None if problem.power == 1.0 else problem.power


@compiled
def _take_steps(problem, power, state, schedule, rule, first, last, velocity, start):
    """Take steps with a fixed mask; return what `advance_network` returns."""
    work = _step_arrays(state.mask.size, schedule.samples.shape[1])
    for t in range(first, last):
        _gather(problem, state, schedule.samples[t], schedule.loss_labels, work)
        if velocity is not None:
            _drag(velocity, state, rule)
        if start is not None:
            _lengths(start, state, work.size2)
        parts = _parts(rule.part_size, schedule.size[t] // problem.vectors)
        for turn in range(rule.samples.size * parts):  # every group, and in it every part of the batch
            group = turn // parts
            _select(schedule.weights[t], rule.samples[group], rule.neurons[group], state.mask, work)
            if parts > 1:
                _keep_part(turn % parts, parts, problem.vectors, work)
            output = _gradient(problem, power, work.u, work.V, work, work.gp, work.gq)
            grad = (work.gp, work.gq)
            if rule.rho[group] > 0.0:
                _perturb(problem, rule.rho[group], work)
                grad = (work.gp_near, work.gq_near)
                output += _gradient(problem, power, work.u_near, work.V_near, work, grad[0], grad[1])
                if rule.sharpness[group] != 1.0:
                    _reflect(rule.sharpness[group], work)
            if not np.isfinite(output):
                return t
            if velocity is None:
                _apply(problem, state, schedule.samples[t], rule.eta, grad, work)
            else:
                _apply(problem, velocity, schedule.samples[t], -1.0, grad, work)  # B <- B + G
        if velocity is not None:
            _coast(velocity, state, rule.eta)
    total = 0.0
    for a in range(state.mask.size):
        total += state.u[0, a] + state.u[1, a]
        for i in range(state.V.shape[1]):
            total += state.V[a, i]
    return -1 if np.isfinite(total) else last - 1


@compiled
def probe(
    problem: Problem, power: float | None, state: NetworkState, schedule: Schedule, rho: float
) -> ActivationNumbers:
    """Return the noise activations at W and at W + eps over the batches of a schedule; no state moves.

    If noise vectors are orthogonal, a neuron whose perturbation lowers its own preactivation survives iff

        V_ab > V_c = rho |xi_b| |r_b| / |r|_active,   |r|_active^2 = sum over the active pairs (a, b) of r_b^2,

    with r the weighted residuals of the batch. The noise gradient of an active pair is `j_a (P-1) r_b xi_b`, and the
    signal's part of the norm is small. A neuron whose perturbation raises its preactivation always survives.

    Args:
        problem: the draw.
        power: `curved(problem)`.
        state: the network.
        schedule: batches, each with its own perturbation `eps = rho g / |g|`.
        rho: radius.
    """
    neurons = state.mask.size
    work = _step_arrays(neurons, schedule.samples.shape[1])
    pairs, active, perturbed = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    joint, predicted = np.zeros((2, 2)), np.zeros((2, 2))
    depth, threshold = np.zeros((2, 2)), np.zeros((2, 2))  # sums of V and of V_c over the pairs active at W
    for t in range(schedule.samples.shape[0]):
        _gather(problem, state, schedule.samples[t], schedule.loss_labels, work)
        _select(schedule.weights[t], ALL, ALL, state.mask, work)
        _gradient(problem, power, work.u, work.V, work, work.gp, work.gq)
        _perturb(problem, rho, work)
        norm = 0.0
        for a in range(neurons):
            norm += _dot4(work.gq, work.gq, a)
        norm = np.sqrt(norm)
        for a in range(neurons):
            for b in range(schedule.size[t]):
                oppose = 1 if (2 * a < neurons) != (problem.labels[schedule.samples[t, b]] > 0.0) else 0
                group = work.side[b], oppose
                here, near = work.V[a, b] > 0.0, work.V_near[a, b] > 0.0
                critical = rho * np.sqrt(work.G[b, b]) * abs(work.gq[a, b]) / norm if norm > 0.0 else 0.0
                pairs[group] += 1.0
                active[group] += here
                perturbed[group] += near
                joint[group] += here and near
                predicted[group] += here and (work.gq[a, b] > 0.0 or work.V[a, b] > critical)
                depth[group] += work.V[a, b] if here else 0.0
                threshold[group] += critical if here else 0.0
    for side in range(2):
        for oppose in range(2):
            group = side, oppose
            for share in (active, perturbed, joint, predicted):
                share[group] /= max(pairs[group], 1.0)
            depth[group] = depth[group] / threshold[group] if threshold[group] > 0.0 else 0.0
    return ActivationNumbers(active, perturbed, joint, predicted, depth)


@inlined
def _step_arrays(N, B):
    order = np.empty(B, np.int64)
    for b in range(B):
        order[b] = b
    return StepArrays(
        np.empty((2, N)), np.empty((N, B)), np.empty((2, N)), np.empty((N, B)),  # u, V and their perturbed values
        np.empty((2, N)), np.empty((N, B)), np.empty((2, N)), np.empty((N, B)),  # gp, gq and theirs
        np.empty((B, B)), np.empty((2, B)), np.empty(B), np.empty(B), np.empty(B),  # G, h, y, label, c
        np.empty(B, np.int64), np.empty((2, N)), np.empty((N, B)), np.empty(B), np.empty(N), np.ones(N),  # to size2
        order, np.empty(B, np.int64), np.empty(B),  # order, rows, moves
    )  # fmt: skip


@inlined
def _gather(problem, state, samples, loss_labels, work):
    for b in range(samples.size):
        work.h[0, b], work.h[1, b] = problem.overlap[0, samples[b]], problem.overlap[1, samples[b]]
        work.y[b] = problem.true_labels[samples[b]]
        work.label[b] = loss_labels[samples[b]]
        work.side[b] = 0 if samples[b] < problem.n_retain else 1
        for k in range(samples.size):
            # an unsigned index needs no test for a negative one
            work.G[b, k] = problem.gram[np.uint64(samples[b]), np.uint64(samples[k])]
    for a in range(state.mask.size):
        work.u[0, a], work.u[1, a] = state.u[0, a], state.u[1, a]
        for b in range(samples.size):
            work.V[a, b] = state.V[a, np.uint64(samples[b])]


@inlined
def _select(weights, samples, neurons, mask, work):
    """Restrict the step to the samples and neurons of a group."""
    for b in range(weights.size):
        work.c[b] = weights[b] if samples == ALL or work.side[b] == samples - 1 else 0.0
    for a in range(mask.size):
        work.own[a] = 1.0 if neurons == ALL or (mask[a] > 0.0) == (neurons == FORGET) else 0.0


@inlined
def _parts(part_size, count):
    """Return the number of parts of a batch of `count` samples: the fewest with at most `part_size` samples each."""
    return max(1, -(-count // part_size)) if part_size > 0 else 1


@inlined
def _keep_part(part, parts, vectors, work):
    """Restrict the step to one part of the batch; samples are assigned in turn, so that each part mixes R and F."""
    for b in range(work.c.size):
        if b // vectors % parts != part:
            work.c[b] = 0.0


@inlined
def _gradient(problem, power, u, V, work, gp, gq):
    """Write (gp, gq) at (u, V), restricted to the group; return the sum of outputs, which shows divergence.

    For `relu(x)^q` it is the gradient of ReLU at the powers, then the chain rule.
    """
    bare_u, bare_V = u, V
    if power is not None:  # from here on u and V are `|x|^q` with the sign of x
        u, V = work.u_high, work.V_high
        signed_power(bare_u, power, u)
        signed_power(bare_V, power, V)
    neurons, width, f = work.own.size, work.f.size, work.f
    m = neurons // 2
    f[:] = 0.0
    plus, minus = 0.0, 0.0  # m times what a signal patch of y = +1 and of y = -1 adds to an output; `other_`: of F
    for a in range(neurons):
        sign = 1.0 if a < m else -1.0
        plus += sign * (0.0 if u[0, a] <= 0.0 else u[0, a])  # written so that NaN passes through and is noticed
        minus += sign * (0.0 if u[0, a] >= 0.0 else -u[0, a])
        for block in range(0, width, LANES):
            for b in range(block, block + LANES):
                f[b] += sign * (0.0 if V[a, b] <= 0.0 else V[a, b])
    other_plus, other_minus = plus, minus
    if problem.cosine < 1.0:
        other_plus, other_minus = 0.0, 0.0
        for a in range(neurons):
            sign = 1.0 if a < m else -1.0
            other_plus += sign * (0.0 if u[1, a] <= 0.0 else u[1, a])
            other_minus += sign * (0.0 if u[1, a] >= 0.0 else -u[1, a])
    if problem.vectors > 1:
        _sum_vectors(f, problem.vectors)
    output, retain_plus, retain_minus, forget_plus, forget_minus = 0.0, 0.0, 0.0, 0.0, 0.0
    for b in range(width):
        retain, positive = work.side[b] == 0, work.y[b] > 0.0
        signal = (plus if positive else minus) if retain else (other_plus if positive else other_minus)
        value = (signal + problem.noise_patches * f[b]) / m
        output += value
        label = work.label[b]
        residual = -work.c[b] * label / (m * (1.0 + np.exp(min(label * value, EXPONENT_LIMIT))))
        f[b] = problem.noise_patches * residual
        residual /= problem.vectors  # the signal patch of a sample counts once, however many noise vectors it has
        retain_plus += residual if retain and positive else 0.0
        retain_minus += residual if retain and not positive else 0.0
        forget_plus += residual if not retain and positive else 0.0
        forget_minus += residual if not retain and not positive else 0.0
    for a in range(neurons):
        scale = work.own[a] if a < m else -work.own[a]
        gp[0, a] = scale * (retain_plus if u[0, a] > 0.0 else (-retain_minus if u[0, a] < 0.0 else 0.0))
        gp[1, a] = scale * (forget_plus if u[1, a] > 0.0 else (-forget_minus if u[1, a] < 0.0 else 0.0))
        for block in range(0, width, LANES):
            for b in range(block, block + LANES):
                move = scale * f[b]  # outside the condition, so that it compiles to a selection, not a branch
                gq[a, b] = move if V[a, b] > 0.0 else 0.0
    if power is not None:
        _steepen(bare_u, gp, power)
        _steepen(bare_V, gq, power)
    return output


@apart
def signed_power(values, power, high):
    """Write `|x|^q` with the sign of x."""
    for a in range(values.shape[0]):
        for b in range(values.shape[1]):
            size = abs(values[a, b]) ** power
            high[a, b] = -size if values[a, b] < 0.0 else size


@apart
def _steepen(values, gradient, power):
    """Turn a gradient of `relu(x)`, zero where x <= 0, into the gradient of `relu(x)^q`; the same holds for
    `relu(-x)`."""
    for a in range(values.shape[0]):
        for b in range(values.shape[1]):
            if gradient[a, b] != 0.0:
                gradient[a, b] *= power * abs(values[a, b]) ** (power - 1.0)


@inlined
def _sum_vectors(f, vectors):
    """Replace the output of each noise vector by the sum over its sample, whose vectors are adjacent."""
    for first in range(0, f.size - vectors + 1, vectors):
        total = 0.0
        for b in range(first, first + vectors):
            total += f[b]
        for b in range(first, first + vectors):
            f[b] = total


@inlined
def _perturb(problem, rho, work):
    """Write `(u, V) + rho (du, dV) / |g|`; a zero gradient perturbs nothing."""
    gp, gq, h, u_near, V_near = work.gp, work.gq, work.h, work.u_near, work.V_near
    V_near[:] = 0.0  # the image (du, dV) of the gradient first
    _add_product(V_near, 1.0, gq, work.G, work.order, (work.rows, work.moves))
    norm2 = 0.0
    for a in range(work.own.size):
        retain, forget = _shares(problem, gp, a)
        u_near[0, a], u_near[1, a] = retain * problem.signal2, forget * problem.signal2
    if not problem.orthogonal:
        for a in range(work.own.size):
            # gp_R h_R + gp_F h_F, written so that it is one product if the signals are equal
            g, other = gp[0, a] + gp[1, a], gp[1, a]
            for b in range(work.f.size):
                u_near[0, a] += gq[a, b] * h[0, b]
                u_near[1, a] += gq[a, b] * h[1, b]
                V_near[a, b] += g * h[0, b]
                V_near[a, b] += other * (h[1, b] - h[0, b])
    for a in range(work.own.size):
        norm2 += work.size2[a] * ((gp[0, a] + gp[1, a]) * u_near[0, a] + _dot4(gq, V_near, a))
    if problem.cosine < 1.0:
        for a in range(work.own.size):
            norm2 += work.size2[a] * gp[1, a] * (u_near[1, a] - u_near[0, a])
    factor = rho / np.sqrt(norm2) if norm2 > 0.0 else 0.0
    for a in range(work.own.size):
        scale = factor * work.size2[a]
        u_near[0, a] = work.u[0, a] + scale * u_near[0, a]
        u_near[1, a] = work.u[1, a] + scale * u_near[1, a]
        for b in range(work.f.size):
            V_near[a, b] = work.V[a, b] + scale * V_near[a, b]


@apart
def _lengths(start, state, size2):
    """Write `|w_a|^2` of every neuron."""
    s, p = state.share[0, 0], state.p
    for a in range(size2.size):
        retain, forget = s * start.u[0, a] + state.u[0, a], s * start.u[1, a] + state.u[1, a]
        total = s * s * start.K[a, a] + (p[0, a] + p[1, a]) * retain + p[1, a] * (forget - retain)
        for i in range(state.V.shape[1]):
            total += state.q[a, i] * (s * start.V[a, i] + state.V[a, i])
        size2[a] = max(total, 0.0)


@inlined
def _shares(problem, gp, a):
    """Return the signal gradient of neuron a along phi_R and along phi_F, over |phi|; equal if the signals are."""
    return gp[0, a] + problem.cosine * gp[1, a], problem.cosine * gp[0, a] + gp[1, a]


@inlined
def _dot4(left, right, a):
    """Return `<left_a, right_a>` over whole registers; four separate sums hide the latency of additions."""
    s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
    for b in range(0, left.shape[1], LANES):
        s0 += left[a, b] * right[a, b]
        s1 += left[a, b + 1] * right[a, b + 1]
        s2 += left[a, b + 2] * right[a, b + 2]
        s3 += left[a, b + 3] * right[a, b + 3]
    return (s0 + s1) + (s2 + s3)


@inlined
def _add_product(target, scale, left, right, index, scratch):
    """Add `scale * left @ right[index]` to `target`, skipping zeros of `left`: inactive neurons cost nothing.

    It adds four rows at a time, so that the sum stays in registers. `scratch` receives rows and factors of the nonzero
    columns.
    """
    rows, moves = scratch
    for a in range(target.shape[0]):
        count, done = 0, 0
        for b in range(left.shape[1]):
            rows[count], moves[count] = index[b], scale * left[a, b]
            count += left[a, b] != 0.0
        while done + 3 < count:
            r0, r1, r2, r3 = rows[done], rows[done + 1], rows[done + 2], rows[done + 3]
            c0, c1, c2, c3 = moves[done], moves[done + 1], moves[done + 2], moves[done + 3]
            for k in range(target.shape[1]):
                target[a, k] += c0 * right[r0, k] + c1 * right[r1, k] + c2 * right[r2, k] + c3 * right[r3, k]
            done += 4
        if done + 1 < count:
            r0, r1, c0, c1 = rows[done], rows[done + 1], moves[done], moves[done + 1]
            for k in range(target.shape[1]):
                target[a, k] += c0 * right[r0, k] + c1 * right[r1, k]
            done += 2
        if done < count:
            r0, c0 = rows[done], moves[done]
            for k in range(target.shape[1]):
                target[a, k] += c0 * right[r0, k]


@inlined
def _reflect(sharpness, work):
    """Replace g1 by `(1 - s) g0 + s g1`; for s = 1 this is g1."""
    for a in range(work.own.size):
        for side in range(2):
            work.gp_near[side, a] = (1.0 - sharpness) * work.gp[side, a] + sharpness * work.gp_near[side, a]
        for b in range(work.f.size):
            work.gq_near[a, b] = (1.0 - sharpness) * work.gq[a, b] + sharpness * work.gq_near[a, b]


@inlined
def _apply(problem, moved, samples, eta, grad, work):
    """Move p, q, u and V of a state, or of a velocity, by `-eta` times the gradient and its image."""
    u, V, p, q = moved.u, moved.V, moved.p, moved.q
    (gp, gq), overlap = grad, problem.overlap
    _add_product(V, -eta, gq, problem.gram, samples, (work.rows, work.moves))
    for a in range(work.own.size):
        p[0, a] -= eta * gp[0, a]
        p[1, a] -= eta * gp[1, a]
        retain, forget = _shares(problem, gp, a)
        u[0, a] -= eta * retain * problem.signal2
        u[1, a] -= eta * forget * problem.signal2
        for b in range(samples.size):
            q[a, np.uint64(samples[b])] -= eta * gq[a, b]
        if not problem.orthogonal:
            g, other = gp[0, a] + gp[1, a], gp[1, a]
            for b in range(samples.size):
                u[0, a] -= eta * gq[a, b] * overlap[0, samples[b]]
                u[1, a] -= eta * gq[a, b] * overlap[1, samples[b]]
            for k in range(overlap.shape[1]):
                V[a, k] -= eta * g * overlap[0, k]
                V[a, k] -= eta * other * (overlap[1, k] - overlap[0, k])


@inlined
def _coordinates(state):
    return state.u, state.V, state.p, state.q, state.share


@apart
def _drag(velocity, state, rule):
    """Begin a step of momentum: `B <- mu B + lambda X`."""
    for buffer, values in zip(_coordinates(velocity), _coordinates(state)):  # noqa: B905 - compiled: no strict zip
        buffer[:] = rule.momentum * buffer + rule.decay * values


@apart
def _coast(velocity, state, eta):
    """End a step of momentum: `X <- X - eta B`."""
    for buffer, values in zip(_coordinates(velocity), _coordinates(state)):  # noqa: B905
        values[:] -= eta * buffer


@compiled
def _refresh_mask(problem, power, state, schedule, size):
    """Mark the `size` neurons with the largest gradient of the forget loss, `|g_F,a|^2`; ties go to the lower index."""
    first, neurons, n = problem.n_retain, state.mask.size, state.V.shape[1]
    samples = np.empty(-(-(n - first) // LANES) * LANES, np.int64)
    for b in range(samples.size):
        samples[b] = first + b if first + b < n else first
    work = _step_arrays(neurons, samples.size)
    _gather(problem, state, samples, schedule.loss_labels, work)
    work.own[:] = 1.0
    work.c[:] = 0.0
    work.c[: n - first] = 1.0
    _gradient(problem, power, work.u, work.V, work, work.gp, work.gq)
    score = np.zeros(neurons)
    for a in range(neurons):
        g = work.gp[1, a]
        score[a] = g * g * problem.signal2
        for b in range(samples.size):
            score[a] += 2.0 * g * work.gq[a, b] * work.h[1, b]
            for k in range(samples.size):
                score[a] += work.gq[a, b] * work.gq[a, k] * work.G[b, k]
    for a in range(neurons):
        rank = np.sum(score > score[a]) + np.sum(score[:a] == score[a])
        state.mask[a] = 1.0 if rank < size else 0.0
