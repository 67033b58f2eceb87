"""What is measured at a checkpoint, in plain numpy and of all seeds at once: `theory/measure.py` and its quadrature.

Functions take and return arrays whose first axis is the seed; names, shapes and equations are those of
`theory/plain.py` and `theory/quadrature.py`.
"""

from collections.abc import Sequence

import numpy as np

from theory.metrics import ActivationNumbers, TrainingNumbers
from theory.plain import Networks, Seeds, batch_of, gradient, near, raised
from theory.points import FAR, FEWEST, FLAT, HALVES, SMALLEST, TIE
from theory.training import Schedule

CHUNK = 2  # seeds whose points are worked on together: their arrays stay in the cache


def training_numbers(seeds: Seeds, nets: Networks) -> tuple[np.ndarray, TrainingNumbers]:
    """Return `W W^T`, shape `(R, 2m, 2m)`, and what the training set tells of every network."""
    q, signs, m, vectors = seeds.problem.power, seeds.signs, seeds.signs.size // 2, seeds.problem.vectors
    K = weight_gram(seeds.start, nets)
    y, true = seeds.problem.labels[:, ::vectors], seeds.problem.true_labels[:, ::vectors]
    noise = (raised(np.maximum(nets.V, 0.0), q) @ signs).reshape(*y.shape, vectors).sum(axis=2)
    forget = seeds.forget[::vectors]
    u = np.where(forget[:, None], nets.u[:, 1, None], nets.u[:, 0, None])  # (R, samples, 2m)
    f = (raised(np.maximum(true[..., None] * u, 0.0), q) @ signs + seeds.problem.noise_patches * noise) / m
    margins = y * f
    losses = np.maximum(-margins, 0.0) + np.log1p(np.exp(-np.abs(margins)))
    by_side = lambda values: np.stack([values[:, ~forget].mean(1), values[:, forget].mean(1)], axis=1)  # noqa: E731
    diagonal = np.diagonal(seeds.problem.gram, axis1=1, axis2=2)
    zeta = seeds.problem.noise_patches * vectors * diagonal[..., None] * nets.q
    match = (signs > 0.0) == (seeds.problem.labels[..., None] > 0.0)

    def over_pairs(chosen: np.ndarray) -> np.ndarray:
        pairs = [chosen & (seeds.forget[:, None] == part) for part in (False, True)]
        return np.stack([(zeta * own).sum((1, 2)) / own.sum((1, 2)) for own in pairs], axis=1)

    kappa = signs * seeds.problem.signal2 * nets.p
    return K, TrainingNumbers(
        by_side(margins <= 0.0), by_side(losses), by_side(margins), by_side(true * f <= 0.0),
        kappa.mean(2), kappa[..., :m].mean(2), kappa[..., m:].mean(2), over_pairs(match), over_pairs(~match),
        np.sqrt(np.maximum(np.trace(K, axis1=1, axis2=2), 0.0)),
    )  # fmt: skip


def weight_gram(starts: Networks, nets: Networks) -> np.ndarray:
    """Return `W W^T = s^2 K0 + s (u0 p^T + V0 q^T) + p u^T + q V^T`, symmetric, shape `(R, 2m, 2m)`."""
    s, q = nets.share, nets.q.swapaxes(1, 2)
    signal = s * starts.u + nets.u
    both, only = nets.p[:, 0] + nets.p[:, 1], nets.p[:, 1]
    half = s**2 * starts.share + q @ (s * starts.V + nets.V)
    half += both[..., None] * signal[:, 0, None] + only[..., None] * (signal[:, 1] - signal[:, 0])[:, None]
    return 0.5 * (half + half.swapaxes(1, 2))


