"""The theorems' expressions, and how they compare with simulation."""

import numpy as np
import pytest

from theory import bounds
from theory.claims.boundary import along, base_config
from theory.claims.finding import ClaimConfig


def test_sgd_boundary_scales_as_the_theorem_states():
    base = bounds.sgd_boundary(1000, 40, 2, 1.0, constant=1.0)
    assert bounds.sgd_boundary(16000, 40, 2, 1.0, constant=1.0) == pytest.approx(2 * base)
    assert bounds.sgd_boundary(1000, 640, 2, 1.0, constant=1.0) == pytest.approx(base / 2)
    assert bounds.sgd_boundary(1000, 40, 4, 3.0, constant=1.0) == pytest.approx(6 * base)


def test_other_expressions_scale_as_stated():
    assert bounds.signal_surplus(4.0, constant=0.5) == pytest.approx(8.0)
    assert bounds.alpha_gap(400, 4, constant=0.1) == pytest.approx(1.0)
    assert bounds.sam_boundary(constant=0.7) == 0.7
    assert not bounds.stays_active("retain")
    assert bounds.stays_active("forget")


def test_one_constant_fits_the_simulated_boundary_of_sgd_within_ten_percent():
    config = ClaimConfig(claim="theorem-3.2-sgd-boundary", seeds=6)
    sizes = [1000, 4000, 16000]
    found = along(base_config(config, pretrain="sgd"), [{"epochs": 0}], [{"d": d} for d in sizes])[0]
    norms = found.thresholds(np.arange(6))
    constants = [norm / bounds.sgd_boundary(d, 40, 2, 1.0, constant=1.0) for d, norm in zip(sizes, norms, strict=True)]
    assert np.std(constants) / np.mean(constants) < 0.1
    assert np.mean(constants) == pytest.approx(0.47, abs=0.05)  # 0.93 / 2: the measured constant in P-form
