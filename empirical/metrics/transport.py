"""Exact optimal transport between two uniform samples: POT where it is installed, otherwise scipy's linear program."""

import numpy as np


def transport_cost(cost: np.ndarray) -> float:
    """Return the least mean cost of moving one uniform sample onto the other.

    Args:
        cost: `(n, m)` pairwise costs.
    """
    try:
        import ot
    except ImportError:
        return transport_by_program(cost)
    n, m = cost.shape
    return float(np.asarray(ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=1_000_000)))


def transport_by_program(cost: np.ndarray) -> float:
    """Return the same by scipy: an assignment for samples of one size, a linear program otherwise."""
    from scipy.optimize import linear_sum_assignment, linprog
    from scipy.sparse import eye, kron, vstack

    n, m = cost.shape
    if n == m:
        return float(cost[linear_sum_assignment(cost)].mean())
    rows, columns = kron(eye(n), np.ones((1, m))), kron(np.ones((1, n)), eye(m))
    limits = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return float(linprog(cost.ravel(), A_eq=vstack([rows, columns]), b_eq=limits, method="highs").fun)
