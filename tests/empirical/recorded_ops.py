"""A stand-in for CUDA graphs on a CPU: it records the kernels of a step and replays them on the same memory.

A CUDA graph is the list of kernels that were launched while it was captured, with their addresses and numbers. On
replay it knows nothing of Python: a learning rate that was a float, an epoch that was an int, a branch that was taken
and an optimizer's "is this my first step?" stay what they were at capture, and a tensor that Python has replaced since
is still read at its old place. Here a kernel is an operator as torch dispatches it, below autograd, with the same
consequences. What CUDA refuses inside a capture is refused here too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from empirical.training.graph import Recording

aten = torch.ops.aten
REFUSED = {
    aten._local_scalar_dense.default: "waits for the device: item(), float(), bool() or an if on a tensor",
    aten.nonzero.default: "waits for the device: the number of results depends on the values",
    aten.masked_select.default: "waits for the device: the number of results depends on the values",
    aten.lift_fresh.default: "copies Python numbers to the device: torch.tensor() of a list",
}


class RecordedOps(TorchDispatchMode):
    """The operators of one capture.

    Attributes:
        calls: operator, arguments and results, in order; they keep every tensor, so that no address is used twice.
        found: the contents of everything that was there before, by address: recording must change nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()
        self.found: dict[int, tuple[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in REFUSED:
            raise RuntimeError(f"operation not permitted while capturing: {func} {REFUSED[func]}")
        if func.namespace == "profiler":
            return func(*args, **kwargs)
        for tensor in tensors((args, kwargs)):
            if address(tensor) not in self.made and address(tensor) not in self.found:
                self.found[address(tensor)] = (tensor.untyped_storage(), tensor.untyped_storage().clone())
        results = func(*args, **kwargs)
        self.made |= {address(tensor) for tensor in tensors(results)} - self.found.keys()
        self.calls.append((func, *tree_map_only(Tensor, lambda tensor: tensor.detach(), (args, kwargs, results))))
        return results

    def undo(self) -> None:
        """Put back everything that recording changed: a capture executes nothing."""
        for storage, before in self.found.values():
            storage.copy_(before)

    @torch.no_grad()
    def replay(self) -> None:
        """Call the operators again, each on its old arguments and into its old results."""
        for func, args, kwargs, results in self.calls:
            again = func(*args, **kwargs)
            for old, new in zip(tensors(results), tensors(again), strict=True):
                if address(old) != address(new):
                    old.copy_(new)


class ReplayOnCpu:
    """Records with `RecordedOps`; in the place of `CudaGraphs`."""

    def __init__(self) -> None:
        self.recordings: list[RecordedOps] = []

    def execute(self, work: Callable[[], Tensor]) -> Tensor:
        return work()

    def capture(self, work: Callable[[], Tensor]) -> Recording:
        recorded = RecordedOps()
        with recorded:
            result = work()
        recorded.undo()
        self.recordings.append(recorded)
        return Recording(recorded.replay, result)

    def release(self) -> None:
        """Memory of a recording goes with it."""

    def wait(self) -> None:
        """Nothing is under way when Python goes on."""


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
