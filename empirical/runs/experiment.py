"""The models of one run, each computed when first asked for: original, retrained, unlearned, and the forget set."""

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.augmentation.augment import augmentation
from empirical.data.forget import Split, choose_forget, train_rows
from empirical.data.images import ImageSet
from empirical.methods.retain import Retrain
from empirical.metrics.coefficients import coefficient_observer
from empirical.metrics.evaluation import measured
from empirical.models.network import Network, accuracy
from empirical.runs.cell import build_method
from empirical.runs.imports import imported_index, memorization_scores
from empirical.runs.stages import FACTS, Trained, build_network, checksum_of, restore, trained
from empirical.runs.unlearning import Unlearning
from empirical.runs.workspace import Workspace
from empirical.settings.keys import StageKey, again_key, original_id, pretrain_key, retrain_key, unlearn_key
from empirical.settings.rule_labels import parse_legs
from empirical.settings.run_config import RunConfig
from empirical.training.batches import row_sets
from empirical.training.loop import Observe
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Stage
from repro.base.errors import MissingDataError
from repro.records.identity import derive_seed, digest

LARGEST = 2000  # retained images a trajectory looks at


@dataclass
class Experiment:
    """A run's data, forget set and three models.

    Attributes:
        config: the run, with the digest of its data.
        workspace: where stages are kept and computed.
    """

    config: RunConfig
    workspace: Workspace

    @cached_property
    def images(self) -> ImageSet:
        """The data set, on the CPU."""
        return self.workspace.dataset(self.config)

    @cached_property
    def split(self) -> Split:
        """Which rows are retained and forgotten."""
        config, workspace = self.config, self.workspace
        return workspace.group.tell(
            lambda: choose_forget(
                config, self.images.train_labels.numpy(),
                memorization=lambda: memorization_scores(config, workspace.alone()),
                index=lambda: imported_index(config, workspace.store),
            )
        )  # fmt: skip

    @cached_property
    def original(self) -> Trained:
        """The model trained on everything."""
        if self.config.original:
            return self._imported(self.config.original)
        rows, _ = train_rows(self.config, self.images.train_labels.numpy())
        return self._from_scratch(pretrain_key(self.config), rows)

    @cached_property
    def retrained(self) -> Trained:
        """The model trained on the retain set from fresh weights: every unlearned model is measured against it."""
        return self._from_scratch(self.retrain_key(), self.split.retain)

    @cached_property
    def unlearned(self) -> Trained:
        """The original after unlearning; for the method `retrain`, a model trained afresh under the run's rule."""
        if self.config.method == "retrain":
            return self._from_scratch(self.unlearn_key(), self.split.retain)
        ways = {"start": self.copy_original, "stage": self.unlearning, "keep": self.workspace.runtime.keep_models}
        observe = self.observer() if self.config.trajectory else None
        return trained(self.workspace, self.unlearn_key(), **ways, observe=observe, aside=lambda: self.mask_seconds)

    def retrain_key(self) -> StageKey:
        """Return what the retrained model depends on."""
        return retrain_key(self.config, digest(self.split.retain))

    def unlearn_key(self) -> StageKey:
        """Return what the unlearned model depends on."""
        if self.config.method == "retrain":
            return again_key(self.config, digest(self.split.retain))
        parent, rows = original_id(self.config), digest([self.split.retain, self.split.forget])
        return unlearn_key(self.config, parent, rows, build_method(self.config))

    def parents(self) -> dict[str, str]:
        """Return the identities of the stages behind the record, without training them."""
        found = {"pretrain": original_id(self.config), "unlearn": self.unlearn_key().id}
        if self.has_reference:
            found["retrain"] = self.retrain_key().id
        return found | {"forget_set": self.split.identity}

    def checksums(self) -> dict[str, str | None]:
        """Return the checksums of the weights of these stages: an id says how a model is made, not what came of it."""
        stages = {"pretrain": self.original, "unlearn": self.unlearned}
        if self.has_reference:
            stages["retrain"] = self.retrained
        return {f"{name}_checksum": stage.checksum for name, stage in stages.items()}

    @property
    def has_reference(self) -> bool:
        """Whether the run has a retrained model to be held against."""
        return self.config.retrain != "none"

    @cached_property
    def task(self) -> Unlearning:
        """What the unlearning works on."""
        workspace = self.workspace
        held = workspace.train_images(self.config)
        return Unlearning(self.config, self.images, held, self.split, workspace.group)

    @property
    def mask_seconds(self) -> float:
        """Time spent on the saliency mask, no part of the unlearning stage's own time."""
        return self.task.mask_seconds

    def unlearning(self, network: Network) -> Stage:
        """Return the stage that turns `network`, a copy of the original, into the unlearned model."""
        return self.task.stage(network, teacher=self.copy_original())

    def observer(self) -> Observe:
        """Return what looks at a network on its way: its retain, forget and test accuracy, of the images measured.

        Of the retain set it takes at most 2,000 images, the same in every run on the same forget set. Where the
        config asks for `coefficients`, it sees those of a two-layer network too.
        """
        images, retain = self.images, self.split.retain
        seen = measured(self.config.rows_measured, self.split.forget, images.test_labels.numpy())
        few = np.random.default_rng(derive_seed(0, "trajectory")).permutation(len(retain))[:LARGEST]
        rows = {"retain": retain[np.sort(few)], "forget": seen.forget}
        sets = {
            name: (images.train_images, images.train_labels, torch.from_numpy(where)) for name, where in rows.items()
        }
        sets["test"] = (images.test_images, images.test_labels, torch.from_numpy(seen.test))
        scope = {"rows_measured": self.config.rows_measured}

        asked = "coefficients" in self.config.metrics
        learned = coefficient_observer(self.initial(), images, self.split, digits=6) if asked else lambda _: {}

        def observe(network: Network, progress: float) -> dict[str, Any]:
            shares = {
                name: accuracy(network, inputs[where], labels[where]) for name, (inputs, labels, where) in sets.items()
            }
            return shares | scope | learned(network)

        return observe

    def saliency(self, network: Network) -> list[Tensor]:
        """Return the saliency mask of the original model, True on the forget side."""
        return self.task.saliency(network)

    def initial(self) -> Network:
        """Return the original as it was before its first step."""
        seed = derive_seed(self.config.seed, "pretrain")
        return build_network(self.config, self.images, seed=seed, device=self.workspace.device)

    def copy_original(self) -> Network:
        """Return a new network with the original's weights."""
        network = build_network(self.config, self.images, seed=0, device=self.workspace.device)
        network.model.load_state_dict(self.original.network.model.state_dict())
        return network

    def _imported(self, identity: str) -> Trained:
        """Return a model that somebody else trained, from the store."""
        known = self.workspace.store.read_model(identity)
        if known is None:
            raise MissingDataError(f"original = {identity!r}: not in the store; `repro models import` keeps one there")
        network = build_network(self.config, self.images, seed=0, device=self.workspace.device)
        checksum = checksum_of(known[0])
        return Trained(identity, restore(network, known[0], identity), dict.fromkeys(FACTS), checksum)

    def _from_scratch(self, key: StageKey, rows: np.ndarray) -> Trained:
        config, workspace = self.config, self.workspace
        seed = derive_seed(config.seed, key.stage, *([key.unlearn_seed] if key.unlearn_seed else []))

        def start() -> Network:
            return build_network(config, self.images, seed=seed, device=workspace.device)

        def stage(network: Network) -> Stage:
            sets = row_sets(self.images, key.hyperparameters, rows, rows[:0], device=workspace.device)
            legs, held = parse_legs(key.rule, key.hyperparameters.epochs), workspace.train_images(config)
            rule, *later = (build_rule(label, RuleContext(list)) for label, _ in legs)
            begins = itertools.accumulate(epochs for _, epochs in legs[:-1])
            return Stage(Retrain(), rule, sets, key.hyperparameters, held, augmentation(config, held.dtype), seed,
                         later=dict(zip(begins, later, strict=True)))  # fmt: skip

        return workspace.remember(key.id, lambda: trained(workspace, key, start=start, stage=stage))
