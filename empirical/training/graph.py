"""A whole training step as one CUDA graph: augmentation, passes, rule and optimizer in a single launch.

The first steps of every batch shape run eagerly on a side stream: they are real steps of the training and, at the same
time, the warm-up that capture needs. After that a step copies its rows into fixed buffers and replays the graph.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from empirical.models.network import Network
from empirical.training.batches import Examples, Order
from empirical.training.rules import copy_

WARMUP_STEPS = 3
Step = Callable[[Mapping[str, Examples]], Tensor]
Rows = Mapping[str, tuple[Tensor, ...]]


@dataclass
class Captured:
    """The graph of one set of streams.

    Attributes:
        buffers: by stream, the row numbers, labels, forget flags and draws the graph reads.
        loss: where the graph leaves its loss.
        graph: None until it is captured.
        eager_steps: steps taken so far without it.
        examples: gradients of single examples that one replay computes.
    """

    buffers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    loss: Tensor | None = None
    graph: torch.cuda.CUDAGraph | None = None
    eager_steps: int = 0
    examples: int = 0


class Counter(Protocol):
    """What counts gradients of single examples."""

    evaluated: int


class GraphRunner:
    """Runs the steps of one training stage, replaying a graph for every set of streams with full batches.

    The odd last batch of an epoch runs eagerly on the uncompiled model: it is one step an epoch, and another graph or
    another compilation would cost more than it saves.

    Args:
        step: the update to capture.
        network: the model being trained; compiled where a compiler is installed.
        images: all training images `(n, c, h, w)` on the network's device.
        counter: counts gradients while Python runs the step; replays are added to it.
    """

    def __init__(self, step: Step, network: Network, images: Tensor, counter: Counter) -> None:
        self.step = step
        self.counter = counter
        self.network = network
        self.images = images
        self.captured: dict[tuple[str, ...], Captured] = {}
        self.stream = torch.cuda.Stream(images.device)

    def __call__(self, orders: Mapping[str, Order], number: int) -> Tensor:
        """Take step `number` of a segment and return its loss, on the device."""
        rows = {name: order.rows(number) for name, order in orders.items()}
        if any(len(rows[name][0]) < order.batch_size for name, order in orders.items()):
            with self.network.uncompiled():
                return self._eager(rows)
        captured = self.captured.setdefault(tuple(rows), Captured())
        if captured.graph is None and captured.eager_steps < WARMUP_STEPS:
            captured.eager_steps += 1
            return self._eager(rows)
        if captured.graph is None:
            self._capture(captured, rows)
        return self._replay(captured, rows)

    def _eager(self, rows: Rows) -> Tensor:
        """Take a real step on the side stream, where capture will happen."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            loss = self.step(self._batch(rows))
        torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def _capture(self, captured: Captured, rows: Rows) -> None:
        """Record the step; recording executes nothing."""
        captured.buffers = {name: tuple(part.clone() for part in row) for name, row in rows.items()}
        graph = torch.cuda.CUDAGraph()
        counted = self.counter.evaluated
        with torch.cuda.graph(graph, stream=self.stream):
            captured.loss = self.step(self._batch(captured.buffers))
        captured.examples, self.counter.evaluated = self.counter.evaluated - counted, counted
        captured.graph = graph

    def _replay(self, captured: Captured, rows: Rows) -> Tensor:
        if captured.graph is None or captured.loss is None:
            raise RuntimeError("replay before capture")
        targets = [buffer for buffers in captured.buffers.values() for buffer in buffers]
        copy_(targets, [part for row in rows.values() for part in row])
        captured.graph.replay()
        self.counter.evaluated += captured.examples
        return captured.loss.clone()

    def _batch(self, rows: Rows) -> dict[str, Examples]:
        return {name: Examples(self.images[index], *rest) for name, (index, *rest) in rows.items()}
