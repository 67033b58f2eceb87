"""LiRA: the likelihood-ratio membership attack; its shadow models are the subset models of the memorization scores."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from empirical.metrics.attacks import threshold_numbers
from empirical.metrics.evaluation import Evaluation, prefix
from empirical.metrics.images import logit_margin
from empirical.metrics.pooled import log_density
from empirical.models.network import Network, predict
from repro.base.errors import ConfigError
from repro.base.parts import Term, metric
from repro.base.settings import reject

TINY = 1e-12  # smallest variance


class ShadowOutputs(NamedTuple):
    """Outputs of the shadow models.

    Attributes:
        inside: whether each model was trained on each forget image, `(models, forget images)` boolean.
        forget, test: log-odds of the true class, `(models, images)`; no model was trained on a test image.
    """

    inside: np.ndarray
    forget: np.ndarray
    test: np.ndarray


@metric(
    "lira", shadow_models=True, settings=(
        "subsets", "subset_model", "subset_epochs", "subset_precision", "forget_seed", "model", "precision",
        "pretrain_epochs", "pretrain_batch_size", "portable", "subset_portable",
    ),
    terms=(
        Term("lira_images", "Forget images that some shadow models saw and others did not.", "", "images", ">= 0", ""),
        Term("lira_member_share", "Fraction of forget images that the likelihood ratio between shadow models with and "
             "without the image labels as trained on."),
        Term("lira_*", "The likelihood-ratio attack with shadow models (Carlini et al. 2022), forget set against test "
             "set: AUC, balanced accuracy, true-positive rates at few false positives.",
             also=("LiRA",)),
    ),
)  # fmt: skip
def lira(evaluation: Evaluation) -> dict[str, float]:
    """Return how well an attacker with shadow models recognizes the forget set as trained on, for each model.

    The attack of Carlini et al. (2022) on the log-odds of the true class. Each image has a Gaussian with its own mean;
    all images share a spread, because shadow models are few. Forget images are compared with
    test images by the offline attack: how many deviations an image lies above its mean under the shadow models without
    it. This gives `lira_auc`, `lira_balanced_accuracy`, `lira_tpr_at_1_percent` and `lira_tpr_at_01_percent`.
    `lira_member_share` is the share of F, in [0, 1], that the ratio of densities with and without an image labels as
    trained on. The target is the retrained model's value, since shadow models train shorter than the models they judge.
    Images that all or none of the shadow models saw are left out; `lira_images` counts the others.

    Raises:
        ConfigError: if there are no shadow models, as for models passed in memory.
    """
    shadows = evaluation.once("shadow models", "lira", lambda: shadow_answers(evaluation))
    known = shadows.inside.any(0) & ~shadows.inside.all(0)
    if not known.any():
        remedy = "each forget image was seen by all subset models or by none"
        raise reject("subsets", len(shadows.inside), "larger", remedy)
    shadows = ShadowOutputs(shadows.inside[:, known], shadows.forget[:, known], shadows.test)
    found: dict[str, float] = {"lira_images": int(known.sum())}
    for role in evaluation.roles:
        forget, test = (logit_margin(outputs.logits, labels) for outputs, labels in
                        (evaluation.on(role, name) for name in ("forget", "test")))  # fmt: skip
        found |= {f"{prefix(role)}lira_{key}": value for key, value in attack(shadows, forget[known], test).items()}
    return found


def attack(shadows: ShadowOutputs, forget: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Return the numbers of one model.

    Args:
        shadows: shadow models; each forget image was seen by some of them and not by others.
        forget, test: the model's log-odds of the true class on the same images, `(images,)`.
    """
    member, other = (predicted_gaussian(shadows.forget, side) for side in (shadows.inside, ~shadows.inside))
    unseen = predicted_gaussian(shadows.test, np.ones(shadows.test.shape, bool))
    ratio = log_density(forget, *member) - log_density(forget, *other)
    numbers = threshold_numbers(standing(forget, *other), standing(test, *unseen))
    return numbers | {"member_share": float((ratio > 0).mean())}


def shadow_answers(evaluation: Evaluation) -> ShadowOutputs:
    """Return the log-odds of every shadow model on the forget and test images; models not in the store are trained."""
    if evaluation.shadow_models is None:
        raise ConfigError("metrics = 'lira': must be left out for models in memory: they have no subset models")
    images, split = evaluation.images, evaluation.split
    forget = images.train_images[split.forget], images.train_labels[split.forget]
    test = images.test_images, images.test_labels
    inside, on_forget, on_test = [], [], []
    for subset, network in evaluation.shadow_models():
        inside.append(subset[split.forget])
        on_forget.append(_log_odds_of(network, *forget))
        on_test.append(_log_odds_of(network, *test))
    return ShadowOutputs(np.stack(inside), np.stack(on_forget), np.stack(on_test))


def _log_odds_of(network: Network, images: Tensor, labels: Tensor) -> np.ndarray:
    logits, _ = predict(network, images)
    return logit_margin(logits.cpu().double().numpy(), labels.numpy())


def predicted_gaussian(answers: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted mean and standard deviation, each `(images,)`, of the log-odds under a further model.

    `sd_i = s sqrt(1 + 1 / k_i)`: the spread s around the means is pooled over images, k_i counts the models of image i.

    Args:
        answers: log-odds, `(models, images)`.
        chosen: which of them to use, the same shape; at least one of every image.
    """
    count = chosen.sum(0)
    mean = (answers * chosen).sum(0) / count
    left = (((answers - mean) * chosen) ** 2).sum() / max(1, int((count - 1).sum()))
    return mean, np.sqrt(max(left, TINY) * (1 + 1 / count))


def standing(values: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return how many standard deviations each value lies above its mean, `(n,)`."""
    return (values - mean) / deviation
