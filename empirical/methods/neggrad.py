"""NegGrad: descend on the retain set while ascending on the forget set."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.batches import Examples, Segment, Sets
from empirical.train import Scores
from repro.fields import check, setting


@dataclass(frozen=True)
class NegGrad:
    """`L = alpha mean_R CE - (1 - alpha) mean_F CE` (Kurmanji et al. 2023, NegGrad+; the paper's NegGrad).

    R and F are separate forward passes, so each normalizes its own batch. The forget set starts over, in a new order
    and freshly augmented, until the retain set is used up.
    """

    alpha: float = setting(0.9, "weight of the retain loss", symbol="alpha", low=0, high=1)
    cached: bool = setting(False, "repeat the first forget pass (D11)")
    parts = ("all", "retain", "forget")

    def __post_init__(self) -> None:
        check(self)

    def segments(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Segment]:
        """Return one pass over the retain set, with a forget batch beside each retain batch."""
        return [Segment({"retain": sets.retain, "forget": sets.forget}, self.cached)]

    def loss(self, part: str, batch: Mapping[str, Examples], scores: Scores) -> Tensor:
        """Return the loss of one part; `all` is the sum of the two."""
        if part == "all":
            return self.loss("retain", batch, scores) + self.loss("forget", batch, scores)
        examples = batch[part]
        if part == "retain":
            return self.alpha * F.cross_entropy(scores(examples.images), examples.labels)
        return -(1 - self.alpha) * F.cross_entropy(scores.forget(examples.images), examples.labels)
