"""What a model answers to all images of a side: logits in the network's own precision and the features of some.

A million images by a thousand classes are five gigabytes in float32, thrice that for three models. So logits of more
than a gigabyte lie in a file, and nothing copies a set: metrics read chunks, in float64.
"""

import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.models.network import Network

CHUNK = 8192  # rows that are read at a time
IN_MEMORY = 2**30  # bytes of logits up to which they are held in memory
MOST_FEATURES = 10_000  # rows of a side whose features are kept
BATCH = 512


class OnDisk:
    """An array in a file without a name, mapped anew for every read, so that none of it stays with the process.

    Args:
        shape, dtype: of the array; folder: where the file lies; it is gone with the object.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, folder: Path | None = None) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the object
        weakref.finalize(self, self._file.close)
        self._file.truncate(int(np.prod(shape)) * self.dtype.itemsize)

    def __len__(self) -> int:
        return self.shape[0]

    def __setitem__(self, cut: slice, values: np.ndarray) -> None:
        whole = np.memmap(self._file, self.dtype, "r+", shape=self.shape)
        whole[cut] = values

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.array(np.memmap(self._file, self.dtype, "r", shape=self.shape)[index])


class Logits(np.lib.mixins.NDArrayOperatorsMixin):
    """Logits `(n, classes)` of some rows of a side, in float64 whenever they are read.

    An index returns an array. Arithmetic, numpy's functions and an array's own (`max`, `mean`, ...) read the whole at
    once, which a large set should avoid: `by_chunks` does.

    Args:
        held: those of the whole side, an array or one on the disk; rows: which of them, None for all.
    """

    def __init__(self, held: Any, rows: np.ndarray | None = None) -> None:
        self.held, self.rows = held, rows
        self.shape = (len(held) if rows is None else len(rows), held.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.held[index if self.rows is None else self.rows[index]].astype(float)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(one[:] if isinstance(one, Logits) else one for one in inputs), **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("held", "rows"):  # while it is being copied
            raise AttributeError(name)
        return getattr(self[:], name)

    def pick(self, rows: np.ndarray) -> "Logits":
        """Return some of the rows, none of them read."""
        return Logits(self.held, rows if self.rows is None else self.rows[rows])

    def argmax(self, axis: int = 1) -> np.ndarray:
        """Return the class of the largest logit of every row, `(n,)`."""
        return by_chunks(lambda part: part.argmax(axis), self)

    def finite(self) -> bool:
        """Return whether every logit is a number."""
        return bool(by_chunks(lambda part: np.isfinite(part).all(1), self).all())


def by_chunks(function: Callable[..., np.ndarray], *arrays: Any) -> np.ndarray:
    """Return a function of rows, `(n, ...)`, taken of some thousand rows of every array at a time."""
    cuts = [slice(start, start + CHUNK) for start in range(0, max(1, len(arrays[0])), CHUNK)]
    return np.concatenate([function(*(array[cut] for array in arrays)) for cut in cuts])


class Outputs(NamedTuple):
    """A model's answers to the images of a set, in evaluation mode and without augmentation.

    `logits` are `(n, classes)`; `features` `(m, f)`, float32, those of the set's rows `rows`, `(m,)`, or of all where
    that is None.
    """

    logits: Any
    features: np.ndarray
    rows: np.ndarray | None = None

    def read(self) -> Logits:
        """Return the logits as metrics read them."""
        return self.logits if isinstance(self.logits, Logits) else Logits(self.logits)

    def pick(self, rows: np.ndarray) -> "Outputs":
        """Return the answers to some rows, ascending; of features, those that are kept."""
        logits = self.read()
        if self.rows is None:
            return Outputs(logits.pick(rows), self.features[rows])
        _, places, kept = np.intersect1d(rows, self.rows, assume_unique=True, return_indices=True)
        return Outputs(logits.pick(rows), self.features[kept], places)

    def labels(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels of the rows whose features are kept."""
        return labels if self.rows is None else labels[self.rows]


class ModelOutputs(NamedTuple):
    """A model's outputs on all training images and on all test images."""

    train: Outputs
    test: Outputs

    def finite(self) -> bool:
        """Return whether every logit is a number."""
        return all(side.read().finite() for side in self)


def model_outputs(
    network: Network, images: ImageSet, *, split: Split | None = None, folder: Path | None = None
) -> ModelOutputs:
    """Compute a model's logits on all training and test images, and the features of at most 10,000 of each.

    Args:
        network: the model; images: the data set, clean.
        split: of the training images, so that features are kept of forget and retained ones alike.
        folder: where logits that are too large for memory lie.
    """
    train, test = featured_rows(len(images.train_labels), split), featured_rows(len(images.test_labels))
    return ModelOutputs(
        _outputs(network, images.train_images, train, folder), _outputs(network, images.test_images, test, folder)
    )


def featured_rows(count: int, split: Split | None = None) -> np.ndarray | None:
    """Return the rows of a side whose features are kept, ascending: None, all of them, of at most 10,000.

    Of more, half are forget images, as far as there are as many. The same rows at every call.
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
def _outputs(network: Network, images: Tensor, rows: np.ndarray | None, folder: Path | None) -> Outputs:
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
        kept = _within(rows, start, len(chunk))
        features.append(seen[torch.from_numpy(kept).to(seen.device)].float().cpu().numpy())
        start += len(chunk)
    return Outputs(held, np.concatenate(features), rows)


def _room(shape: tuple[int, int], dtype: Any, folder: Path | None) -> Any:
    """Return where logits are written: an array, or one on the disk where that would be too large."""
    return np.empty(shape, dtype) if shape[0] * shape[1] * dtype.itemsize <= IN_MEMORY else OnDisk(shape, dtype, folder)


def _within(rows: np.ndarray | None, start: int, count: int) -> np.ndarray:
    """Return the places, in a chunk that starts at a row, of the rows whose features are kept."""
    if rows is None:
        return np.arange(count)
    low, high = np.searchsorted(rows, (start, start + count))
    return rows[low:high] - start
