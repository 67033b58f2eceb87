"""The batches of an epoch: streams of rows, whose order follows from (seed, epoch) before the epoch starts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from empirical.data.images import ImageSet
from empirical.data.stream import Readers, ReadImages, Wanted
from empirical.settings.run_config import Hyperparameters
from repro.records.identity import derive_seed


class Examples(NamedTuple):
    """A batch of a stream.

    Attributes:
        images: `(b, c, h, w)`; raw at first, augmented and normalized when a method sees them.
        labels: `(b,)` int64.
        forget: `(b,)` boolean, True for rows of the forget set.
        draws: `(b, k)` uniform random numbers for the augmentation.
    """

    images: Tensor
    labels: Tensor
    forget: Tensor
    draws: Tensor


@dataclass(frozen=True)
class Rows:
    """Rows of the training images with the labels to train on.

    Attributes:
        index: `(n,)` int64 row numbers; labels: `(n,)` int64; forget: `(n,)` boolean.
        batch_size: rows per step.
    """

    index: Tensor
    labels: Tensor
    forget: Tensor
    batch_size: int

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Phase:
    """A part of an epoch in which every step reads a batch of every stream.

    Attributes:
        streams: rows by name; the first stream leads: the phase ends when it is used up, while the others repeat.
        cached: whether a repeating stream keeps its order and augmentation (D11).
    """

    streams: Mapping[str, Rows]
    cached: bool = False

    @property
    def steps(self) -> int:
        """Steps until the leading stream is used up."""
        lead = next(iter(self.streams.values()))
        return -(-len(lead) // lead.batch_size)


Segment = Phase  # its older name, for users' packages; until 0.4


@dataclass(frozen=True)
class Sets:
    """The rows that a method may read.

    Attributes:
        retain, forget: rows of the sets with their true labels.
        classes: number of classes.
        epochs: epochs of the whole stage.
    """

    retain: Rows
    forget: Rows
    classes: int
    epochs: int = 1


@dataclass(frozen=True)
class Order:
    """The rows of a stream for a whole phase, in the order of the steps."""

    index: Tensor
    labels: Tensor
    forget: Tensor
    draws: Tensor
    batch_size: int

    def inputs(self, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return row numbers, labels, forget flags and random numbers of a step."""
        cut = slice(step * self.batch_size, (step + 1) * self.batch_size)
        return self.index[cut], self.labels[cut], self.forget[cut], self.draws[cut]

    def batch(self, images: Tensor, step: int, own: slice = slice(None)) -> Examples:
        """Return the raw batch of a step, or only its rows `own`; no other image is read."""
        index, *rest = (part[own] for part in self.inputs(step))
        picked = images[index.to(images.device)].to(index.device, non_blocking=True)
        return Examples(picked, *rest)


class Feed:
    """Batches of images on disk, decoded before their steps and copied to the device without waiting.

    Args:
        images: the images.
        crops: whether images are cropped and mirrored when they are read, by their random numbers.
        device: device of the batches.
        own: returns this process's rows of a batch of a given size.
    """

    def __init__(self, images: ReadImages, *, crops: bool, device: torch.device, own: Callable[[int], slice]) -> None:
        self.images, self.crops, self.device, self.own = images, crops, device, own
        self._orders: Mapping[str, Order] = {}
        self._next = 0
        self._readers = Readers(images)  # the same from epoch to epoch
        self._read: Iterator[dict[str, Tensor]] = iter(())

    def __call__(self, orders: Mapping[str, Order], number: int) -> dict[str, tuple[Tensor, ...]]:
        """Return images, labels, forget flags and random numbers of a step, by stream."""
        if orders is not self._orders or number != self._next:
            self._orders, self._read = orders, self._readers(self._wanted(orders, number))
        self._next = number + 1
        images = next(self._read)
        rest = {name: order.inputs(number)[1:] for name, order in orders.items()}
        return {
            name: (images[name].to(self.device, non_blocking=True), *(part[self.own(len(part))] for part in parts))
            for name, parts in rest.items()
        }

    def _wanted(self, orders: Mapping[str, Order], start: int) -> list[Wanted]:
        """Return rows and random numbers of every step from `start` on; this waits for the device, once per phase."""
        here = {name: replace(one, index=one.index.cpu(), draws=one.draws.cpu()) for name, one in orders.items()}

        def wanted(order: Order, number: int) -> tuple[np.ndarray, np.ndarray | None]:
            index, _, _, draws = order.inputs(number)
            own = self.own(len(index))
            return index[own].numpy(), draws[own].numpy() if self.crops else None

        lead = next(iter(here.values()))
        steps = range(start, -(-len(lead.index) // lead.batch_size))
        return [{name: wanted(order, number) for name, order in here.items()} for number in steps]


@dataclass(frozen=True)
class Arranger:
    """Orders rows on the CPU, so that all devices and processes see the same batches.

    Attributes:
        seed: seed of the stage's orders.
        columns: uniform random numbers per row, for the augmentation.
        device: device of the orders.
    """

    seed: int
    columns: int
    device: torch.device = field(default=torch.device("cpu"))

    def generator(self, *names: object) -> torch.Generator:
        """Return the CPU generator for a purpose such as `("epoch", 3, "forget")`."""
        return torch.Generator().manual_seed(derive_seed(self.seed, *names))

    def arrange(self, phase: Phase, *names: object) -> dict[str, Order]:
        """Return the order of the rows of every stream of a phase."""
        steps = phase.steps
        orders = {}
        for place, (name, rows) in enumerate(phase.streams.items()):
            total = len(rows) if place == 0 else steps * min(rows.batch_size, len(rows))
            orders[name] = self._order(rows, total, self.generator(*names, name), cached=phase.cached)
        return orders

    def _order(self, rows: Rows, total: int, generator: torch.Generator, *, cached: bool) -> Order:
        count = len(rows)
        rounds = -(-total // count)
        first = torch.randperm(count, generator=generator)
        permutations = [first] + [
            first if cached else torch.randperm(count, generator=generator) for _ in range(rounds - 1)
        ]
        draws = torch.rand(count if cached else total, self.columns, generator=generator)
        picked = torch.cat(permutations)[:total].to(self.device)
        draws = (draws.repeat(rounds, 1) if cached else draws)[:total].to(self.device)
        batch_size = min(rows.batch_size, count)
        return Order(rows.index[picked], rows.labels[picked], rows.forget[picked], draws, batch_size)


def row_sets(
    images: ImageSet, settings: Hyperparameters, retain: np.ndarray, forget: np.ndarray, *, device: torch.device
) -> Sets:
    """Return the retain and forget rows with their true labels and the stage's batch sizes, on the device."""

    def rows(index: np.ndarray, batch_size: int, forgotten: bool) -> Rows:
        where = torch.from_numpy(np.ascontiguousarray(index))
        flags = torch.full((len(index),), forgotten)
        return Rows(where.to(device), images.train_labels[where].to(device), flags.to(device), batch_size)

    smaller = settings.forget_batch_size or settings.batch_size
    pair = rows(retain, settings.batch_size, False), rows(forget, smaller, True)
    return Sets(*pair, images.classes, settings.epochs)
