"""A whole training step as a CUDA graph: augmentation, passes, rule and optimizer in a single launch.

The first steps of every batch shape run eagerly on a side stream: they are real training steps and also the warm-up
that capture needs. After that, a step copies its rows into fixed buffers and replays the graph.

All graphs of a stage share a memory pool, because only one replays at a time and its result is copied at once. Eager
work cannot use that pool, so an eager step first releases the graphs; they are recorded again after it. A stage
therefore holds the activations of one step, never of two.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from empirical.training.batches import Examples, Order
from empirical.training.rules import copy_
from empirical.training.step import Step

WARMUP_STEPS = 3
ODD_WARMUP_STEPS = 1  # the optimizer has its moments by then; only kernels for the other shape are missing
Inputs = Mapping[str, tuple[Tensor, ...]]  # by stream: row numbers or images, labels, forget flags and draws
Fetch = Callable[[Mapping[str, Order], int], Inputs]


class Recording(NamedTuple):
    """Recorded work: the call that replays it, and the tensor that holds the result of the last replay."""

    replay: Callable[[], None]
    result: Tensor


class Graphs(Protocol):
    """Records work on a device and replays it; tests have a version that needs no GPU."""

    def execute(self, work: Callable[[], Tensor]) -> Tensor: ...

    def capture(self, work: Callable[[], Tensor]) -> Recording: ...

    def release(self) -> None: ...

    def wait(self) -> None: ...


class CudaGraphs:
    """CUDA graphs of work on a side stream, where capture must happen.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def execute(self, work: Callable[[], Tensor]) -> Tensor:
        """Do the work on the side stream, in order with everything before and after it."""
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            result = work()
        torch.cuda.current_stream(self.device).wait_stream(self.stream)
        return result

    def capture(self, work: Callable[[], Tensor]) -> Recording:
        """Record the work without executing it.

        An error in the work restores the stream. `torch.cuda.graph` then raises an error of its own, so the original
        error is in its `__context__`.
        """
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        try:
            # Other threads must be able to continue: pinning images of the next batches needs memory from the driver.
            with torch.cuda.graph(graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"):
                result = work()
        finally:
            torch.cuda.set_stream(before)
        return Recording(graph.replay, result)

    def release(self) -> None:
        """Free the memory of deleted graphs and take a new pool, as torch refuses a pool without graphs."""
        torch.cuda.empty_cache()
        self.pool = torch.cuda.graph_pool_handle()

    def wait(self) -> None:
        """Wait for the device, so that its work can be timed."""
        torch.cuda.synchronize(self.device)


@dataclass
class Captured:
    """The graph of a step for given streams and batch sizes.

    Attributes:
        buffers: by stream, the row numbers or images, labels, forget flags and random numbers that the graph reads.
        recording: None until the step is captured.
        eager_steps: steps taken so far without the graph.
        examples: gradients of single examples in a replay.
    """

    buffers: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    recording: Recording | None = None
    eager_steps: int = 0
    examples: int = 0


class GraphRunner:
    """Runs the steps of a training stage; it replays a graph for each combination of streams and batch sizes.

    The smaller last batch of an epoch has its own graph of the uncompiled model: for a single step per epoch, another
    compilation would cost more than it saves.

    Args:
        step: the update to capture; it counts gradients when Python runs it, and replays are added.
        images: all training images `(n, c, h, w)` on the network's device; None if `fetch` returns images.
        fetch: returns the inputs of a step by stream: row numbers or images, then labels, flags and random numbers.
        graphs: records and replays.
    """

    def __init__(self, step: Step, images: Tensor | None, *, fetch: Fetch, graphs: Graphs) -> None:
        self.step = step
        step.fixed = True
        self.images = images
        self.fetch = fetch
        self.graphs = graphs
        self.captured: dict[tuple[tuple[str, int], ...], Captured] = {}

    def __call__(self, orders: Mapping[str, Order], number: int) -> Tensor:
        """Take step `number` of a phase and return its loss on the device."""
        inputs = self.fetch(orders, number)
        sizes = {name: len(parts[0]) for name, parts in inputs.items()}
        captured = self.captured.setdefault(tuple(sizes.items()), Captured())
        odd = any(sizes[name] < order.batch_size for name, order in orders.items())
        with self.step.uncompiled() if odd else nullcontext():
            if captured.recording is None and captured.eager_steps < (ODD_WARMUP_STEPS if odd else WARMUP_STEPS):
                self.step.count("eager", odd=odd)
                return self._eager(captured, inputs)
            recording = captured.recording or self._capture(captured, inputs)
        targets = [buffer for buffers in captured.buffers.values() for buffer in buffers]
        copy_(targets, [part for parts in inputs.values() for part in parts])
        recording.replay()
        self.step.logits.evaluated += captured.examples
        self.step.count("captured", odd=odd)
        return recording.result.clone()

    def _eager(self, captured: Captured, inputs: Inputs) -> Tensor:
        """Take a step from Python, after freeing the memory of the graphs."""
        if any(other.recording for other in self.captured.values()):
            for other in self.captured.values():
                other.recording = None
            self.graphs.release()
        captured.eager_steps += 1
        with self._preparing() if captured.eager_steps == 1 else nullcontext():
            return self.graphs.execute(lambda: self._step(inputs))

    def _capture(self, captured: Captured, inputs: Inputs) -> Recording:
        """Record the step on its own buffers, and count the examples of a replay."""
        captured.buffers = {name: tuple(part.clone() for part in parts) for name, parts in inputs.items()}
        counted = self.step.logits.evaluated
        with self._preparing():
            captured.recording = self.graphs.capture(lambda: self._step(captured.buffers))
        captured.examples, self.step.logits.evaluated = self.step.logits.evaluated - counted, counted
        return captured.recording

    @contextmanager
    def _preparing(self) -> Iterator[None]:
        """Add the time of a block that happens once to the step's, measured with an idle device at both ends."""
        self.graphs.wait()
        started = time.perf_counter()
        yield
        self.graphs.wait()
        self.step.preparing += time.perf_counter() - started

    def _step(self, inputs: Inputs) -> Tensor:
        held = self.images
        return self.step({
            name: Examples(first if held is None else held[first], *rest) for name, (first, *rest) in inputs.items()
        })  # fmt: skip
