"""The stages of one run, each computed when first asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.batches import Sets
from empirical.config import Recipe, RunConfig
from empirical.forget import Split, choose_forget, train_rows
from empirical.inputs import forget_index, forget_scores
from empirical.methods.build import build_method
from empirical.network import Network
from empirical.rule_builders import RuleContext, build_rule
from empirical.saliency import forget_gradient, saliency_mask
from empirical.stages import Trained, augmentation, build_network, rows, trained
from empirical.train import Method, Stage, frozen_copy
from empirical.workspace import Workspace
from repro.identity import derive_seed, digest, plain
from repro.store import run_id


@dataclass
class Experiment:
    """A run's data, forget set and three models.

    Attributes:
        config: the run.
        workspace: where stages are kept and computed.
        mask_seconds: time spent on the saliency mask.
    """

    config: RunConfig
    workspace: Workspace
    mask_seconds: float = field(default=0.0, init=False)

    @cached_property
    def images(self):
        """The data set, on the CPU; corrupted if the config says so."""
        return self.workspace.dataset(self.config)

    @cached_property
    def train_images(self) -> Tensor:
        """The training images on the device."""
        key = ("train images", self.images.digest)
        return self.workspace.remember(key, lambda: self.images.train_images.to(self.workspace.device))

    @cached_property
    def split(self) -> Split:
        """Which rows are retained and forgotten."""
        config = self.config
        scores = forget_scores(config, self.workspace) if config.difficulty in ("low", "mid", "high") else None
        index = forget_index(config, self.workspace.store) if config.difficulty == "index" else None
        return choose_forget(config, self.images.train_labels.numpy(), scores=scores, index=index)

    @cached_property
    def original(self) -> Trained:
        """The model trained on everything."""
        train, _ = train_rows(self.config, self.images.train_labels.numpy())
        return self._reference("pretrain", self.config.pretrain, train, self.config.pretrain_recipe())

    @cached_property
    def retrained(self) -> Trained:
        """The model trained on the retain set from fresh weights."""
        return self._reference("retrain", self.config.retrain_rule, self.split.retain, self.config.retrain_recipe())

    @cached_property
    def unlearned(self) -> Trained:
        """The original after unlearning."""
        config = self.config
        identity = {
            "stage": "unlearn", "parent": self.original.stage_id, "split": self.split.identity, "method": config.method,
            "options": plain(build_method(config)), "rule": config.rule, "recipe": plain(config.unlearn_recipe()),
            "mask_fraction": config.mask_fraction, "fidelity": plain(config.fidelity), "seed": config.seed,
            "unlearn_seed": config.unlearn_seed, "augment": plain(augmentation(config)),
            "precision": config.precision,
        }  # fmt: skip
        return trained(
            self.workspace, identity, start=self.copy_original, stage=self._unlearn_stage,
            keep=self.workspace.runtime.keep_models,
        )  # fmt: skip

    def copy_original(self) -> Network:
        """Return a new network with the original's weights."""
        network = self.fresh(0)
        network.model.load_state_dict(self.original.network.model.state_dict())
        return network

    def fresh(self, seed: int) -> Network:
        """Return a newly initialized network."""
        return build_network(self.config, self.images, seed=seed, device=self.workspace.device)

    def parents(self) -> dict[str, str]:
        """Return the identities of the stages behind the record."""
        return {
            "pretrain": self.original.stage_id, "retrain": self.retrained.stage_id,
            "unlearn": self.unlearned.stage_id, "forget_set": self.split.identity,
        }  # fmt: skip

    def sets(self, recipe: Recipe, retain: np.ndarray, forget: np.ndarray) -> Sets:
        """Return row sets with a recipe's batch sizes."""
        device = self.workspace.device
        sizes = (recipe.batch_size, recipe.forget_batch_size or recipe.batch_size)
        pair = [
            rows(index, self.images, size, forget=flag, device=device)
            for index, size, flag in zip((retain, forget), sizes, (False, True), strict=True)
        ]
        return Sets(pair[0], pair[1], self.images.classes, recipe.epochs)

    def mask(self, network: Network) -> list[Tensor]:
        """Return the saliency mask of the original model, True on the forget side."""
        started = time.perf_counter()
        labels = self.images.train_labels[torch.from_numpy(self.split.forget)]
        gradient = forget_gradient(network, self.train_images[torch.from_numpy(self.split.forget)], labels)
        mask = saliency_mask(gradient, self.config.mask_fraction, polarity=self.config.fidelity.mask_polarity)
        self.mask_seconds += time.perf_counter() - started
        return mask

    def _reference(self, name: str, rule: str, index: np.ndarray, recipe: Recipe) -> Trained:
        config = self.config
        identity = {
            "stage": "train", "data": self.images.digest, "rows": digest(index), "model": config.model, "rule": rule,
            "recipe": plain(recipe), "augment": plain(augmentation(config)), "seed": config.seed,
            "precision": config.precision, "corruption": config.corruption, "use": name,
            "double_normalize": config.fidelity.double_normalize,
        }  # fmt: skip
        seed = derive_seed(config.seed, name)
        method: Method = build_method(replace(config, method="retrain", method_options=""))

        def stage(network: Network) -> Stage:
            return self._stage(method, rule, self.sets(recipe, index, index[:0]), recipe, seed)

        key = run_id("model", identity)
        return self.workspace.remember(key, lambda: trained(
            self.workspace, identity, start=lambda: self.fresh(seed), stage=stage
        ))  # fmt: skip

    def _stage(self, method: Method, rule: Any, sets: Sets, recipe: Recipe, seed: int, **more: Any) -> Stage:
        if isinstance(rule, str):
            rule = build_rule(rule, RuleContext(list, self.config.fidelity))
        return Stage(method, rule, sets, recipe, self.train_images, augmentation(self.config), seed, **more)

    def _unlearn_stage(self, network: Network) -> Stage:
        config = self.config
        method = build_method(config)
        context = RuleContext(self._saliency(network), config.fidelity)
        rule = build_rule(config.rule, context)
        recipe = config.unlearn_recipe()
        sets = self.sets(recipe, self.split.retain, self.split.forget)
        teacher = frozen_copy(self.copy_original())
        seed = derive_seed(config.seed, "unlearn", config.unlearn_seed)
        return self._stage(method, rule, sets, recipe, seed, teacher=teacher, fidelity=config.fidelity)

    def _saliency(self, network: Network) -> Callable[[], list[Tensor]]:
        return lambda: self.mask(network)
