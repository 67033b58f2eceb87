"""Memorization scores by the subset estimator of Feldman and Zhang (2020), kept as records."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from empirical.batches import Sets
from empirical.config import RunConfig
from empirical.methods.finetune import Retrain
from empirical.network import predict
from empirical.rules import Plain
from empirical.stages import augmentation, build_network, rows
from empirical.train import Stage, fit
from empirical.workspace import Workspace
from repro.fields import check, setting
from repro.identity import derive_seed
from repro.progress import track
from repro.provenance import collect
from repro.store import Record


@dataclass(frozen=True)
class MemorizationConfig:
    """How scores are estimated; the defaults suit `digits`."""

    dataset: str = setting("digits", "data set")
    dataset_options: str = setting("", "settings of the data set")
    n_train: int = setting(0, "stratified subset of the training images; 0 is all", low=0)
    model: str = setting("resnet8-narrow", "architecture of the subset models")
    subsets: int = setting(24, "subset models", low=4)
    fraction: float = setting(0.7, "share of the images in a subset", low=0, high=1, open_low=True, open_high=True)
    epochs: int = setting(5, "epochs of a subset model", low=1)
    lr: float = setting(0.1, "learning rate", low=0, open_low=True)
    batch_size: int = setting(64, "batch size", low=1)
    augment: str = setting("shift", "augmentation")
    seed: int = setting(0, "seed of subsets and models", low=0)

    def __post_init__(self) -> None:
        check(self)

    def training(self) -> RunConfig:
        """Return how one subset model is trained, as the pretraining of a run."""
        same = {name: getattr(self, name) for name in ("dataset", "dataset_options", "n_train", "model", "augment")}
        return RunConfig(
            **same, pretrain_epochs=self.epochs, pretrain_lr=self.lr, pretrain_batch_size=self.batch_size
        )


def config_for(config: RunConfig) -> MemorizationConfig:
    """Return the estimate a run uses: a third of its pretraining epochs on its own data."""
    same = {name: getattr(config, name) for name in ("dataset", "dataset_options", "n_train", "augment", "subsets")}
    small = "resnet8-narrow" if config.model == "resnet8-narrow" else "resnet8"
    epochs = max(3, config.pretrain_epochs // 3)
    return MemorizationConfig(**same, model=small, epochs=epochs, batch_size=config.pretrain_batch_size)


def memorization(config: MemorizationConfig, workspace: Workspace) -> Record:
    """Return the record of an estimate, trained now if the store lacks it; arrays `scores`, `errors`, `correct`, `inside`."""
    store = workspace.store
    with store.lock(f"memorization-{config.dataset}"):
        found = store.find("memorization", config)
        if found:
            return found
        inside, correct, labels = train_subsets(config, workspace)
        scores, errors = estimate(inside, correct)
        arrays = {"scores": scores, "errors": errors, "inside": inside, "correct": correct, "labels": labels}
        result = describe(scores, errors) | {"rank_agreement": rank_agreement(inside, correct)}
        provenance = collect(study=workspace.runtime.study, device=workspace.device_name)
        return store.save("memorization", config, result=result, arrays=arrays, provenance=provenance)


def train_subsets(config: MemorizationConfig, workspace: Workspace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (inside, correct), both `(subsets, n)` boolean, and the labels `(n,)`."""
    training = config.training()
    images = workspace.dataset(training)
    labels = images.train_labels.numpy()
    held = images.train_images.to(workspace.device)
    inside = draw_subsets(config, len(labels))
    correct = [
        _correct(config, workspace, held, subset, number)
        for number, subset in enumerate(track(inside, "memorization: subset models"))
    ]
    return inside, np.array(correct), labels


def draw_subsets(config: MemorizationConfig, count: int) -> np.ndarray:
    """Return which images each subset holds, `(subsets, n)` boolean, `fraction` of them in every row."""
    generator = np.random.default_rng(derive_seed(config.seed, "subsets"))
    inside = np.zeros((config.subsets, count), bool)
    for row in inside:
        row[generator.permutation(count)[: round(config.fraction * count)]] = True
    return inside


def _correct(
    config: MemorizationConfig, workspace: Workspace, held: Tensor, subset: np.ndarray, number: int
) -> np.ndarray:
    training = config.training()
    images = workspace.dataset(training)
    seed = derive_seed(config.seed, "subset", number)
    network = build_network(training, images, seed=seed, device=workspace.device)
    recipe = training.pretrain_recipe()
    kept = rows(np.flatnonzero(subset), images, recipe.batch_size, forget=False, device=workspace.device)
    sets = Sets(kept, replace(kept, index=kept.index[:0]), images.classes)
    fit(network, Stage(Retrain(), Plain(), sets, recipe, held, augmentation(training), seed))
    logits, _ = predict(network, held)
    return (logits.argmax(1).cpu() == images.train_labels).numpy()


def estimate(inside: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores and their standard errors, each `(n,)`.

    `mem(i) = P[h(x_i) = y_i | i inside] - P[h(x_i) = y_i | i outside]` over the subset models (Feldman and Zhang
    2020, eq. 1); the variance of each share is `p (1 - p) / k`. An image that is always (or never) inside scores NaN.

    Args:
        inside: `(subsets, n)`, whether a model saw an image.
        correct: `(subsets, n)`, whether it classifies it correctly.
    """
    scores, variances = 0.0, 0.0
    for side, sign in ((inside, 1), (~inside, -1)):
        count = side.sum(0).astype(float)
        count[count == 0] = np.nan
        share = (correct & side).sum(0) / count
        scores, variances = scores + sign * share, variances + share * (1 - share) / count
    return np.asarray(scores), np.sqrt(variances)


def rank_agreement(inside: np.ndarray, correct: np.ndarray) -> float | None:
    """Return Spearman's correlation between the estimates of the even and of the odd subset models."""
    halves = [estimate(inside[start::2], correct[start::2])[0] for start in (0, 1)]
    return agreement(halves[0], halves[1])


def agreement(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return Spearman's rank correlation of two score lists over the images both know; None if one is constant."""
    from scipy.stats import spearmanr

    known = np.isfinite(first) & np.isfinite(second)
    if np.ptp(first[known]) == 0 or np.ptp(second[known]) == 0:
        return None
    return float(spearmanr(first[known], second[known]).statistic)


def describe(scores: np.ndarray, errors: np.ndarray) -> dict[str, float | int]:
    """Return the size, quartiles and mean standard error of scores."""
    low, middle, high = np.nanquantile(scores, (0.25, 0.5, 0.75))
    return {
        "n": len(scores), "unknown": int(np.isnan(scores).sum()), "mean": float(np.nanmean(scores)),
        "quartile_low": float(low), "median": float(middle), "quartile_high": float(high),
        "mean_standard_error": float(np.nanmean(errors)),
    }  # fmt: skip


def filled(scores: np.ndarray) -> np.ndarray:
    """Return scores with unknown ones at the median, so that they are neither the lowest nor the highest."""
    return np.where(np.isnan(scores), np.nanmedian(scores), scores)

