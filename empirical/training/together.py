"""Processes that train one network together, as torchrun starts them: each reads its parts of every batch.

A batch is cut into `batch_parts`, whose gradients are summed. How many processes share them out changes no number
beyond the order of a sum: BatchNorm normalizes a part by itself wherever it is computed, and its running statistics end
as if one process had seen the parts one after the other.
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
PATIENCE = datetime.timedelta(days=7)  # how long the others wait while the first measures or reads
EXCHANGE = datetime.timedelta(minutes=30)  # how long one waits for the gradients of another: longer, and it is gone


@dataclass(frozen=True)
class Processes:
    """The processes of one training.

    Attributes:
        rank: this one's place, from 0; size: how many there are.
        patient: torch's group for what the first process tells the others, however long it takes; None: the default.
    """

    rank: int = 0
    size: int = 1
    patient: Any = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, in place; one exchange, and the same bits everywhere."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def tell(self, make: Callable[[], T]) -> T:
        """Return what `make` gives the first process, to all of them."""
        if self.size == 1:
            return make()
        told: list[Any] = [make() if self.first else None]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"), group=self.patient)
        return told[0]

    def most(self, number: int) -> int:
        """Return the largest of a number's values over the processes."""
        if self.size == 1:
            return number
        found = torch.tensor(number)
        dist.all_reduce(found, op=dist.ReduceOp.MAX)
        return int(found)

    def parts(self, count: int) -> range:
        """Return which of a batch's parts are this process's.

        Raises:
            ConfigError: when the processes cannot share them out evenly.
        """
        if count % self.size:
            raise reject("batch_parts", count, f"a multiple of the {self.size} processes", "each takes as many parts")
        own = count // self.size
        return range(self.rank * own, (self.rank + 1) * own)

    @contextmanager
    def merged_statistics(self, model: nn.Module) -> Iterator[None]:
        """Leave BatchNorm's running statistics as if the processes had seen their batches in the order of their ranks.

        An update is `r <- (1 - m) r + m s`. With n_k of them, process k ends at `(1 - m)^n_k r + b_k`; all after one
        another end at `(1 - m)^(sum n) r + sum_k (1 - m)^(n_(k+1) + ...) b_k`.
        """
        layers = [one for one in model.modules() if isinstance(one, _BatchNorm) and one.track_running_stats]
        layers = [one for one in layers if not isinstance(one, nn.SyncBatchNorm) and one.running_mean is not None]
        if self.size == 1 or not layers:
            yield
            return
        counts = [one.num_batches_tracked for one in layers if one.num_batches_tracked is not None]
        held = [tensor for one in layers for tensor in (one.running_mean, one.running_var) if tensor is not None]
        # All statistics as one vector: a handful of kernels, however many layers there are.
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
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, if it did, and leave them at the end.

    Args:
        device: `auto`, `cpu` or `cuda`; each process takes the GPU of its local rank.

    Raises:
        ConfigError: when `device` names one GPU, which all processes would share.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if ":" in device:
        raise reject("device", device, "cuda under torchrun", "each process takes the GPU of its own place")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=EXCHANGE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        dist.destroy_process_group()


def cut(total: int, parts: int, own: range) -> list[slice]:
    """Return the rows of some parts of a batch of `total` rows: sizes differ by at most one, the larger come first."""
    size, more = divmod(total, parts)
    return [slice(n * size + min(n, more), (n + 1) * size + min(n + 1, more)) for n in own]
