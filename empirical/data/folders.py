"""Image folders (`train/<class>/*.jpg`, `val/<class>/*.jpg`): in memory if they fit, else read on demand."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from empirical.data.images import ImageSet, channel_statistics, stratified_subset
from empirical.data.source import SUFFIXES, data_root, image_files
from empirical.data.stream import StreamedImages
from empirical.settings.run_config import Runtime
from repro.base.errors import MissingDataError
from repro.base.settings import build, check, refuse_cost, reject, setting

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class FolderOptions:
    """Settings of a folder data set."""

    folder: str = setting("", "folder under the data root; empty: the name of the data set")
    size: int = setting(64, "edge of the images: the short side is scaled, the centre cropped", unit="pixels", low=8)
    margin: float = setting(1.0, "length of the scaled short side divided by the edge of the crop", low=1, high=4)
    memory: float = setting(8.0, "largest size of a data set in memory", unit="GiB", low=0)

    def __post_init__(self) -> None:
        check(self)
        refuse_cost("size", self.size, 3 * self.size**2 * 1e-9, 1, unit="GB per image")
        parts = Path(self.folder).parts
        if Path(self.folder).is_absolute() or ".." in parts:
            raise reject("folder", self.folder, "a folder under the data root, without '..'")


def load_folder(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return any image folder: `dataset_options = "folder=NAME, size=64"`."""
    return _load("folder", FolderOptions(size=64), options, runtime)


def load_tiny_imagenet(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return Tiny ImageNet (200 classes, 64x64) from a folder `tiny-imagenet` with `train/` and `val/`."""
    return _load("tiny-imagenet", FolderOptions(size=64), options, runtime)


def load_imagenet(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return ImageNet-1K from a folder `imagenet` with `train/` and `val/`: 224 of 256 pixels, read on demand."""
    return _load("imagenet", FolderOptions(size=224, margin=256 / 224), options, runtime)


def load_any_folder(options: dict[str, Any], runtime: Runtime, *, name: str) -> ImageSet:
    """Return the images of any folder, `folder:PATH`: with `train/` and `val/` or `test/`, or with a folder per class.

    Without `train/`, a fifth of each class is held out for testing, always the same images.
    """
    chosen = build(FolderOptions, options, where="dataset_options")
    root = folder_place(name, data_root(runtime))
    if (root / "train").is_dir():
        return _load_sides(f"folder:{name}", root, chosen, runtime)
    classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []
    if len(classes) < 2:
        raise MissingDataError(f"dataset folder:{name}: {root} holds neither train/ nor a folder for each class")
    whole = _files(root, classes)
    test = stratified_subset(whole.labels.numpy(), max(1, len(whole.labels) // 5), np.random.default_rng(0))
    train = np.setdiff1d(np.arange(len(whole.labels)), test)
    sides = (Files(root, [whole.names[row] for row in rows], whole.labels[torch.from_numpy(rows)])
             for rows in (train, test))  # fmt: skip
    return _image_set(f"folder:{name}", *sides, classes=len(classes), chosen=chosen, runtime=runtime)


def _load(name: str, defaults: FolderOptions, options: dict[str, Any], runtime: Runtime) -> ImageSet:
    given = {"size": defaults.size, "margin": defaults.margin, **options}
    chosen = build(FolderOptions, given, where="dataset_options")
    return _load_sides(name, data_root(runtime) / (chosen.folder or name), chosen, runtime)


def _load_sides(name: str, root: Path, chosen: FolderOptions, runtime: Runtime) -> ImageSet:
    test = next((root / side for side in ("val", "test") if (root / side).is_dir()), root / "val")
    if not (root / "train").is_dir() or not test.is_dir():
        raise MissingDataError(f"dataset {name}: needs {root}/train/<class>/ and {test}/<class>/; see --data-root")
    classes = sorted(entry.name for entry in (root / "train").iterdir() if entry.is_dir())
    sides = (_files(root / "train", classes), _files(test, classes, whole=False))
    return _image_set(name, *sides, classes=len(classes), chosen=chosen, runtime=runtime)


class Files(NamedTuple):
    """The images of a side: their names below its folder, ordered by class and name, and labels `(n,)`."""

    root: Path
    names: list[str]
    labels: Tensor


def _image_set(
    name: str, train: Files, test: Files, *, classes: int, chosen: FolderOptions, runtime: Runtime
) -> ImageSet:
    """Return two sides as a data set, in memory if they fit."""
    fits = (len(train.names) + len(test.names)) * 3 * chosen.size**2 <= chosen.memory * 2**30
    on_gpu = runtime.device != "cpu" and torch.cuda.is_available()
    how = {"short": round(chosen.size * chosen.margin), "readers": runtime.readers or (_cores() if on_gpu else 0)}
    sides: list[Any] = [
        StreamedImages(side.root, tuple(side.names), chosen.size, pinned=on_gpu, **how) for side in (train, test)
    ]
    if fits:
        sides = [side[slice(None)] for side in sides]
    mean, std = channel_statistics(sides[0]) if fits else IMAGENET
    names = tuple(train.names)
    return ImageSet(name, sides[0], train.labels, sides[1], test.labels, classes, mean, std, names)


def _cores() -> int:
    """Return the cores per process: those this process may use, shared among torchrun's processes on this host."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, here // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def folder_place(name: str, root: Path) -> Path:
    """Return the path of `folder:NAME`: relative to the working directory if it exists there, else to the data root."""
    here = Path(name).expanduser()
    return here if here.is_dir() else root / name


def any_folder_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return the image files below `folder:PATH`, by their folder."""
    place = folder_place(dataset.partition(":")[2], root)
    found: dict[str, list[Path]] = {}
    for path in image_files(place) if place.is_dir() else []:
        found.setdefault(str(path.parent.relative_to(place)), []).append(path)
    return found


def _files(folder: Path, classes: list[str], *, whole: bool = True) -> Files:
    """Return the image files of a side, ordered by class and name, and their labels.

    Raises:
        MissingDataError: if there are none; for a `whole` side, also if a class has none, since labels follow from
            folders, but the digest of the data only from images.
    """
    names: list[str] = []
    counts = []
    for name in classes:
        found = [path.relative_to(folder).as_posix() for path in image_files(folder / name)]
        names += found
        counts.append(len(found))
        if whole and not found:
            raise MissingDataError(f"{folder / name}: holds no images; remove the folder of a class without images")
    if not names:
        raise MissingDataError(f"{folder}: holds no images ({', '.join(SUFFIXES)}) of the classes in train/")
    return Files(folder, names, torch.arange(len(classes)).repeat_interleave(torch.tensor(counts)))
