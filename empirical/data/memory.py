"""Examples that a user holds, in whatever torch reads, as the pipeline reads images: each is read once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
)

from empirical.data.images import ImageSet
from empirical.data.stream import ReadImages
from repro.base.settings import reject

IN_MEMORY = 4 * 2**30  # bytes of a set's images up to which they are held
LOOKS = 16  # examples that are read a second time, to see whether a transform is random
IMAGE_KEYS = ("pixel_values", "image", "images", "img", "x")
LABEL_KEYS = ("label", "labels", "fine_label", "target", "y")
PAIR = "(image, label), or a dict with `image` or `pixel_values` and `label`"


class Pair(NamedTuple):
    """An example, image `(c, h, w)` and label, or a batch of them, `(b, c, h, w)` and `(b,)`."""

    image: Tensor
    label: Tensor


@dataclass(frozen=True)
class ReadAnew:
    """Images of a data set with a length that are read whenever a step needs them: as `images[place]`, `(c, h, w)`."""

    dataset: Any
    collate: Callable[[list[Any]], Any] | None
    name: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: int) -> Tensor:
        if self.collate is None:
            return pair(self.dataset[place], self.name).image
        return pair(self.collate([self.dataset[place]]), self.name).image[0]


@dataclass(frozen=True)
class GivenExamples:
    """What was read of a user's data set.

    Attributes:
        name: what errors call it; images: `(n, c, h, w)`, or what reads them anew; shape, dtype: of one image.
        labels: `(n,)` int64; marks: a hash of each image and its label.
        workers: processes of its loader.
    """

    name: str
    images: Any = field(repr=False)
    shape: tuple[int, ...]
    dtype: torch.dtype
    labels: Tensor = field(repr=False)
    marks: tuple[int, ...] = field(repr=False)
    workers: int = 0

    def __len__(self) -> int:
        return len(self.labels)


def given(name: str, examples: Any, *, transforms: bool = False) -> GivenExamples:
    """Read a data set once: two tensors `(x, y)`, a `Dataset`, a `DataLoader`, or anything that yields examples.

    Args:
        name: what errors call it.
        examples: what is read; of a loader its workers, its collate function and its sampler are used.
        transforms: whether examples that a random transform changes at each reading are read anew by every step.

    Raises:
        ConfigError: for no example, an example that is no image with a label, or images of several shapes.
    """
    source = _source(name, examples)
    images: list[Tensor] = []
    labels: list[Tensor] = []
    marks: list[int] = []
    shape, dtype, size, held = (), torch.float32, 0, True
    for image, label in source.batches:
        count, shape = len(marks), shape or tuple(image.shape[1:])
        _check(name, count, image, label, shape)
        dtype, size = image.dtype, size + image.nbytes
        labels.append(label.long())
        rows = image.detach().cpu().contiguous()
        content = rows.reshape(len(rows), -1).view(torch.uint8).numpy()
        marks += [hash((row.tobytes(), int(value))) for row, value in zip(content, label, strict=True)]
        if size > IN_MEMORY and source.dataset is None:
            raise reject(name, f"over {IN_MEMORY >> 30} GiB of images", "a data set with a length, to be read in parts")
        held = held and size <= IN_MEMORY
        images = [*images, rows] if held else []
    if not marks:
        raise reject(name, "empty", "at least one example")
    single = source.dataset is not None and len(source.dataset) == len(marks)  # and no data set of batches
    anew: Any = ReadAnew(source.dataset, source.collate, name) if single else None
    whole = torch.cat(images) if held else anew
    if held and transforms and anew is not None and _changes(whole, anew):
        whole = anew
    return GivenExamples(name, whole, shape, dtype, torch.cat(labels).cpu(), tuple(marks), source.workers)


class ExampleSource(NamedTuple):
    """Where examples come from: batches in order, and the data set with a length behind them, where there is one."""

    batches: Iterable[Pair]
    dataset: Any = None
    collate: Callable[[list[Any]], Any] | None = None
    workers: int = 0


def _source(name: str, examples: Any) -> ExampleSource:
    if isinstance(examples, DataLoader):
        rows = _rows(examples)
        if rows is None:  # a sampler of its own, or a stream: whatever it yields is the data set
            return ExampleSource(_batches(name, examples))
        dataset = Subset(examples.dataset, rows)
        loader = DataLoader(
            dataset, examples.batch_size, num_workers=examples.num_workers, collate_fn=examples.collate_fn,
            worker_init_fn=examples.worker_init_fn, generator=torch.Generator(),
        )  # fmt: skip
        return ExampleSource(
            _batches(name, loader), dataset, examples.collate_fn if examples.batch_size else None, examples.num_workers
        )
    pairs = isinstance(examples, tuple | list) and len(examples) == 2
    if pairs and all(isinstance(one, Tensor | np.ndarray) and one.ndim in (1, 4) for one in examples):
        return ExampleSource([pair(examples, name)] if len(examples[0]) else [])
    if hasattr(examples, "__len__") and hasattr(examples, "__getitem__") and not isinstance(examples, Tensor):
        every = (examples[place] for place in range(len(examples)))
        return ExampleSource(_batches(name, every), examples)
    if not hasattr(examples, "__iter__") or isinstance(examples, str | Tensor):
        raise reject(name, type(examples).__name__, "a Dataset, a DataLoader, two tensors (x, y), or an iterable")
    return ExampleSource(_batches(name, examples))


def _rows(loader: DataLoader[Any]) -> list[int] | None:
    """Return the rows that a loader of torch's own samplers reads, in an order that no random generator decides."""
    sampler, batches, dataset = loader.sampler, loader.batch_sampler, loader.dataset
    plain = batches is None or (type(batches) is BatchSampler and batches.sampler is sampler)
    if isinstance(dataset, IterableDataset) or not plain:
        return None
    if type(sampler) is SubsetRandomSampler:
        return list(sampler.indices)
    size = len(dataset)  # type: ignore[arg-type]
    every = type(sampler) is SequentialSampler or (type(sampler) is RandomSampler and not sampler.replacement)
    return list(range(size)) if every and len(sampler) == size else None  # type: ignore[arg-type]


