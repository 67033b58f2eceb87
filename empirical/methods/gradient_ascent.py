"""Gradient ascent: undo training on the forget set."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.batches import Examples, Segment, Sets
from empirical.train import Scores


@dataclass(frozen=True)
class GradientAscent:
    """`L = -mean_F CE`; the retain set is never read."""

    parts = ("all",)

    def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]:
        """Return one pass over the forget set."""
        return [Segment({"forget": sets.forget})]

    def loss(self, part: str, batch: Mapping[str, Examples], scores: Scores) -> Tensor:
        """Return the negated cross entropy of the forget batch."""
        forget = batch["forget"]
        return -F.cross_entropy(scores.forget(forget.images), forget.labels)
