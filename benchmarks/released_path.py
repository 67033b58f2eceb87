"""The baseline of the training benchmarks: the data path and the step of the paper's released code, as audited.

PIL transforms for every sample in DataLoader workers, float32, eager kernels, per-tensor loops for the perturbation,
`.item()` after every step. Written from the description of what that code computes, not from its text.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

WORKERS = min(12, os.cpu_count() or 1)


@contextmanager
def released_flags() -> Iterator[None]:
    """Set cuDNN as the released code does inside the block: deterministic kernels, no search for the fastest."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images decoded to PIL, augmented and converted one by one.

    Args:
        images: `(n, c, h, w)` uint8; labels: `(n,)`.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = labels.tolist()
        size = images.shape[-1]
        steps = [transforms.RandomCrop(size, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        self.transform: Callable[[Image.Image], Tensor] = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        pixels: Tensor = self.transform(Image.fromarray(self.pixels[index]))
        return pixels, self.labels[index]


def loader(images: Tensor, labels: Tensor, batch_size: int, workers: int = WORKERS) -> DataLoader[tuple[Tensor, int]]:
    """Return a shuffled loader whose workers restart every epoch."""
    data = PilImages(images, labels)
    return DataLoader(data, batch_size, shuffle=True, num_workers=workers, pin_memory=torch.cuda.is_available())


class Trainer:
    """One network trained the released way.

    Args:
        model: takes normalized images.
        mask: boolean per parameter for Sharp MinMax, True = forget side.
        modern: the same steps as anyone would write them today: bf16, channels last, compiled on a GPU.
    """

    def __init__(self, model: nn.Module, mask: list[Tensor] | None = None, *, modern: bool = False) -> None:
        if not modern:  # the released code leaves the layout alone, so the weights lie channels first
            for weight in model.parameters():
                weight.data = weight.data.contiguous()
        self.modern = modern
        self.model = torch.compile(model) if modern and next(model.parameters()).is_cuda else model
        self.mask = mask
        self.weights = list(model.parameters())
        self.optimizers = [torch.optim.SGD(self.weights, 0.01, momentum=0.9, weight_decay=5e-4) for _ in range(2)]
        self.device = self.weights[0].device

    def step(self, rule: str, batches: dict[str, tuple[Tensor, Tensor]]) -> float:
        """Take one step of `sgd`, `asam`, `neggrad` or `minmax` and wait for its loss."""
        ready = {name: self._move(batch) for name, batch in batches.items()}
        return RULES[rule](self, ready)

    def _move(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return (batch[0].to(self.device) - 0.5) / 0.25, batch[1].to(self.device)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the cross entropy of a batch."""
        layout = torch.channels_last if self.modern else torch.contiguous_format
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.modern):
            return F.cross_entropy(self.model(batch[0].to(memory_format=layout)), batch[1])

    def plain(self, loss: Callable[[], Tensor]) -> float:
        """Take an SGD step."""
        self.optimizers[0].zero_grad()
        value = loss()
        value.backward()
        self.optimizers[0].step()
        return value.item()

    def asam(
        self, loss: Callable[[], Tensor], *, sign: int = 1, mask: list[Tensor] | None = None, which: int = 0
    ) -> float:
        """Take an ASAM step: two passes, one Python loop over the tensors for each of perturb and restore."""
        self.optimizers[which].zero_grad()
        value = loss()
        value.backward()
        first = [_grad(w).clone() for w in self.weights]
        norms = [(w.detach().abs() * g).norm() for w, g in zip(self.weights, first, strict=True)]
        scale = 1.0 / (torch.norm(torch.stack(norms)) + 1e-12)
        saved = [w.detach().clone() for w in self.weights]
        with torch.no_grad():
            for w, g in zip(self.weights, first, strict=True):
                w.add_(w.square() * g * scale)
        self.optimizers[which].zero_grad()
        loss().backward()
        self._restore(saved, first, sign, mask)
        self.optimizers[which].step()
        return value.item()

    @torch.no_grad()
    def _restore(self, saved: list[Tensor], first: list[Tensor], sign: int, mask: list[Tensor] | None) -> None:
        for place, w in enumerate(self.weights):
            w.copy_(saved[place])
            combined = first[place] + sign * (_grad(w) - first[place])
            w.grad = combined * mask[place] if mask else combined


def _grad(weight: Tensor) -> Tensor:
    if weight.grad is None:
        raise RuntimeError("a weight took no part in the loss")
    return weight.grad


def _sgd(trainer: Trainer, batches: dict[str, tuple[Tensor, Tensor]]) -> float:
    return trainer.plain(lambda: trainer.loss(batches["retain"]))


def _asam(trainer: Trainer, batches: dict[str, tuple[Tensor, Tensor]]) -> float:
    return trainer.asam(lambda: trainer.loss(batches["retain"]))


def _neggrad(trainer: Trainer, batches: dict[str, tuple[Tensor, Tensor]]) -> float:
    return trainer.plain(lambda: 0.9 * trainer.loss(batches["retain"]) - 0.1 * trainer.loss(batches["forget"]))


def _minmax(trainer: Trainer, batches: dict[str, tuple[Tensor, Tensor]]) -> float:
    mask = trainer.mask or []
    rest = [~owned for owned in mask]
    first = trainer.asam(lambda: 0.9 * trainer.loss(batches["retain"]), mask=rest)
    return first + trainer.asam(lambda: -0.1 * trainer.loss(batches["forget"]), sign=-1, mask=mask, which=1)


RULES = {"sgd": _sgd, "asam": _asam, "neggrad": _neggrad, "minmax": _minmax}


def epoch(trainer: Trainer, rule: str, retain: DataLoader, forget: DataLoader | None = None) -> Iterator[float]:
    """Yield the loss of every step of one epoch, data loading included."""
    others = cycle(forget) if forget is not None else cycle([None])
    for batch, other in zip(retain, others, strict=False):
        yield trainer.step(rule, {"retain": batch} if other is None else {"retain": batch, "forget": other})
