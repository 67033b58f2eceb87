"""The draw of data and initial weights, as inner products: Bartlett decomposition, or explicit vectors.

`theory/__init__.py` says what a sample and the network are. There are one or two signals. "Along" is the part of a
vector in the axes of the signals, "across" is the rest. The two parts are independent and drawn separately.

Only inner products enter the dynamics. So a run needs the Gram matrix of n noise vectors and 2m initial weights, never
the vectors. The Bartlett decomposition draws that Gram matrix directly, at a cost that does not depend on d.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from repro.records.identity import derive_seed
from theory.config import TheoryConfig


class Problem(NamedTuple):
    """The inner products of one draw; noise i, neuron a, signals phi_R of retain and phi_F of forget samples.

    Both signals have the length |phi|; they are equal if `forget_angle` is 0.

    If the P - 1 noise patches of a sample are independent, each is a separate noise vector. Then n counts vectors, and
    the vectors of a sample stand next to each other.

    Attributes:
        gram: `<xi_i, xi_k>`, shape `(n, n)`.
        overlap: `<phi_R, xi_i>` and `<phi_F, xi_i>`, shape `(2, n)`; zero when noise is orthogonal to the signals.
        labels: the label in {-1, +1} that training reads for the sample of each noise vector, shape `(n,)`.
        true_labels: `y_i`, the sign of the signal patch, shape `(n,)`; differs from `labels` where a label was flipped.
        signal2: `|phi|^2`.
        noise_patches: patches that hold one noise vector: `P - 1`, or 1 where they are independent.
        orthogonal: whether the overlaps vanish.
        n_retain: noise vectors of retain samples; they come first.
        vectors: noise vectors of a sample: 1, or `P - 1` where they are independent.
        cosine: of the angle between the two signals.
        power: q of the activation `relu(x)^q`.
    """

    gram: np.ndarray
    overlap: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray
    signal2: float
    noise_patches: float
    orthogonal: bool
    n_retain: int
    vectors: int = 1
    cosine: float = 1.0
    power: float = 1.0


class InitialWeights(NamedTuple):
    """The inner products of the initial weights `w0_a`.

    Attributes:
        u: `<w0_a, phi_R>` and `<w0_a, phi_F>`, shape `(2, 2m)`; the first m neurons have sign +1.
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
        vectors: `(phi_R (d,), xi (n, d), w0 (2m, d))` of an explicit draw, else None.
        forget_signal: phi_F of an explicit draw, shape `(d,)`, else None.
        seed: its seed, which also draws the points of the test error.
    """

    problem: Problem
    start: InitialWeights
    vectors: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    forget_signal: np.ndarray | None = None
    seed: int = 0

    @classmethod
    def from_vectors(
        cls, phi: np.ndarray, xi: np.ndarray, w0: np.ndarray, y: np.ndarray, *,
        n_retain: int = 0, noise_patches: int = 1, seed: int = 0,
    ) -> "Draw":  # fmt: skip
        """Return the draw of given data and weights, for example of a network trained elsewhere.

        The vectors may be arbitrary: noise need not be Gaussian, nor orthogonal to the signal.

        Args:
            phi: signal, shape `(d,)`, not zero.
            xi: noise of each sample, shape `(n, d)`, retain samples first; `(n, P-1, d)` if every patch has its own
                vector.
            w0: initial weights, shape `(2m, d)`, the m neurons of sign +1 first.
            y: labels in {-1, +1}, shape `(n,)`.
            n_retain: retain samples; 0 retains all.
            noise_patches: P - 1, the patches that repeat a sample's noise; 1 if every patch has its own vector.
            seed: draws the points of the test error; several draws should have different seeds.

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
        overlap, labels = xi @ phi, np.repeat(y, vectors)
        data = (_dots(xi, xi), np.stack([overlap] * 2), labels, labels, float(phi @ phi), float(noise_patches))
        problem = Problem(*data, not overlap.any(), (n_retain or len(y)) * vectors, vectors)
        return cls(
            problem, InitialWeights(np.stack([w0 @ phi] * 2), _dots(w0, xi), _dots(w0, w0)), (phi, xi, w0), phi, seed
        )


def generator(seed: int, *purpose: str) -> np.random.Generator:
    """Return the random stream of one seed for one purpose; purposes never share a stream."""
    return np.random.default_rng(derive_seed(seed, "theory", *purpose))


