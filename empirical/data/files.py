"""Data sets from local files: Parquet files in the hub layout, decoded once, and torchvision's CIFAR archives."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.data.images import ImageSet, channel_statistics, no_options
from empirical.data.source import data_root, file_digest, parquet_files
from empirical.settings.run_config import Runtime
from repro.base.errors import ConfigError, IntegrityError, MissingDataError
from repro.base.files import read_with_checksum, write_with_checksum
from repro.base.places import cache_folder
from repro.base.progress import track

IMAGES, LABELS = ("img", "image"), ("label", "fine_label")  # column names in the hub layout
LARGEST_LABEL = 2**20
DECODING = 2  # increased when the same bytes give other pixels, so that no old cache is read


def decode_parquet(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images `(n, 3, h, w)` uint8 and labels `(n,)` of a Parquet file.

    Raises:
        IntegrityError: for a truncated file or an image that cannot be decoded; names file and row.
        ConfigError: if it has no image or label column.
    """
    cached = cache_folder() / f"{file_digest(path)}-{DECODING}.sealed"
    found = read_with_checksum(cached)
    if found is not None:
        with np.load(io.BytesIO(found), allow_pickle=False) as archive:
            return torch.from_numpy(archive["images"]), torch.from_numpy(archive["labels"])
    encoded, labels = read_columns(path)
    pictures = [
        decode_image(data, f"{path.name} row {row}")
        for row, data in track(list(enumerate(encoded)), f"decoding {path.name}")
    ]
    odd = next((row for row, one in enumerate(pictures) if one.shape != pictures[0].shape), None)
    if odd is not None:
        sizes = [" x ".join(map(str, one.shape[1:])) for one in (pictures[odd], pictures[0])]
        raise IntegrityError(f"{path.name} row {odd}: image of {sizes[0]} pixels, but row 0 has {sizes[1]}")
    images = np.stack(pictures)
    buffer = io.BytesIO()
    np.savez(buffer, images=images, labels=labels)
    with contextlib.suppress(OSError):  # a cache that cannot be written is skipped
        write_with_checksum(cached, buffer.getvalue())
    return torch.from_numpy(images), torch.from_numpy(labels)


def read_columns(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Return the encoded images and the labels of a hub-layout Parquet file.

    Raises:
        IntegrityError: for an incomplete file, or a row without image or label; names file, row and column.
        ConfigError: if it has no rows, no image column or no label column of whole numbers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in (*IMAGES, *LABELS)
                                       if table.column_names.count(name) == 1}  # fmt: skip
    except (pa.ArrowException, OSError, ValueError) as error:  # text that is not UTF-8 raises ValueError
        raise IntegrityError(f"{path.name}: not a complete Parquet file ({str(error)[:80]})") from error
    image = next((name for name in IMAGES if name in columns), None)
    label = next((name for name in LABELS if name in columns), None)
    if image is None or label is None:
        raise ConfigError(f"{path.name}: needs an image (img, image) and a label column, has {table.column_names}")
    if not table.num_rows:
        raise ConfigError(f"{path.name}: has no rows")
    if not pa.types.is_integer(table.schema.field(label).type):
        kind = table.schema.field(label).type
        raise ConfigError(f"{path.name}: {label} holds {kind}: must be whole numbers >= 0")
    encoded = [_encoded(value, f"{path.name} row {row}: {image}") for row, value in enumerate(columns[image])]
    return encoded, _labels(columns[label], path, label)


def _encoded(value: Any, where: str) -> bytes:
    """Return the bytes of an image value: `{"bytes", "path"}` in the hub layout, or bytes."""
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes):
        shown = "empty" if data is None else type(data).__name__
        raise IntegrityError(f"{where} is {shown}: must be the bytes of an image")
    return data


def _labels(values: list[Any], path: Path, column: str) -> np.ndarray:
    wrong = next((row for row, value in enumerate(values) if value is None or not 0 <= value < LARGEST_LABEL), None)
    if wrong is not None:
        raise IntegrityError(f"{path.name} row {wrong}: {column} = {values[wrong]}: must be in [0, {LARGEST_LABEL})")
    return np.asarray(values, np.int64)


def decode_image(data: bytes, where: str, size: int = 0, short: int = 0) -> np.ndarray:
    """Return an image as `(3, h, w)` uint8, or with a size as `scaled` does; `where` names it in the error."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return scaled(image, size, short) if size else np.asarray(as_rgb(image)).transpose(2, 0, 1)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, TypeError, ValueError, SyntaxError) as error:
        raise IntegrityError(f"{where}: the image cannot be decoded ({str(error)[:80]})") from error


def scaled(image: Any, size: int, short: int = 0) -> np.ndarray:
    """Return a Pillow image as `(3, size, size)` uint8: the short side scaled to `short`, then the centre cropped."""
    from PIL import Image

    scale = (short or size) / min(image.size)
    width, height = (max(size, round(edge * scale)) for edge in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = as_rgb(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1).copy()


def as_rgb(image: Any) -> Any:
    """Return a Pillow image with three 8-bit colours; 16-bit grey is scaled, while Pillow would clip it at 255.

    Raises:
        ValueError: for pixels of 32 bits, whose range is unknown.
    """
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}, 32 bits per pixel: must have 8 or 16")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image.convert("RGB")


Side = tuple[Tensor, Tensor]
STATISTICS = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
}


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
        raise not_found("tinyimagenet100", data_root(runtime))
    return image_set("tinyimagenet100", sides, 100)


def image_set(name: str, sides: tuple[Side, Side], classes: int) -> ImageSet:
    """Return two sides (train and test) as a data set, with published channel statistics if there are any."""
    mean, std = STATISTICS.get(name) or channel_statistics(sides[0][0])
    return ImageSet(name, *sides[0], *sides[1], classes, mean, std)


def parquet_sides(name: str, root: Path) -> tuple[Side, Side] | None:
    """Return (train, test) from local Parquet files, or None if files are missing."""
    shards = parquet_files(name, {}, root)
    if not all(shards.values()):
        return None
    train, test = (_concatenated([decode_parquet(path) for path in side]) for side in shards.values())
    if train[0].shape[1:] != test[0].shape[1:]:
        sizes = [" x ".join(map(str, side[0].shape[2:])) for side in (train, test)]
        raise IntegrityError(f"{name}: training images have {sizes[0]} pixels, test images {sizes[1]}")
    return train, test


def _concatenated(parts: list[Side]) -> Side:
    images, labels = zip(*parts, strict=True)
    sizes = {tuple(part.shape[1:]) for part in images}
    if len(sizes) > 1:
        raise IntegrityError(f"the files of a data set hold images of different sizes: {sorted(sizes)}")
    return torch.cat(images), torch.cat(labels)


def not_found(name: str, root: Path, remedy: str = "") -> MissingDataError:
    """Return the error for a missing data set, with the ways to provide it."""
    ways = f"put {name}-train.parquet and {name}-test.parquet there, or point --data-root or REPRO_DATA to them"
    return MissingDataError(f"dataset {name}: not found in {root}; {ways}{remedy}")


def _cifar(name: str, archive: str, classes: int, options: dict[str, Any], runtime: Runtime) -> ImageSet:
    no_options(name, options)
    root = data_root(runtime)
    sides = parquet_sides(name, root) or _archive_sides(archive, root, runtime)
    if sides is None:
        raise not_found(name, root, ", or let torchvision download it with --allow-download")
    return image_set(name, sides, classes)


def _archive_sides(archive: str, root: Path, runtime: Runtime) -> tuple[Side, Side] | None:
    """Return torchvision's (train, test), downloaded only if allowed; None if the archive is missing."""
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
