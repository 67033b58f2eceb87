"""The files of a data set and their digest, which is part of every run's id; no image is loaded."""

import contextlib
import hashlib
import importlib
import importlib.util
import json
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from empirical.registry import DATASETS, dataset, load
from empirical.settings.run_config import RunConfig, Runtime
from repro.base.errors import IntegrityError
from repro.base.files import read_with_checksum, write_with_checksum
from repro.base.places import cache_folder
from repro.records.identity import digest

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
ARCHIVES = {
    "cifar10": ("cifar-10-batches-py", (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch")),
    "cifar100": ("cifar-100-python", ("train", "test")),
}


def data_digest(config: RunConfig, runtime: Runtime) -> str:
    """Return the digest of the files of a config's data set, 16 hex digits, or an empty text if files are missing.

    Random data sets have no files; their name and options, which the config holds, identify them. A user's data set
    that does not list its files is identified by its decoded content.
    """
    known, options = dataset(config.dataset), config.data_settings
    if known.files:
        module, name = known.files.split(":")
        lister: Callable[..., dict[str, list[Path]]] = getattr(importlib.import_module(module), name)
        sides = lister(config.dataset, options, data_root(runtime))
        complete = bool(sides) and all(sides.values())
        return digest({side: content_hashes(paths) for side, paths in sides.items()}) if complete else ""
    if config.dataset in DATASETS:
        return "drawn"
    from empirical.data.images import content_digest

    return content_digest(load("datasets", config.dataset)(options, runtime))


def data_root(runtime: Runtime) -> Path:
    """Return the folder of local data: the setting, else the variable REPRO_DATA, else `data`."""
    return Path(runtime.data_root or os.environ.get("REPRO_DATA", "") or "data")


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    return content_hashes([path])[0]


def content_hashes(paths: Iterable[Path]) -> list[str]:
    """Return the sha256 of each file; a cache by path, size and times makes sure that each file is read once."""
    paths = list(paths)
    stats = [(path, path.stat()) for path in paths]
    for path, status in stats:
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait
            raise IntegrityError(f"{path.parent.name}/{path.name}: no regular file; remove it")
    key = digest([[str(p.resolve()), s.st_size, s.st_mtime_ns, s.st_ctime_ns] for p, s in stats])
    cached = cache_folder() / "hashes" / f"{key}.sealed"
    known = read_with_checksum(cached)
    if known is not None:
        return json.loads(known)
    found = []
    for path in paths:
        with path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    with contextlib.suppress(OSError):  # a cache that cannot be written is skipped
        write_with_checksum(cached, json.dumps(found).encode())
    return found


def digits_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return scikit-learn's file of scanned digits, found without importing it."""
    package = importlib.util.find_spec("sklearn")
    folder = Path(package.origin).parent if package and package.origin else Path()
    return {"all": [path for path in [folder / "datasets" / "data" / "digits.csv.gz"] if path.is_file()]}


def parquet_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return the files of each side: `<name>-<side>.parquet`, or the hub's shards `<name>/**/<side>-*.parquet`."""
    whole = {side: root / f"{dataset}-{side}.parquet" for side in ("train", "test")}
    return {
        side: [path] if path.is_file() else sorted((root / dataset).rglob(f"{side}-*.parquet"))
        for side, path in whole.items()
    }


def cifar_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of CIFAR-10 or CIFAR-100, else the files of torchvision's archive."""
    sides = parquet_files(dataset, options, root)
    if all(sides.values()):
        return sides
    folder, names = ARCHIVES[dataset]
    paths = [root / folder / name for name in names]
    return {"archive": paths if all(path.is_file() for path in paths) else []}


def folder_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return the image files of each class folder of `train/` and `val/` (or `test/`)."""
    root = root / str(options.get("folder") or dataset)  # checked when the images are read
    test = next((root / side for side in ("val", "test") if (root / side).is_dir()), root / "val")
    classes = [entry for side in (root / "train", test) if side.is_dir() for entry in sorted(side.iterdir())]
    return {f"{entry.parent.name}/{entry.name}": found for entry in classes if (found := image_files(entry))}


def image_files(folder: Path) -> list[Path]:
    """Return the images below a folder, ordered by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
