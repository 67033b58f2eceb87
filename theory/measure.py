"""What is measured at a checkpoint: learning coefficients, losses, errors, margins, activation and the test error."""

from functools import cache
from typing import NamedTuple

import numpy as np

from theory.config import TheoryConfig
from theory.draw import Draw
from theory.dynamics import compiled, probe
from theory.training import Schedule, State

SIDES = ("retain", "forget")
TRAINING_METRICS = (
    "test_error",
    *(f"{side}_{name}" for name in ("error", "loss", "margin") for side in SIDES),
    *(f"kappa_{side}{sign}" for side in SIDES for sign in ("", "_plus", "_minus")),
    *(f"zeta_{side}{sign}" for side in SIDES for sign in ("", "_oppose")),
    "weight_norm",
)
ACTIVATION_METRICS = tuple(
    f"active_{side}_{sign}{where}" for side in SIDES for sign in ("match", "oppose") for where in ("", "_perturbed")
)
METRICS = TRAINING_METRICS + ACTIVATION_METRICS


class Probe(NamedTuple):
    """The batches and the radius at which perturbed activations are measured."""

    schedule: Schedule
    rho: float


def weight_gram(draw: Draw, state: State) -> np.ndarray:
    """Return `W W^T`, shape `(2m, 2m)`, from inner products alone.

    `W W^T = K0 + u0 p^T + V0 q^T + p u^T + q V^T`, because `w_b = w0_b + p_b phi + sum_i q_bi xi_i`.
    """
    start, p = draw.start, state.p.sum(axis=0)
    noise_terms = np.einsum("ai,bi->ab", start.V, state.q) + np.einsum("ai,bi->ab", state.q, state.V)
    K = start.K + np.outer(start.u, p) + np.outer(p, state.u) + noise_terms
    return 0.5 * (K + K.T)


def outputs(draw: Draw, state: State) -> np.ndarray:
    """Return `f_i = (1/m) sum_a j_a [relu(y_i u_a) + (P-1) relu(V_ai)]`, shape `(n,)`."""
    m = len(state.u) // 2
    signed = np.maximum(np.multiply.outer(state.u, draw.problem.labels), 0.0)
    hidden = signed + draw.problem.noise_patches * np.maximum(state.V, 0.0)
    return (hidden[:m].sum(axis=0) - hidden[m:].sum(axis=0)) / m


