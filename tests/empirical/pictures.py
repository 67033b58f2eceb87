"""Small pictures, in folders of classes and in the Parquet files of a hub."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def picture(seed: int, kind: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    """Return noise in which one of the three colours, `kind`, is strong."""
    noise = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    noise[..., kind] += 150
    return Image.fromarray(noise)


def png(seed: int, kind: int = 0, size: tuple[int, int] = (32, 32)) -> bytes:
    buffer = io.BytesIO()
    picture(seed, kind, size).save(buffer, "png")
    return buffer.getvalue()


def write_parquet(path: Path, images: Sequence[bytes], *, image: str = "img", **columns: Any) -> None:
    """Write encoded images into the column `image`, beside other columns such as `label`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({image: [{"bytes": one, "path": None} for one in images], **columns}), path)


def write_folder(
    root: Path, count: int = 10, *, classes: Sequence[str] = ("cats", "dogs"), size: tuple[int, int] = (12, 10)
) -> Path:
    """Write so many pictures of each class, `root/<class>/<number>.png`."""
    for kind, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(count):
            picture(number, kind, size).save(root / name / f"{number}.png")
    return root
