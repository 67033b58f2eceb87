"""A whole training step as one CUDA graph: augmentation, passes, rule and optimizer without a single launch from Python.

The first steps of every batch shape run eagerly on a side stream: they are real steps of the training and, at the same
time, the warm-up that capture needs. After that a step copies its rows into fixed buffers and replays the graph.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from empirical.batches import Examples, Order
from empirical.train import Step

WARMUP_STEPS = 3
Shape = tuple[tuple[str, int], ...]


@dataclass
class Captured:
    """The graph of one batch shape.

    Attributes:
        buffers: by stream, the row numbers, labels, forget flags and draws the graph reads.
        loss: where the graph leaves its loss.
        graph: None until it is captured.
        eager_steps: steps taken so far without it.
    """

    buffers: dict[str, tuple[Tensor, Tensor, Tensor, Tensor]] = field(default_factory=dict)
    loss: Tensor | None = None
    graph: torch.cuda.CUDAGraph | None = None
    eager_steps: int = 0


class GraphRunner:
    """Runs steps of one training stage, replaying a graph for every batch shape that recurs.

    Args:
        step: the update to capture.
        images: all training images `(n, c, h, w)` on the step's device.
    """

    def __init__(self, step: Step, images: Tensor) -> None:
        self.step = step
        self.images = images
        self.shapes: dict[Shape, Captured] = {}
        self.stream = torch.cuda.Stream(images.device)

    def __call__(self, orders: Mapping[str, Order], number: int) -> Tensor:
        """Take step `number` of a segment and return its loss, on the device."""
        rows = {name: order.rows(number) for name, order in orders.items()}
        captured = self.shapes.setdefault(tuple((name, len(row[0])) for name, row in rows.items()), Captured())
        if captured.graph is None and captured.eager_steps < WARMUP_STEPS:
            captured.eager_steps += 1
            return self._eager(rows)
        if captured.graph is None:
            self._capture(captured, rows)
        return self._replay(captured, rows)

    def _eager(self, rows: Mapping[str, tuple[Tensor, ...]]) -> Tensor:
        """Take a real step on the side stream, where capture will happen."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            loss = self.step(self._batch(rows))
        torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def _capture(self, captured: Captured, rows: Mapping[str, tuple[Tensor, ...]]) -> None:
        """Record the step; recording executes nothing."""
        captured.buffers = {name: tuple(part.clone() for part in row) for name, row in rows.items()}  # type: ignore[misc]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            captured.loss = self.step(self._batch(captured.buffers))
        captured.graph = graph

    def _replay(self, captured: Captured, rows: Mapping[str, tuple[Tensor, ...]]) -> Tensor:
        if captured.graph is None or captured.loss is None:
            raise RuntimeError("replay before capture")
        targets = [buffer for buffers in captured.buffers.values() for buffer in buffers]
        torch._foreach_copy_(targets, [part for row in rows.values() for part in row])
        captured.graph.replay()
        return captured.loss.clone()

    def _batch(self, rows: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Examples]:
        return {name: Examples(self.images[index], *rest) for name, (index, *rest) in rows.items()}