def _batches(name: str, examples: Iterable[Any]) -> Iterator[Pair]:
    """Yield batches of whatever yields examples or batches of them."""
    place = 0
    try:
        for example in examples:
            image, label = pair(example, f"{name}[{place}]")
            if image.ndim == 3:
                image, label = image[None], label.reshape(1)
            place += len(image)
            yield Pair(image, label)
    except TypeError as error:  # of torch's own collate function
        if "PIL" not in str(error):
            raise
        raise _is_picture(name) from error


def _is_picture(name: str) -> Exception:
    return reject(name, "PIL image", "a tensor (c, h, w)", "transform it: `torchvision.transforms.ToTensor()`")


def pair(example: Any, where: str) -> Pair:
    """Return an example or a batch as its image and its label.

    Raises:
        ConfigError: when it is anything else, with what to do about it.
    """
    if isinstance(example, Mapping):
        found = [next((example[key] for key in keys if key in example), None) for keys in (IMAGE_KEYS, LABEL_KEYS)]
        example = found if all(one is not None for one in found) else example
    if not isinstance(example, tuple | list) or len(example) != 2:
        shown = type(example).__name__
        if isinstance(example, Mapping):
            shown += f" of {', '.join(map(str, example))}"
        elif isinstance(example, tuple | list):
            shown += f" of {len(example)}"
        raise reject(where, shown, f"a pair {PAIR}")
    if any(hasattr(one, "getbands") for one in example):
        raise _is_picture(where)
    try:
        image, label = torch.as_tensor(example[0]), torch.as_tensor(example[1])
    except (TypeError, ValueError, RuntimeError) as error:
        kinds = " and ".join(type(one).__name__ for one in example)
        raise reject(where, kinds, f"a pair {PAIR}", "the image a tensor, the label a whole number") from error
    if image.ndim not in (3, 4):
        raise reject(where, tuple(image.shape), "an image (c, h, w)", "transform it to a tensor of that shape")
    if label.ndim != image.ndim - 3:
        remedy = "a whole number: the place of the right class"
        raise reject(f"label of {where}", tuple(label.shape), remedy, "of one-hot labels give `label.argmax(-1)`")
    return Pair(image, label)


