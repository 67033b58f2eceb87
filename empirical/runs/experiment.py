"""The data of a run, and the functions that train its models: the original, the retrained and the unlearned one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from empirical.data.forget import Split, choose_forget, train_rows
from empirical.data.images import ImageSet
from empirical.metrics.coefficients import coefficient_observer
from empirical.metrics.evaluation import measured
from empirical.models.network import Network, accuracy
from empirical.runs.imports import imported_index
from empirical.runs.resources import Resources
from empirical.runs.stages import (
    FACTS,
    Trained,
    build_network,
    checksum_of,
    read_stage,
    restore,
    train_afresh,
    train_stage,
)
from empirical.runs.subset_models import memorization_scores
from empirical.runs.unlearning import build_method, unlearning_stage
from empirical.settings.keys import StageKey, again_key, original_id, pretrain_key, retrain_key, unlearn_key
from empirical.settings.run_config import RunConfig
from empirical.training.loop import Observe
from repro.base.errors import MissingDataError
from repro.records.identity import derive_seed, digest
from repro.records.leases import in_turn

LARGEST = 2000  # retained images a trajectory looks at


@dataclass(frozen=True)
class Experiment:
    """What the models of a run are trained on; `make_experiment` makes it.

    Attributes:
        config: the run, with the digest of its data.
        resources: where stages are stored and computed.
        images: the data set, on the CPU.
        split: which rows are retained and forgotten.
    """

    config: RunConfig
    resources: Resources
    images: ImageSet
    split: Split

    def retrain_key(self) -> StageKey:
        """Return what the retrained model depends on."""
        return retrain_key(self.config, digest(self.split.retain))

    def unlearn_key(self) -> StageKey:
        """Return what the unlearned model depends on."""
        if self.config.method == "retrain":
            return again_key(self.config, digest(self.split.retain))
        rows = digest([self.split.retain, self.split.forget])
        return unlearn_key(self.config, original_id(self.config), rows, build_method(self.config))

    def new_network(self, seed: int) -> Network:
        """Return a network with fresh weights."""
        return build_network(self.config, self.images, seed=seed, device=self.resources.device)

    def initial(self) -> Network:
        """Return the original as it was before its first step."""
        return self.new_network(derive_seed(self.config.seed, "pretrain"))


class Models(NamedTuple):
    """The models of a run; `retrained` is None if the config names no retraining (`retrain = none`)."""

    original: Trained
    retrained: Trained | None
    unlearned: Trained

    def parents(self, experiment: Experiment) -> dict[str, str]:
        """Return the ids of the stages and of the forget set."""
        found = {"pretrain": self.original.stage_id, "unlearn": self.unlearned.stage_id}
        if self.retrained:
            found["retrain"] = self.retrained.stage_id
        return found | {"forget_set": experiment.split.identity}

    def checksums(self) -> dict[str, str | None]:
        """Return the checksums of the weights: an id says how a model is made, a checksum what came of it."""
        stages = {"pretrain": self.original, "unlearn": self.unlearned, "retrain": self.retrained}
        return {f"{name}_checksum": stage.checksum for name, stage in stages.items() if stage}


def make_experiment(config: RunConfig, resources: Resources) -> Experiment:
    """Load the images of a run whose data are identified, and choose its forget set; this may train subset models."""
    images = resources.images(config)

    def choose() -> Split:
        return choose_forget(
            config, images.train_labels.numpy(), memorization=lambda: memorization_scores(config, resources.alone()),
            index=lambda: imported_index(config, resources.store),
        )  # fmt: skip

    return Experiment(config, resources, images, resources.group.broadcast(choose))


def train_models(experiment: Experiment) -> Models:
    """Return the models of a run: from the store, or trained now.

    A model that another process trains comes last. The unlearned model is trained after the others: its weights may not
    be stored, and a retrained model that is `Held` would lose them.

    Raises:
        ConfigError: before any training, when the forget or test set is too small to be measured as asked.
        Held: when another process trains one of them and `resources.patient` is False.
    """
    config, resources = experiment.config, experiment.resources
    measured(config.rows_measured, experiment.split.forget, experiment.images.test_labels.numpy())
    found: dict[Callable[[Experiment], Trained], Trained] = {}

    def attempt(train: Callable[[Experiment], Trained]) -> None:
        found[train] = train(experiment)

    reference = [] if config.retrain == "none" else [train_retrained]
    in_turn([train_original, *reference], attempt, wait=resources.patient, deadline=resources.deadline)
    original = found[train_original]
    return Models(original, found.get(train_retrained), train_unlearned(experiment, original))


def train_original(experiment: Experiment) -> Trained:
    """Return the model trained on all images, or the imported model that the config names."""
    config, store = experiment.config, experiment.resources.store
    if not config.original:
        rows, _ = train_rows(config, experiment.images.train_labels.numpy())
        return _train_afresh(experiment, pretrain_key(config), rows)
    known = store.stages.read(config.original)
    if known is None:
        raise MissingDataError(
            f"original = {config.original!r}: not in the store; `repro models import` keeps one there"
        )
    network = restore(experiment.new_network(0), known[0], config.original)
    return Trained(config.original, network, dict.fromkeys(FACTS), checksum_of(known[0]))


def train_retrained(experiment: Experiment) -> Trained:
    """Return the model trained on the retain set from fresh weights, which unlearned models are measured against."""
    return _train_afresh(experiment, experiment.retrain_key(), experiment.split.retain)


def train_unlearned(experiment: Experiment, original: Trained) -> Trained:
    """Return the original after unlearning; for the method `retrain`, a model trained afresh under the run's rule."""
    config, resources = experiment.config, experiment.resources
    if config.method == "retrain":
        return _train_afresh(experiment, experiment.unlearn_key(), experiment.split.retain)

    key, observe = experiment.unlearn_key(), trajectory_observer(experiment) if config.trajectory else None
    with resources.lease(key.id):
        network = original.network.copy()
        if known := read_stage(resources, key, network):
            return known
        stage = unlearning_stage(
            config, experiment.images, resources.train_images(config), experiment.split, network,
            teacher=original.network.copy(), group=resources.group,
        )  # fmt: skip
        return train_stage(resources, key, network, stage, keep=resources.runtime.keep_models, observe=observe)


