"""Fresh test points: the points over which their noise is averaged, and the networks that see them."""

import math
from functools import lru_cache

import numpy as np

from theory.config import TheoryConfig
from theory.draw import Problem, generator

Network = tuple[np.ndarray, np.ndarray, float]  # W W^T, <w_a, phi>, and |phi|^2 where noise is orthogonal to phi, or 0
PARALLEL = 1e-9  # sine of an angle below which two signals are one direction
# Constants of the quadrature; they stand outside compiled code, as `plain_measure` needs them without a compiler.
LATTICES = 4  # independent ones, whose scatter is the error of their mean
FLAT = 1e-12  # variance, as a share of the total, that rounding alone leaves
TIE = 1e-12  # an output of less, relative to what the neurons hold, is 0
SMALLEST = 1e-300  # keeps that bound above 0 where the neurons hold nothing
FAR = 40.0  # standard deviations beyond which a normal variable has no mass in double precision
FEWEST = 32  # points for a fit on two control variates
HALVES = 60  # of the interval [-FAR, FAR] until a crossing is known to the last digit


@lru_cache(maxsize=64)
def normal_points(dimension: int, count: int, seed: int) -> np.ndarray:
    """Return `count / 2` standard normal points, shape `(count / 2, dimension)`; their antipodes are implied.

    Point i of a lattice of k points is `i z / k + shift` modulo 1, with an odd z and a shift for each coordinate, drawn
    anew for each of `LATTICES` lattices. The normal quantile function is then applied to each coordinate.

    Args:
        dimension: coordinates.
        count: points, antipodes included; a power of two, >= 4.
        seed: seed of the draw; the lattices of two seeds are independent.
    """
    from scipy.special import ndtri

    rng, lattices = generator(seed, "test noise"), lattice_count(count)
    size = count // 2 // lattices
    odd = 1 + 2 * rng.integers(max(size // 2, 1), size=(lattices, 1, dimension))
    points = (np.arange(size)[:, None] * odd / size + rng.random((lattices, 1, dimension))) % 1.0
    return ndtri(np.clip(points.reshape(-1, dimension), 1e-15, 1 - 1e-15))


def lattice_count(count: int) -> int:
    """Return the number of lattices that `count / 2` points form."""
    return min(LATTICES, count // 2)


def noise_scale(config: TheoryConfig, problem: Problem) -> float:
    """Return `c = (P - 1) sigma_p^q / m`, or `sigma_p^q / m` if every noise patch has its own vector."""
    return problem.noise_patches * config.sigma_p**config.activation_power / config.m


def points_of(config: TheoryConfig, problem: Problem, seed: int) -> np.ndarray:
    """Return the points at which the test error of a setting is measured."""
    return normal_points(2 * config.m * problem.vectors + 1, config.directions, seed)


def networks_seen(config: TheoryConfig, problem: Problem, u: np.ndarray, K: np.ndarray) -> dict[str, Network]:
    """Return the network as each kind of test point sees it, by the name of its test error.

    There are points with the retain signal and, if it differs, with the forget signal. Orthogonal noise does not see
    the weights along the signals. So the part along phi_R is removed from K, and the part along `e`, the direction of
    phi_F across phi_R.

    Args:
        config: the setting.
        problem: its draw.
        u: `<w_a, phi_R>` and `<w_a, phi_F>`, shape `(2, ..., 2m)`; several networks take the middle axes.
        K: `W W^T`, shape `(..., 2m, 2m)`.
    """
    signal2 = problem.signal2 if config.noise == "orthogonal" else 0.0
    found: dict[str, Network] = {"test_error": (K, u[0], signal2)}
    if config.forget_angle > 0.0:
        sine = math.sin(math.radians(config.forget_angle))
        if signal2 > 0.0 and sine > PARALLEL:
            along = (u[1] - problem.cosine * u[0]) / sine  # |phi| <w, e>
            K = K - _square(along) / signal2
        across = K - _square(u[0]) / signal2 if signal2 > 0.0 else K
        found = {"test_error": (K, u[0], signal2), "forget_signal_error": (across, u[1], 0.0)}
    if problem.vectors == 1:
        return found
    return {name: _side_by_side(*network, problem.vectors) for name, network in found.items()}


def _side_by_side(K: np.ndarray, u: np.ndarray, signal2: float, copies: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return a wider network that sees a single noise patch, equal to this one with `copies` independent patches.

    Each copy of the neurons sees its own patch, so the preactivations of copies are independent: `K' = I (x) (K - u u^T
    / |phi|^2)`, where the signal is already taken out. There are `copies` times as many neurons, and m grows with them,
    so the signal's sums over `1/m` do not change.
    """
    across = K - _square(u) / signal2 if signal2 > 0.0 else K
    signs = np.tile(np.repeat([0, 1], u.shape[-1] // 2), copies)
    order = np.argsort(signs, kind="stable")  # neurons of sign +1 first
    return np.kron(np.eye(copies), across)[..., order[:, None], order], np.tile(u, copies)[..., order], 0.0


def _square(u: np.ndarray) -> np.ndarray:
    """Return `u u^T`."""
    return u[..., :, None] * u[..., None, :]
