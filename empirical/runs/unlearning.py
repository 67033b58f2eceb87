"""The unlearning stage: a method and a rule, started from the original model."""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from empirical.runs.build import augmentation, build_network, row_sets
from empirical.runs.method import build_method
from empirical.runs.stages import Network, Trained, Workspace, trained
from empirical.settings.run_config import RunConfig
from empirical.training.loop import Stage, frozen_copy
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.saliency import forget_gradient, saliency_mask
from repro.records.identity import derive_seed, digest, plain


@dataclass
class Unlearning:
    """One unlearning stage.

    Attributes:
        config: the run.
        workspace: where it is computed.
        original: the model it starts from.
        retain, forget: row numbers.
        mask_seconds: time spent on the saliency mask, not part of the stage's own time.
    """

    config: RunConfig
    workspace: Workspace
    original: Trained
    retain: np.ndarray = field(repr=False)
    forget: np.ndarray = field(repr=False)
    mask_seconds: float = field(default=0.0, init=False)

    def run(self) -> Trained:
        """Return the unlearned model."""
        keep = self.workspace.runtime.keep_models
        return trained(self.workspace, self.identity(), start=self.copy_original, stage=self.stage, keep=keep)

    def identity(self) -> dict[str, object]:
        """Return everything the unlearned weights depend on."""
        config = self.config
        return {
            "stage": "unlearn", "parent": self.original.stage_id, "rows": digest([self.retain, self.forget]),
            "method": config.method, "options": plain(build_method(config)), "rule": config.rule,
            "recipe": plain(config.unlearn_recipe()), "mask_fraction": config.mask_fraction,
            "fidelity": plain(config.fidelity), "augment": plain(augmentation(config)), "seed": config.seed,
            "unlearn_seed": config.unlearn_seed, "precision": config.precision,
        }  # fmt: skip

    def copy_original(self) -> Network:
        """Return a new network with the original's weights."""
        images = self.workspace.dataset(self.config)
        network = build_network(self.config, images, seed=0, device=self.workspace.device)
        network.model.load_state_dict(self.original.network.model.state_dict())
        return network

    def stage(self, network: Network) -> Stage:
        """Return the stage that turns `network`, a copy of the original, into the unlearned model."""
        config, workspace = self.config, self.workspace
        method = build_method(config)
        context = RuleContext(lambda: self.mask(network), config.fidelity)
        rule = method_rule(method, build_rule(config.rule, context), context)
        recipe = config.unlearn_recipe()
        sets = row_sets(workspace.dataset(config), recipe, self.retain, self.forget, device=workspace.device)
        seed = derive_seed(config.seed, "unlearn", config.unlearn_seed)
        held = workspace.train_images(config)
        teacher = frozen_copy(self.copy_original())
        return Stage(method, rule, sets, recipe, held, augmentation(config), seed, teacher, config.fidelity)

    def mask(self, network: Network) -> list[Tensor]:
        """Return the saliency mask of the original model, True on the forget side."""
        started = time.perf_counter()
        config, rows = self.config, torch.from_numpy(self.forget)
        labels = self.workspace.dataset(config).train_labels
        gradient = forget_gradient(network, self.workspace.train_images(config), labels, rows)
        mask = saliency_mask(gradient, config.mask_fraction, polarity=config.fidelity.mask_polarity)
        self.mask_seconds += time.perf_counter() - started
        return mask
