"""The test error: exact along its line, unbiased across it, with an error that says how far it is off."""

import numpy as np
import pytest
from scipy.special import ndtr

from theory.config import TheoryConfig
from theory.draw import draw
from theory.measures.measure import weight_gram
from theory.measures.points import FEWEST, lattice_count, normal_points
from theory.measures.quadrature import line_factor
from theory.measures.quadrature import test_error as exact_error
from theory.training import start_state

POINTS = 400_000


def averaged(K, u, signal2, scale, *, count=512, seed=0, power=1.0) -> tuple[float, float]:
    return exact_error(K, u, signal2, scale, normal_points(len(u) + 1, count, seed), lattice_count(count), power)


def sampled(K, u, scale, *, power=1.0) -> float:
    """Return the test error on random test points, noise with the covariance K."""
    m, rng = len(u) // 2, np.random.default_rng(3)
    values, vectors = np.linalg.eigh(K)
    noise = rng.standard_normal((POINTS, len(u))) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T
    signs = np.repeat([1.0, -1.0], m)
    wrong = 0.0
    for y in (1.0, -1.0):
        output = np.maximum(y * u, 0.0) ** power @ signs / m + scale * (np.maximum(noise, 0.0) ** power @ signs)
        wrong += np.mean(y * output <= 0.0) / 2
    return float(wrong)


def some_network(m: int, seed: int, common: float) -> tuple[np.ndarray, np.ndarray]:
    """Return `W W^T` of random weights, of which neurons of one sign share a part, and random signals."""
    rng = np.random.default_rng(seed)
    shared = np.kron(np.eye(2), np.ones((m, 1))) @ rng.standard_normal((2, 3 * m))
    W = rng.standard_normal((2 * m, 3 * m)) + common * shared
    return W @ W.T / (3 * m), 0.3 * (np.repeat([1.0, -1.0], m) + 0.5 * rng.standard_normal(2 * m))


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("m, common", [(1, 0.0), (3, 0.0), (5, 1.5)])
def test_it_agrees_with_random_test_points(m, common, power):
    K, u = some_network(m, 1, common)
    truth = sampled(K, u, 0.4, power=power)
    found, error = averaged(K, u, 0.0, 0.4, count=4096, power=power)
    assert 0.02 < truth < 0.48
    assert found == pytest.approx(truth, abs=4 * np.hypot(0.5 / POINTS**0.5, error))


def test_neurons_that_pull_against_their_sign_are_counted_in_and_out():
    """A positive neuron almost parallel to the negative ones: t falls where it is switched on, and rises elsewhere."""
    W = np.array([[1.0, 0.0], [-0.9, 0.3], [-1.0, 0.1], [-0.8, -0.4]])
    K, signs = W @ W.T, np.array([1.0, 1.0, -1.0, -1.0])
    assert np.any(signs * (K @ signs) < 0.0)
    u = np.array([0.1, -0.2, -0.3, 0.4])
    assert averaged(K, u, 0.0, 0.5, count=8192)[0] == pytest.approx(sampled(K, u, 0.5), abs=3e-3)


def test_noise_along_the_signal_is_taken_out_where_there_is_none():
    K, u = some_network(4, 2, 1.0)
    across = K + np.outer(u, u) / 0.7
    assert averaged(across, u, 0.7, 0.4)[0] == pytest.approx(averaged(K, u, 0.0, 0.4)[0], rel=1e-9)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_pair_of_neurons_has_a_closed_form(sign):
    """m = 1, W W^T = I, and t = relu(cos) - relu(sin): with y = +1 the margin is S + r t for u = (S, 0).

    For u = (0, S) it is -S + r t, which is wrong unless r t exceeds S.
    """
    signal, angles = 1.3, (np.arange(200_000) + 0.5) * 2 * np.pi / 200_000
    t = np.maximum(np.cos(angles), 0) - np.maximum(np.sin(angles), 0)
    with np.errstate(divide="ignore"):
        beyond = np.where(sign * t < 0, np.exp(-((signal / t) ** 2) / 2), 0.0).mean()
    positive = beyond if sign > 0 else 1.0 - beyond
    negative = 0.625  # S_- = 0: wrong where t > 0 (three eighths), and where t = 0 (a quarter)
    u = np.array([signal, 0.0]) if sign > 0 else np.array([0.0, signal])
    found, error = averaged(np.eye(2), u, 0.0, 1.0, count=2**15)
    assert error < 1e-3
    assert found == pytest.approx(0.5 * (positive + negative), abs=1e-3)


