"""The loss around a model on a plane of two filter-normalized random directions (Li et al. 2018), and its flatness."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.metrics.evaluation import Evaluation, prefix
from empirical.models.network import Network, predict
from empirical.training.rules import shifted
from repro.base.parts import Term, metric
from repro.base.settings import limits_of
from repro.records.identity import derive_seed

BASIN = 0.5
STABLE = (10, 25, 50, 75)
Sample = tuple[str, Tensor, Tensor]  # name of a set, some of its images, their labels


@metric(
    "landscape", version=2, switches=("landscape_norm",),
    looks=("landscape_points", "landscape_points", "landscape_images"),
    terms=(
        Term("landscape_*_stability_*", "Share of points of a loss landscape whose loss differs from the centre's by "
             "at most so many percent.", goal=""),
        Term("landscape_*_basin_ratio", "Share of points of a loss landscape whose loss is within half a standard "
             "deviation of the centre's.", goal=""),
        Term("landscape_*", "A summary of the loss landscape around a model, in filter-normalized directions.", "",
             "loss", "real", ""),
    ),
)  # fmt: skip
def landscape(
    evaluation: Evaluation,
    *,
    landscape_points: Annotated[
        int, limits_of("points along each side of a landscape", low=3, high=18_973, odd=True)
    ] = 11,
    landscape_images: Annotated[
        int, limits_of("largest number of images of each set in a landscape", low=1, unit="images")
    ] = 512,
    landscape_radius: Annotated[
        float, limits_of("half the width of a landscape, in lengths of a filter", low=0, open_low=True)
    ] = 1.0,
) -> dict[str, Any]:
    """Return loss grids on forget and on test images around the three models, and the `flatness` of each grid.

    All models share a pair of directions, scaled by the original's filters, so that panels can be compared. The grid
    spans [-radius, radius]^2 in units of a filter's length. At most `landscape_images` images of each set are used.
    """
    config = evaluation.config
    norm = config.fidelity.landscape_norm
    samples = list(_samples(evaluation, landscape_images))
    axis = np.linspace(-landscape_radius, landscape_radius, landscape_points)
    generator = torch.Generator().manual_seed(derive_seed(0, "landscape", config.model))
    pair = directions(evaluation.networks["original"](), generator, norm=norm)
    found: dict[str, Any] = {"landscape_axis": axis}
    for role in evaluation.roles:
        grids = evaluation.once(role, "landscape", partial(_grids, evaluation.networks[role], samples, pair, axis))
        for name, grid in grids.items():
            found[f"landscape_{role}_{name}"] = grid
            found |= {f"{prefix(role)}landscape_{name}_{key}": v for key, v in flatness(grid).items()}
    return found


def _grids(
    reach: Callable[[], Network], samples: Sequence[Sample], pair: Sequence[Sequence[Tensor]], axis: np.ndarray
) -> dict[str, np.ndarray]:
    network = reach()
    return {name: loss_grid(network, pair, axis, images=images, labels=labels) for name, images, labels in samples}


def directions(network: Network, generator: torch.Generator, *, norm: str = "filter") -> list[list[Tensor]]:
    """Return two Gaussian directions; each filter (with D23 `layer`, each tensor) is as long as the network's.

    Filter-normalized directions are zero for biases and BatchNorm weights, which have one dimension. With `layer` these
    take the Gaussian scaled to a total length of 1, as in the released code.
    """
    weights = [weight.detach() for weight in network.parameters()]
    return [_direction(weights, generator, norm) for _ in range(2)]


def _direction(weights: Sequence[Tensor], generator: torch.Generator, norm: str) -> list[Tensor]:
    raw = [torch.randn(w.shape, generator=generator, dtype=torch.float64).to(w) for w in weights]
    if norm == "filter":
        return [_by_filter(d, w) if w.dim() > 1 else torch.zeros_like(w) for d, w in zip(raw, weights, strict=True)]
    total = torch.stack([d.norm() for d in raw]).norm()
    return [d * w.norm() / d.norm() if w.dim() > 1 else d / total for d, w in zip(raw, weights, strict=True)]


def _by_filter(direction: Tensor, weight: Tensor) -> Tensor:
    lengths = [t.flatten(1).norm(dim=1).clamp(min=1e-12) for t in (weight, direction)]
    return direction * (lengths[0] / lengths[1]).view(-1, *[1] * (weight.dim() - 1))


def loss_grid(
    network: Network, pair: Sequence[Sequence[Tensor]], axis: np.ndarray, *, images: Tensor, labels: Tensor
) -> np.ndarray:
    """Return the mean cross entropy at `w + a d_1 + b d_2`, `(points, points)`, rows along a."""
    grid, weights = np.empty((len(axis), len(axis))), network.parameters()
    for i, a in enumerate(axis):
        for j, b in enumerate(axis):
            with shifted(weights, [a * first + b * second for first, second in zip(*pair, strict=True)]):
                logits, _ = predict(network, images)
            grid[i, j] = float(F.cross_entropy(logits.cpu().double(), labels))
    return grid


def flatness(grid: np.ndarray) -> dict[str, float]:
    """Return five statistics of a loss grid L with the loss `L_c` at its centre.

    `variability` is its standard deviation; `slope` the mean length of its gradient per grid step; `basin_ratio` the
    share (in [0, 1]) of points within half a standard deviation of `L_c`; `rise` the mean of L minus `L_c`;
    `stability_<t>` the share of points within t percent of `L_c`: `|L - L_c| <= t L_c / 100`.
    """
    centre = grid[grid.shape[0] // 2, grid.shape[1] // 2]
    slopes, away = np.hypot(*np.gradient(grid)), np.abs(grid - centre)
    stability = {f"stability_{t}": float(np.mean(away <= t / 100 * centre)) for t in STABLE}
    return {
        "variability": float(grid.std()), "slope": float(slopes.mean()),
        "basin_ratio": float(np.mean(away <= BASIN * grid.std())), "rise": float(grid.mean() - centre), **stability,
    }  # fmt: skip


def _samples(evaluation: Evaluation, most: int) -> Iterator[Sample]:
    generator = np.random.default_rng(evaluation.seed)
    images, rows = evaluation.images, evaluation.split.forget
    forget = torch.from_numpy(np.sort(generator.permutation(rows)[:most]))
    test = torch.from_numpy(np.sort(generator.permutation(len(images.test_labels))[:most]))
    yield "forget", images.train_images[forget], images.train_labels[forget]
    yield "test", images.test_images[test], images.test_labels[test]
