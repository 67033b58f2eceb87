"""Training on the retain set alone: from fresh weights it is retraining, from the original it is fine-tuning."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.batches import Examples, Segment, Sets
from empirical.train import Scores


@dataclass(frozen=True)
class Finetune:
    """`L = mean_R CE`, with the original weights as the start."""

    parts = ("all",)

    def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]:
        """Return one pass over the retain set."""
        return [Segment({"retain": sets.retain})]

    def loss(self, part: str, batch: Mapping[str, Examples], scores: Scores) -> Tensor:
        """Return the cross entropy of the retain batch."""
        retain = batch["retain"]
        return F.cross_entropy(scores(retain.images), retain.labels)


@dataclass(frozen=True)
class Retrain(Finetune):
    """The reference: the same loss from fresh weights with the recipe of pretraining."""
