"""Methods that relabel the forget set: random labels and SalUn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.training.batches import Examples, Phase, Rows, Sets
from empirical.training.step import Logits
from repro.base.parts import method
from repro.base.settings import check, setting


@method("random_label", label="Random label", marker="s", place=2)
@dataclass(frozen=True)
class RandomLabel:
    """`L = mean CE` over both sets, forget labels uniform over all classes and new in every epoch.

    The parts split the mean of a mixed batch by row: `retain` and `forget` add up to `all`.
    """

    relabel: bool = setting(True, "False keeps the true labels, as the released code does on Tiny ImageNet (D19)")
    parts = ("all", "retain", "forget")

    def __post_init__(self) -> None:
        check(self)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over both sets, mixed."""
        forget = sets.forget
        if self.relabel:
            labels = torch.randint(sets.classes, (len(forget),), generator=generator).to(forget.labels.device)
            forget = replace(forget, labels=labels)
        return [Phase({"mixed": join(forget, sets.retain)})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the mean over the batch of the rows that belong to `part`."""
        mixed = batch["mixed"]
        return mean_of(part, F.cross_entropy(logits(mixed.images), mixed.labels, reduction="none"), mixed)


def mean_of(part: str, losses: Tensor, mixed: Examples) -> Tensor:
    """Return what the rows of a part add to the mean of the losses `(b,)` of a mixed batch; `all` is the mean."""
    if part == "all":
        return losses.mean()
    rows = mixed.forget if part == "forget" else ~mixed.forget
    return torch.where(rows, losses, torch.zeros_like(losses)).sum() / len(losses)


def join(forget: Rows, retain: Rows) -> Rows:
    """Return both sets as one, with the retain batch size."""
    both = [torch.cat(pair) for pair in zip(
        (forget.index, forget.labels, forget.forget), (retain.index, retain.labels, retain.forget), strict=True
    )]  # fmt: skip
    return Rows(both[0], both[1], both[2], retain.batch_size)


@method("salun", label="SalUn", marker="^", place=3, copies=1.25)
@dataclass(frozen=True)
class SalUn(RandomLabel):
    """The loss of random labels (Fan et al. 2024); the saliency mask wraps whatever rule the run names.

    Weights outside the mask never move, weight decay and momentum included.
    """

    masked = True
