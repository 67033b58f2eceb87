"""The arrays a network lives in, and the scratch arrays of one step."""

from typing import NamedTuple

import numpy as np

from theory.gram import Start


class State(NamedTuple):
    """Where a network stands; arrays are updated in place.

    Attributes:
        u: `<w_a, phi>`, shape `(2m,)`.
        V: `<w_a, xi_i>`, shape `(2m, n)`.
        p: signal coefficients that retain (row 0) and forget samples (row 1) have contributed, shape `(2, 2m)`.
        q: noise coefficients, shape `(2m, n)`.
        mask: 1.0 where Sharp MinMax gives a neuron to forgetting, shape `(2m,)`.
    """

    u: np.ndarray
    V: np.ndarray
    p: np.ndarray
    q: np.ndarray
    mask: np.ndarray


class Work(NamedTuple):
    """Scratch arrays of one step; B is the padded batch width, N = 2m. Allocated once a call, filled every step."""

    u: np.ndarray  # (N,) signal preactivations before the step
    V: np.ndarray  # (N, B) noise preactivations of the batch before the step
    u_near: np.ndarray
    V_near: np.ndarray
    gp: np.ndarray  # (2, N) signal gradient from retain and from forget samples
    gq: np.ndarray  # (N, B) noise gradient
    gp_near: np.ndarray
    gq_near: np.ndarray
    G: np.ndarray  # (B, B) Gram matrix of the batch
    h: np.ndarray  # (B,) overlaps of the batch
    y: np.ndarray  # (B,) labels
    label: np.ndarray  # (B,) labels the loss sees
    c: np.ndarray  # (B,) weights; zero outside the group
    part: np.ndarray  # (B,) 0 for retain samples, 1 for forget samples
    f: np.ndarray  # (B,) outputs, then residuals
    own: np.ndarray  # (N,) 1.0 for neurons the group may move
    order: np.ndarray  # (B,) 0, 1, ..., B - 1
    rows: np.ndarray  # (B,) scratch
    moves: np.ndarray  # (B,) scratch


def start_state(start: Start) -> State:
    """Return the state at initialization: `p = q = 0`."""
    neurons, n = start.V.shape
    return State(start.u.copy(), start.V.copy(), np.zeros((2, neurons)), np.zeros((neurons, n)), np.zeros(neurons))


def copy_state(state: State) -> State:
    """Return an independent copy."""
    return State(*(array.copy() for array in state))