def signal_coefficients(draw: Draw, state: State) -> np.ndarray:
    """Return `kappa_a = j_a |phi|^2 p_a` split into what retain and forget samples contributed, shape `(2, 2m)`."""
    signs = np.repeat([1.0, -1.0], len(state.u) // 2)
    return signs * draw.problem.signal2 * state.p


def noise_coefficients(draw: Draw, state: State) -> np.ndarray:
    """Return `zeta_ai = (P-1) |xi_i|^2 q_ai`, shape `(2m, n)`: positive where noise is memorized (`j_a = y_i`)."""
    return draw.problem.noise_patches * np.diag(draw.problem.gram) * state.q


def measure(config: TheoryConfig, draw: Draw, state: State, probing: Probe | None = None) -> dict[str, float]:
    """Return every metric of one network.

    Args:
        config: the run's settings.
        draw: the inner products.
        state: the network.
        probing: where to measure activations; without it they are left out.

    Returns:
        Errors in [0, 1]; cross-entropy losses and margins `y f` as means over R or F; kappa as a mean over neurons
        (`_plus`, `_minus`: of one sign); zeta as a mean over the pairs `j = y` (`_oppose`: `j = -y`); `|W|_F`.
    """
    problem, K = draw.problem, weight_gram(draw, state)
    signal2 = problem.signal2 if config.noise == "orthogonal" else 0.0
    scale = problem.noise_patches * config.sigma_p / config.m
    directions = sphere_directions(2 * config.m, config.directions)
    found = {"test_error": test_error(K, state.u, signal2, scale, directions)}
    found |= _training(config, problem.labels * outputs(draw, state)) | _learning(config, draw, state)
    found["weight_norm"] = float(np.sqrt(max(np.trace(K), 0.0)))
    return found if probing is None else found | _activation(draw, state, probing)


def _training(config: TheoryConfig, margins: np.ndarray) -> dict[str, float]:
    parts = dict(zip(SIDES, np.split(margins, [config.n_retain]), strict=True))
    errors = {f"{side}_error": np.mean(part <= 0.0) for side, part in parts.items()}
    losses = {f"{side}_loss": np.mean(np.logaddexp(0.0, -part)) for side, part in parts.items()}
    return {k: float(v) for k, v in (errors | losses | {f"{s}_margin": p.mean() for s, p in parts.items()}).items()}


def _learning(config: TheoryConfig, draw: Draw, state: State) -> dict[str, float]:
    kappa, zeta = signal_coefficients(draw, state), noise_coefficients(draw, state)
    match = np.equal.outer(np.arange(2 * config.m) < config.m, draw.problem.labels > 0)
    columns = slice(None, config.n_retain), slice(config.n_retain, None)
    found = {}
    for row, (side, part) in enumerate(zip(SIDES, columns, strict=True)):
        found[f"kappa_{side}"] = kappa[row].mean()
        found[f"kappa_{side}_plus"] = kappa[row, : config.m].mean()
        found[f"kappa_{side}_minus"] = kappa[row, config.m :].mean()
        found[f"zeta_{side}"] = zeta[:, part][match[:, part]].mean()
        found[f"zeta_{side}_oppose"] = zeta[:, part][~match[:, part]].mean()
    return {name: float(value) for name, value in found.items()}


def _activation(draw: Draw, state: State, probing: Probe) -> dict[str, float]:
    """Return the active shares of noise preactivations of R and F, `j = y` and `j = -y`, at W and at W + eps."""
    counts = probe(draw.problem, state, probing.schedule, probing.rho)
    shares = counts[..., :2] / np.maximum(counts[..., 2:], 1.0)
    return dict(zip(ACTIVATION_METRICS, map(float, shares.ravel()), strict=True))


@cache
def sphere_directions(dimension: int, count: int) -> np.ndarray:
    """Return `count` Sobol directions on the unit sphere, shape `(count, dimension)`; `count` is a power of two."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = qmc.Sobol(dimension, scramble=True, rng=np.random.default_rng(0)).random(count)
    normal = ndtri(np.clip(points, 1e-12, 1 - 1e-12))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


@compiled
def test_error(K: np.ndarray, u: np.ndarray, signal2: float, noise_scale: float, directions: np.ndarray) -> float:
    """Return the probability of a wrong sign on a fresh test point, exact up to one quadrature over the sphere.

    With `K = W W^T` across the signal and `K = L L^T`, the noise preactivations of a test point are `sigma_p L z`,
    `z ~ N(0, I_N)`, N = 2m. ReLU is positively homogeneous, so with `z = r theta`,
    `t(theta) = sum_a j_a relu((L theta)_a)` and `c = (P-1) sigma_p / m` the margin is `S_y + y c r t`, and r integrates
    in closed form because `r^2 ~ chi^2_{2m}`:

        P(S + y c r t < 0 | theta) = Q(m, (S / (c t))^2 / 2)        where S > 0 > y t
        Q(m, x) = exp(-x) sum_{k<m} x^k / k!

    and its complement for S < 0. Directions are Sobol points with their antipodes.

    Args:
        K: `W W^T`, shape `(2m, 2m)`.
        u: `<w_a, phi>`, shape `(2m,)`.
        signal2: `|phi|^2` when test noise is orthogonal to the signal, 0.0 when it is not.
        noise_scale: `c = (P - 1) sigma_p / m`.
        directions: unit vectors, shape `(D, 2m)`; each is used with its antipode.
    """
    neurons = u.size
    m = neurons // 2
    factor = _cholesky(K, u, signal2)
    signal = np.zeros(2)
    for a in range(neurons):
        sign = 1.0 if a < m else -1.0
        signal[0] += sign * max(u[a], 0.0) / m
        signal[1] -= sign * max(-u[a], 0.0) / m
    total = 0.0
    for i in range(directions.shape[0]):
        t = np.zeros(2)
        for a in range(neurons):
            dot = 0.0
            for b in range(a + 1):
                dot += factor[a, b] * directions[i, b]
            t[0 if dot > 0.0 else 1] += (1.0 if a < m else -1.0) * abs(dot)
        for side in range(2):
            total += _wrong(signal[0], noise_scale * t[side], m) + _wrong(signal[1], -noise_scale * t[side], m)
    return total / (4.0 * directions.shape[0])


@compiled
def radial_tail(m: int, x: float) -> float:
    """Return `P(r^2 > 2 x) = exp(-x) sum_{k<m} x^k / k!` for `r^2 ~ chi^2_{2m}`; in logs where `exp(-x)` underflows."""
    if x < 700.0:
        term = np.exp(-x)
        tail = term
        for k in range(1, m):
            term *= x / k
            tail += term
        return tail
    exponent = -x
    tail = 0.0
    for k in range(1, m):
        exponent += np.log(x / k)
        tail += np.exp(exponent)
    return min(tail, 1.0)


@compiled
def _wrong(signal, slope, m):
    """Return `P(signal + slope r < 0)` for `r^2 ~ chi^2_{2m}`; an exact zero counts half."""
    if signal == 0.0 or signal * slope >= 0.0:
        return 0.5 if signal == 0.0 and slope == 0.0 else 1.0 * (signal < 0.0 or (signal == 0.0 and slope < 0.0))
    tail = radial_tail(m, 0.5 * (signal / slope) ** 2)
    return tail if signal > 0.0 else 1.0 - tail


@compiled
def _cholesky(K, u, signal2):
    """Return the lower factor of `K - u u^T / |phi|^2`; a direction without variance gets a zero column."""
    size = u.size
    factor = np.zeros((size, size))
    for a in range(size):
        for b in range(a + 1):
            value = K[a, b] - (u[a] * u[b] / signal2 if signal2 > 0.0 else 0.0)
            for k in range(b):
                value -= factor[a, k] * factor[b, k]
            if a == b:
                factor[a, a] = np.sqrt(max(value, 0.0))
            elif factor[b, b] > 0.0:
                factor[a, b] = value / factor[b, b]
    return factor