def probed(seeds: Seeds, nets: Networks, schedules: Sequence[Schedule], rho: float) -> ActivationNumbers:
    """Return what `theory.dynamics.probe` does, of every network."""
    one, count = schedules[0], np.arange(len(nets.u))[:, None]
    loss_labels = np.stack([schedule.loss_labels for schedule in schedules])
    sums = np.zeros((len(nets.u), 2, 2, 7))
    for t, size in enumerate(one.size):
        samples, weights = (np.stack([getattr(schedule, name)[t, :size] for schedule in schedules])
                            for name in ("samples", "weights"))  # fmt: skip
        batch = batch_of(seeds, samples, weights, loss_labels)
        here = nets.u, nets.V[count, samples]
        step, _ = gradient(seeds, batch, *here)
        V, V_near, gq = here[1], near(seeds, batch, here, step, rho)[1], step[1]
        norm = np.sqrt((gq**2).sum((1, 2)))[:, None, None]
        length = np.sqrt(np.diagonal(batch.gram, axis1=1, axis2=2))[..., None]
        critical = np.where(norm > 0.0, rho * length * np.abs(gq) / np.where(norm > 0.0, norm, 1.0), 0.0)
        active, beside = V > 0.0, V_near > 0.0
        survive = active & ((gq > 0.0) | (critical < V))
        terms = (active, beside, active & beside, survive, V * active, critical * active, np.ones_like(V))
        oppose = (seeds.signs > 0.0) != (seeds.problem.labels[count, samples] > 0.0)[..., None]
        for part in range(2):
            for against in range(2):
                pairs = (batch.forget == bool(part))[..., None] & (oppose == bool(against))
                sums[:, part, against] += np.stack([(term * pairs).sum((1, 2)) for term in terms], axis=1)
    active, near_active, joint, predicted, depth, threshold, pairs = np.moveaxis(sums, -1, 0)
    pairs = np.maximum(pairs, 1.0)
    with np.errstate(over="ignore"):
        depth = np.divide(depth, threshold, out=np.zeros_like(depth), where=threshold > 0.0)
    return ActivationNumbers(active / pairs, near_active / pairs, joint / pairs, predicted / pairs, depth)


def plain_test_errors(
    K: np.ndarray, u: np.ndarray, signal2: float, noise_scale: float, points: np.ndarray, lattices: int, power: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the test error and the standard error of its quadrature, see `theory.quadrature.test_error`.

    Args:
        K: `W W^T`, shape `(R, 2m, 2m)`.
        u: `<w_a, phi>`, shape `(R, 2m)`.
        signal2, noise_scale, lattices, power: as there, the same for all seeds.
        points: shape `(R, count / 2, 2m + 1)`.
    """
    signs, m = np.repeat([1.0, -1.0], u.shape[1] // 2), u.shape[1] // 2
    C = K - u[:, :, None] * u[:, None] / signal2 if signal2 > 0.0 else K.copy()
    factor = line_factors(C, power)
    tie = TIE * (np.abs(factor[..., 0]) ** power).sum(axis=1) + SMALLEST
    lower = -raised(np.maximum(u, 0.0), power) @ signs / m / noise_scale + tie
    upper = -raised(np.maximum(-u, 0.0), power) @ signs / m / noise_scale - tie
    wrong, shift = [], []
    for first in range(0, len(u), CHUNK):
        own = slice(first, first + CHUNK)
        a, b, levels = points[own] @ factor[own, :, 1:].swapaxes(1, 2), factor[own, :, 0], (lower[own], upper[own])
        below = shares_below(a, b, levels) if power == 1.0 else [
            [powered_share(side * a, b, level, power) for level in levels] for side in (1.0, -1.0)]  # fmt: skip
        wrong.append(sum(0.25 * (low + (1.0 - high)) for low, high in below))
        shift.append(np.abs(a) @ signs)
    f = np.concatenate(wrong)
    if power == 1.0 and f.shape[1] >= FEWEST:
        f = f - explained(f, np.concatenate(shift), factor[..., 1:], signs)
    size = f.shape[1] // lattices
    means = f[:, : size * lattices].reshape(len(f), lattices, size).mean(axis=2)
    return np.clip(means.mean(axis=1), 0.0, 1.0), means.std(axis=1) / np.sqrt(lattices - 1)


def line_factors(C: np.ndarray, power: float) -> np.ndarray:
    """Return F, shape `(R, 2m, 2m + 2)`, with `F F^T = C`: b, what all neurons share, and a Cholesky factor."""
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

    Between neighbouring breakpoints t is `height + rise s`, running sums over the breakpoints before. The antipode needs
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
    breaks = a * np.divide(-1.0, b, out=np.zeros_like(b), where=~still)[:, None] + np.where(still, FAR, 0.0)[:, None]
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
    own, along = (a @ signs)[:, None], (begin + end)[:, None, None]
    sides = (values, height, rise), (values - (own + along * at), height - own, rise - along)
    edges = np.concatenate([np.full((R, 1, points), -FAR), at, np.full((R, 1, points), FAR)], axis=1)
    return [[_share(level, *side, edges) for level in levels] for side in sides]


def _share(level: np.ndarray, values: np.ndarray, height: np.ndarray, rise: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the probability that a piecewise linear function of s ~ N(0, 1) is at most a level, shape `(R, points)`.

    It is the sum over crossings of the level of plus or minus the normal distribution function, plus 1 where the
    function ends below. The second axis of the arrays is that of the pieces, of their `edges`, or of the breakpoints
    between them, where the function has its `values`.
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
