"""Data sets of images as tensors: uint8, or float for real-valued data."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.registry import load
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.settings import reject


@dataclass(frozen=True)
class ImageSet:
    """A data set of images; the images may be on disk (`empirical.data.stream`).

    Attributes:
        name: registered name.
        train_images: `(n, c, h, w)`, uint8 in [0, 255] or float; train_labels: `(n,)` int64.
        test_images, test_labels: the same for the held-out set.
        classes: number of classes.
        mean, std: per-channel statistics of images scaled to [0, 1], `c` numbers each.
        train_names: file names of the training images, such as `n01440764/n01440764_10026.JPEG`; empty if they are
            not files.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_names: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for side in ("train", "test"):
            check_labels(getattr(self, f"{side}_labels"), self.classes, f"{self.name} {side}")

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`(channels, height, width)` of an image."""
        return tuple(self.train_images.shape[1:])


def check_labels(labels: Tensor, classes: int, where: str) -> None:
    """Raise `ConfigError` with the first row whose label is outside [0, classes)."""
    bad = ((labels < 0) | (labels >= classes)).nonzero()
    if len(bad):
        row = int(bad[0])
        raise reject(f"{where} label of row {row}", int(labels[row]), f"in [0, {classes - 1}]", "repair the file")


def load_dataset(config: RunConfig, runtime: Runtime) -> ImageSet:
    """Load the data set of a config, with stratified subsets of `n_train` and `n_test` images.

    Raises:
        MissingDataError: if files are missing, with the ways to provide them.
    """
    images: ImageSet = load("datasets", config.dataset)(config.data_settings, runtime)
    for side, count in (("train", config.n_train), ("test", config.n_test)):
        images = subset(images, side, count) if count else images
    return images


def subset(images: ImageSet, side: str, count: int) -> ImageSet:
    """Return the data set with a stratified subset of a side; always the same subset.

    Raises:
        ConfigError: if there are fewer images.
    """
    labels: Tensor = getattr(images, f"{side}_labels")
    if count > len(labels):
        raise reject(f"n_{side}", count, f"at most {len(labels)} on {images.name}")
    rows = torch.from_numpy(stratified_subset(labels.numpy(), count, np.random.default_rng(0)))
    held = picked(getattr(images, f"{side}_images"), rows)
    changed: dict[str, Any] = {f"{side}_images": held, f"{side}_labels": labels[rows]}
    if side == "train" and images.train_names:
        changed["train_names"] = tuple(images.train_names[row] for row in rows.tolist())
    return replace(images, **changed)


def picked(images: Any, rows: Tensor) -> Any:
    """Return some rows of a tensor, or of images on disk without reading them."""
    return images.pick(rows) if hasattr(images, "pick") else images[rows]


def stratified_subset(labels: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` ascending row numbers with each class in proportion (largest remainders are rounded up)."""
    classes, sizes = np.unique(labels, return_counts=True)
    exact = sizes * count / len(labels)
    take = np.floor(exact).astype(int)
    for place in np.argsort(take - exact, kind="stable")[: count - take.sum()]:
        take[place] += 1
    rows = [generator.permutation(np.flatnonzero(labels == c))[:k] for c, k in zip(classes, take, strict=True)]
    return np.sort(np.concatenate(rows))


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the per-channel mean and standard deviation of uint8 images `(n, c, h, w)` scaled to [0, 1].

    `mean = sum_v count_v v / N` and `variance = sum_v count_v (v - mean)^2 / N` over the 256 values v. Counting is
    exact and copies about a million pixels at a time, while a tensor of doubles would take eight times the images.
    """
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        counts = np.zeros(256, np.int64)
        for chunk in channel.split(max(1, 2**20 // channel[0].numel())):
            counts += np.bincount(chunk.flatten().numpy(), minlength=256)
        mean = counts @ values / counts.sum()
        means.append(float(mean))
        stds.append(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())))
    return tuple(means), tuple(stds)


def no_options(name: str, options: dict[str, Any]) -> None:
    """Raise `ConfigError` if a data set without settings gets any."""
    if options:
        raise reject("dataset_options", ", ".join(options), f"empty: {name} has none")


def content_digest(images: ImageSet) -> str:
    """Return the digest of the decoded images and labels, 16 hex digits."""
    total = hashlib.sha256()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        tensor: Tensor = getattr(images, name)
        total.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        total.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return total.hexdigest()[:16]
