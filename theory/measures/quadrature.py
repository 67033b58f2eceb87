"""The test error of one network: exact along the direction that decides most, averaged over points across it.

A fresh test point has the signal `y phi` and noise whose preactivations are `sigma_p g`, `g ~ N(0, C)`. If noise is
orthogonal to the signal, `C = W W^T - u u^T / |phi|^2`. Let `t(g) = sum_a j_a relu(g_a)^q`, `c = (P-1) sigma_p^q / m`
and `S_y = y (1/m) sum_a j_a relu(y u_a)^q`. Then its margin is `S_y + y c t`, and the test error is

    err = 1/2 [ P(t <= -S_+ / c) + P(t >= S_- / c) ]

An output of exactly 0 counts as wrong, as on the training set. Write `g = a + b s` with s ~ N(0, 1) and

    b = C v / sqrt(v^T C v),     v_a = j_a C_aa^((q-1)/2)

This is the direction of the mean gradient of t (Stein: `E dt/dz = sum_a E[j_a q relu(g_a)^(q-1)] L_a`, `C = L L^T`).
Along s the function t is piecewise smooth; for q = 1 it is piecewise linear with breakpoints `-a_k / b_k`. So the
probability of each side is exact: a sum of normal distribution functions at the crossings. The remainder a is Gaussian
with covariance `C - b b^T`. It is averaged over lattices whose generators and shifts are drawn from the seed; each
point comes with its antipode. So the scatter over seeds contains the error of this average, and the scatter of the
lattices estimates it.

For q = 1 the average depends on a mostly through `E = sum_k j_k |a_k|`, which shifts t. The moments of E are known:

    <E> = sqrt(2/pi) sum_k j_k s_k,    <E^2> = (2/pi) sum_kl j_k j_l s_k s_l (sqrt(1 - r^2) + r asin r)

with s_k the standard deviation of a_k and r the correlation of a_k and a_l. `E - <E>` and `E^2 - <E^2>` are control
variates: a least-squares fit on them is subtracted before averaging.
"""

import math

import numpy as np

from theory.compiled import apart, compiled
from theory.measures.points import FAR, FEWEST, FLAT, HALVES, SMALLEST, TIE


