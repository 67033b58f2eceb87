"""The saliency mask of SalUn and Sharp MinMax: the weights with the largest gradient on the forget set."""

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.models.network import Network
from empirical.training.rules import add_


def forget_gradient(
    network: Network, images: Tensor, labels: Tensor, rows: Tensor, *, batch_size: int = 256
) -> list[Tensor]:
    """Return `|sum over F of grad CE|`, a tensor per parameter, with the model in evaluation mode.

    Args:
        network: the original model.
        images: `(n, c, h, w)` raw training images; labels: `(n,)`.
        rows: row numbers of the forget set.
        batch_size: images per pass.
    """
    weights = network.parameters()
    total = [torch.zeros_like(weight) for weight in weights]
    network.model.eval()
    for chunk in rows.split(batch_size):
        scores = network.logits(network.normalize(images[chunk.to(images.device)].to(network.device)))
        loss = F.cross_entropy(scores, labels[chunk].to(network.device), reduction="sum")
        add_(total, torch.autograd.grad(loss, weights, materialize_grads=True))
    network.model.train()
    return [gradient.abs() for gradient in total]


def saliency_mask(magnitude: list[Tensor], fraction: float, *, polarity: str = "high") -> list[Tensor]:
    """Return boolean masks that mark the fraction of weights with the largest forget gradient (True = forget side).

    All parameters are ranked together and exactly `int(fraction * weights)` are marked; ties are ordered by position.
    `polarity="low"` marks the smallest gradients, as the released code does (D3). Each mask has the memory layout of
    its weight; otherwise `torch.where` would change the layout of gradients, and optimizers would copy them.
    """
    flat = torch.cat([tensor.flatten() for tensor in magnitude])
    order = torch.argsort(flat, descending=polarity == "high", stable=True)
    marked = torch.zeros_like(flat, dtype=torch.bool)
    marked[order[: int(fraction * len(flat))]] = True
    sizes = [tensor.numel() for tensor in magnitude]
    masks = [torch.empty_like(tensor, dtype=torch.bool) for tensor in magnitude]
    return [mask.copy_(part.view_as(mask)) for mask, part in zip(masks, marked.split(sizes), strict=True)]
