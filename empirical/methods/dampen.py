"""A method that edits weights once and trains nothing: selective synaptic dampening."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.methods.relabel import join
from empirical.training.batches import Examples, Phase, Rows, Sets
from empirical.training.rules import add_, multiply
from empirical.training.step import Logits, Start
from repro.base.parts import method
from repro.base.settings import check, setting


@method("ssd", label="SSD", marker="p", place=9)
@dataclass(frozen=True)
class Ssd:
    """`w <- min(lambda I_D / I_F, 1) w` wherever `I_F > a I_D`; no training follows (Foster et al. 2024).

    `I_D` and `I_F` are the importance of a weight for all training examples and for the forget set: the mean over
    batches of `g^2`, g the rule's gradient of the cross entropy in evaluation mode. Under SGD this is the paper's
    diagonal Fisher information. Epochs and learning rate play no part. F is a part of D, so that `I_F / I_D` is at most
    about |D| / |F|: a forget set of more than a tenth of the examples needs a smaller `selection`.

    The defaults are the paper's for ResNet-18.
    """

    selection: float = setting(10.0, "importance for F over that for all, from which a weight is dampened",
                               symbol="a", low=0, open_low=True)  # fmt: skip
    dampening: float = setting(1.0, "strength of the dampening; smaller is stronger", symbol="lambda", low=0)
    parts = ("all",)
    steps = False
    strengths = ("selection", (2.0, 5.0, 10.0, 20.0, 50.0))  # what a search tries in place of learning rates

    def __post_init__(self) -> None:
        check(self)

    def prepare(self, start: Start) -> None:
        """Dampen the original's weights in place."""
        retain, forget = start.sets.retain, start.sets.forget
        whole = replace(join(retain, forget), batch_size=retain.batch_size)
        pairs = zip(start.network.parameters(), importance(start, forget), importance(start, whole), strict=True)
        with torch.no_grad():
            for weight, ours, everywhere in pairs:
                dampened = weight * (self.dampening * everywhere / ours).clamp(max=1)
                weight.copy_(torch.where(ours > self.selection * everywhere, dampened, weight))

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return nothing to train on."""
        return []

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Raise: there are no batches."""
        raise NotImplementedError("SSD takes no step")


def importance(start: Start, rows: Rows) -> list[Tensor]:
    """Return the mean over batches of the squared gradient of the cross entropy, one tensor per parameter."""
    total = [torch.zeros_like(weight) for weight in start.network.parameters()]
    count = 0
    for batch in start.batches(rows):

        def loss(batch: Examples = batch) -> Tensor:
            return F.cross_entropy(start.network.logits(batch.images), batch.labels)

        gradient = start.gradient(loss, len(batch.labels))
        add_(total, multiply(gradient, gradient))
        count += 1
    return [one / count for one in total]
