"""A model's outputs on all training and test images: logits in the network's precision, and features of some images.

Logits of a million images and a thousand classes take five gigabytes in float32. So logits of more than a gigabyte are
a memory map of an unnamed file. Metrics read a set of them at a time, as float64.
"""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.models.network import Network

IN_MEMORY = 2**30  # largest size in bytes of logits in memory
MOST_FEATURES = 10_000  # most rows of the training, or test, images with features
BATCH = 512


class Outputs(NamedTuple):
    """A model's outputs on the images of a set, in evaluation mode and without augmentation.

    `logits` are `(n, classes)`. `features` are `(m, f)`, float32, of the rows `rows`, `(m,)`; of all rows if that is
    None.
    """

    logits: np.ndarray
    features: np.ndarray
    rows: np.ndarray | None = None

    def pick(self, rows: np.ndarray) -> "Outputs":
        """Return the outputs on some rows (ascending): logits in float64, and the features that exist."""
        logits = self.logits[rows].astype(float)
        if self.rows is None:
            return Outputs(logits, self.features[rows])
        _, places, featured = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        return Outputs(logits, self.features[featured], places)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels of the rows that have features."""
        return labels if self.rows is None else labels[self.rows]


class ModelOutputs(NamedTuple):
    """A model's outputs on all training images and on all test images."""

    train: Outputs
    test: Outputs

    def finite(self) -> bool:
        """Return whether every logit is a number."""
        return all(bool(np.isfinite(side.logits).all()) for side in self)


def model_outputs(
    network: Network, images: ImageSet, *, split: Split | None = None, folder: Path | None = None
) -> ModelOutputs:
    """Return a model's logits on all training and test images, and the features of at most 10,000 of each.

    Args:
        network: the model; images: the data set, clean.
        split: the retain and forget rows, so that the features include both sets.
        folder: place for logits that are too large for memory.
    """
    train, test = featured_rows(len(images.train_labels), split), featured_rows(len(images.test_labels))
    return ModelOutputs(
        _outputs_on(network, images.train_images, train, folder), _outputs_on(network, images.test_images, test, folder)
    )


def featured_rows(count: int, split: Split | None = None) -> np.ndarray | None:
    """Return the rows that get features, ascending; None means all, for at most 10,000 rows.

    Otherwise they are 10,000 rows, up to half of them forget images; the same rows at every call.
    """
    if count <= MOST_FEATURES:
        return None
    generator = np.random.default_rng(0)
    if split is None:
        return np.sort(generator.permutation(count)[:MOST_FEATURES])
    forget = generator.permutation(split.forget)[: MOST_FEATURES // 2]
    retain = generator.permutation(split.retain)[: MOST_FEATURES - len(forget)]
    return np.sort(np.concatenate([forget, retain]))


@torch.no_grad()
def _outputs_on(network: Network, images: Tensor, rows: np.ndarray | None, folder: Path | None) -> Outputs:
    network.model.eval()
    held: Any = None
    features: list[np.ndarray] = []
    start = 0
    for chunk in images.split(BATCH):
        scores, seen = network.outputs(chunk.to(network.device))
        answers = (scores if scores.element_size() > 2 else scores.float()).cpu().numpy()  # numpy has no bfloat16
        if held is None:
            held = _room((len(images), answers.shape[1]), answers.dtype, folder)
        held[start : start + len(chunk)] = answers
        featured = _within(rows, start, len(chunk))
        features.append(seen[torch.from_numpy(featured).to(seen.device)].float().cpu().numpy())
        start += len(chunk)
    return Outputs(held, np.concatenate(features), rows)


def _room(shape: tuple[int, int], dtype: np.dtype[Any], folder: Path | None) -> np.ndarray:
    """Return an empty array for logits; if it is large, a memory map of a file that disappears with it."""
    if shape[0] * shape[1] * dtype.itemsize <= IN_MEMORY:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(dir=folder) as file:  # a map keeps its file after this is closed
        return np.memmap(file, dtype, "w+", shape=shape)


def _within(rows: np.ndarray | None, start: int, count: int) -> np.ndarray:
    """Return the places of the rows with features in a chunk of `count` rows from row `start`."""
    if rows is None:
        return np.arange(count)
    low, high = np.searchsorted(rows, (start, start + count))
    return rows[low:high] - start