def _train_afresh(experiment: Experiment, key: StageKey, rows: np.ndarray) -> Trained:
    """Return a model trained on some rows from fresh weights; runs of one process share it."""
    resources = experiment.resources
    return resources.remember(key.id, lambda: train_afresh(experiment.config, resources, key, rows))


def trajectory_observer(experiment: Experiment) -> Observe:
    """Return a function that measures retain, forget and test accuracy of a network during training.

    Of the retain set it takes at most 2,000 images, the same in every run on the same forget set. Where the config
    asks for `coefficients`, it sees those of a two-layer network too.
    """
    config, images, retain = experiment.config, experiment.images, experiment.split.retain
    seen = measured(config.rows_measured, experiment.split.forget, images.test_labels.numpy())
    few = np.random.default_rng(derive_seed(0, "trajectory")).permutation(len(retain))[:LARGEST]
    rows = {"retain": retain[np.sort(few)], "forget": seen.forget}
    sets = {name: (images.train_images, images.train_labels, torch.from_numpy(where)) for name, where in rows.items()}
    sets["test"] = (images.test_images, images.test_labels, torch.from_numpy(seen.test))
    asked = "coefficients" in config.metrics
    learned = coefficient_observer(experiment.initial(), images, experiment.split, digits=6) if asked else None

    def observe(network: Network, progress: float) -> dict[str, Any]:
        shares = {
            name: accuracy(network, inputs[where], labels[where]) for name, (inputs, labels, where) in sets.items()
        }
        return shares | {"rows_measured": config.rows_measured} | (learned(network) if learned else {})

    return observe