def test_a_line_alone_is_exact():
    """Neurons in one direction, `g_k = b_k s`: t = s b_+ for s > 0 and s b_- below, no average, whatever the points."""
    b, u, scale = np.array([2.0, 0.5, -1.0, -0.4]), np.array([0.6, -0.2, 0.1, -0.9]), 0.7
    plus, minus = (0.6 - 0.1) / 2, -(0.2 - 0.9) / 2
    up, down = 2.5, 1.4  # what positive neurons gain with s > 0, and negative ones with s < 0
    expected = (ndtr(-plus / scale / down) + ndtr(-minus / scale / up)) / 2
    for seed in (0, 1):
        found, error = averaged(np.outer(b, b), u, 0.0, scale, count=8, seed=seed)
        assert found == pytest.approx(expected, rel=1e-12)
        assert error == pytest.approx(0.0, abs=1e-15)


def test_an_output_of_nothing_is_wrong_for_both_labels():
    """As on the training set: a network without weights errs always, not half the time."""
    assert averaged(np.zeros((4, 4)), np.zeros(4), 0.0, 0.5) == (1.0, 0.0)
    drawn = draw(TheoryConfig(d=300, n=12, n_forget=3, m=2), 0)
    state = start_state(drawn.start)
    K = weight_gram(drawn.start, state)
    silent = np.random.default_rng(0).standard_normal((POINTS, 4)) @ np.linalg.cholesky(K).T
    expected = (1.0 + np.mean(np.all(silent <= 0.0, axis=1))) / 2
    assert averaged(K, np.zeros(4), 0.0, 0.25, count=4096)[0] == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("rank", [20, 7, 1])
def test_the_factor_has_the_covariance_and_its_first_column_is_the_mean_gradient(rank, power):
    rows = np.random.default_rng(rank).standard_normal((20, rank))
    u = np.zeros(20)
    factor = line_factor(rows @ rows.T, u, 0.0, power)
    np.testing.assert_allclose(factor @ factor.T, rows @ rows.T, atol=1e-12 * rank)
    signs, length = np.repeat([1.0, -1.0], 10), np.linalg.norm(rows, axis=1)
    gradient = (signs * length ** (power - 1)) @ rows
    np.testing.assert_allclose(factor[:, 0], rows @ gradient / np.linalg.norm(gradient), atol=1e-12 * rank)


def test_points_are_lattices_each_with_a_shift_of_its_own():
    uniform = ndtr(normal_points(6, 512, 4)).reshape(4, 64, 6)
    shifts = np.sort(uniform, axis=1) * 64 - np.arange(64)[:, None]
    np.testing.assert_allclose(shifts - shifts[:, :1], 0.0, atol=1e-9)  # every coordinate takes 64 equal steps
    assert len(set(shifts[:, 0].ravel().round(6))) == 24
    assert not np.array_equal(normal_points(6, 512, 4), normal_points(6, 512, 5))


def test_control_variates_take_out_most_of_the_error_where_neurons_are_independent():
    """Random weights: what is left across the line is `sum_k j_k |a_k|`, whose moments are known."""
    K, u = some_network(10, 5, 0.0)
    draws = [np.random.default_rng(seed).standard_normal((64, 21)) for seed in range(100)]
    whole = np.array([exact_error(K, u, 0.0, 0.4, points, 4)[0] for points in draws])
    halves = [(points[: FEWEST - 1], points[FEWEST:-1]) for points in draws]  # too few for a fit
    plain = np.array([np.mean([exact_error(K, u, 0.0, 0.4, half, 1)[0] for half in pair]) for pair in halves])
    assert whole.std() < 0.6 * plain.std()
    assert abs(whole.mean() - averaged(K, u, 0.0, 0.4, count=2**14)[0]) < 4 * whole.std() / 10


@pytest.mark.parametrize("m, common", [(4, 0.0), (10, 1.0)])
def test_it_is_unbiased_and_its_error_is_the_one_stated(m, common):
    K, u = some_network(m, 5, common)
    truth = averaged(K, u, 0.0, 0.4, count=2**15, seed=10**6)[0]
    found = np.array([averaged(K, u, 0.0, 0.4, seed=seed) for seed in range(200)])
    off, stated = found[:, 0] - truth, np.sqrt(np.mean(found[:, 1] ** 2))
    assert abs(off.mean()) < 4 * stated / 200**0.5
    assert off.std() == pytest.approx(stated, rel=0.3)
    assert stated < 4e-3
