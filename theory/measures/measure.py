"""What is measured at a checkpoint: learning coefficients, losses, errors, margins, activation and the test error."""

import numpy as np

from theory.compiled import compiled, inlined
from theory.config import TheoryConfig
from theory.draw import Draw, InitialWeights
from theory.measures.attacks import attacks
from theory.measures.curvature import curvature
from theory.measures.metrics import Probe, TrainingNumbers, metric_names
from theory.measures.points import lattice_count, networks_seen, noise_scale, points_of
from theory.measures.quadrature import test_error
from theory.steps.dynamics import curved, probe, signed_power
from theory.training import NetworkState


@compiled
def weight_gram(start: InitialWeights, state: NetworkState) -> np.ndarray:
    """Return `W W^T`, shape `(2m, 2m)`, from inner products alone.

    `W W^T = s^2 K0 + s (u0 p^T + V0 q^T) + p u^T + q V^T`, because `w_b = s w0_b + p_b phi + sum_i q_bi xi_i`, with the
    share s of w0 that weight decay leaves. It is symmetric, so the product and its transpose are averaged.
    """
    return _gram_of_weights(start, state)


@inlined  # a call could use the machine code of `weight_gram`, which may round differently
def _gram_of_weights(start, state):
    s, (neurons, n), p, q = state.share[0, 0], state.V.shape, state.p, state.q
    half, across = np.empty((neurons, neurons)), np.empty((n, neurons))
    for i in range(n):
        for b in range(neurons):
            across[i, b] = s * start.V[b, i] + state.V[b, i]
    for a in range(neurons):
        for b in range(neurons):
            retain, forget = s * start.u[0, b] + state.u[0, b], s * start.u[1, b] + state.u[1, b]
            half[a, b] = s**2 * start.K[a, b] + (p[0, a] + p[1, a]) * retain
            half[a, b] += p[1, a] * (forget - retain)  # zero where the signals are one
        for i in range(n):  # neurons innermost: they fill whole registers
            for b in range(neurons):
                half[a, b] += q[a, i] * across[i, b]
    K = np.empty((neurons, neurons))
    for a in range(neurons):
        for b in range(neurons):
            K[a, b] = 0.5 * (half[a, b] + half[b, a])
    return K


def measure_network(
    config: TheoryConfig, draw: Draw, state: NetworkState, probing: Probe | None = None
) -> dict[str, float]:
    """Return every metric of one network.

    kappa and zeta are the learning coefficients of signal and noise. For neuron a, sample i and signal side R or F,

        kappa_a = j_a |phi|^2 p_a,    zeta_ai = (P - 1) |xi_i|^2 q_ai

    Args:
        config: the run's settings.
        draw: the inner products.
        state: the network.
        probing: batches and radius of the activations, which are left out without it.

    Returns:
        Errors in [0, 1], with `_quadrature`, the standard error from averaging over test points. Cross-entropy losses
        and margins `y f` as means over R or F. kappa as a mean over neurons (`_plus`, `_minus`: of one sign). zeta as a
        mean over pairs with `j = y` (`_oppose`: `j = -y`). `|W|_F`. Labels are those that training reads, flipped ones
        included; `_clean_error` counts true labels.
    """
    K, numbers = _training_numbers(draw.problem, draw.start, state)
    found = _test_errors(config, draw, state, K) | numbers.metrics()
    if config.curvature:
        found["retain_curvature_top"], found["retain_curvature_trace"] = curvature(draw, state)
    if config.attacks:
        found |= attacks(config, draw, state, K)
    if probing is not None:
        found |= probe(draw.problem, curved(draw.problem), state, probing.schedule, probing.rho).metrics()
    return {name: float(found[name]) for name in metric_names(config, probing=probing is not None)}


def _test_errors(config: TheoryConfig, draw: Draw, state: NetworkState, K: np.ndarray) -> dict[str, float]:
    """Return each test error and the standard error of its quadrature."""
    scale, points = noise_scale(config, draw.problem), points_of(config, draw.problem, draw.seed)
    found, lattices = {}, lattice_count(config.directions)
    for name, network in networks_seen(config, draw.problem, state.u, K).items():
        found[name], found[f"{name}_quadrature"] = test_error(
            *network, scale, points, lattices, config.activation_power
        )
    return found


@compiled
def _training_numbers(problem, start, state):
    """Return `W W^T` and the `TrainingNumbers` of a network."""
    K, u, V, p, q = _gram_of_weights(start, state), state.u, state.V, state.p, state.q
    if problem.power != 1.0:  # relu of these is relu(x)^q
        u, V = np.empty(u.shape), np.empty(V.shape)
        signed_power(state.u, problem.power, u)
        signed_power(state.V, problem.power, V)
    given, true, first, vectors = problem.labels, problem.true_labels, problem.n_retain, problem.vectors
    neurons, n = state.V.shape
    m = neurons // 2
    error, loss, margins, clean_error = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)
    kappa, kappa_plus, kappa_minus = np.zeros(2), np.zeros(2), np.zeros(2)
    zeta, zeta_oppose, pairs, pairs_oppose = np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(2)
    output = 0.0
    for i in range(n):  # a sample is complete after the last of its noise vectors
        side = 0 if i < first else 1
        length2 = problem.noise_patches * vectors * problem.gram[i, i]
        for a in range(neurons):
            sign = 1.0 if a < m else -1.0
            signal = max(u[side, a] * true[i], 0.0) / vectors
            output += sign * (problem.noise_patches * max(V[a, i], 0.0) + signal)
            if (a < m) == (given[i] > 0.0):
                zeta[side] += length2 * q[a, i]
                pairs[side] += 1.0
            else:
                zeta_oppose[side] += length2 * q[a, i]
                pairs_oppose[side] += 1.0
        if (i + 1) % vectors == 0:
            clean_error[side] += true[i] * output <= 0.0
            margin, output = given[i] * (output / m), 0.0
            error[side] += margin <= 0.0
            loss[side] += max(-margin, 0.0) + np.log1p(np.exp(-abs(margin)))
            margins[side] += margin
    for a in range(neurons):
        for side in range(2):
            learned = (1.0 if a < m else -1.0) * problem.signal2 * p[side, a]
            kappa[side] += learned / neurons
            if a < m:
                kappa_plus[side] += learned / m
            else:
                kappa_minus[side] += learned / m
    for side in range(2):
        samples = (first if side == 0 else n - first) / vectors
        error[side], loss[side], margins[side] = error[side] / samples, loss[side] / samples, margins[side] / samples
        clean_error[side] /= samples
        zeta[side], zeta_oppose[side] = zeta[side] / pairs[side], zeta_oppose[side] / pairs_oppose[side]
    trace = 0.0
    for a in range(neurons):
        trace += K[a, a]
    return K, TrainingNumbers(
        error, loss, margins, clean_error, kappa, kappa_plus, kappa_minus, zeta, zeta_oppose,
        np.sqrt(max(trace, 0.0)),
    )  # fmt: skip
