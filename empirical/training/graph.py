"""A whole training step as one CUDA graph: augmentation, passes, rule and optimizer in a single launch.

The first steps of every batch shape run eagerly on a side stream: they are real steps of the training and, at the same
time, the warm-up that capture needs. After that a step copies its rows into fixed buffers and replays the graph.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from empirical.models.network import Network
from empirical.training.batches import Examples, Order
from empirical.training.rules import copy_

WARMUP_STEPS = 3
Update = Callable[[Mapping[str, Examples]], Tensor]
Inputs = Mapping[str, tuple[Tensor, ...]]  # by stream: row numbers or images, labels, forget flags and draws
Fetch = Callable[[Mapping[str, Order], int], Inputs]


class Recording(NamedTuple):
    """Recorded work: the call that does it once more, and the tensor where each replay leaves its result."""

    replay: Callable[[], None]
    result: Tensor


class Graphs(Protocol):
    """What records work on a device and replays it; the tests have one that needs no GPU."""

    def run(self, work: Callable[[], Tensor]) -> Tensor: ...

    def capture(self, work: Callable[[], Tensor]) -> Recording: ...

    def wait(self) -> None: ...


class CudaGraphs:
    """CUDA graphs of work on a side stream, where capture must happen.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work on the side stream, in order with everything before and after it."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            result = work()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return result

    def capture(self, work: Callable[[], Tensor]) -> Recording:
        """Record the work; recording executes nothing."""
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on: one that pins the images of the next batches asks the driver for memory.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            result = work()
        return Recording(graph.replay, result)

    def wait(self) -> None:
        """Wait for the device, to tell the time of what was asked of it."""
        torch.cuda.synchronize(self.device)


@dataclass
class Stopwatch:
    """Seconds spent on what happens once: code generation in a step's first call, and recording."""

    seconds: float = 0.0

    @contextmanager
    def running(self, graphs: Graphs) -> Iterator[None]:
        """Add the time of a block, from an idle device to an idle device."""
        graphs.wait()
        started = time.perf_counter()
        yield
        graphs.wait()
        self.seconds += time.perf_counter() - started


@dataclass
class Captured:
    """The graph of one set of streams.

    Attributes:
        buffers: by stream, the row numbers or images, labels, forget flags and draws the graph reads.
        recording: None until the step is captured.
        eager_steps: steps taken so far without it.
        examples: gradients of single examples that one replay computes.
    """

    buffers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    recording: Recording | None = None
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
        fetch: returns the inputs of a step by stream: row numbers, or images that were read, then the rest.
        images: all training images `(n, c, h, w)` on the network's device; None where `fetch` gives images.
        counter: counts gradients while Python runs the step; replays are added to it.
        graphs: records and replays.
        preparing: takes the time of each first step, which generates code, and of recording.
    """

    def __init__(
        self, step: Update, network: Network, images: Tensor | None, *, fetch: Fetch, counter: Counter, graphs: Graphs,
        preparing: Stopwatch,
    ) -> None:  # fmt: skip
        self.step = step
        self.counter = counter
        self.network = network
        self.images = images
        self.fetch = fetch
        self.graphs = graphs
        self.preparing = preparing
        self.captured: dict[tuple[str, ...], Captured] = {}

    def __call__(self, orders: Mapping[str, Order], number: int) -> Tensor:
        """Take step `number` of a segment and return its loss, on the device."""
        inputs = self.fetch(orders, number)
        if any(len(inputs[name][0]) < order.batch_size for name, order in orders.items()):
            with self.network.uncompiled():
                return self.graphs.run(lambda: self._step(inputs))
        captured = self.captured.setdefault(tuple(inputs), Captured())
        if captured.recording is None and captured.eager_steps < WARMUP_STEPS:
            captured.eager_steps += 1
            first = captured.eager_steps == 1
            with self.preparing.running(self.graphs) if first else nullcontext():
                return self.graphs.run(lambda: self._step(inputs))
        recording = captured.recording or self._capture(captured, inputs)
        targets = [buffer for buffers in captured.buffers.values() for buffer in buffers]
        copy_(targets, [part for parts in inputs.values() for part in parts])
        recording.replay()
        self.counter.evaluated += captured.examples
        return recording.result.clone()

    def _capture(self, captured: Captured, inputs: Inputs) -> Recording:
        """Record the step on buffers of its own; the examples it counts are those of one replay."""
        captured.buffers = {name: tuple(part.clone() for part in parts) for name, parts in inputs.items()}
        counted = self.counter.evaluated
        with self.preparing.running(self.graphs):
            captured.recording = self.graphs.capture(lambda: self._step(captured.buffers))
        captured.examples, self.counter.evaluated = self.counter.evaluated - counted, counted
        return captured.recording

    def _step(self, inputs: Inputs) -> Tensor:
        held = self.images
        return self.step({
            name: Examples(first if held is None else held[first], *rest) for name, (first, *rest) in inputs.items()
        })  # fmt: skip
