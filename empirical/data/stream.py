"""Images on disk: decoded by processes of their own some batches ahead, never by the one that trains.

A random crop is drawn before the epoch like every other random choice, so that it depends on nobody's turn.
"""

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from empirical.augmentation.augment import boxes
from empirical.data.files import as_rgb
from empirical.data.files import decode_image as by_pillow
from repro.base.errors import IntegrityError
from repro.records.folder import read_bytes, read_checked

LOG = logging.getLogger("repro.fallback")
AHEAD = 3  # batches that each reader has ready
SHARED = Path("/dev/shm")  # where readers leave their batches
Wanted = Mapping[str, tuple[np.ndarray, Tensor | None]]  # by stream: rows, and draws of their crops or None


@dataclass(frozen=True)
class StreamedImages:
    """Images on disk that answer like a uint8 tensor `(n, 3, size, size)` on the CPU.

    Attributes:
        root: folder of the side; names: one file an image, relative to it (texts: a million paths take a gigabyte).
        size: edge of the decoded images.
        short: length the short side is scaled to before the centre is cut out; 0 is `size`.
        readers: processes that decode; 0 decodes in this one.
        pinned: whether batches are handed over in memory that a GPU copies from without waiting.
    """

    root: Path
    names: tuple[str, ...] = field(repr=False)
    size: int
    short: int = 0
    readers: int = 0
    pinned: bool = False
    dtype = torch.uint8
    device = torch.device("cpu")
    is_cuda = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """`(n, 3, size, size)`."""
        return (len(self.names), 3, self.size, self.size)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any) -> Tensor:
        """Decode the images of an index tensor, array or slice, in threads."""
        places = range(len(self))[index] if isinstance(index, slice) else np.asarray(index).tolist()
        return self._stacked(list(_threads().map(self._whole, places)))

    def read(self, rows: np.ndarray, draws: Tensor | None = None) -> Tensor:
        """Return some images, `(b, 3, size, size)`: their centres, or a random crop of each by its draws `(b, 5+)`."""
        if draws is None:
            return self._stacked([self._whole(row) for row in rows.tolist()])
        pairs = zip(rows.tolist(), draws, strict=True)
        return self._stacked([random_crop(self.root / self.names[row], self.size, own) for row, own in pairs])

    def _whole(self, place: int) -> Tensor:
        return read_image(self.root / self.names[place], self.size, self.short)

    def _stacked(self, images: list[Tensor]) -> Tensor:
        return torch.stack(images) if images else torch.empty(0, *self.shape[1:], dtype=self.dtype)

    def pick(self, rows: Tensor) -> "StreamedImages":
        """Return the images of some rows, none of them read."""
        return replace(self, names=tuple(self.names[row] for row in rows.tolist()))

    def split(self, count: int) -> Iterator[Tensor]:
        """Yield the images in chunks, as `torch.Tensor.split` does."""
        every = np.arange(len(self))
        steps: list[Wanted] = [{"": (every[at : at + count], None)} for at in range(0, len(self), count)]
        return (found[""] for found in self.ahead(steps))

    def ahead(self, steps: Sequence[Wanted]) -> Iterator[dict[str, Tensor]]:
        """Yield the images of one step after the other, decoded ahead by readers that end with the last.

        Raises:
            IntegrityError: naming the file that cannot be decoded.
        """
        return Readers(self)(steps)

    def readers_of_a_stage(self) -> "Readers":
        """Return readers that stay from one epoch to the next."""
        return Readers(self)

    def to(self, device: torch.device) -> "StreamedImages":
        """Return the images themselves: each batch moves on its own."""
        return self


@dataclass(frozen=True)
class Batches(Dataset[Any]):
    """A batch for what a step wants of it; what a reader cannot decode comes back as the line that says so."""

    images: Any  # what has `read(rows, draws)`

    def __getitem__(self, wanted: Mapping[str, tuple[np.ndarray, np.ndarray | None]]) -> dict[str, Tensor] | str:
        try:
            return {
                name: self.images.read(rows, None if draws is None else torch.from_numpy(draws))
                for name, (rows, draws) in wanted.items()
            }
        except IntegrityError as error:
            return str(error)


