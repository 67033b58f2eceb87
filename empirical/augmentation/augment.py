"""Batched augmentation on the device: every random choice is drawn before the epoch, so a step is a pure function."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.settings.run_config import RunConfig


@dataclass(frozen=True)
class Augment:
    """What happens to a training batch.

    Attributes:
        padding: pixels of zero border before the random crop back to the image size; 0 is no crop.
        flip: whether half of the images are mirrored.
        randaugment: `(operations, magnitude)`, or None.
    """

    padding: int = 0
    flip: bool = False
    randaugment: tuple[int, int] | None = None

    @property
    def columns(self) -> int:
        """Uniform numbers needed per image: row shift, column shift, flip, then two per RandAugment operation."""
        return 3 + 2 * (self.randaugment[0] if self.randaugment else 0)

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment a batch.

        Args:
            images: `(b, c, h, w)`.
            draws: `(b, columns)`, uniform in [0, 1).
        """
        if self.padding or self.flip:
            images = crop_and_flip(images, draws, padding=self.padding, flip=self.flip)
        if self.randaugment is None:
            return images
        from empirical.augmentation.randaugment import randaugment

        return randaugment(images, draws[:, 3:], self.randaugment[1])


PLANS = {
    "none": Augment(), "shift": Augment(padding=1), "flip": Augment(flip=True),
    "crop-flip": Augment(padding=4, flip=True),
}  # fmt: skip


def augmentation(config: RunConfig) -> Augment:
    """Return the training augmentation; D2 adds RandAugment."""
    plan = PLANS[config.augment]
    return Augment(plan.padding, plan.flip, (2, 15)) if config.fidelity.randaugment else plan


def crop_and_flip(images: Tensor, draws: Tensor, *, padding: int, flip: bool) -> Tensor:
    """Shift each image by a whole number of pixels in [-padding, padding] and mirror it, in one gather.

    The gather runs over the pixels of a padded image, whose places the channels of an image share.
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
