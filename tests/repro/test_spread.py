"""The noise floor, ToW over all references, and intervals over models and images."""

import numpy as np
import pytest

from repro.base.errors import ConfigError
from repro.statistics.spread import draw_models_and_images, mean_tug_of_war, noise_floor, recentred, tug_of_war

DEVIATIONS = np.array([0.003, 0.015, 0.005])  # of the accuracies of retrained models, as in the CIFAR-10 study


def test_tow_is_the_product_of_three_gaps() -> None:
    assert tug_of_war(np.array([0.9, 0.5, 0.8]), np.array([1.0, 0.3, 0.7])) == pytest.approx(0.9 * 0.8 * 0.9)


def test_tow_over_all_references_is_the_mean_of_each() -> None:
    rng = np.random.default_rng(0)
    ours, references = rng.random((4, 3)), rng.random((5, 3))
    found = mean_tug_of_war(ours, references)
    assert found == pytest.approx([np.mean([tug_of_war(one, other) for other in references]) for one in ours])


class TestFloor:
    def test_it_is_the_deviation_of_differences_between_two_models(self) -> None:
        models = np.array([(1.0, 0.8, 0.8), (1.0, 0.7, 0.8), (0.9, 0.7, 0.8)])
        squares = [0.5 * (tug_of_war(models[j], models[i]) - tug_of_war(models[k], models[i])) ** 2
                   for i, j, k in ((0, 1, 2), (1, 0, 2), (2, 0, 1))]  # fmt: skip
        assert noise_floor(models).value == pytest.approx(np.sqrt(2 * np.mean(squares)))

    @pytest.mark.parametrize("models", [3, 8])
    def test_its_interval_contains_the_floor_of_many_models(self, models: int) -> None:
        rng = np.random.default_rng(models)
        truth = noise_floor(0.7 + DEVIATIONS * rng.standard_normal((1000, 3))).value
        found = [noise_floor(0.7 + DEVIATIONS * rng.standard_normal((models, 3))) for _ in range(1000)]
        assert 0.92 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.99
        assert np.sqrt(np.mean([one.value**2 for one in found])) == pytest.approx(truth, rel=0.1)

    def test_two_models_tell_no_spread(self) -> None:
        with pytest.raises(ConfigError, match="retrained models = 2: must be at least 3"):
            noise_floor(np.ones((2, 3)))


def test_models_and_images_together_have_the_error_of_both() -> None:
    """Of a mean over 20 models and 30 images, each with an effect of its own, against a known truth."""
    rng, hits, alone = np.random.default_rng(1), 0, 0
    for _ in range(100):
        values = rng.standard_normal((20, 1)) + 2 * rng.standard_normal(30) + rng.standard_normal((20, 30))
        drawn = zip(*draw_models_and_images(20, 30, rng, repeats=200), strict=True)
        found = recentred(values.mean(), np.array([values[np.ix_(*rows)].mean() for rows in drawn]))
        hits += found.low <= 0 <= found.high
        half = 2.09 * values.mean(axis=1).std(ddof=1) / np.sqrt(20)
        alone += abs(values.mean()) <= half
    assert hits >= 90
    assert alone <= 75  # an interval over models alone is that of these very images


def test_samples_that_lie_too_high_are_moved_by_their_bias() -> None:
    samples = np.linspace(-1, 1, 4001)
    assert recentred(0.5, samples + 7) == pytest.approx((0.5, -0.45, 1.45))
