"""Crop and flip: which pixels end up where."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from empirical.augmentation.augment import PLANS, Augment

IMAGES = torch.arange(400 * 3 * 5 * 6).reshape(400, 3, 5, 6) + 1  # every pixel is another number; 0 is the border
DRAWS = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))


def windows(image: Tensor, padding: int) -> list[Tensor]:
    """Return every crop of the padded image back to its size, row shift first."""
    padded = F.pad(image, (padding,) * 4)
    reach = range(2 * padding + 1)
    return [padded[:, top : top + 5, left : left + 6] for top in reach for left in reach]


def test_a_crop_is_a_window_of_the_padded_image_and_every_window_is_as_likely() -> None:
    changed = Augment(padding=1)(IMAGES, DRAWS)
    found = torch.zeros(9)
    for image, result in zip(IMAGES, changed, strict=True):
        (place,) = [place for place, window in enumerate(windows(image, 1)) if torch.equal(window, result)]
        found[place] += 1
    assert found.min() > 400 / 9 / 2
    assert found.max() < 400 / 9 * 2


def test_a_flip_mirrors_about_half_of_the_images_and_leaves_the_others() -> None:
    changed = Augment(flip=True)(IMAGES, DRAWS)
    mirrored = (changed == IMAGES.flip(3)).flatten(1).all(1)
    kept = (changed == IMAGES).flatten(1).all(1)
    assert bool((mirrored ^ kept).all())
    assert 160 < int(mirrored.sum()) < 240


def test_crop_and_flip_together_mirror_what_the_crop_alone_would_show() -> None:
    both, flipped = Augment(padding=1, flip=True)(IMAGES, DRAWS), DRAWS[:, 2] >= 0.5
    alone = Augment(padding=1)(IMAGES, DRAWS)
    assert torch.equal(both[~flipped], alone[~flipped])
    shown = zip(IMAGES[flipped], both[flipped], strict=True)
    assert all(any(torch.equal(window.flip(2), result) for window in windows(image, 1)) for image, result in shown)
    assert not bool((both[flipped] == alone[flipped]).flatten(1).all(1).any())


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_image_is_cut_and_mirrored_by_its_own_draws(dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (60, 3, 5, 6), generator=torch.Generator().manual_seed(3)).to(dtype)
    padded = F.pad(images, (2,) * 4)
    for image, draws, shown in zip(padded, DRAWS, Augment(padding=2, flip=True)(images, DRAWS[:60]), strict=False):
        top, left = (int(draw * 5) for draw in draws[:2])
        window = image[:, top : top + 5, left : left + 6]
        assert torch.equal(shown, window if draws[2] < 0.5 else window.flip(2))


def test_the_draws_alone_decide_and_no_augmentation_is_none() -> None:
    plan = PLANS["crop-flip"]
    assert (plan.padding, plan.flip) == (4, True)
    assert (PLANS["shift"], PLANS["flip"]) == (Augment(padding=1), Augment(flip=True))
    assert torch.equal(plan(IMAGES, DRAWS), plan(IMAGES, DRAWS))
    assert not torch.equal(plan(IMAGES, DRAWS), plan(IMAGES, DRAWS.flip(0)))
    assert PLANS["none"](IMAGES, DRAWS) is IMAGES


def test_randaugment_takes_its_draws_after_those_of_crop_and_flip() -> None:
    images = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    plan = Augment(randaugment=(2, 15))
    assert plan.columns == 7
    draws = torch.rand(64, plan.columns, generator=torch.Generator().manual_seed(2))
    changed = plan(images, draws)
    assert (changed != images).flatten(1).any(1).sum() > 40
    other = torch.cat([1 - draws[:, :3], draws[:, 3:]], 1)
    assert torch.equal(plan(images, other), changed)
    last = torch.cat([draws[:, :5], 1 - draws[:, 5:]], 1)
    assert not torch.equal(plan(images, last), changed)
