"""Sharpness as curvature: the largest eigenvalue of the Hessian of the retain loss."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from empirical.metrics.evaluation import Evaluation, prefix
from empirical.models.network import Network
from empirical.training.rules import norm, trainable
from repro.base.parts import Term, metric
from repro.records.identity import derive_seed

LARGEST = 256
STEPS = 20
TOLERANCE = 1e-3


@metric(
    "hessian",
    terms=(
        Term("hessian_top", "Eigenvalue of largest magnitude of the Hessian of the retain loss: the sharpness.", "",
             "loss per squared weight", "real", ""),
    ),
)  # fmt: skip
def top_eigenvalues(evaluation: Evaluation) -> dict[str, float]:
    """Return the top Hessian eigenvalue of the mean cross entropy on at most 256 retain images, for each model."""
    rows = np.random.default_rng(evaluation.seed).permutation(evaluation.split.retain)[:LARGEST]
    index = torch.from_numpy(np.sort(rows))
    images, labels = evaluation.images.train_images[index], evaluation.images.train_labels[index]
    generator = torch.Generator().manual_seed(derive_seed(evaluation.seed, "hessian"))
    state = generator.get_state()

    def curvature(role: str) -> float:
        generator.set_state(state)
        network = evaluation.networks[role]().copy()
        network.model.eval()
        return top_eigenvalue(partial(mean_loss, network, images, labels), trainable(network.model), generator)

    return {
        f"{prefix(role)}hessian_top": evaluation.once(role, "hessian", partial(curvature, role))
        for role in evaluation.roles
    }


def mean_loss(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross entropy of a network on raw images, as a differentiable scalar."""
    with sdpa_kernel(SDPBackend.MATH):  # the fused attention kernels have no second derivative
        logits, _ = network.outputs(images.to(network.device))
    return F.cross_entropy(logits, labels.to(network.device))


def top_eigenvalue(loss: Callable[[], Tensor], weights: Sequence[Tensor], generator: torch.Generator) -> float:
    """Return the eigenvalue of largest magnitude of the Hessian of `loss()`, by power iteration: `H v = grad (g . v)`.

    It stops when the eigenvalue changes by at most 0.1 %, or after 20 steps.
    """
    first = torch.autograd.grad(loss(), weights, create_graph=True, materialize_grads=True)
    vector = [torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w) for w in weights]
    value = 0.0
    for _ in range(STEPS):
        length = norm(vector)
        vector = [v / length for v in vector]
        image = torch.autograd.grad(_dot(first, vector), weights, retain_graph=True, materialize_grads=True)
        previous, value = value, float(_dot(vector, image))
        vector = list(image)
        if abs(value - previous) <= TOLERANCE * abs(value):
            break
    return value


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    return torch.stack([(a * b).sum() for a, b in zip(left, right, strict=True)]).sum()
