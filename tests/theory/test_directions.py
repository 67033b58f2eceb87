"""Directions: scipy's Sobol points to the last bit, on the sphere."""

import numpy as np
import pytest
from scipy.stats import norm, qmc

from theory.directions import sobol_points, sphere_directions


@pytest.mark.parametrize("dimension, count", [(1, 8), (2, 64), (20, 512), (37, 128)])
def test_points_are_those_of_scipy(dimension, count):
    theirs = qmc.Sobol(dimension, rng=np.random.default_rng(3)).random(count)
    np.testing.assert_array_equal(sobol_points(dimension, count, np.random.default_rng(3)), theirs)


def test_directions_are_normal_quantiles_of_the_points_of_seed_0():
    normal = norm.ppf(qmc.Sobol(6, rng=np.random.default_rng(0)).random(64))
    np.testing.assert_allclose(sphere_directions(6, 64), (normal / np.linalg.norm(normal, axis=1, keepdims=True)).T,
                               rtol=1e-12)  # fmt: skip


def test_directions_are_on_the_sphere():
    np.testing.assert_allclose(np.linalg.norm(sphere_directions(6, 64), axis=0), 1.0, rtol=1e-12)
