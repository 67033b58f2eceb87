"""What is measured at a checkpoint, in plain numpy, of many networks at once: `theory/measures/measure.py` and its
quadrature.

For names, equations and axes see `theory/steps/plain.py` and `theory/measures/quadrature.py`.
"""

from collections.abc import Sequence

import numpy as np

from theory.config import TheoryConfig
from theory.draw import Draw
from theory.measures.attacks import attacks
from theory.measures.curvature import curvature
from theory.measures.metrics import ActivationNumbers, Probe, TrainingNumbers
from theory.measures.points import (
    FAR,
    FEWEST,
    FLAT,
    HALVES,
    SMALLEST,
    TIE,
    lattice_count,
    networks_seen,
    noise_scale,
    points_of,
)
from theory.steps.plain import Draws, Networks, gradient, near, preactivations, raised, scheduled
from theory.training import Schedule


def measure_networks(
    config: TheoryConfig, drawn: Sequence[Draw], draws: Draws, nets: Networks, probing: Sequence[Probe] | None = None
) -> dict[str, np.ndarray]:
    """Return the metrics of `measure_network` for K networks on each of S draws, each of shape `(K, S)`."""
    u, V = preactivations(draws, nets)
    K, numbers = training_numbers(draws, nets, (u, V))
    found, problem = numbers.metrics(), drawn[0].problem
    points, scale = np.stack([points_of(config, one.problem, one.seed) for one in drawn]), noise_scale(config, problem)
    for name, network in networks_seen(config, problem, np.moveaxis(u, 1, 0), K).items():
        errors = plain_test_errors(*network, scale, points, lattice_count(config.directions), config.activation_power)
        found[name], found[f"{name}_quadrature"] = (values.T for values in errors)
    if config.curvature or config.attacks:
        each = [[_asked(config, one, state, gram) for state, gram in zip(states, grams, strict=True)]
                for one, states, grams in zip(drawn, nets.states(draws), K, strict=True)]  # fmt: skip
        found |= {name: np.array([[values[name] for values in row] for row in each]).T for name in each[0][0]}
    if probing is not None:
        schedules = [one.schedule for one in probing]
        found |= probed(draws, nets, schedules, probing[0].rho).metrics()
    return found


def _asked(config, drawn, state, K):
    found = attacks(config, drawn, state, K) if config.attacks else {}
    if config.curvature:
        found["retain_curvature_top"], found["retain_curvature_trace"] = curvature(drawn, state)
    return found


def training_numbers(
    draws: Draws, nets: Networks, here: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, TrainingNumbers]:
    """Return `W W^T`, `(S, K, 2m, 2m)`, and the metrics on the training set of networks with the preactivations (u,
    V)."""
    (u, V), problem, signs = here, draws.problem, draws.signs
    power, m, vectors = problem.power, signs.size // 2, problem.vectors
    K = weight_grams(draws, nets, here)
    y, true = problem.labels[:, ::vectors, None], problem.true_labels[:, ::vectors, None]
    noise = (raised(np.maximum(V, 0.0), power) @ signs).reshape(*y.shape[:2], vectors, -1).sum(axis=2)
    signal = true[..., None] * u[:, draws.forget[::vectors]]  # (S, samples, K, 2m)
    f = (raised(np.maximum(signal, 0.0), power) @ signs + problem.noise_patches * noise) / m
    margins, first = y * f, problem.n_retain // vectors
    losses = np.maximum(-margins, 0.0) + np.log1p(np.exp(-np.abs(margins)))
    by_side = lambda values: np.stack([values[:, :first].mean(1), values[:, first:].mean(1)], axis=2)  # noqa: E731
    diagonal = np.diagonal(problem.gram, axis1=1, axis2=2)
    zeta = problem.noise_patches * vectors * diagonal[..., None, None] * nets.q
    match = (signs > 0.0) == (problem.labels[..., None] > 0.0)

    def over_pairs(chosen: np.ndarray) -> np.ndarray:
        pairs = [(chosen & (draws.forget[:, None] == part)).astype(float) for part in range(2)]
        means = [np.einsum("sika,sia->sk", zeta, own) / own.sum((1, 2))[:, None] for own in pairs]
        return np.stack(means, axis=2)

    kappa = (signs * problem.signal2 * nets.p).swapaxes(1, 2)  # (S, K, 2, 2m)
    return K, TrainingNumbers(
        by_side(margins <= 0.0), by_side(losses), by_side(margins), by_side(true * f <= 0.0),
        kappa.mean(3), kappa[..., :m].mean(3), kappa[..., m:].mean(3), over_pairs(match), over_pairs(~match),
        np.sqrt(np.maximum(np.trace(K, axis1=2, axis2=3), 0.0)),
    )  # fmt: skip


