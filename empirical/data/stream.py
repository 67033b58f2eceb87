"""Images on disk: reader processes decode them some batches ahead of training.

Random crops are drawn before the epoch, as all random numbers are, so they do not depend on the order of the readers.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from empirical.augmentation.augment import boxes
from empirical.data.files import decode_image as by_pillow
from repro.base.errors import IntegrityError
from repro.records.folder import read_checked

LOG = logging.getLogger("repro.fallback")
AHEAD = 3  # batches that each reader prepares
SHARED = Path("/dev/shm")  # where readers leave their batches
# By stream: rows, and draws of their crops or None; arrays, because tensors would need shared memory.
Wanted = Mapping[str, tuple[np.ndarray, np.ndarray | None]]


class ReadImages:
    """Images that are read whenever they are asked for, and answer like one tensor `(n, c, h, w)` on the CPU.

    Attributes:
        shape: `(n, c, h, w)`; dtype: of an image.
        readers: processes that read; 0: this process.
        pinned: whether batches are in pinned memory, which a GPU copies from without waiting.
        ahead: whether a stage has them read some batches ahead of its steps.
    """

    shape: Any
    dtype: torch.dtype
    readers: int
    pinned: bool
    ahead = True
    device = torch.device("cpu")
    is_cuda = False

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, rows: np.ndarray, draws: Tensor | None = None) -> Tensor:
        """Return images `(b, c, h, w)`: whole, or random crops by random numbers `(b, 5+)`."""
        raise NotImplementedError

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the images in chunks, as `torch.Tensor.split` does."""
        every = np.arange(len(self))
        steps: list[Wanted] = [{"": (every[at : at + count], None)} for at in range(0, len(self), count)]
        return (found[""] for found in Readers(self)(steps))

    def to(self, device: torch.device) -> Self:
        """Return the same object, as each batch is moved separately."""
        return self


@dataclass(frozen=True)
class StreamedImages(ReadImages):
    """Image files; a reader crops them at random where draws are given, else takes their centres.

    Attributes:
        root: folder of the side; names: file of each image, relative to it (text: a million `Path`s take a gigabyte).
        size: edge of the decoded images.
        short: length of the scaled short side, from which the centre is cropped; 0: `size`.
    """

    root: Path
    names: tuple[str, ...] = field(repr=False)
    size: int
    short: int = 0
    readers: int = 0
    pinned: bool = False
    dtype = torch.uint8

    @property
    def shape(self) -> tuple[int, int, int, int]:  # type: ignore[override]
        """`(n, 3, size, size)`."""
        return (len(self.names), 3, self.size, self.size)

    def __getitem__(self, index: Any) -> Tensor:
        """Decode the images of an index tensor, array or slice, in threads."""
        places = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        return self._stacked(list(_threads().map(self._whole, places)))

    def read(self, rows: np.ndarray, draws: Tensor | None = None) -> Tensor:
        """Return images `(b, 3, size, size)`: their centres, or random crops by random numbers `(b, 5+)`."""
        if draws is None:
            return self._stacked([self._whole(row) for row in rows.tolist()])
        pairs = zip(rows.tolist(), draws, strict=True)
        return self._stacked([random_crop(self.root / self.names[row], self.size, own) for row, own in pairs])

    def _whole(self, place: int) -> Tensor:
        return read_image(self.root / self.names[place], self.size, self.short)

    def _stacked(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images) if images else torch.empty(0, *self.shape[1:], dtype=self.dtype)

    def pick(self, rows: Tensor) -> "StreamedImages":
        """Return the images of some rows without reading them."""
        return replace(self, names=tuple(self.names[row] for row in rows.tolist()))


@dataclass(frozen=True)
class Batches(Dataset[Any]):
    """Maps the rows that a step wants to a batch; if an image cannot be decoded, to the error message."""

    images: ReadImages

    def __getitem__(self, wanted: Wanted) -> dict[str, Tensor] | str:
        try:
            return {
                name: self.images.read(rows, None if draws is None else torch.from_numpy(draws))
                for name, (rows, draws) in wanted.items()
            }
        except IntegrityError as error:
            return str(error)


