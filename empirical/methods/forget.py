"""Methods that push the forget set away: gradient ascent, NegGrad and SCRUB."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.training.batches import Examples, Phase, Sets
from empirical.training.step import Logits
from repro.base.parts import method
from repro.base.settings import check, setting


@method("gradient_ascent", label="Gradient ascent", marker="X", place=7, reads=("forget",))
@dataclass(frozen=True)
class GradientAscent:
    """`L = -mean_F CE`; the retain set is never read."""

    parts = ("all",)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over the forget set."""
        return [Phase({"forget": sets.forget})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the negated cross entropy of the forget batch."""
        forget = batch["forget"]
        return -F.cross_entropy(logits.forget(forget.images), forget.labels)


@method("neggrad", label="NegGrad", marker="o", place=1, beside=True)
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

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over the retain set, with a forget batch for each retain batch."""
        return [Phase({"retain": sets.retain, "forget": sets.forget}, self.cached)]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the loss of one part; `all` is the sum of the two."""
        if part == "all":
            return self.loss("retain", batch, logits) + self.loss("forget", batch, logits)
        examples = batch[part]
        if part == "retain":
            return self.alpha * F.cross_entropy(logits(examples.images), examples.labels)
        return -(1 - self.alpha) * F.cross_entropy(logits.forget(examples.images), examples.labels)


@method("scrub", label="SCRUB", marker="v", place=5, copies=1.0)
@dataclass(frozen=True)
class Scrub:
    """`-KL` on F in the first epochs, then `gamma CE + beta KL` on R in every epoch (Kurmanji et al. 2023).

    `KL = T^2 mean KL(original || current)` at temperature T; the original is frozen, in evaluation mode.

    The paper states none of the four settings, and its released code has no defaults: it stops without them. Ours come
    from public copies of SCRUB's own scripts. gamma 0.99, T = 4 and two ascent epochs are those of its small-scale
    scripts, beta 0.5 (there `alpha`) is that of the large-scale ones; the small-scale ones use 0.001.
    """

    beta: float = setting(0.5, "weight of the distance to the original on R", symbol="beta", low=0)
    gamma: float = setting(0.99, "weight of the cross entropy on R", symbol="gamma", low=0)
    temperature: float = setting(4.0, "softmax temperature", symbol="T", low=0, open_low=True)
    ascent_epochs: int = setting(2, "epochs that start with a pass over F", low=0)
    one_more: bool = setting(False, "one ascent epoch more, as in the released code (D25)")
    parts = ("all",)

    def __post_init__(self) -> None:
        check(self)

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return a pass over F, in the ascent epochs, and a pass over R."""
        ascends = epoch < self.ascent_epochs + self.one_more
        forget, retain = Phase({"forget": sets.forget}), Phase({"retain": sets.retain})
        return [forget, retain] if ascends else [retain]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the loss of a forget or of a retain batch."""
        if "forget" in batch:
            images = batch["forget"].images
            return -self.distance(logits.forget(images), logits.original(images))
        retain = batch["retain"]
        current = logits(retain.images)
        distance = self.distance(current, logits.original(retain.images))
        return self.gamma * F.cross_entropy(current, retain.labels) + self.beta * distance

    def distance(self, current: Tensor, original: Tensor) -> Tensor:
        """Return `T^2 mean KL(original || current)` of logits `(b, classes)`."""
        ours, theirs = (F.log_softmax(logits / self.temperature, dim=1) for logits in (current, original))
        return self.temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
