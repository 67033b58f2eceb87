"""Image sets in the hub layout, `hub:NAME`: Parquet files of a train and a test side."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from empirical.data.files import decode_image, image_set, read_columns
from empirical.data.images import ImageSet
from empirical.data.source import data_root
from empirical.settings.run_config import Runtime
from repro.base.errors import MissingDataError
from repro.base.settings import build, check, refuse_cost, reject, setting

TEST_SIDES = ("test", "validation", "valid", "val")


@dataclass(frozen=True)
class HubOptions:
    """Settings of a hub data set."""

    size: int = setting(0, "edge of the images: the short side is scaled, the centre cropped; 0: no change", low=0)
    test: str = setting("", "name of the test side, such as validation; empty: the first of test, validation")

    def __post_init__(self) -> None:
        check(self)
        refuse_cost("size", self.size, 3 * self.size**2 * 1e-9, 1, unit="GB per image")


def hub_files(dataset: str, options: dict[str, Any], root: Path) -> dict[str, list[Path]]:
    """Return the Parquet files of each side below `<data root>/NAME`: `train.parquet` or `train-*.parquet`."""
    folder = root / checked_name(dataset.partition(":")[2])
    chosen = str(options.get("test", ""))  # checked when the images are read
    names = ("train", *([chosen] if chosen else TEST_SIDES))
    found = sorted(folder.rglob("*.parquet"))
    sides = {side: [path for path in found if re.fullmatch(rf"{side}(-.*)?", path.stem)] for side in names}
    test = next((paths for side, paths in sides.items() if side != "train" and paths), [])
    return {"train": sides["train"], "test": test}


def checked_name(name: str) -> str:
    """Return a repository's name; `ConfigError` if it could lead out of the data root."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or ".." in name:
        raise reject("dataset", f"hub:{name}", "hub:NAME or hub:OWNER/NAME")
    return name


def load_hub(options: dict[str, Any], runtime: Runtime, *, name: str) -> ImageSet:
    """Return an image set of a hub from local files; missing files are downloaded if `allow_download` is set.

    Raises:
        MissingDataError: if files are missing, with the ways to provide them.
        ConfigError: if the images differ in size and `size` is not set.
    """
    chosen = build(HubOptions, options, where="dataset_options")
    root = data_root(runtime)
    sides = hub_files(f"hub:{name}", options, root)
    if not all(sides.values()) and runtime.allow_download:
        fetch(name, root / checked_name(name))
        sides = hub_files(f"hub:{name}", options, root)
    if not all(sides.values()):
        ways = f"put its Parquet files into {root / name}, or let huggingface_hub download them with --allow-download"
        raise MissingDataError(
            f"dataset hub:{name}: {'train' if not sides['train'] else 'test'} side not found; {ways}"
        )
    train, test = (_decoded_side(paths, chosen.size, name) for paths in sides.values())
    classes = int(max(train[1].max(), test[1].max())) + 1
    return image_set(f"hub:{name}", (train, test), classes)


def fetch(name: str, folder: Path) -> None:
    """Download the Parquet files of a repository."""
    from huggingface_hub import snapshot_download

    try:
        # The digest of the files is part of a run's id, so no revision is needed.
        snapshot_download(name, repo_type="dataset", allow_patterns="*.parquet", local_dir=folder)  # nosec B615
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise MissingDataError(f"dataset hub:{name}: the download failed ({reason}); put its files there") from error


def _decoded_side(paths: list[Path], size: int, name: str) -> tuple[Tensor, Tensor]:
    images, labels = [], []
    for path in paths:
        encoded, found = read_columns(path)
        images += [decode_image(data, f"{path.name} row {row}", size) for row, data in enumerate(encoded)]
        labels.append(found)
    shapes = {image.shape for image in images}
    if len(shapes) > 1:
        raise reject("dataset_options", "", "size=N", f"the images of hub:{name} have {len(shapes)} different sizes")
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.concatenate(labels))
