"""What is measured at a checkpoint: learning coefficients, losses, errors, margins, activation and the test error."""

from typing import NamedTuple

import numpy as np

from theory.config import TheoryConfig
from theory.dynamics import probe
from theory.gram import Draw
from theory.risk import sphere_directions, test_error
from theory.schedule import Schedule
from theory.state import State

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
    signal2 = problem.signal2 if problem.orthogonal else 0.0
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