class Readers:
    """Processes that decode images ahead of the training steps; the same processes serve all epochs.

    Their number changes no result: they draw no random numbers and do not use torch's global generator.

    Args:
        images: what is read.
    """

    def __init__(self, images: ReadImages) -> None:
        self.images = images
        self._steps: list[Wanted] = []  # what they decode now
        self._loader: DataLoader[Any] | None = None

    def __call__(self, steps: Sequence[Wanted]) -> Iterator[dict[str, Tensor]]:
        """Yield the images of each step.

        Raises:
            IntegrityError: naming the file that cannot be decoded.
        """
        self._steps[:] = steps
        if not steps:
            return
        if self._loader is None:
            self._loader = self._started(max(len(rows) for rows, _ in steps[0].values()) * len(steps[0]))
        for found in self._loader:
            if isinstance(found, str):
                raise IntegrityError(found)
            yield found

    def _started(self, batch: int) -> DataLoader[Any]:
        """Return the loader for batches of at most `batch` images."""
        readers, ahead = fitting_readers(self.images.readers, batch * int(np.prod(self.images.shape[1:])))
        more: dict[str, Any] = {"prefetch_factor": ahead, "persistent_workers": True} if readers else {}
        return DataLoader(
            Batches(self.images), batch_size=None, sampler=self._steps, num_workers=readers,
            pin_memory=self.images.pinned, generator=torch.Generator(), **more,
        )  # fmt: skip


def fitting_readers(readers: int, batch_bytes: int) -> tuple[int, int]:
    """Return the number of readers, and of batches ahead of each, that fit in shared memory; warn if readers are fewer.

    `readers x ahead + 1` batches exist at the same time, the last of them in transfer. A reader without memory would
    die by a bus error without a message.

    Args:
        readers: wanted number of readers; batch_bytes: size of the images of a step.
    """
    if not readers or not SHARED.is_dir():
        return readers, AHEAD
    free = shutil.disk_usage(SHARED).free
    room = max(0, free // batch_bytes - 1)
    ahead = min(AHEAD, room // readers)
    if ahead:
        return readers, ahead
    said = f"{SHARED} has {free / 2**20:.0f} MB free: room for {room} of the batches that {readers} readers hold"
    LOG.warning(f"{said}; {room or 'no'} readers run. Give a container more: --shm-size 8g, or --ipc host")
    return room, 1


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads that decode images outside the readers."""
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1))


def read_image(path: Path, size: int, short: int = 0) -> Tensor:
    """Return an image file as `(3, size, size)` uint8: the short side is scaled to `short`, then the centre cropped.

    Raises:
        IntegrityError: naming the file that cannot be decoded.
    """
    return torch.from_numpy(by_pillow(read_checked(path), f"{path.parent.name}/{path.name}", size, short))


def random_crop(path: Path, size: int, draws: Tensor) -> Tensor:
    """Return a random crop of an image file, scaled to `(3, size, size)` uint8 and possibly mirrored.

    Args:
        path: the file; size: edge of the result.
        draws: five uniform random numbers, see `boxes` of the augmentation; a third >= 0.5 mirrors the image.

    Raises:
        IntegrityError: naming the file that cannot be decoded.
    """
    from torchvision.transforms.v2 import functional as transforms

    whole = decode_file(path)
    top, left, height, width = (int(one) for one in boxes(draws[None], whole.shape[1], whole.shape[2])[0].round())
    part = transforms.resized_crop(whole, top, left, height, width, [size, size], antialias=True)
    return part if draws[2] < 0.5 else part.flip(2)


def decode_file(path: Path) -> Tensor:
    """Return a whole image file as `(3, h, w)` uint8, decoded by torch, or by Pillow if torch cannot."""
    from torchvision.io import ImageReadMode, decode_image

    raw = read_checked(path)
    with contextlib.suppress(RuntimeError):
        whole = decode_image(torch.frombuffer(bytearray(raw), dtype=torch.uint8), mode=ImageReadMode.RGB)
        if whole.dtype == torch.uint8:
            return whole
    return torch.from_numpy(by_pillow(raw, f"{path.parent.name}/{path.name}").copy())
