"""Arithmetic on lists of tensors, one kernel launch a list instead of one a tensor."""
# pyright: reportPrivateImportUsage=false

from collections.abc import Sequence

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


def add(left: Tensors, right: Tensors, scale: float = 1.0) -> list[Tensor]:
    """Return `left + scale * right`, tensor by tensor."""
    return list(torch._foreach_add(list(left), list(right), alpha=scale))


def add_(target: Tensors, other: Tensors) -> None:
    """Add `other` to `target` in place."""
    torch._foreach_add_(list(target), list(other))


def multiply(left: Tensors, right: Tensors | Tensor) -> list[Tensor]:
    """Return `left * right`, tensor by tensor or by one 0-dimensional tensor."""
    return list(torch._foreach_mul(list(left), right if isinstance(right, Tensor) else list(right)))


def norm(tensors: Tensors) -> Tensor:
    """Return the Euclidean length of all entries together, without waiting for the device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


def copy_(target: Tensors, source: Tensors) -> None:
    """Copy `source` over `target` in place."""
    torch._foreach_copy_(list(target), list(source))
