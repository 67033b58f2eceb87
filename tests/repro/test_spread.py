"""The noise floor, ToW over all references, and intervals over models and images."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from repro.base.errors import ConfigError
from repro.statistics.spread import mean_tug_of_war, noise_floor, over_models_and_images, tug_of_war

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


class TestModelsAndImages:
    def test_a_mean_has_the_error_of_models_and_of_images(self) -> None:
        rng, hits, alone = np.random.default_rng(1), 0, 0
        for _ in range(100):
            values = rng.standard_normal((20, 1)) + 2 * rng.standard_normal(30) + rng.standard_normal((20, 30))
            mean = lambda models, images, values=values: models @ values @ images / (models.sum() * images.sum())  # noqa: E731
            found = over_models_and_images(mean, 20, 30, rng, repeats=200)
            hits += found.low <= 0 <= found.high
            half = 2.09 * values.mean(axis=1).std(ddof=1) / np.sqrt(20)
            alone += abs(values.mean()) <= half
        assert hits >= 90
        assert alone <= 75  # an interval over models alone is that of these very images

    def test_a_few_images_that_carry_an_attack_widen_its_interval(self) -> None:
        """Three of 36 images tell unlearned from retrained models: how much of the attack is left without them?"""
        rng = np.random.default_rng(2)
        told, plain = rng.normal([3.0] * 3 + [0.0] * 33, 1.0, (40, 36)), rng.standard_normal((40, 36))

        def auc(models: np.ndarray, images: np.ndarray) -> float:
            weights = np.outer(models, images).ravel()
            truth = np.repeat((1, 0), told.size)
            return float(roc_auc_score(truth, np.r_[told.ravel(), plain.ravel()], sample_weight=np.tile(weights, 2)))

        both = over_models_and_images(auc, 40, 36, rng, repeats=200)
        models_alone = over_models_and_images(lambda models, _: auc(models, np.ones(36)), 40, 36, rng, repeats=200)
        assert both.value == models_alone.value
        assert both.high - both.low > 2 * (models_alone.high - models_alone.low)

    def test_one_model_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="at least 2 each"):
            over_models_and_images(lambda models, images: 0.0, 1, 36, np.random.default_rng(0))
