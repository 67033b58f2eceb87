"""Image folders (`train/<class>/*.jpg`, `val/<class>/*.jpg`): in memory where they fit, read on demand where not."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.data.images import ImageSet, channel_statistics
from empirical.data.source import SUFFIXES, data_root, image_files
from empirical.settings.run_config import Runtime
from repro.records.errors import IntegrityError, MissingDataError
from repro.records.settings import build, check, refuse_cost, reject, setting

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class FolderOptions:
    """Settings of a folder data set."""

    folder: str = setting("", "folder under the data root; empty is the name of the data set")
    size: int = setting(64, "edge the images are brought to: short side scaled, centre cut", unit="pixels", low=8)
    memory: float = setting(8.0, "largest data set held in memory", unit="GiB", low=0)

    def __post_init__(self) -> None:
        check(self)
        refuse_cost("size", self.size, 3 * self.size**2 * 1e-9, 1, unit="GB an image")
        parts = Path(self.folder).parts
        if Path(self.folder).is_absolute() or ".." in parts:
            raise reject("folder", self.folder, "a folder under the data root, without '..'")


@dataclass(frozen=True)
class StreamedImages:
    """Images on disk that answer like a uint8 tensor `(n, 3, size, size)` on the CPU.

    Attributes:
        paths: one file an image.
        size: edge of the decoded images.
    """

    paths: tuple[Path, ...] = field(repr=False)
    size: int
    dtype = torch.uint8
    device = torch.device("cpu")
    is_cuda = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(n, 3, size, size)`."""
        return (len(self.paths), 3, self.size, self.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Tensor:
        """Decode the images of an index tensor, array or slice, in parallel."""
        places = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            return torch.stack(list(pool.map(lambda place: read_image(self.paths[place], self.size), places)))

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the images in chunks, as `torch.Tensor.split` does."""
        return (self[slice(start, start + count)] for start in range(0, len(self), count))

    def to(self, device: torch.device) -> "StreamedImages":
        """Return the images themselves: each batch moves on its own."""
        return self


def read_image(path: Path, size: int) -> Tensor:
    """Return an image file as `(3, size, size)` uint8: the short side scaled to `size`, then the centre cut out.

    Raises:
        IntegrityError: naming the file that cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            scale = size / min(image.size)
            width, height = (max(size, round(edge * scale)) for edge in image.size)
            left, top = (width - size) // 2, (height - size) // 2
            resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.array(resized.crop((left, top, left + size, top + size)))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise IntegrityError(f"{path.parent.name}/{path.name}: the image cannot be decoded ({error})") from error
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def load_folder(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return any image folder: `dataset_options = "folder=NAME, size=64"`."""
    return _load("folder", FolderOptions(size=64), options, runtime)


def load_tiny_imagenet(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return Tiny ImageNet (200 classes, 64x64) from a folder `tiny-imagenet` with `train/` and `val/`."""
    return _load("tiny-imagenet", FolderOptions(size=64), options, runtime)


def load_imagenet(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return ImageNet-1K (224x224) from a folder `imagenet` with `train/` and `val/`; it is read on demand."""
    return _load("imagenet", FolderOptions(size=224), options, runtime)


def _load(name: str, defaults: FolderOptions, options: dict[str, Any], runtime: Runtime) -> ImageSet:
    chosen = build(FolderOptions, {"size": defaults.size, **options}, where="dataset_options")
    root = data_root(runtime) / (chosen.folder or name)
    test = next((root / side for side in ("val", "test") if (root / side).is_dir()), root / "val")
    if not (root / "train").is_dir() or not test.is_dir():
        raise MissingDataError(f"dataset {name}: needs {root}/train/<class>/ and {test}/<class>/; see --data-root")
    classes = sorted(entry.name for entry in (root / "train").iterdir() if entry.is_dir())
    train_paths, train_labels = _files(root / "train", classes)
    test_paths, test_labels = _files(test, classes)
    fits = (len(train_paths) + len(test_paths)) * 3 * chosen.size**2 <= chosen.memory * 2**30
    sides: list[Any] = [StreamedImages(tuple(paths), chosen.size) for paths in (train_paths, test_paths)]
    if fits:
        sides = [side[slice(None)] for side in sides]
    mean, std = channel_statistics(sides[0]) if fits else IMAGENET
    return ImageSet(name, sides[0], train_labels, sides[1], test_labels, len(classes), mean, std)


def _files(folder: Path, classes: list[str]) -> tuple[list[Path], Tensor]:
    """Return the image files of a side, ordered by class and name, and their labels."""
    found = [(path, label) for label, name in enumerate(classes) for path in image_files(folder / name)]
    if not found:
        raise MissingDataError(f"{folder}: holds no images ({', '.join(SUFFIXES)}) of the classes in train/")
    return [path for path, _ in found], torch.tensor([label for _, label in found])