@dataclass
class Turn:
    """The steps whose images are read now, as readers are told of them."""

    steps: Sequence[Wanted] = ()

    def __iter__(self) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray | None]]]:
        """Yield what each step wants, as arrays: a tensor would go to a reader through shared memory."""
        for step in self.steps:
            yield {name: (rows, None if draws is None else draws.numpy()) for name, (rows, draws) in step.items()}


class Readers:
    """Processes that decode images ahead of the steps that take them, the same ones epoch after epoch.

    How many there are changes no number: they draw nothing, and torch's own generator is left alone.

    Args:
        images: what is read; it has `read(rows, draws)`, `shape`, `readers` and `pinned`.
    """

    def __init__(self, images: Any) -> None:
        self.images = images
        self._turn = Turn()
        self._loader: DataLoader[Any] | None = None

    def __call__(self, steps: Sequence[Wanted]) -> Iterator[dict[str, Tensor]]:
        """Yield the images of one step after the other.

        Raises:
            IntegrityError: naming the file that cannot be decoded.
        """
        self._turn.steps = steps
        if not steps:
            return
        if self._loader is None:
            self._loader = self._started(max(len(rows) for rows, _ in steps[0].values()) * len(steps[0]))
        for found in self._loader:
            if isinstance(found, str):
                raise IntegrityError(found)
            yield found

    def _started(self, batch: int) -> DataLoader[Any]:
        """Return the loader, for batches of at most so many images."""
        readers, ahead = fitting_readers(self.images.readers, batch * int(np.prod(self.images.shape[1:])))
        more: dict[str, Any] = {"prefetch_factor": ahead, "persistent_workers": True} if readers else {}
        return DataLoader(
            Batches(self.images), batch_size=None, sampler=self._turn, num_workers=readers,
            pin_memory=self.images.pinned, generator=torch.Generator(), **more,
        )  # fmt: skip


def fitting_readers(readers: int, batch_bytes: int) -> tuple[int, int]:
    """Return how many readers, and batches ahead of each, shared memory holds; fewer than asked for is said in a line.

    `readers x ahead + 1` batches exist at once: the last is being handed over. A reader that finds no room dies by a
    bus error, which names nothing.

    Args:
        readers: asked for; batch_bytes: of the images of a step.
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
    """Return the one pool of threads that decodes what is asked for out of turn."""
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1))


def read_image(path: Path, size: int, short: int = 0) -> Tensor:
    """Return an image file as `(3, size, size)` uint8: the short side scaled to `short`, then the centre cut out.

    Raises:
        IntegrityError: naming the file that cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(read_bytes(str(path)))) as image:
            return torch.from_numpy(scaled(image, size, short))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise IntegrityError(f"{path.parent.name}/{path.name}: the image cannot be decoded ({error})") from error


def scaled(image: Any, size: int, short: int = 0) -> np.ndarray:
    """Return a Pillow image as `(3, size, size)` uint8: the short side scaled to `short`, then the centre cut out."""
    from PIL import Image

    scale = (short or size) / min(image.size)
    width, height = (max(size, round(edge * scale)) for edge in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = as_rgb(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized.crop((left, top, left + size, top + size))).transpose(2, 0, 1).copy()


def random_crop(path: Path, size: int, draws: Tensor) -> Tensor:
    """Return a random part of an image file, scaled to `(3, size, size)` uint8 and perhaps mirrored.

    Args:
        path: the file; size: edge of the result.
        draws: five uniform numbers, see `boxes` of the augmentation; the third mirrors the image from a half on.

    Raises:
        IntegrityError: naming the file that cannot be decoded.
    """
    from torchvision.transforms.v2 import functional as transforms

    whole = decoded(path)
    top, left, height, width = (int(one) for one in boxes(draws[None], whole.shape[1], whole.shape[2])[0].round())
    part = transforms.resized_crop(whole, top, left, height, width, [size, size], antialias=True)
    return part if draws[2] < 0.5 else part.flip(2)


def decoded(path: Path) -> Tensor:
    """Return a whole image file as `(3, h, w)` uint8, by torch's decoder, or by Pillow what that does not know."""
    from torchvision.io import ImageReadMode, decode_image

    raw = read_checked(path)
    with contextlib.suppress(RuntimeError):
        whole = decode_image(torch.frombuffer(bytearray(raw), dtype=torch.uint8), mode=ImageReadMode.RGB)
        if whole.dtype == torch.uint8:
            return whole
    return torch.from_numpy(by_pillow(raw, f"{path.parent.name}/{path.name}").copy())
