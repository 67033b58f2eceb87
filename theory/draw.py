"""The draw of data and initial weights, as inner products: Bartlett decomposition, or explicit vectors.

Only inner products enter the dynamics, so a run in dimension d needs the Gram matrix of n noise vectors and 2m initial
weights, never the vectors. The Bartlett decomposition draws that Gram matrix directly, at a cost
that does not depend on d.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from repro.records.identity import derive_seed
from theory.config import TheoryConfig


class Problem(NamedTuple):
    """The inner products of one draw; noise i, neuron a, signal phi.

    Attributes:
        gram: `<xi_i, xi_k>`, shape `(n, n)`.
        overlap: `<phi, xi_i>`, shape `(n,)`; zero when noise is orthogonal to the signal.
        labels: `y_i` in {-1, +1}, shape `(n,)`.
        signal2: `|phi|^2`.
        noise_patches: `P - 1`.
        orthogonal: whether the overlaps vanish.
        n_retain: retain samples; they come first.
    """

    gram: np.ndarray
    overlap: np.ndarray
    labels: np.ndarray
    signal2: float
    noise_patches: float
    orthogonal: bool
    n_retain: int


class Start(NamedTuple):
    """The inner products of the initial weights `w0_a`.

    Attributes:
        u: `<w0_a, phi>`, shape `(2m,)`; the first m neurons have sign +1.
        V: `<w0_a, xi_i>`, shape `(2m, n)`.
        K: `<w0_a, w0_b>`, shape `(2m, 2m)`.
    """

    u: np.ndarray
    V: np.ndarray
    K: np.ndarray


@dataclass(frozen=True)
class Draw:
    """One draw: its inner products and, for explicit draws, the vectors behind them.

    Attributes:
        problem: inner products of the data.
        start: inner products of the initial weights.
        vectors: `(phi (d,), xi (n, d), w0 (2m, d))` of an explicit draw, else None.
    """

    problem: Problem
    start: Start
    vectors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random stream of one seed for one purpose; purposes never share a stream."""
    return np.random.default_rng(derive_seed(seed, "theory", *purpose))


def draw(config: TheoryConfig, seed: int) -> Draw:
    """Draw data and initial weights for one seed.

    The same seed gives the same noise geometry at every signal strength and method, so cells compare in pairs; draws of
    different dimensions are not coupled.
    """
    rng = generator(seed, "draw")
    labels = rng.choice(np.array([-1.0, 1.0]), size=config.n)
    signal_parts = rng.standard_normal(2 * config.m), rng.standard_normal(config.n)
    return (_explicit if config.draw == "dense" else _bartlett)(config, rng, labels, signal_parts)


def bartlett_factor(rows: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Return A, shape `(rows, min(rows, dimension))`, whose Gram matrix is that of `rows` standard normal vectors.

    Bartlett 1933: `A A^T` has the Wishart law for lower-triangular A with `A_kk = chi_{D-k}`, `A_kl ~ N(0, 1)` below.

    Args:
        rows: number of vectors, r.
        dimension: their dimension D; below r the vectors themselves are returned.
        rng: source of randomness.
    """
    factor = rng.standard_normal((rows, min(rows, dimension)))
    if dimension >= rows:
        factor = np.tril(factor)
        np.fill_diagonal(factor, np.sqrt(rng.chisquare(dimension - np.arange(rows))))
    return factor


def _bartlett(config: TheoryConfig, rng: np.random.Generator, labels: np.ndarray, parts: tuple) -> Draw:
    factor = bartlett_factor(config.n + 2 * config.m, config.d - 1, rng)
    noise, weights = config.sigma_p * factor[: config.n], config.sigma_0 * factor[config.n :]
    along_weights, along_noise = config.sigma_0 * parts[0], config.sigma_p * parts[1]
    return _inner_products(config, labels, (noise, weights), (along_noise, along_weights))


def _explicit(config: TheoryConfig, rng: np.random.Generator, labels: np.ndarray, parts: tuple) -> Draw:
    """Draw d-dimensional vectors with phi along the first axis, which loses nothing: everything else is isotropic."""
    noise = config.sigma_p * rng.standard_normal((config.n, config.d - 1))
    weights = config.sigma_0 * rng.standard_normal((2 * config.m, config.d - 1))
    along_weights = config.sigma_0 * parts[0]
    along_noise = config.sigma_p * parts[1] * (config.noise == "plain")
    found = _inner_products(config, labels, (noise, weights), (along_noise, along_weights))
    phi = np.zeros(config.d)
    phi[0] = config.signal_norm
    vectors = (phi, np.column_stack([along_noise, noise]), np.column_stack([along_weights, weights]))
    return Draw(found.problem, found.start, vectors)


def _inner_products(config: TheoryConfig, labels: np.ndarray, across: tuple, along: tuple) -> Draw:
    """Assemble the Gram matrices from the parts across and along the signal direction."""
    (noise, weights), (along_noise, along_weights) = across, along
    if config.noise == "orthogonal":
        along_noise = np.zeros(config.n)
    norm = config.signal_norm
    gram = _dots(noise, noise) + np.outer(along_noise, along_noise)
    start = Start(
        norm * along_weights,
        _dots(weights, noise) + np.outer(along_weights, along_noise),
        _dots(weights, weights) + np.outer(along_weights, along_weights),
    )
    data = (gram, norm * along_noise, labels, norm**2, float(config.patches - 1))
    return Draw(Problem(*data, config.noise == "orthogonal", config.n_retain), start)


def _dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    # einsum, not BLAS: its sums do not depend on the number of threads
    return np.einsum("ik,jk->ij", left, right)
