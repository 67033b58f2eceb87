"""Data sets from local files: hub-layout Parquet, torchvision's CIFAR archives, folders of images."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.config import Runtime
from empirical.data import ImageSet, channel_statistics, no_options
from empirical.decode import decoded
from repro.errors import MissingDataError

Side = tuple[Tensor, Tensor]
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
}


def data_root(runtime: Runtime) -> Path:
    """Return the folder of local data: the setting, else the variable REPRO_DATA, else `data`."""
    return Path(runtime.data_root or os.environ.get("REPRO_DATA", "") or "data")


def load_cifar10(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return CIFAR-10: `cifar10-{train,test}.parquet`, or torchvision's archive, under the data root."""
    return _cifar("cifar10", "CIFAR10", 10, options, runtime)


def load_cifar100(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return CIFAR-100: `cifar100-{train,test}.parquet`, or torchvision's archive, under the data root."""
    return _cifar("cifar100", "CIFAR100", 100, options, runtime)


def load_tinyimagenet100(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return `tinyimagenet100-{train,test}.parquet`: every second class of Tiny ImageNet at 32x32."""
    no_options("tinyimagenet100", options)
    sides = parquet_sides("tinyimagenet100", data_root(runtime))
    if sides is None:
        raise missing("tinyimagenet100", data_root(runtime))
    return image_set("tinyimagenet100", sides, 100)


def image_set(name: str, sides: tuple[Side, Side], classes: int) -> ImageSet:
    """Return two sides as a data set, with published channel statistics where there are any."""
    mean, std = STATISTICS.get(name) or channel_statistics(sides[0][0])
    return ImageSet(name, *sides[0], *sides[1], classes, mean, std)


def parquet_sides(name: str, root: Path) -> tuple[Side, Side] | None:
    """Return (train, test) of local Parquet files, or None where they are not there."""
    shards = [parquet_files(name, root, side) for side in ("train", "test")]
    if not all(shards):
        return None
    train, test = (_joined([decoded(path) for path in side]) for side in shards)
    return train, test


def parquet_files(name: str, root: Path, side: str) -> list[Path]:
    """Return the files of a side: `<name>-<side>.parquet`, or the shards `<name>/**/<side>-*.parquet` of a hub."""
    whole = root / f"{name}-{side}.parquet"
    return [whole] if whole.is_file() else sorted((root / name).rglob(f"{side}-*.parquet"))


def _joined(parts: list[Side]) -> Side:
    images, labels = zip(*parts, strict=True)
    return torch.cat(images), torch.cat(labels)


def missing(name: str, root: Path, remedy: str = "") -> MissingDataError:
    """Return the error for a data set that is not there, with the ways to bring it."""
    ways = f"put {name}-train.parquet and {name}-test.parquet there, or point --data-root or REPRO_DATA to them"
    return MissingDataError(f"dataset {name}: not found in {root}; {ways}{remedy}")


def _cifar(name: str, archive: str, classes: int, options: dict[str, Any], runtime: Runtime) -> ImageSet:
    no_options(name, options)
    root = data_root(runtime)
    sides = parquet_sides(name, root) or _archive_sides(archive, root, runtime)
    if sides is None:
        raise missing(name, root, ", or let torchvision fetch it with --allow-download")
    return image_set(name, sides, classes)


def _archive_sides(archive: str, root: Path, runtime: Runtime) -> tuple[Side, Side] | None:
    """Return torchvision's (train, test), downloaded only if allowed; None where the archive is not there."""
    from torchvision import datasets

    kind: Callable[..., Any] = getattr(datasets, archive)
    try:
        pair = [kind(str(root), train=train, download=runtime.allow_download) for train in (True, False)]
    except RuntimeError:
        return None
    except OSError as error:
        raise MissingDataError(f"dataset {archive}: the download failed ({error}); put the files in {root}") from error
    sides = [
        (torch.from_numpy(side.data).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.array(side.targets)))
        for side in pair
    ]
    return sides[0], sides[1]
