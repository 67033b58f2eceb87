"""Adapts a user's torch `Dataset` or `DataLoader` to the images that the pipeline reads."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    default_collate,
    default_convert,
)

from empirical.data.images import ImageSet
from repro.base.settings import reject


@dataclass(frozen=True)
class ListedImages:
    """Images of several datasets that behave like a tensor `(n, c, h, w)` and are read anew at each access.

    So a dataset with random augmentation continues to augment.

    Attributes:
        sides: the datasets, one after the other; each item is `(image, label)`.
        ends: number of examples up to the end of each dataset.
        shape: `(n, c, h, w)`; dtype: dtype of an image.
        marks: a hash of each image and its label, from when `listed` read them.
    """

    sides: tuple[Any, ...] = field(repr=False)
    ends: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    marks: tuple[int, ...] = field(repr=False)
    device = torch.device("cpu")
    is_cuda = False

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Tensor:
        """Return the images of an index tensor, array or slice."""
        places = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        return torch.stack([self._image(place) for place in places])

    def _image(self, place: int) -> Tensor:
        side = int(np.searchsorted(self.ends, place, side="right"))
        return torch.as_tensor(self.sides[side][place - (self.ends[side - 1] if side else 0)][0])

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the images in chunks, as `torch.Tensor.split` does."""
        return (self[slice(start, start + count)] for start in range(0, len(self), count))

    def to(self, device: torch.device) -> "ListedImages":
        """Return the same object, as each batch is moved separately."""
        return self


def as_dataset(examples: Any, name: str) -> Any:
    """Return the dataset of a `DataLoader` (with a `SubsetRandomSampler`, that subset), or the dataset itself.

    Raises:
        ConfigError: if it has no length or no example, or if a loader does more than batch its dataset.
    """
    dataset: Dataset[Any] = _loaded(examples, name) if isinstance(examples, DataLoader) else examples
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise reject(name, type(examples).__name__, "a Dataset with a length, or a DataLoader of one")
    if not len(dataset):  # type: ignore[arg-type]
        raise reject(name, "empty", "at least one example")
    return dataset


def _loaded(loader: DataLoader[Any], name: str) -> Dataset[Any]:
    """Return the dataset that a loader reads.

    Raises:
        ConfigError: if the loader does not read every example once, unchanged: own sampler, batches or `collate_fn`.
    """
    sampler, batches, whole = loader.sampler, loader.batch_sampler, cast(Any, loader.dataset)
    remedy = "give the dataset, or a Subset of it"
    plain = batches is None or (type(batches) is BatchSampler and batches.sampler is sampler)
    if not plain or loader.collate_fn not in (default_collate, default_convert):
        part = "collate_fn" if plain else "batch_sampler"
        raise reject(f"{part} of {name}", type(getattr(loader, part)).__name__, "torch's own", remedy)
    if isinstance(sampler, SubsetRandomSampler):
        return Subset(whole, list(sampler.indices))
    every = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    if hasattr(whole, "__getitem__") and not (every and len(cast(Any, sampler)) == len(whole)):
        raise reject(f"sampler of {name}", type(sampler).__name__, "one that reads every example once", remedy)
    return whole


def listed(*sides: tuple[str, Any]) -> tuple[ListedImages, Tensor]:
    """Return the images of named datasets, one after the other, and their labels `(n,)`, which are read once here.

    Raises:
        ConfigError: if an example is not a pair of an image `(c, h, w)` and a whole number, or if shapes differ.
    """
    datasets = [as_dataset(examples, name) for name, examples in sides]
    first = torch.as_tensor(_pair(datasets[0], sides[0][0], 0)[0])
    if first.ndim != 3:
        raise reject(sides[0][0], tuple(first.shape), "a dataset of images (c, h, w)", "transform them to tensors")
    labels: list[int] = []
    marks: list[int] = []
    for (name, _), dataset in zip(sides, datasets, strict=True):
        for place in range(len(dataset)):
            image, label = _pair(dataset, name, place)
            if tuple(image.shape) != tuple(first.shape):
                raise reject(f"{name}[{place}]", tuple(image.shape), f"of the first image's shape {tuple(first.shape)}")
            labels.append(label)
            content = torch.as_tensor(image).detach().cpu().contiguous().view(torch.uint8)
            marks.append(hash((content.numpy().tobytes(), label)))
    ends = tuple(int(end) for end in np.cumsum([len(dataset) for dataset in datasets]))
    shape = (ends[-1], *first.shape)
    return ListedImages(tuple(datasets), ends, shape, first.dtype, tuple(marks)), torch.tensor(labels)


def _pair(dataset: Any, name: str, place: int) -> tuple[Any, int]:
    """Return an example as an image and its label.

    Raises:
        ConfigError: if it is anything else.
    """
    example = dataset[place]
    try:
        image, label = example
        torch.as_tensor(image)
        value = float(label)
    except (TypeError, ValueError, RuntimeError) as error:
        found = f"{type(example).__name__} of {len(example)}" if isinstance(example, tuple | list) else type(example)
        raise reject(
            f"{name}[{place}]", getattr(found, "__name__", found), "a pair (image, label) of a tensor and a number"
        ) from error
    if not value.is_integer():
        raise reject(f"label of {name}[{place}]", value, "a whole number: the index of the class")
    return image, int(value)


def memory_set(train: tuple[Any, Tensor], test: tuple[Any, Tensor], classes: int) -> ImageSet:
    """Return images in memory as a data set; its images enter a model without normalization."""
    channels = train[0].shape[1]
    return ImageSet("memory", *train, *test, classes, (0.0,) * channels, (1.0,) * channels)