@compiled
def test_error(
    K: np.ndarray, u: np.ndarray, signal2: float, noise_scale: float, points: np.ndarray,
    lattices: int, power: float = 1.0, level: float = 0.0,  # noqa: PT028 - no test
) -> tuple[float, float]:  # fmt: skip
    """Return the test error of the equation at the head of this file, and the standard error of its quadrature.

    Args:
        K: `W W^T`, shape `(2m, 2m)`.
        u: `<w_a, phi>`, shape `(2m,)`; the first m neurons have sign +1.
        signal2: `|phi|^2` when test noise is orthogonal to the signal, 0.0 when it is not.
        noise_scale: `c = (P - 1) sigma_p^q / m`.
        points: `normal_points(2m + 1, count, seed)`; each also stands for its antipode.
        lattices: `lattice_count(count)`.
        power: q of the activation `relu(x)^q`.
        level: margin at or below which a point counts as wrong.
    """
    neurons = u.size
    m = neurons // 2
    factor = line_factor(K, u, signal2, power)
    b = factor[:, 0].copy()
    plus, minus, reach = 0.0, 0.0, 0.0
    for k in range(neurons):
        sign = 1.0 if k < m else -1.0
        plus += sign * max(u[k], 0.0) ** power / m
        minus -= sign * max(-u[k], 0.0) ** power / m
        reach += abs(b[k]) ** power
    tie = TIE * reach + SMALLEST
    lower, upper = (level - plus) / noise_scale + tie, (minus - level) / noise_scale - tie
    a, breaks, order = np.empty(neurons), np.empty(neurons), np.empty(neurons, np.int64)
    height, rise, values = np.empty(neurons + 1), np.empty(neurons + 1), np.empty(neurons)
    rises = power == 1.0 and _rises(b)
    count = points.shape[0]
    wrong, shift = np.zeros(count), np.zeros(count)
    across = np.ascontiguousarray(factor[:, 1:].T)
    for i in range(count):
        a[:] = 0.0
        for k in range(across.shape[0]):
            for other in range(neurons):
                a[other] += across[k, other] * points[i, k]
        if rises:
            _add_pieces(a, b, breaks, order, (height, rise, values))
        breakpoints = 0 if rises or power != 1.0 else _sort_breaks(a, b, breaks, order)
        for side in (1.0, -1.0):  # the point and its antipode
            if rises:
                low = _single_share(side, a, b, lower, breaks, (height, rise, values))
                high = _single_share(side, a, b, upper, breaks, (height, rise, values))
            elif power == 1.0:
                low = _share_below(side, a, b, lower, breaks, order, breakpoints)
                high = _share_below(side, a, b, upper, breaks, order, breakpoints)
            else:
                low = _share_below_power(side, a, b, lower, power)
                high = _share_below_power(side, a, b, upper, power)
            wrong[i] += 0.25 * (low + (1.0 - high))
        for k in range(neurons):  # E of the control variates
            shift[i] += abs(a[k]) if k < m else -abs(a[k])
    if power == 1.0 and count >= FEWEST:
        _take_out(wrong, shift, across)
    means, size = np.zeros(lattices), count // lattices
    for i in range(size * lattices):
        means[i // size] += wrong[i] / size
    return min(max(means.mean(), 0.0), 1.0), means.std() / np.sqrt(lattices - 1)


@apart
def _take_out(wrong, shift, across):
    """Subtract from `wrong` its least-squares fit on the two control variates."""
    size, count = across.shape[1], wrong.size
    m = size // 2
    first, second, deviation = 0.0, 0.0, np.zeros(size)
    for k in range(size):
        for i in range(across.shape[0]):
            deviation[k] += across[i, k] ** 2
        deviation[k] = np.sqrt(deviation[k])
        first += (1.0 if k < m else -1.0) * deviation[k] * np.sqrt(2.0 / math.pi)
    for k in range(size):
        for other in range(k + 1):
            cov, both = 0.0, deviation[k] * deviation[other]
            for i in range(across.shape[0]):
                cov += across[i, k] * across[i, other]
            r = min(max(cov / both, -1.0), 1.0) if both > 0.0 else 0.0
            sign = (1.0 if other == k else 2.0) * (1.0 if (k < m) == (other < m) else -1.0)  # each pair stands for two
            second += sign * both * (np.sqrt(1.0 - r * r) + r * math.asin(r)) * 2.0 / math.pi
    x, y = shift - first, shift**2 - second
    xx, xy, yy, xf, yf = 0.0, 0.0, 0.0, 0.0, 0.0
    mean_x, mean_y, mean_f = x.mean(), y.mean(), wrong.mean()
    for i in range(count):
        dx, dy, df = x[i] - mean_x, y[i] - mean_y, wrong[i] - mean_f
        xx += dx * dx
        xy += dx * dy
        yy += dy * dy
        xf += dx * df
        yf += dy * df
    area = xx * yy - xy * xy
    if not area > FLAT * xx * yy:
        return
    on_x, on_y = (yy * xf - xy * yf) / area, (xx * yf - xy * xf) / area
    for i in range(count):
        wrong[i] -= on_x * x[i] + on_y * y[i]


@compiled
def line_factor(K, u, signal2, power):
    """Return F, shape `(2m, 2m + 2)`, with `F F^T = C`: b first, then the direction (1, ..., 1), then a Cholesky
    factor.

    A pivot below `FLAT` times the trace counts as rounding error and leaves a column of zeros.
    """
    size = u.size
    C, factor, v = np.empty((size, size)), np.zeros((size, size + 2)), np.empty(size)
    trace = 0.0
    for k in range(size):
        for other in range(size):
            C[k, other] = K[k, other] - (u[k] * u[other] / signal2 if signal2 > 0.0 else 0.0)
        trace += max(C[k, k], 0.0)
    for k in range(size):
        v[k] = (1.0 if 2 * k < size else -1.0) * max(C[k, k], 0.0) ** ((power - 1.0) / 2.0)
    _take_direction(C, v, factor[:, 0], trace)
    v[:] = 1.0
    _take_direction(C, v, factor[:, 1], trace)
    for pivot in range(size):
        if C[pivot, pivot] > FLAT * trace:
            root = np.sqrt(C[pivot, pivot])
            for k in range(pivot, size):
                factor[k, pivot + 2] = C[k, pivot] / root
            for k in range(pivot, size):
                for other in range(pivot, size):
                    C[k, other] -= factor[k, pivot + 2] * factor[other, pivot + 2]
    return factor


@apart
def _take_direction(C, v, column, trace):
    """Write `b = C v / sqrt(v^T C v)` to a column and subtract `b b^T` from C; without variance along v write zeros."""
    size, variance, length = v.size, 0.0, 0.0
    for k in range(size):
        for other in range(size):
            column[k] += C[k, other] * v[other]
        variance += v[k] * column[k]
        length += v[k] * v[k]
    if not variance > FLAT * trace * length:
        column[:] = 0.0
        return
    root = np.sqrt(variance)
    for k in range(size):
        column[k] /= root
    for k in range(size):
        for other in range(size):
            C[k, other] -= column[k] * column[other]


@apart
def _sort_breaks(a, b, breaks, order):
    """Write the breakpoints `-a_k / b_k` in rising order, and k of each; return how many there are."""
    count = 0
    for k in range(a.size):
        if b[k] == 0.0:
            continue
        place, at = count, -a[k] / b[k]
        while place > 0 and breaks[place - 1] > at:
            breaks[place], order[place] = breaks[place - 1], order[place - 1]
            place -= 1
        breaks[place], order[place] = at, k
        count += 1
    return count


@apart
def _rises(b):
    """Return whether t rises everywhere: every term `j_k relu(b_k s)` rises."""
    size, pulling = b.size, 0
    for k in range(size):
        pulling += b[k] > 0.0 if 2 * k < size else b[k] < 0.0
    return pulling == size


@apart
def _add_pieces(a, b, breaks, order, pieces):
    """Sort the breakpoints of a t that rises everywhere; write height and rise of its pieces, and its values there.

    The place of a breakpoint is the number of breakpoints before it: counting has no unpredictable branches.
    """
    height, rise, values = pieces
    size = a.size
    height[0], rise[0], end = 0.0, 0.0, 0.0
    for k in range(size):
        values[k] = -a[k] / b[k]
        if 2 * k < size:
            end += b[k]
        else:
            height[0] -= a[k]
            rise[0] -= b[k]
    for k in range(size):
        place = 0
        for other in range(k):
            place += values[other] <= values[k]
        for other in range(k + 1, size):
            place += values[other] < values[k]
        breaks[place], order[place] = values[k], k
    for i in range(size):
        values[i] = height[i] + rise[i] * breaks[i]
        height[i + 1], rise[i + 1] = height[i] + a[order[i]], rise[i] + b[order[i]]
    rise[size] = end  # without what rounding leaves of others


@apart
def _single_share(side, a, b, level, breaks, pieces):
    """Return `_share_below` for a t that rises everywhere, and so crosses the level once.

    As `relu(-x) = relu(x) - x`, t of the antipode at -s is `t(s) - sum_k j_k (a_k + b_k s)`: the same pieces.
    """
    height, rise, values = pieces
    size, piece, own, along = a.size, 0, 0.0, 0.0
    if side > 0.0:
        for i in range(size):
            piece += values[i] <= level
    else:
        for k in range(size):
            own += a[k] if 2 * k < size else -a[k]
            along += abs(b[k])
        for i in range(size):
            piece += values[i] - (own + along * breaks[i]) > level
    left, right = breaks[piece - 1] if piece > 0 else -FAR, breaks[piece] if piece < size else FAR
    return _normal_share(side * min(max((level + own - height[piece]) / (rise[piece] - along), left), right))


@apart
def _share_below(side, a, b, level, breaks, order, count):
    """Return `P(t(s) <= level)` of `t(s) = sum_k j_k relu(side a_k + b_k s)`, s ~ N(0, 1).

    Left of a breakpoint t is `height + rise s`. An interval below the level ends where t rises through it, and begins
    where t falls through it. The antipode has the negative breakpoints in reverse order.
    """
    size = a.size
    height, rise, last = 0.0, 0.0, 0.0
    for k in range(size):
        sign = 1.0 if 2 * k < size else -1.0
        if b[k] < 0.0 or (b[k] == 0.0 and side * a[k] > 0.0):
            height += sign * side * a[k]
            rise += sign * b[k]
        last += sign * max(b[k], 0.0)  # the rise right of the last breakpoint, without what rounding leaves of others
    share, left = 0.0, -FAR
    below = rise > 0.0 or (rise == 0.0 and height <= level)
    for i in range(count):
        place = i if side > 0.0 else count - 1 - i
        right = side * breaks[place]
        now = height + rise * right <= level
        if now != below:
            part = _normal_share(min(max((level - height) / rise, left), right))
            share += part if below else -part
        below, left = now, right
        k = order[place]
        sign = (1.0 if 2 * k < size else -1.0) * (1.0 if b[k] > 0.0 else -1.0)
        height += sign * side * a[k]
        rise += sign * b[k]
    now = last < 0.0 or (last == 0.0 and height <= level)
    if now != below:
        part = _normal_share(max((level - height) / rise, left))
        share += part if below else -part
    return share + now


@apart
def _share_below_power(side, a, b, level, power):
    """Return the same of `t(s) = sum_k j_k relu(side a_k + b_k s)^q`, which rises in s where every `j_k b_k >= 0`.

    Bisection assumes a single crossing of the level. If t also falls, it finds one of several: an approximation.
    """
    low, high = -FAR, FAR
    for _ in range(HALVES):
        middle, value = 0.5 * (low + high), 0.0
        for k in range(a.size):
            value += (1.0 if 2 * k < a.size else -1.0) * max(side * a[k] + b[k] * middle, 0.0) ** power
        if value <= level:
            low = middle
        else:
            high = middle
    return _normal_share(0.5 * (low + high))


@apart
def _normal_share(x):
    """Return P(s <= x) for s ~ N(0, 1)."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))