def draw(config: TheoryConfig, seed: int) -> Draw:
    """Draw data and initial weights for one seed.

    The same seed gives the same noise geometry at every signal strength and method, so that seeds compare in pairs.
    Draws of different dimensions are not coupled.
    """
    rng = generator(seed, "draw")
    labels = rng.choice(np.array([-1.0, 1.0]), size=config.n)
    if config.labels == "balanced":  # half of each sign, in the order of a stream of its own: the rest stays paired
        labels = generator(seed, "labels").permutation(np.where(np.arange(config.n) % 2 == 0, -1.0, 1.0))
    sizes = 2 * config.m, config.n * config.noise_vectors
    along = [[rng.standard_normal(size) for size in sizes]]
    if config.forget_angle > 0.0:  # a second direction, from a stream of its own
        second = generator(seed, "forget signal")
        along.append([second.standard_normal(size) for size in sizes])
    weights, noise = (np.stack(rows) for rows in zip(*along, strict=True))
    noise *= config.noise == "plain"  # noise orthogonal to the signals has nothing along them
    make = _explicit if config.draw == "dense" else _bartlett
    both_labels = labels, _flipped(config, labels, seed)  # true, and as training is given them
    return replace(make(config, rng, both_labels, (config.sigma_0 * weights, config.sigma_p * noise)), seed=seed)


def _flipped(config: TheoryConfig, labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the labels that training reads; the share `label_noise`, to the nearest sample, is flipped."""
    if config.label_noise == 0.0:
        return labels
    order = generator(seed, "label noise").permutation(config.n)
    return np.where(order < round(config.label_noise * config.n), -labels, labels)


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


def _bartlett(config: TheoryConfig, rng: np.random.Generator, labels: tuple, along: tuple) -> Draw:
    count = config.n * config.noise_vectors
    factor = bartlett_factor(count + 2 * config.m, config.d - len(along[0]), rng)
    return _inner_products(config, labels, (config.sigma_0 * factor[count:], config.sigma_p * factor[:count]), along)


def _explicit(config: TheoryConfig, rng: np.random.Generator, labels: tuple, along: tuple) -> Draw:
    """Draw d-dimensional vectors with the signals in the first axes; nothing is lost, as the rest is isotropic."""
    rest = config.d - len(along[0])
    noise = config.sigma_p * rng.standard_normal((config.n * config.noise_vectors, rest))
    weights = config.sigma_0 * rng.standard_normal((2 * config.m, rest))
    found = _inner_products(config, labels, (weights, noise), along)
    retain, forget = np.zeros((2, config.d))
    retain[0] = config.signal_norm
    forget[: len(along[0])] = config.signal_norm * _direction(config)
    vectors = (retain, np.column_stack([along[1].T, noise]), np.column_stack([along[0].T, weights]))
    return Draw(found.problem, found.start, vectors, forget)


def _direction(config: TheoryConfig) -> np.ndarray:
    """Return phi_F / |phi| in the axes of the signals: the axis of phi_R and, if there is an angle, one across it."""
    angle = np.radians(config.forget_angle)
    return np.array([np.cos(angle), np.sin(angle)] if config.forget_angle > 0.0 else [1.0])


def _inner_products(config: TheoryConfig, labels: tuple, across: tuple, along: tuple) -> Draw:
    """Assemble the Gram matrices of weights and noise from their parts across and along the axes of the signals.

    Args:
        config: the setting.
        labels: the true ones, and those that training reads.
        across, along: a pair each, for weights and for noise; `across` holds vectors, `along` one row for each axis.
    """
    (weights, noise), (along_weights, along_noise) = across, along
    gram, V, K = _dots(noise, noise), _dots(weights, noise), _dots(weights, weights)
    for w, xi in zip(along_weights, along_noise, strict=True):
        gram, V, K = gram + np.outer(xi, xi), V + np.outer(w, xi), K + np.outer(w, w)
    norm, forget, vectors = config.signal_norm, _direction(config), config.noise_vectors
    u, overlap = (norm * np.stack([rows[0], np.add.reduce(forget[:, None] * rows)]) for rows in along)
    true_labels, given = (np.repeat(kind, vectors) for kind in labels)
    data = (gram, overlap, given, true_labels, norm**2, float((config.patches - 1) / vectors))
    layout = config.noise == "orthogonal", config.n_retain * vectors, vectors
    return Draw(Problem(*data, *layout, float(forget[0]), config.activation_power), InitialWeights(u, V, K))


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
