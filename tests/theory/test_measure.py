"""The quadrature of the test error against Monte Carlo and against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import gammaincc

from theory.config import TheoryConfig
from theory.draw import draw
from theory.measure import radial_tail, sphere_directions, weight_gram
from theory.measure import test_error as exact_error
from theory.training import start_state

CONFIG = TheoryConfig(d=300, n=12, n_forget=3, m=4, draw="dense", sigma_0_scale=1.0)


def monte_carlo(config: TheoryConfig, weights: np.ndarray, phi: np.ndarray, points: int = 200_000) -> float:
    rng = np.random.default_rng(7)
    wrong = 0
    for _ in range(points // 10_000):
        y = rng.choice([-1.0, 1.0], size=10_000)
        noise = config.sigma_p * rng.standard_normal((10_000, config.d))
        if config.noise == "orthogonal":
            noise -= np.outer(noise @ phi / (phi @ phi), phi)
        hidden = np.maximum(np.outer(y, weights @ phi), 0) + (config.patches - 1) * np.maximum(noise @ weights.T, 0)
        output = hidden[:, : config.m].sum(axis=1) - hidden[:, config.m :].sum(axis=1)
        wrong += np.sum(y * output < 0)
    return wrong / points


@pytest.mark.parametrize("noise, patches", [("orthogonal", 2), ("plain", 3)])
@pytest.mark.parametrize("strength", [0.5, 8.0])
def test_test_error_agrees_with_monte_carlo(noise, patches, strength):
    config = replace(CONFIG, noise=noise, patches=patches, signal_strength=strength)
    found = draw(config, 1)
    assert found.vectors is not None
    phi, _, weights = found.vectors
    # learn a little signal, so that errors lie away from one half
    signs = np.repeat([1.0, -1.0], config.m)
    weights = weights + 0.02 * np.outer(signs, phi / np.linalg.norm(phi))
    signal2 = float(phi @ phi) if noise == "orthogonal" else 0.0
    scale = (patches - 1) * config.sigma_p / config.m
    exact = exact_error(weights @ weights.T, weights @ phi, signal2, scale, sphere_directions(2 * config.m, 4096))
    sampled = monte_carlo(config, weights, phi, 40_000)
    assert exact == pytest.approx(sampled, abs=4 * np.sqrt(sampled / 40_000) + 2e-3)


def test_one_pair_of_neurons_has_a_closed_form():
    """m = 1, W W^T = I, u = (S, 0): with y = +1 an error needs S + r t < 0, and t = relu(cos) - relu(sin)."""
    signal, angles = 1.3, (np.arange(200_000) + 0.5) * 2 * np.pi / 200_000
    t = np.maximum(np.cos(angles), 0) - np.maximum(np.sin(angles), 0)
    with np.errstate(divide="ignore"):
        positive = np.where(t < 0, np.exp(-((signal / t) ** 2) / 2), 0.0).mean()
    negative = 0.5  # S_- = 0: wrong where t > 0 (three eighths), half wrong where t = 0 (a quarter)
    expected = 0.5 * (positive + negative)
    found = exact_error(np.eye(2), np.array([signal, 0.0]), 0.0, 1.0, sphere_directions(2, 8192))
    assert found == pytest.approx(expected, abs=2e-4)


def test_a_network_without_signal_errs_half_the_time():
    found = draw(replace(CONFIG, signal_strength=0.01), 0)
    state = start_state(found.start)
    state.u[:] = 0.0
    K = weight_gram(found, state)
    assert exact_error(K, state.u, 0.0, 0.25, sphere_directions(8, 2048)) == pytest.approx(0.5, abs=1e-12)


def test_quadrature_converges_in_the_number_of_directions():
    found = draw(replace(CONFIG, signal_strength=3.0), 2)
    state = start_state(found.start)
    state.u[:] = np.repeat([0.4, -0.3], CONFIG.m)
    args = (weight_gram(found, state), state.u, 0.0, 0.25)
    coarse, fine = (exact_error(*args, sphere_directions(8, count)) for count in (512, 16384))
    assert coarse == pytest.approx(fine, rel=0.05)


@pytest.mark.parametrize("m, x", [(1, 0.3), (10, 4.0), (10, 2000.0), (1000, 900.0), (1000, 1100.0), (1000, 0.0)])
def test_radial_tail_is_that_of_a_chi_square(m, x):
    assert radial_tail(m, x) == pytest.approx(gammaincc(m, x), rel=1e-9, abs=1e-300)


def test_directions_are_on_the_sphere():
    np.testing.assert_allclose(np.linalg.norm(sphere_directions(6, 64), axis=1), 1.0, rtol=1e-12)
