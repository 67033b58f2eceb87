"""Intervals, fits and thresholds against closed forms."""

import numpy as np
import pytest
from scipy.stats import binomtest

from theory.stats import (
    NOTHING,
    Estimate,
    bisect,
    bootstrap,
    crossing,
    mean_and_error,
    mean_interval,
    quadrature_error,
    share_interval,
    slope,
)


def test_t_interval_of_two_values_is_the_textbook_one():
    found = mean_interval([1.0, 3.0, float("nan")])
    assert (found.value, found.seeds) == (2.0, 2)  # of three seeds two have a value
    assert found.high is not None
    assert found.high - 2.0 == pytest.approx(12.706204736, rel=1e-8)  # t_{0.975, 1} times sqrt(2) / sqrt(2)
    assert mean_interval([]) == Estimate(None, None, None)
    assert mean_interval([4.0, float("nan")]) == Estimate(4.0, None, None, 1), "one value has no interval"


def test_t_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [mean_interval(rng.normal(size=8)) for _ in range(2000)]
    missed = sum(estimate.below(0.0) or estimate.above(0.0) for estimate in found)
    assert missed / 2000 == pytest.approx(0.05, abs=0.015)


def test_slope_of_a_power_law_is_its_exponent_and_leaves_out_what_is_missing():
    x = np.array([1.0, 2.0, 4.0, 8.0])
    assert slope(np.log(x), np.log(3 * x**0.25)) == pytest.approx(0.25, rel=1e-12)
    assert np.isnan(slope([1.0, 2.0], [1.0, 2.0]))
    assert slope(np.arange(4.0), np.array([1.0, 3.0, np.nan, 7.0])) == pytest.approx(2.0, rel=1e-12)
    assert np.isnan(slope(np.arange(4.0), [1.0, np.nan, np.nan, 7.0]))


def test_crossing_interpolates_in_the_log_of_the_strength():
    strengths = np.array([1.0, 4.0, 16.0])
    assert crossing(strengths, np.array([0.3, 0.2, 0.0])) == pytest.approx(8.0)
    assert np.isnan(crossing(strengths, np.array([0.05, 0.0, 0.0])))
    assert np.isnan(crossing(strengths, np.array([0.3, 0.3, 0.3])))


def test_bootstrap_brackets_the_mean_and_needs_a_defined_statistic():
    values = np.random.default_rng(1).normal(5.0, 1.0, size=50)
    found = bootstrap(lambda seeds: float(values[seeds].mean()), 50, np.random.default_rng(0))
    assert found.value == values.mean()
    half = 1.96 * values.std() / 50**0.5
    assert found.low == pytest.approx(values.mean() - half, abs=0.04)
    assert found.high == pytest.approx(values.mean() + half, abs=0.04)
    assert bootstrap(lambda seeds: float("nan"), 5, np.random.default_rng(0)).value is None


def test_a_statistic_that_most_resamples_leave_undefined_has_no_interval():
    ordered = lambda seeds: 1.0 if list(seeds) == [0, 1] else float("nan")  # noqa: E731 - a quarter of the resamples
    known = lambda seeds: 1.0 if 0 in seeds else float("nan")  # noqa: E731 - three quarters
    assert bootstrap(ordered, 2, np.random.default_rng(0)) == NOTHING
    assert bootstrap(known, 2, np.random.default_rng(0)) == Estimate(1.0, 1.0, 1.0)


@pytest.mark.parametrize("hits, count", [(8, 10), (0, 4), (40, 40), (22, 40)])
def test_the_interval_of_a_share_is_wilsons(hits, count):
    found = share_interval(np.arange(count) < hits)
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert found[:3] == pytest.approx((hits / count, expected.low, expected.high), abs=1e-6)


def test_an_estimate_compares_by_its_whole_interval():
    estimate = Estimate(1.0, 0.8, 1.2)
    assert estimate.below(1.3)
    assert not estimate.below(1.1)
    assert estimate.above(0.7)
    assert not estimate.above(0.9)
    assert not NOTHING.below(0.0)
    assert not NOTHING.above(0.0)


@pytest.mark.parametrize("values, expected", [([1.0, 3.0], (2.0, 1.0)), ([2.0, None], (2.0, None)), ([], (None, None))])
def test_mean_and_standard_error_skip_missing_values(values, expected):
    assert mean_and_error(values) == pytest.approx(expected)


def test_the_quadratures_of_a_mean_add_up_as_independent_errors():
    assert quadrature_error([0.003, 0.004, None, float("nan")]) == pytest.approx(0.0025)
    assert quadrature_error([None]) is None


def test_bisection_closes_in_on_every_change_together_and_leaves_an_interval_of_no_width():
    places = np.array([0.3, 7.2, 5.0])
    low, high = bisect(lambda x: x < places, np.array([0.0, 0.0, 2.0]), np.array([10.0, 10.0, 2.0]), 1e-3)
    assert np.all((low <= places)[:2] & (places <= high)[:2] & (high - low <= 1e-3)[:2])
    assert low[2] == high[2] == 2.0
