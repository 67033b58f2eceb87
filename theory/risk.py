"""Exact test error of a network on fresh signal-noise data, up to one quadrature over the sphere.

With `K = W W^T` across the signal and `K = L L^T`, the noise preactivations of a test point are `sigma_p L z`,
`z ~ N(0, I_N)`, N = 2m. ReLU is positively homogeneous, so with `z = r theta`, `t(theta) = sum_a j_a relu((L theta)_a)`
and `c = (P-1) sigma_p / m` the margin is `S_y + y c r t`, and r integrates in closed form because `r^2 ~ chi^2_{2m}`:

    P(S + y c r t < 0 | theta) = Q(m, (S / (c t))^2 / 2)        where S > 0 > y t
    Q(m, x) = exp(-x) sum_{k<m} x^k / k!

and its complement for S < 0. Directions are Sobol points with their antipodes.
"""

from functools import cache

import numpy as np

from theory.dynamics import compiled


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
    """Return the probability of a wrong sign on a fresh test point.

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
