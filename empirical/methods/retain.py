"""Methods that read the retain set alone: retraining, fine-tuning and L1-sparse."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.training.batches import Examples, Phase, Sets
from empirical.training.step import Logits
from repro.base.parts import method
from repro.base.settings import check, setting


@method("finetune", label="Fine-tune", marker="P", place=6, reads=("retain",))
@dataclass(frozen=True)
class Finetune:
    """`L = mean_R CE`, with the original weights as the start."""

    parts = ("all",)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over the retain set."""
        return [Phase({"retain": sets.retain})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the cross entropy of the retain batch."""
        retain = batch["retain"]
        return F.cross_entropy(logits(retain.images), retain.labels)


@method("retrain", label="Retrain", marker="*", place=8, reads=("retain",))
@dataclass(frozen=True)
class Retrain(Finetune):
    """The reference: the same loss from fresh weights with the recipe of pretraining."""


@method("l1_sparse", label="L1-sparse", marker="D", place=4, reads=("retain",))
@dataclass(frozen=True)
class L1Sparse(Finetune):
    """`L = mean_R CE + a_t sum |w|`, `a_t = strength max(0, 1 - t / (epochs - dense_epochs))` (Jia et al. 2023).

    The penalty is part of the loss in both passes of SAM. t is the epoch.
    """

    strength: float = setting(5e-4, "penalty in the first epoch", symbol="a_0", low=0)
    dense_epochs: int = setting(0, "last epochs without penalty", low=0)
    epochs: int = setting(5, "epochs of the stage; taken from the run", low=1)

    def __post_init__(self) -> None:
        check(self)

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return cross entropy and penalty; the epoch is read on the device."""
        sparse = self.epochs - self.dense_epochs
        decay = (1 - logits.epoch / sparse).clamp(min=0) if sparse > 0 else 0.0
        size = torch.stack([weight.abs().sum() for weight in logits.network.parameters()]).sum()
        return super().loss(part, batch, logits) + self.strength * decay * size
