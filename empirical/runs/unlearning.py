"""One unlearning: the model, the images, the rows to forget. A run of a study and a user's own program both make it."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from empirical.augmentation.augment import augmentation
from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.models.network import Network
from empirical.runs.cell import build_method
from empirical.settings.run_config import RunConfig
from empirical.training.batches import row_sets
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.saliency import forget_gradient, saliency_mask
from empirical.training.step import Stage, Start, frozen_copy
from empirical.training.together import ALONE, Processes
from repro.records.identity import derive_seed


@dataclass
class Unlearning:
    """What an unlearning works on.

    Attributes:
        config: method, rule, hyper-parameters and seeds.
        images: the clean images and their labels.
        held: the images that are trained on, `(n, c, h, w)`: corrupted, or on the device, where the caller wants that.
        split: the rows to retain and to forget.
        group: the processes that train together; the first one's mask is everybody's.
        mask_seconds: time spent on the saliency mask, no part of the stage's own time.
    """

    config: RunConfig
    images: ImageSet
    held: Tensor
    split: Split
    group: Processes = ALONE
    mask_seconds: float = field(default=0.0, init=False)

    def stage(self, network: Network, *, teacher: Network) -> Stage:
        """Return the stage that turns `network` into the unlearned model.

        Args:
            network: a copy of the original, to be trained in place.
            teacher: another copy, for methods that compare with the original; it is frozen.
        """
        config = self.config
        method = build_method(config)
        context = RuleContext(lambda: self.saliency(network), config.fidelity)
        rule = method_rule(method, build_rule(config.rule, context), context)
        settings = config.unlearning()
        sets = row_sets(self.images, settings, self.split.retain, self.split.forget, device=network.device)
        seed = derive_seed(config.seed, "unlearn", config.unlearn_seed)
        augment = augmentation(config, self.held.dtype)
        stage = Stage(method, rule, sets, settings, self.held, augment, seed, frozen_copy(teacher), config.fidelity)
        return self.prepared(stage, network)

    def prepared(self, stage: Stage, network: Network) -> Stage:
        """Return the stage with what its method makes of the original before the first step, and what that took."""
        method: Any = stage.method
        if not hasattr(method, "prepare"):
            return stage
        started = time.perf_counter()
        start = Start(network, stage.rule, stage.sets, self.held, stage.seed)
        network.model.eval()
        made = method.prepare(start)
        network.model.train()
        evaluated = start.evaluated if self.group.first else 0  # every process makes the same; they add what they count
        return replace(stage, prepared=made, evaluated=evaluated, seconds=time.perf_counter() - started)

    def saliency(self, network: Network) -> list[Tensor]:
        """Return the saliency mask of the original model, True on the forget side."""
        started = time.perf_counter()
        rows = torch.from_numpy(self.split.forget)
        fraction, polarity = self.config.mask_fraction, self.config.fidelity.mask_polarity

        def make() -> list[Tensor]:
            gradient = forget_gradient(network, self.held, self.images.train_labels, rows)
            return [part.cpu() for part in saliency_mask(gradient, fraction, polarity=polarity)]

        mask = [part.to(network.device) for part in self.group.tell(make)]
        self.mask_seconds += time.perf_counter() - started
        return mask