def weight_grams(draws: Draws, nets: Networks, here: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return `W W^T = s^2 K0 + s (u0 p^T + V0 q^T) + p u^T + q V^T`, symmetric, shape `(S, K, 2m, 2m)`."""
    (u, V), start, share = here, draws.start, nets.share
    half = share.swapaxes(1, 2) ** 2 * start.K[:, None]
    for coefficients, before, now in ((nets.p, start.u, u), (nets.q, start.V, V)):
        along = share * before[:, :, None] + now
        half = half + coefficients.transpose(0, 2, 3, 1) @ along.swapaxes(1, 2)
    return 0.5 * (half + half.swapaxes(2, 3))


def probed(draws: Draws, nets: Networks, schedules: Sequence[Schedule], rho: float) -> ActivationNumbers:
    """Return `theory.steps.dynamics.probe` of every network."""
    (S, K, neurons), labels = nets.mask.shape, draws.problem.labels <= 0.0
    of_sign = np.repeat(np.eye(2), neurons // 2, axis=0)  # (2m, 2)
    sums, samples = np.zeros((S, 2, 2, K, 2, 6)), np.zeros((S, 2, 2))  # by R or F, label, network and sign of a neuron
    for batch, size in zip(*scheduled(draws, schedules, 0, len(schedules[0].size)), strict=True):
        here = preactivations(draws, nets, batch)
        step, _ = gradient(draws, batch, here)
        V, V_near, gq = here[1], near(draws, batch, here, step, np.full(K, rho))[1], step[1]
        norm = np.sqrt(np.einsum("sbka,sbka->sk", gq, gq))[:, None, :, None]
        length = np.sqrt(np.diagonal(batch.gram, axis1=1, axis2=2))[:, :, None, None]
        critical = np.where(norm > 0.0, rho * length * np.abs(gq) / np.where(norm > 0.0, norm, 1.0), 0.0)
        active, perturbed = V > 0.0, V_near > 0.0
        survive = active & ((gq > 0.0) | (critical < V))
        terms = (active, perturbed, active & perturbed, survive, np.maximum(V, 0.0), critical * active)
        over_neurons = np.stack([term.reshape(-1, neurons) @ of_sign for term in terms], axis=2)
        kind = 2 * batch.forget + np.take(labels, batch.places).reshape(batch.forget.shape)
        there = np.arange(kind.shape[1]) < size[:, None]
        kinds = ((kind[:, None] == np.arange(4)[:, None]) & there[:, None]).astype(float)
        sums += (kinds @ over_neurons.reshape(*kind.shape, -1)).reshape(sums.shape)
        samples += kinds.sum(axis=2).reshape(samples.shape)
    # with a positive label neurons of sign +1 match and the others oppose, with a negative one it is the other way
    matched = [sums[:, :, 0, :, side] + sums[:, :, 1, :, 1 - side] for side in range(2)]  # each (S, 2, K, 6)
    active, perturbed, joint, predicted, depth, threshold = np.stack(matched, axis=3).transpose(4, 0, 2, 1, 3)
    pairs = np.maximum(neurons / 2 * samples.sum(axis=2), 1.0)[:, None, :, None]
    with np.errstate(over="ignore"):
        depth = np.divide(depth, threshold, out=np.zeros_like(depth), where=threshold > 0.0)
    return ActivationNumbers(active / pairs, perturbed / pairs, joint / pairs, predicted / pairs, depth)


def plain_test_errors(
    K: np.ndarray, u: np.ndarray, signal2: float, noise_scale: float, points: np.ndarray, lattices: int, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the test error and the standard error of its quadrature, see `theory.measures.quadrature.test_error`.

    Args:
        K: `W W^T`, shape `(S, K, 2m, 2m)`.
        u: `<w_a, phi>`, shape `(S, K, 2m)`.
        signal2, noise_scale, lattices, power: as there, the same for all networks.
        points: of each draw, shape `(S, count / 2, 2m + 1)`.

    Returns:
        Two arrays of shape `(S, K)`.
    """
    size, m = u.shape[-1], u.shape[-1] // 2
    signs = np.repeat([1.0, -1.0], m)
    C = K - u[..., :, None] * u[..., None, :] / signal2 if signal2 > 0.0 else K
    factor = line_factors(C.reshape(-1, size, size), power).reshape(*K.shape[:3], size + 2)
    b, across = factor[..., 0], factor[..., 1:]
    tie = TIE * (np.abs(b) ** power).sum(axis=2) + SMALLEST
    lower = -raised(np.maximum(u, 0.0), power) @ signs / m / noise_scale + tie
    upper = -raised(np.maximum(-u, 0.0), power) @ signs / m / noise_scale - tie
    wrong, shift = [], []
    for own, line, low, high, factors in zip(points, b, lower, upper, across, strict=True):  # what fits into the cache
        a = own @ factors.swapaxes(1, 2)
        below = shares_below(a, line, (low, high)) if power == 1.0 else [
            [powered_share(side * a, line, level, power) for level in (low, high)] for side in (1.0, -1.0)]  # fmt: skip
        wrong.append(sum(0.25 * (least + (1.0 - most)) for least, most in below))
        shift.append(np.abs(a) @ signs)
    f = np.concatenate(wrong)
    if power == 1.0 and f.shape[1] >= FEWEST:
        f = f - explained(f, np.concatenate(shift), across.reshape(-1, size, size + 1), signs)
    means = f[:, : f.shape[1] // lattices * lattices].reshape(*u.shape[:2], lattices, -1).mean(axis=3)
    return np.clip(means.mean(axis=2), 0.0, 1.0), means.std(axis=2) / np.sqrt(lattices - 1)


def line_factors(C: np.ndarray, power: float) -> np.ndarray:
    """Return F, shape `(R, 2m, 2m + 2)`, with `F F^T = C`: b, the direction (1, ..., 1), and a Cholesky factor."""
    R, size, _ = C.shape
    diagonal = np.maximum(np.diagonal(C, axis1=1, axis2=2), 0.0)
    trace, factor = diagonal.sum(axis=1), np.zeros((R, size, size + 2))
    pulls = np.repeat([1.0, -1.0], size // 2) * raised(diagonal, (power - 1.0) / 2.0) if power != 1.0 else np.tile(
        np.repeat([1.0, -1.0], size // 2), (R, 1))  # fmt: skip
    for place, v in enumerate((pulls, np.ones((R, size)))):
        column = (C @ v[..., None])[..., 0]
        variance = (v * column).sum(axis=1)
        there = variance > FLAT * trace * (v * v).sum(axis=1)
        column = np.where(there[:, None], column / np.sqrt(np.where(there, variance, 1.0))[:, None], 0.0)
        factor[..., place], C = column, C - column[:, :, None] * column[:, None]
    for k in range(size):  # C loses a row and a column each time
        there = C[:, 0, 0] > FLAT * trace
        column = np.where(there[:, None], C[:, :, 0] / np.sqrt(np.where(there, C[:, 0, 0], 1.0))[:, None], 0.0)
        factor[:, k:, k + 2] = column
        C = C[:, 1:, 1:] - column[:, 1:, None] * column[:, None, 1:]
    return factor


def shares_below(a: np.ndarray, b: np.ndarray, levels: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    """Return `P(t(s) <= level)` of `t(s) = sum_k j_k relu(side a_k + b_k s)`, for side = 1 and -1, for each level.

    Between neighbouring breakpoints t is `height + rise s`, running sums over the breakpoints before. The antipode has
    no breakpoints of its own: as `relu(-x) = relu(x) - x`, its t at -s is `t(s) - sum_k j_k (a_k + b_k s)`.

    Args:
        a: shape `(R, points, 2m)`.
        b: shape `(R, 2m)`.
        levels: each of shape `(R,)`.

    Returns:
        For each side and level the probability at every point, shape `(R, points)`.
    """
    R, points, size = a.shape
    signs, still = np.repeat([1.0, -1.0], size // 2), b == 0.0
    breaks = a * np.divide(-1.0, b, out=np.zeros_like(b), where=~still)[:, None]
    if still.any():
        breaks += np.where(still, FAR, 0.0)[:, None]
    order = np.ascontiguousarray(np.argsort(breaks, axis=2).swapaxes(1, 2))  # (R, 2m, points), as all that follows
    at = np.take(breaks, order + size * np.arange(R * points).reshape(R, 1, points))
    steeper = np.take(signs * np.abs(b), order + size * np.arange(R)[:, None, None])
    begin, end = (signs * np.minimum(b, 0.0)).sum(axis=1), (signs * np.maximum(b, 0.0)).sum(axis=1)
    height, rise = np.empty((2, R, size + 1, points))
    height[:, 0] = (a @ (signs * (b < 0.0))[..., None])[..., 0]
    if still.any():
        height[:, 0] += (np.maximum(a, 0.0) @ (signs * still)[..., None])[..., 0]
    rise[:, 0], rise[:, 1:] = begin[:, None], steeper
    np.multiply(at, -steeper, out=height[:, 1:])
    before = np.tri(size + 1)
    height, rise = before @ height, before @ rise
    rise[:, -1] = end[:, None]  # without what rounding leaves of others
    values = height[:, 1:] + rise[:, 1:] * at
    edges = np.concatenate([np.full((R, 1, points), -FAR), at, np.full((R, 1, points), FAR)], axis=1)
    own, along = (a @ signs)[:, None], (begin + end)[:, None, None]
    if np.all(signs * b >= 0.0) and np.all(begin > 0.0) and np.all(end > 0.0):  # t rises everywhere
        other = values - (own + along * at)
        lines = (values, height, rise, None), (other, height, rise, (own[:, 0], along[:, 0]))
        return [[_single_share(level, *line, edges) for level in levels] for line in lines]
    sides = (values, height, rise), (values - (own + along * at), height - own, rise - along)
    return [[_share(level, *side, edges) for level in levels] for side in sides]


def _single_share(level, values, height, rise, less, edges):
    """Return `_share` for a function that rises, or that falls once `less = own + along s` is subtracted.

    It crosses the level once, in the piece after the last breakpoint at which it has not.
    """
    from scipy.special import ndtr

    R, pieces, points = height.shape
    before = values <= level[:, None, None] if less is None else values > level[:, None, None]
    piece = np.add.reduce(before.view(np.int8), axis=1, dtype=np.int32)
    place = piece * points + pieces * points * np.arange(R)[:, None] + np.arange(points)
    own, along = (0.0, 0.0) if less is None else less
    x = (level[:, None] + own - height.ravel()[place]) / (rise.ravel()[place] - along)
    left = place + points * np.arange(R)[:, None]  # edges are one more than pieces
    x = np.minimum(np.maximum(x, edges.ravel()[left]), edges.ravel()[left + points])
    return ndtr(x if less is None else -x)


def _share(
    level: np.ndarray, values: np.ndarray, height: np.ndarray, rise: np.ndarray, edges: np.ndarray
) -> np.ndarray:
    """Return the probability that a piecewise linear function of s ~ N(0, 1) is at most a level, shape `(R, points)`.

    It is the sum over crossings of the level of plus or minus the normal distribution function, plus 1 where the
    function ends below. The second axis counts the pieces, their `edges`, or the breakpoints between them, at which the
    function has its `values`.
    """
    from scipy.special import ndtr

    (R, pieces, points), line = height.shape, level[:, None]
    below = np.empty(edges.shape, bool)  # on the left of each piece, and far right
    below[:, 0] = (rise[:, 0] > 0.0) | ((rise[:, 0] == 0.0) & (height[:, 0] <= line))
    np.less_equal(values, line[:, None], out=below[:, 1:-1])
    below[:, -1] = (rise[:, -1] < 0.0) | ((rise[:, -1] == 0.0) & (height[:, -1] <= line))
    crossed = np.flatnonzero(below[:, 1:] != below[:, :-1])
    network = crossed // (pieces * points)
    left = crossed + network * points  # edges are one more than pieces
    with np.errstate(divide="ignore", invalid="ignore"):
        x = (level[network] - height.ravel()[crossed]) / rise.ravel()[crossed]
    share = ndtr(np.minimum(np.maximum(x, edges.ravel()[left]), edges.ravel()[left + points]))
    signed = np.where(below.ravel()[left], share, -share)
    return np.bincount(network * points + crossed % points, signed, R * points).reshape(R, points) + below[:, -1]


def powered_share(a: np.ndarray, b: np.ndarray, level: np.ndarray, power: float) -> np.ndarray:
    """Return the same of `relu(.)^q`, shape `(R, points)`: t rises in s where every `j_k b_k >= 0`; by bisection."""
    from scipy.special import ndtr

    signs = np.repeat([1.0, -1.0], a.shape[2] // 2)
    low, high = np.full(a.shape[:2], -FAR), np.full(a.shape[:2], FAR)
    for _ in range(HALVES):
        middle = 0.5 * (low + high)
        below = raised(np.maximum(a + b[:, None] * middle[..., None], 0.0), power) @ signs <= level[:, None]
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return ndtr(0.5 * (low + high))


def explained(f: np.ndarray, shift: np.ndarray, across: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Return what a least-squares fit on the two control variates explains of f, shape `(R, points)`.

    Args:
        f: probabilities.
        shift: `sum_k j_k |a_k|`, of the same shape.
        across: factor of the covariance of a, shape `(R, 2m, 2m + 1)`.
        signs: `j_k`.
    """
    R = across @ across.swapaxes(1, 2)
    deviation = np.sqrt(np.diagonal(R, axis1=1, axis2=2))
    both = deviation[:, :, None] * deviation[:, None]
    r = np.clip(np.divide(R, both, out=np.zeros_like(R), where=both > 0.0), -1.0, 1.0)
    second = 2.0 / np.pi * ((both * (np.sqrt(1.0 - r * r) + r * np.arcsin(r))) @ signs) @ signs
    x = shift - np.sqrt(2.0 / np.pi) * (deviation @ signs)[:, None]
    y = shift**2 - second[:, None]
    dx, dy, df = (values - values.mean(axis=1, keepdims=True) for values in (x, y, f))
    xx, xy, yy, xf, yf = ((p * q).sum(axis=1) for p, q in ((dx, dx), (dx, dy), (dy, dy), (dx, df), (dy, df)))
    area = xx * yy - xy * xy
    there = area > FLAT * xx * yy
    safe = np.where(there, area, 1.0)
    on_x, on_y = (np.where(there, top / safe, 0.0)[:, None] for top in (yy * xf - xy * yf, xx * yf - xy * xf))
    return on_x * x + on_y * y
