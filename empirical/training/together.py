"""Processes started by torchrun that train a network together: each reads its parts of every batch.

A batch is cut into `batch_parts`, whose gradients are summed. The number of processes changes only the order of that
sum. BatchNorm normalizes each part by itself in any process, and its running statistics end as if a single process had
seen the parts one after the other.
"""

# pyright: reportPrivateImportUsage=false

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from repro.base.settings import reject

T = TypeVar("T")
PATIENCE = datetime.timedelta(days=7)  # the longest wait while the first process measures or reads
EXCHANGE = datetime.timedelta(minutes=30)  # the longest wait for gradients of a process; after it, the process is lost


@dataclass(frozen=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: rank of this process, from 0; size: number of processes.
        patient: torch's group for messages of the first process, with a long time limit; None: the default group.
    """

    rank: int = 0
    size: int = 1
    patient: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, in place, by a single exchange; all get the same bits."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def broadcast(self, make: Callable[[], T]) -> T:
        """Return the result of `make` in the first process to all processes."""
        if self.size == 1:
            return make()
        told: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"), group=self.patient)
        return told[0]

    def most(self, number: int) -> int:
        """Return the largest value of a number over the processes."""
        if self.size == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def own_parts(self, count: int) -> range:
        """Return the numbers of this process's parts of a batch of `count` parts.

        Raises:
            ConfigError: if the processes cannot have equally many parts.
        """
        if count % self.size:
            raise reject("batch_parts", count, f"a multiple of the {self.size} processes", "all take the same number")
        own = count // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    @contextmanager
    def merged_statistics(self, model: nn.Module) -> Iterator[None]:
        """Leave BatchNorm's running statistics as if the processes had seen their batches in the order of their ranks.

        An update is `r <- (1 - m) r + m s`. After n_k updates process k is at `(1 - m)^n_k r + b_k`; all processes one
        after the other end at `(1 - m)^(sum n) r + sum_k (1 - m)^(n_(k+1) + ...) b_k`.
        """
        layers = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
        layers = [one for one in layers if not isinstance(one, nn.SyncBatchNorm) and one.running_mean is not None]
        if self.size == 1 or not layers:
            yield
            return
        counts = [one.num_batches_tracked for one in layers if one.num_batches_tracked is not None]
        held = [tensor for one in layers for tensor in (one.running_mean, one.running_var) if tensor is not None]
        # All statistics form a single vector, so that the number of kernels does not grow with the layers.
        start, seen = torch.cat(held), counts[0].clone()
        widths = [(1 - (one.momentum or 0.0), 2 * one.num_features) for one in layers]
        keep = torch.cat([
            start.new_full((sum(width for _, width in run),), share)
            for share, run in groupby(widths, key=lambda one: one[0])
        ])  # fmt: skip
        yield
        updates = torch.zeros(self.size, dtype=torch.long, device=seen.device)
        updates[self.rank] = counts[0] - seen
        dist.all_reduce(updates)
        later = updates.flip(0).cumsum(0).flip(0) - updates
        with torch.no_grad():
            own = torch.cat(held) - keep ** updates[self.rank] * start
            merged = keep ** later[self.rank] * own + (keep ** updates.sum() * start if self.first else 0)
            dist.all_reduce(merged)
            torch._foreach_copy_(held, list(merged.split([len(tensor) for tensor in held])))
            torch._foreach_copy_(counts, [seen + updates.sum()] * len(counts))


ALONE = Processes()


@contextmanager
def torchrun_processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, if any, and leave them at the end.

    Args:
        device: `auto`, `cpu` or `cuda`; each process takes the GPU of its local rank.

    Raises:
        ConfigError: if `device` names a single GPU, which all processes would share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if ":" in device:
        raise reject("device", device, "cuda under torchrun", "each process takes the GPU of its local rank")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=EXCHANGE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        dist.destroy_process_group()


def cut(total: int, parts: int, own: range) -> list[slice]:
    """Return the rows of the parts `own` in a batch of `total` rows; sizes differ by at most 1, larger parts first."""
    size, more = divmod(total, parts)
    return [slice(n * size + min(n, more), (n + 1) * size + min(n + 1, more)) for n in own]
