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

    Where the P - 1 noise patches of a sample are independent, each is a noise vector of its own: n then counts vectors,
    those of a sample next to each other.

    Attributes:
        gram: `<xi_i, xi_k>`, shape `(n, n)`.
        overlap: `<phi, xi_i>`, shape `(n,)`; zero when noise is orthogonal to the signal.
        labels: `y_i` in {-1, +1} of the sample of each noise vector, shape `(n,)`.
        signal2: `|phi|^2`.
        noise_patches: patches that hold one noise vector: `P - 1`, or 1 where they are independent.
        orthogonal: whether the overlaps vanish.
        n_retain: noise vectors of retain samples; they come first.
        vectors: noise vectors of a sample: 1, or `P - 1` where they are independent.
    """

    gram: np.ndarray
    overlap: np.ndarray
    labels: np.ndarray
    signal2: float
    noise_patches: float
    orthogonal: bool
    n_retain: int
    vectors: int = 1


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

    @classmethod
    def from_vectors(
        cls, phi: np.ndarray, xi: np.ndarray, w0: np.ndarray, y: np.ndarray, *,
        n_retain: int = 0, noise_patches: int = 1,
    ) -> "Draw":  # fmt: skip
        """Return the draw that given data and weights are, such as those of a network trained elsewhere.

        Nothing is assumed of the vectors: noise may be no Gaussian and need not be orthogonal to the signal.

        Args:
            phi: signal, shape `(d,)`, not zero.
            xi: noise of each sample, shape `(n, d)`, retain samples first; `(n, P-1, d)` where every patch has its own.
            w0: initial weights, shape `(2m, d)`, the m neurons of sign +1 first.
            y: labels in {-1, +1}, shape `(n,)`.
            n_retain: retain samples; 0 retains all.
            noise_patches: P - 1, the patches that repeat a sample's noise; 1 where every patch has its own.

        Raises:
            ValueError: naming the array whose shape or content does not fit.
        """
        phi, xi, w0, y = (np.asarray(array, dtype=np.float64) for array in (phi, xi, w0, y))
        vectors = xi.shape[1] if xi.ndim == 3 else 1
        if vectors > 1 and noise_patches != 1:
            raise ValueError(f"noise_patches = {noise_patches}: must be 1 where every patch has a vector of its own")
        xi = xi.reshape(-1, xi.shape[-1]) if xi.ndim == 3 else xi
        _check_vectors(phi, xi, w0, y, vectors=vectors)
        if not 0 <= n_retain <= len(y):
            raise ValueError(f"n_retain = {n_retain}: must be in [0, n = {len(y)}]")
        overlap = xi @ phi
        data = (_dots(xi, xi), overlap, np.repeat(y, vectors), float(phi @ phi), float(noise_patches))
        problem = Problem(*data, not overlap.any(), (n_retain or len(y)) * vectors, vectors)
        return cls(problem, Start(w0 @ phi, _dots(w0, xi), _dots(w0, w0)), (phi, xi, w0))


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
    if config.labels == "balanced":  # half of each sign, in the order of a stream of its own: the rest stays paired
        labels = generator(seed, "labels").permutation(np.where(np.arange(config.n) % 2 == 0, -1.0, 1.0))
    signal_parts = rng.standard_normal(2 * config.m), rng.standard_normal(config.n * config.noise_vectors)
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
    count = config.n * config.noise_vectors
    factor = bartlett_factor(count + 2 * config.m, config.d - 1, rng)
    noise, weights = config.sigma_p * factor[:count], config.sigma_0 * factor[count:]
    along_weights, along_noise = config.sigma_0 * parts[0], config.sigma_p * parts[1]
    return _inner_products(config, labels, (noise, weights), (along_noise, along_weights))


def _explicit(config: TheoryConfig, rng: np.random.Generator, labels: np.ndarray, parts: tuple) -> Draw:
    """Draw d-dimensional vectors with phi along the first axis, which loses nothing: everything else is isotropic."""
    noise = config.sigma_p * rng.standard_normal((config.n * config.noise_vectors, config.d - 1))
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
        along_noise = np.zeros(len(noise))
    norm = config.signal_norm
    gram = _dots(noise, noise) + np.outer(along_noise, along_noise)
    start = Start(
        norm * along_weights,
        _dots(weights, noise) + np.outer(along_weights, along_noise),
        _dots(weights, weights) + np.outer(along_weights, along_weights),
    )
    vectors = config.noise_vectors
    data = (gram, norm * along_noise, np.repeat(labels, vectors), norm**2, float((config.patches - 1) / vectors))
    return Draw(Problem(*data, config.noise == "orthogonal", config.n_retain * vectors, vectors), start)


def _check_vectors(phi: np.ndarray, xi: np.ndarray, w0: np.ndarray, y: np.ndarray, *, vectors: int) -> None:
    if phi.ndim != 1 or not np.all(np.isfinite(phi)) or not phi.any():
        raise ValueError(f"phi: must be one finite vector that is not zero, got shape {phi.shape}")
    for name, rows in (("xi", xi), ("w0", w0)):
        if rows.ndim != 2 or rows.shape[1] != len(phi) or not len(rows):
            raise ValueError(f"{name}: must have shape (..., d = {len(phi)}), got {rows.shape}")
        if not np.all(np.isfinite(rows)):
            raise ValueError(f"{name}: must be finite")
    if len(w0) % 2:
        raise ValueError(f"w0: must have an even number of neurons, as many of each sign, got {len(w0)}")
    if y.shape != (len(xi) // vectors,) or not np.all(np.abs(y) == 1.0):
        raise ValueError(f"y: must be {len(xi) // vectors} labels in {{-1, +1}}, one for each sample of xi")


def _dots(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    # einsum, not BLAS: its sums do not depend on the number of threads
    return np.einsum("ik,jk->ij", left, right)
