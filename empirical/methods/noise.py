"""A method that forgets without forget images: it learns noise that the model calls anything but their labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.methods.teach import share
from empirical.training.batches import Examples, Phase, Sets
from empirical.training.step import Logits, Start
from repro.base.parts import method
from repro.base.settings import check, setting
from repro.records.identity import derive_seed


@method("unsir", label="UNSIR", marker="<", place=11, reads=("retain",))
@dataclass(frozen=True)
class Unsir:
    """Impair: `L = mean CE` over a batch of R and N, mixed; then repair: `L = b mean_R CE` (Tarun et al. 2023).

    For whole classes. N are noise images with the labels of a batch of F; no image of F is read. They are learned
    before the first step by Adam, which minimizes `-mean CE + p mean |x|^2` for the original in evaluation mode: images
    that it calls anything else.

    The defaults are the paper's on CIFAR-10: one epoch each of impairing, at rate 0.02, and of repairing, at 0.01,
    which b stands for here; give `epochs = 2`.
    """

    impair_epochs: int = setting(1, "epochs that train on noise", low=1)
    repair_weight: float = setting(0.5, "weight of the loss while repairing", symbol="b", low=0, open_low=True)
    retain_share: float = setting(0.2, "share of R that an epoch reads, drawn anew", low=0, high=1, open_low=True)
    noise_steps: int = setting(40, "steps in which noise is learned", low=0)
    noise_lr: float = setting(0.1, "Adam's rate for noise", low=0, open_low=True)
    noise_penalty: float = setting(0.1, "weight of the noise's mean squared length", symbol="p", low=0)
    parts = ("all",)

    def __post_init__(self) -> None:
        check(self)

    def prepare(self, start: Start) -> tuple[Tensor, Tensor]:
        """Return noise images as the model sees them, and their labels."""
        forget = start.sets.forget
        generator = torch.Generator().manual_seed(derive_seed(start.seed, "noise"))
        drawn = torch.randperm(len(forget), generator=generator)[: forget.batch_size]
        labels = forget.labels[drawn.to(forget.labels.device)]
        size = (len(drawn), *start.images.shape[1:])
        drawn_noise = torch.randn(size, generator=generator).to(start.network.device, start.network.dtype)
        noise = drawn_noise.requires_grad_()
        optimizer = torch.optim.Adam([noise], self.noise_lr)
        for _ in range(self.noise_steps):
            loss = -F.cross_entropy(start.network.logits(noise), labels)
            loss = loss + self.noise_penalty * noise.square().sum((1, 2, 3)).mean()
            (noise.grad,) = torch.autograd.grad(loss, [noise])
            optimizer.step()
        start.evaluated += self.noise_steps * len(labels)
        return noise.detach(), labels

    def phases(self, sets: Sets, epoch: int, generator: torch.Generator) -> list[Phase]:
        """Return one pass over a share of the retain set; its name says what is done with it."""
        name = "impair" if epoch < self.impair_epochs else "repair"
        return [Phase({name: share(sets.retain, self.retain_share, generator)})]

    def loss(self, part: str, batch: Mapping[str, Examples], logits: Logits) -> Tensor:
        """Return the loss of a retain batch, while impairing with the noise among it."""
        ((name, retain),) = batch.items()
        if name == "repair":
            return self.repair_weight * F.cross_entropy(logits(retain.images), retain.labels)
        noise, labels = logits.prepared  # one pass, so that BatchNorm sees images and noise together
        return F.cross_entropy(logits(torch.cat([retain.images, noise])), torch.cat([retain.labels, labels]))
