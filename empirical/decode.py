"""Hub-layout Parquet files decoded to tensors, once: the result is cached under the sha256 of the file."""

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repro.errors import ConfigError, IntegrityError
from repro.progress import track


def decoded(path: Path) -> tuple[Tensor, Tensor]:
    """Return the images `(n, 3, h, w)` uint8 and labels `(n,)` of a Parquet file.

    Raises:
        IntegrityError: when the file is truncated, or a row's image cannot be decoded; names file and row.
        ConfigError: when it has no image or label column.
    """
    cached = cache_folder() / f"{file_digest(path)}.npz"
    if cached.exists():
        with np.load(cached, allow_pickle=False) as archive:
            return torch.from_numpy(archive["images"]), torch.from_numpy(archive["labels"])
    encoded, labels = read_columns(path)
    images = np.stack([decode_image(data, f"{path.name} row {row}") for row, data in _numbered(encoded, path.name)])
    write_cache(cached, images=images, labels=labels)
    return torch.from_numpy(images), torch.from_numpy(labels)


def cache_folder() -> Path:
    """Return where decoded images are kept: REPRO_CACHE, else the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "") or Path.home() / ".cache") / "repro-unlearning"
    return Path(os.environ.get("REPRO_CACHE", "") or default)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_columns(path: Path) -> tuple[list[bytes], np.ndarray]:
    """Return the encoded images and the labels of a hub-layout Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"{path.name}: not a whole Parquet file ({str(error).splitlines()[0]})") from error
    image = next((name for name in ("img", "image") if name in table.column_names), None)
    label = next((name for name in ("label", "fine_label") if name in table.column_names), None)
    if image is None or label is None:
        raise ConfigError(f"{path.name}: needs an image (img, image) and a label column, has {table.column_names}")
    rows: list[Any] = table.column(image).to_pylist()
    return [row["bytes"] for row in rows], np.asarray(table.column(label).to_pylist(), np.int64)


def decode_image(data: bytes, where: str) -> np.ndarray:
    """Return one image as `(3, h, w)` uint8; `where` names it in the error."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (UnidentifiedImageError, OSError, TypeError, ValueError) as error:
        raise IntegrityError(f"{where}: the image cannot be decoded ({str(error)[:80]})") from error


def write_cache(path: Path, **arrays: np.ndarray) -> None:
    """Write arrays so that a reader sees the whole file or none; a cache that cannot be written is not needed."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    except OSError:
        return


def _numbered(encoded: list[bytes], name: str) -> Iterable[tuple[int, bytes]]:
    return track(list(enumerate(encoded)), f"decoding {name}")