def _check(name: str, first: int, images: Tensor, labels: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a batch whose images have another shape than the first one, or whose labels are no whole numbers."""
    if tuple(images.shape[1:]) != shape:
        raise reject(f"{name}[{first}]", tuple(images.shape[1:]), f"of the first image's shape {shape}", "resize it")
    if len(labels) != len(images):
        raise reject(f"labels of {name}", len(labels), f"{len(images)}, one an image")
    for place in (labels.double() % 1 != 0).nonzero().flatten()[:1].tolist():
        value = float(labels[place])
        raise reject(f"label of {name}[{first + place}]", value, "a whole number: the place of the right class")


def _changes(images: Tensor, anew: ReadAnew) -> bool:
    """Return whether one of some examples is another image at the second reading: its transform is random."""
    places = np.unique(np.linspace(0, len(images) - 1, LOOKS).astype(int))
    return any(not torch.equal(images[place], anew[place]) for place in places.tolist())


@dataclass(frozen=True)
class ListedImages(ReadImages):
    """Images of several sets, one after the other, by the workers of the user's loaders where there are any.

    Attributes:
        sides: what returns an image by its place; ends: images up to the end of each.
    """

    sides: tuple[Any, ...] = field(repr=False)
    ends: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: torch.dtype
    readers: int = 0
    pinned = False

    @property
    def ahead(self) -> bool:  # type: ignore[override]
        """Whether workers read some batches ahead of the steps."""
        return self.readers > 0

    def __getitem__(self, index: Any) -> Tensor:
        """Return the images of an index tensor, array or slice."""
        places = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        sides = np.searchsorted(self.ends, places, side="right").tolist()
        starts = (0, *self.ends)
        return torch.stack([self.sides[side][place - starts[side]] for side, place in zip(sides, places, strict=True)])

    def read(self, rows: np.ndarray, draws: Tensor | None = None) -> Tensor:
        """Return some images, as a reader does.

        Raises:
            ConfigError: for draws, which would cut the images: a transform of the data set's own does that.
        """
        if draws is not None:
            raise reject("augment", "resized-crop", "left to the data set, whose own transform is random")
        return self[rows]


def concatenated(*sides: GivenExamples) -> tuple[Any, Tensor]:
    """Return the images of data sets one after the other, and their labels `(n,)`.

    Raises:
        ConfigError: when the images of two sets differ in shape.
    """
    first = sides[0]
    for other in sides[1:]:
        if other.shape != first.shape:
            raise reject(f"{other.name}[0]", other.shape, f"of the shape of {first.name}, {first.shape}")
    labels = torch.cat([side.labels for side in sides])
    if all(isinstance(side.images, Tensor) for side in sides):
        return torch.cat([side.images.to(first.dtype) for side in sides]), labels
    ends = tuple(int(end) for end in np.cumsum([len(side) for side in sides]))
    workers = max(side.workers for side in sides)
    return ListedImages(
        tuple(side.images for side in sides), ends, (ends[-1], *first.shape), first.dtype, workers
    ), labels


def memory_set(train: tuple[Any, Tensor], test: tuple[Any, Tensor], classes: int) -> ImageSet:
    """Return images in memory as a data set; its images enter a model without normalization."""
    channels = train[0].shape[1]
    return ImageSet("memory", *train, *test, classes, (0.0,) * channels, (1.0,) * channels)
