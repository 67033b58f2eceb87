"""Sharpness as curvature: the largest eigenvalue of the Hessian of the retain loss."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical import tensors
from empirical.evaluation import ROLES, Evaluation, prefix
from empirical.rules import trainable
from repro.identity import derive_seed

LARGEST = 512
STEPS = 30
TOLERANCE = 1e-3


def top_eigenvalues(evaluation: Evaluation) -> dict[str, float]:
    """Return the top Hessian eigenvalue of the mean cross entropy on at most 512 retained images, for each model."""
    rows = np.random.default_rng(evaluation.seed).permutation(evaluation.split.retain)[:LARGEST]
    index = torch.from_numpy(np.sort(rows))
    images, labels = evaluation.images.train_images[index], evaluation.images.train_labels[index]
    found = {}
    for role in ROLES:
        network = evaluation.networks[role]()
        network.model.eval()
        for weight in network.model.parameters():
            weight.requires_grad_(True)

        def loss(network=network) -> Tensor:
            scores = network.logits(network.prepare(images.to(network.device)))
            return F.cross_entropy(scores, labels.to(network.device))

        generator = torch.Generator().manual_seed(derive_seed(evaluation.seed, "hessian"))
        found[f"{prefix(role)}hessian_top"] = top_eigenvalue(loss, trainable(network.model), generator)
    return found


def top_eigenvalue(loss: Callable[[], Tensor], weights: Sequence[Tensor], generator: torch.Generator) -> float:
    """Return the eigenvalue of largest size of the Hessian of `loss()`, by power iteration on `H v = grad (g . v)`.

    Stops when it changes by less than 0.1 %, or after 30 steps.
    """
    first = torch.autograd.grad(loss(), weights, create_graph=True, materialize_grads=True)
    vector = [torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w) for w in weights]
    value = 0.0
    for _ in range(STEPS):
        length = tensors.norm(vector)
        vector = [v / length for v in vector]
        image = torch.autograd.grad(_dot(first, vector), weights, retain_graph=True, materialize_grads=True)
        previous, value = value, float(_dot(vector, image))
        vector = list(image)
        if abs(value - previous) <= TOLERANCE * abs(value):
            break
    return value


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()
