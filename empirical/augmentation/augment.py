"""Batched augmentation on the device; random numbers are drawn before the epoch, so a step is a pure function."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.settings.run_config import RunConfig
from repro.base.settings import reject


@dataclass(frozen=True)
class Augment:
    """The augmentation of a training batch.

    Attributes:
        padding: width of the zero border, in pixels, before a random crop of the image size; 0: no crop.
        flip: whether half of the images are mirrored.
        randaugment: `(operations, magnitude)`, or None.
        resized: whether a random part of the image, 8 % to 100 %, is scaled to its size, as usual for ImageNet.
    """

    padding: int = 0
    flip: bool = False
    randaugment: tuple[int, int] | None = None
    resized: bool = False

    @property
    def columns(self) -> int:
        """Random numbers per image: place of the crop, flip, size of the crop, then two per RandAugment operation."""
        return (5 if self.resized else 3) + 2 * (self.randaugment[0] if self.randaugment else 0)

    def __call__(self, images: Tensor, draws: Tensor, *, fixed: bool = True, cropped: bool = False) -> Tensor:
        """Augment a batch.

        Args:
            images: `(b, c, h, w)`.
            draws: `(b, columns)` random numbers, uniform in [0, 1).
            fixed: whether the sequence of kernels must not depend on `draws`, as on a GPU and in a CUDA graph.
            cropped: whether the process that read the images scaled a random part of each already, if `resized`.
        """
        if self.resized:
            images = images if cropped else resized_crops(images, draws)
        elif self.padding or self.flip:
            images = crop_and_flip(images, draws, padding=self.padding, flip=self.flip)
        if self.randaugment is None:
            return images
        from empirical.augmentation.randaugment import randaugment

        operations, magnitude = self.randaugment
        return randaugment(images, draws[:, self.columns - 2 * operations :], magnitude, fixed=fixed)


PLANS = {
    "none": Augment(), "shift": Augment(padding=1), "flip": Augment(flip=True),
    "crop-flip": Augment(padding=4, flip=True), "resized-crop": Augment(resized=True),
}  # fmt: skip


def augmentation(config: RunConfig, dtype: torch.dtype) -> Augment:
    """Return the training augmentation for images of a dtype; D2 adds RandAugment.

    Raises:
        ConfigError: if RandAugment would round images that are not uint8.
    """
    plan = PLANS[config.augment]
    if config.fidelity.randaugment and dtype != torch.uint8:
        remedy = f"{str(dtype).removeprefix('torch.')} images would be rounded; set switches to randaugment=false"
        raise reject("randaugment", True, "false except on uint8 images", remedy)
    return replace(plan, randaugment=(2, 15)) if config.fidelity.randaugment else plan


def crop_and_flip(images: Tensor, draws: Tensor, *, padding: int, flip: bool) -> Tensor:
    """Shift each image by a whole number of pixels in [-padding, padding] and mirror half of them, in a single gather.

    The gather runs over the pixels of the padded image; all channels of an image share their indices.
    """
    _, channels, height, width = images.shape
    padded = F.pad(images, (padding,) * 4)
    shift = (draws[:, :2] * (2 * padding + 1)).long()
    rows = shift[:, 0, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    if flip:
        columns = torch.where(draws[:, 2, None] < 0.5, columns, width - 1 - columns)
    columns = shift[:, 1, None] + columns
    places = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).flatten(1)
    return padded.flatten(2).gather(2, places[:, None].expand(-1, channels, -1)).view_as(images)


AREA, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def boxes(draws: Tensor, height: int, width: int) -> Tensor:
    """Return a random box in each image, `(b, 4)`: top, left, height and width in pixels, real numbers.

    Its area is uniform in 8 % to 100 % of the image, and the logarithm of its aspect ratio is uniform between log 3/4
    and log 4/3 (Szegedy et al. 2015). A box that does not fit is reduced to the image; torchvision draws again.

    Args:
        draws: `(b, 5+)`, uniform in [0, 1): top, left, flip, area, aspect; height, width: of the images.
    """
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * draws[:, 3])
    low, high = (math.log(ratio) for ratio in RATIO)
    ratio = torch.exp(low + (high - low) * draws[:, 4])
    tall, wide = (area / ratio).sqrt().clamp(1, height), (area * ratio).sqrt().clamp(1, width)
    return torch.stack([(height - tall) * draws[:, 0], (width - wide) * draws[:, 1], tall, wide], dim=1)


def resized_crops(images: Tensor, draws: Tensor) -> Tensor:
    """Scale a random box of each image to the image size, bilinearly, and mirror half of the images.

    Args:
        images: `(b, c, h, w)`; draws: `(b, 5+)`, see `boxes`.
    """
    height, width = images.shape[2:]
    top, left, tall, wide = boxes(draws, height, width)[:, :, None].unbind(1)
    rows = top + (torch.arange(height, device=images.device) + 0.5) * tall / height
    steps = (torch.arange(width, device=images.device) + 0.5) / width
    columns = left + torch.where(draws[:, 2, None] < 0.5, steps, 1 - steps) * wide
    grid = torch.stack(
        torch.broadcast_tensors(2 * columns[:, None, :] / width - 1, 2 * rows[:, :, None] / height - 1), 3
    )
    real = images if images.is_floating_point() else images.float()
    found = F.grid_sample(real, grid.to(real.dtype), padding_mode="border", align_corners=False)
    return found if images.is_floating_point() else found.round().to(images.dtype)
