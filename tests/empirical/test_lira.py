"""LiRA: what an attacker with shadow models tells of a forget set."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from empirical.data.memorization import draw_subsets
from empirical.metrics.images import logit_margin
from empirical.metrics.lira import ShadowOutputs, attack, lira, predicted_gaussian
from empirical.models.network import predict
from empirical.runs import stages
from empirical.runs.resources import Resources
from empirical.runs.run import run
from empirical.runs.stages import build_network, restore
from empirical.runs.unlearning import check_run
from empirical.settings.keys import subset_key
from empirical.settings.run_config import config_for
from empirical.studies.finished import Finished
from empirical.studies.measure import measure_runs
from empirical.studies.plan import plan
from repro.base.errors import ConfigError, MissingDataError
from tests.empirical.conftest import Small, small_resnet
from tests.empirical.run_parts import CPU, evaluated, recipe_of

MODELS, IMAGES = 400, 4000


@pytest.fixture
def small() -> Small:
    return small_resnet


def gaussian_shadows(gain: float, seed: int = 0) -> tuple[ShadowOutputs, np.ndarray, np.random.Generator]:
    """Log-odds with unit spread about each image's own mean, `gain` higher in shadow models that saw the image."""
    generator = np.random.default_rng(seed)
    level = generator.normal(0, 5, IMAGES)
    inside = generator.random((MODELS, IMAGES)) < 0.7
    answers = level + gain * inside + generator.standard_normal((MODELS, IMAGES))
    test = level + generator.standard_normal((MODELS, IMAGES))
    return ShadowOutputs(inside, answers, test), level, generator


@pytest.mark.parametrize("gain", [0.0, 1.0, 3.0])
def test_a_model_that_saw_the_images_is_told_as_well_as_two_gaussians_can_be(gain: float) -> None:
    shadows, level, generator = gaussian_shadows(gain)
    noise = generator.standard_normal((2, IMAGES))
    found = attack(shadows, level + gain + noise[0], level + noise[1])
    assert found["auc"] == pytest.approx(norm.cdf(gain / np.sqrt(2)), abs=0.02)
    assert found["tpr_at_1_percent"] == pytest.approx(norm.sf(norm.isf(0.01) - gain), abs=0.04)
    if gain:
        assert found["member_share"] == pytest.approx(norm.cdf(gain / 2), abs=0.03)


def test_a_model_that_never_saw_them_is_not_told_though_its_images_are_harder_than_the_test_images() -> None:
    """Each image is held against its own mean: what is hard for all models is no sign of membership or of none."""
    shadows, level, generator = gaussian_shadows(3.0)
    harder = shadows._replace(test=shadows.test + 4.0)
    noise = generator.standard_normal((2, IMAGES))
    found = attack(harder, level + noise[0], level + 4.0 + noise[1])
    assert found["auc"] == pytest.approx(0.5, abs=0.02)
    assert found["member_share"] == pytest.approx(norm.sf(1.5), abs=0.02)


def test_an_image_is_judged_by_its_own_mean_and_the_spread_of_all() -> None:
    answers = np.array([[1.0, 10.0], [3.0, 14.0], [100.0, 12.0]])
    chosen = np.array([[True, True], [True, True], [False, True]])
    mean, deviation = predicted_gaussian(answers, chosen)
    pooled = (1 + 1 + 4 + 4 + 0) / ((2 - 1) + (3 - 1))
    assert mean.tolist() == [2.0, 12.0]
    assert deviation == pytest.approx(np.sqrt(pooled * np.array([1 + 1 / 2, 1 + 1 / 3])))


def test_the_shadows_are_the_subset_models_and_each_knows_what_it_saw(small: Small, shared: Resources) -> None:
    config = shared.identified(small(difficulty="high", subsets=6, subset_epochs=2, rows_measured="report"))
    evaluation = replace(evaluated(config, shared), shared=None)
    estimate, images = config_for(config), evaluation.images
    training, forget = estimate.training(), evaluation.split.forget
    inside = draw_subsets(estimate, len(images.train_labels))
    answers = {"forget": [], "test": []}
    sides = {"forget": (images.train_images[forget], images.train_labels[forget]),
             "test": (images.test_images, images.test_labels)}  # fmt: skip
    for number in range(6):
        identity = subset_key(training, estimate.fraction, number).id
        network = build_network(training, images, seed=0, device=torch.device("cpu"))
        restore(network, shared.store.stages.read(identity)[0], identity)  # type: ignore[index]
        for name, (pixels, labels) in sides.items():
            answers[name].append(logit_margin(predict(network, pixels)[0].double().numpy(), labels.numpy()))
    seen = inside[:, forget]
    known = seen.any(0) & ~seen.all(0)
    shadows = ShadowOutputs(seen[:, known], np.stack(answers["forget"])[:, known], np.stack(answers["test"]))
    found = lira(evaluation)
    assert found["lira_images"] == known.sum() > 1
    for role, head in (("original", "original_"), ("retrained", "retrained_"), ("unlearned", "")):
        own = [logit_margin(outputs.logits, labels) for outputs, labels in
               (evaluation.on(role, name) for name in ("forget", "test"))]  # fmt: skip
        wanted = attack(shadows, own[0][known], own[1])
        assert {key: found[f"{head}lira_{key}"] for key in wanted} == pytest.approx(wanted)


def test_it_is_added_to_a_finished_run_and_trains_nothing(
    small: Small, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(small(difficulty="high", subsets=4, subset_epochs=1), resources.store, CPU)

    def trained(*_: object, **__: object) -> None:
        raise AssertionError("a stage is trained")

    monkeypatch.setattr(stages, "fit", trained)
    (found,) = measure_runs([done], ["lira"], resources.store, CPU)
    assert 0 <= found.result["lira_auc"] <= 1


def test_subset_models_that_are_gone_are_named_before_anything_is_trained(small: Small, resources: Resources) -> None:
    recipe = recipe_of(small(subsets=4, subset_epochs=1, metrics=("accuracy", "lira")), {"seed": 0})

    def subset_models() -> int:
        work = plan(recipe, resources.store, CPU, Finished([resources.store])).work.values()
        return sum(one.kind == "subset" for one in work)

    done = run(small(subsets=4, subset_epochs=1), resources.store, CPU)  # a random forget set needs no scores
    assert subset_models() == 4
    with pytest.raises(MissingDataError, match=r"takes 2\.8 passes over the training images: add --retrain"):
        measure_runs([done], ["lira"], resources.store, CPU)
    (found,) = measure_runs([done], ["lira"], resources.store, CPU, retrain=True)
    assert found.result["lira_images"] > 0
    assert subset_models() == 0


def test_a_run_without_subset_models_is_refused_before_it_starts(small: Small) -> None:
    with pytest.raises(ConfigError, match="metrics = 'lira': must be left out"):
        check_run(small(metrics=("lira",), difficulty="high", scores="0" * 16))
    with pytest.raises(ConfigError, match="metrics = 'lira': must be left out"):
        check_run(replace(small(metrics=("lira",)), dataset="imagenet", dataset_options=""))


def test_runs_of_other_shadows_do_not_share_their_answers_within_a_process(small: Small, resources: Resources) -> None:
    """Original and split are the same, and so is what the process remembers of both; the attacker's models are not."""
    found = {}
    for count in (4, 6):
        config = small(subsets=count, subset_epochs=1)
        found[count] = evaluated(config, resources)
    few, more = (lira(found[count]) for count in (4, 6))
    assert few != more
    assert more == lira(replace(found[6], shared=None))
