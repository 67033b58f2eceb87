"""The curvature of the retain loss: top eigenvalue and trace of the Hessian, from inner products alone.

Except where a neuron switches, a ReLU network is linear in its weights. So the Hessian of `mean_R log(1 + exp(-y f))`
is

    H = (1/n_R) sum_i s_i (1 - s_i) grad f_i grad f_i^T,    s_i = 1 / (1 + exp(y_i f_i))

It has the same nonzero eigenvalues as the n_R x n_R matrix `sqrt(s_i (1-s_i) s_k (1-s_k)) <grad f_i, grad f_k> / n_R`;

    <grad f_i, grad f_k> = (1/m^2) sum_a < A_ai y_i phi + (P-1) B_ai xi_i,  A_ak y_k phi + (P-1) B_ak xi_k >

with the indicators A of active signal patches and B of active noise patches.
"""

import numpy as np

from theory.draw import Draw
from theory.training import NetworkState


def outputs(draw: Draw, state: NetworkState) -> np.ndarray:
    """Return `f_i = (1/m) sum_a j_a [relu(y_i u_a) + (P-1) relu(V_ai)]` of the retain samples, shape `(n_R,)`."""
    problem = draw.problem
    m, first, vectors = state.mask.size // 2, problem.n_retain, problem.vectors
    signed = np.maximum(np.multiply.outer(state.u[0], problem.true_labels[:first:vectors]), 0.0)
    noise = np.maximum(state.V[:, :first], 0.0).reshape(*signed.shape, vectors).sum(axis=2)
    hidden = signed + problem.noise_patches * noise
    return (hidden[:m].sum(axis=0) - hidden[m:].sum(axis=0)) / m


def gradient_kernel(draw: Draw, state: NetworkState) -> np.ndarray:
    """Return `<grad f_i, grad f_k>` of the retain samples, shape `(n_R, n_R)`."""
    problem = draw.problem
    m, first, vectors = state.mask.size // 2, problem.n_retain, problem.vectors
    y, h, patches = problem.true_labels[:first:vectors], problem.overlap[0, :first], problem.noise_patches
    signal = y * (np.multiply.outer(state.u[0], y) > 0.0)
    noise = patches * (state.V[:, :first] > 0.0)
    own = np.einsum("ai,ak->ik", noise, noise) * problem.gram[:first, :first]
    mixed = (np.einsum("ai,ak->ik", signal, noise) * h).reshape(y.size, y.size, vectors).sum(axis=2)
    kernel = own.reshape(y.size, vectors, y.size, vectors).sum(axis=(1, 3)) + mixed + mixed.T
    return (kernel + problem.signal2 * np.einsum("ai,ak->ik", signal, signal)) / m**2


def curvature(draw: Draw, state: NetworkState) -> tuple[float, float]:
    """Return the top eigenvalue and the trace of the Hessian of the mean loss on R, in loss per squared weight."""
    problem = draw.problem
    margins = problem.labels[: problem.n_retain : problem.vectors] * outputs(draw, state)
    if not np.all(np.isfinite(margins)):
        return np.nan, np.nan
    odds = np.exp(-np.abs(margins))
    scale = np.sqrt(odds / margins.size) / (1.0 + odds)
    hessian = scale[:, None] * gradient_kernel(draw, state) * scale
    return float(np.linalg.eigvalsh(hessian)[-1]), float(np.trace(hessian))
