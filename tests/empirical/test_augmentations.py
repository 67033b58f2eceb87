"""Crops and flips by their draws, RandAugment operation by operation, and corruptions by their statistics."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv

from empirical.augmentation.augment import PLANS, Augment
from empirical.augmentation.corruptions import CORRUPTIONS, corrupt
from empirical.augmentation.randaugment import OPERATIONS, randaugment

IMAGES = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SMOOTH = (torch.arange(16)[:, None] * 9 + torch.arange(16) * 6).to(torch.uint8).expand(2, 3, 16, 16)
NEAREST = InterpolationMode.NEAREST
REFERENCE = {
    "Identity": lambda x: x,
    "Brightness": lambda x: tv.adjust_brightness(x, 1.45),
    "Color": lambda x: tv.adjust_saturation(x, 1.45),
    "Contrast": lambda x: tv.adjust_contrast(x, 1.45),
    "Sharpness": lambda x: tv.adjust_sharpness(x, 1.45),
    "Posterize": lambda x: tv.posterize(x, 6),
    "Solarize": lambda x: tv.solarize(x, 127.5),
    "AutoContrast": tv.autocontrast,
    "Equalize": tv.equalize,
    "Rotate": lambda x: tv.rotate(x, 15.0, interpolation=NEAREST),
    "TranslateX": lambda x: tv.affine(x, 0.0, [3, 0], 1.0, [0.0, 0.0], interpolation=NEAREST),
    "TranslateY": lambda x: tv.affine(x, 0.0, [0, 3], 1.0, [0.0, 0.0], interpolation=NEAREST),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_an_operation_agrees_with_torchvision(name: str) -> None:
    images = SMOOTH if name in ("Rotate",) else IMAGES
    ours = OPERATIONS[name](images.float(), torch.full((len(images),), 0.5)).round()
    theirs = REFERENCE[name](images).float()
    off = (ours - theirs).abs()
    assert float((off > 1).float().mean()) <= (0.03 if name == "Rotate" else 0.0)


def test_every_operation_is_covered_or_a_shear() -> None:
    assert set(OPERATIONS) - set(REFERENCE) == {"ShearX", "ShearY"}


@pytest.mark.parametrize("strength", [1.0, -0.5])
@pytest.mark.parametrize("name", ["ShearX", "ShearY"])
def test_a_shear_moves_each_line_by_three_tenths_of_a_pixel_for_every_line_off_the_centre(
    name: str, strength: float
) -> None:
    """Pixel by pixel: what comes to (row, column) stood `0.3 s` times its distance from the centre further along."""
    images = IMAGES.float() + 1
    expected = torch.zeros_like(images)
    for row, column in itertools.product(range(16), range(16)):
        lines = 0.3 * strength * ((row if name == "ShearX" else column) - 7.5)
        y, x = (row, round(column + lines)) if name == "ShearX" else (round(row + lines), column)
        if 0 <= x < 16 and 0 <= y < 16:
            expected[:, :, row, column] = images[:, :, y, x]
    assert torch.equal(OPERATIONS[name](images, torch.full((4,), strength)), expected)


def test_each_image_takes_its_own_operation_from_its_draws() -> None:
    place = {name: (i + 0.5) / len(OPERATIONS) for i, name in enumerate(OPERATIONS)}
    chosen = ("Identity", "Solarize", "Identity", "Equalize")
    draws = torch.tensor([[place[name], 0.1] for name in chosen])
    changed = randaugment(IMAGES, draws, 15)
    assert changed.dtype == torch.uint8
    assert torch.equal(changed[[0, 2]], IMAGES[[0, 2]])
    assert torch.equal(changed[1], tv.solarize(IMAGES[1], 127.5))
    assert torch.equal(changed[3], tv.equalize(IMAGES[3]))


def test_the_second_draw_gives_the_strength_its_sign() -> None:
    column = torch.zeros(2, 1, 16, 16)
    column[..., 8] = 255
    place = (list(OPERATIONS).index("ShearX") + 0.5) / len(OPERATIONS)
    changed = randaugment(column, torch.tensor([[place, 0.1], [place, 0.9]]), 30)
    assert torch.equal(changed[0, 0].flip(0), changed[1, 0])
    assert not torch.equal(changed[0], changed[1])


def test_snow_lays_bright_streaks_over_a_dark_image() -> None:
    dark = np.zeros((4, 3, 32, 32), np.uint8)
    snowy = corrupt(dark, "snow-3", generator=np.random.default_rng(0))
    assert int(snowy.max()) - int(snowy.min()) > 30
    assert np.array_equal(snowy[:, 0], snowy[:, 1])


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_severity_moves_images_further_and_the_seed_decides(kind: str) -> None:
    images = np.ascontiguousarray(SMOOTH.numpy().repeat(4, 0))
    images = np.kron(images, np.ones((1, 1, 2, 2), np.uint8))
    change = []
    for severity in (1, 5):
        noisy = [corrupt(images, f"{kind}-{severity}", generator=np.random.default_rng(0)) for _ in range(2)]
        assert np.array_equal(noisy[0], noisy[1])
        change.append(np.abs(noisy[0].astype(int) - images).mean())
    assert 0 < change[0] < change[1]


def test_gaussian_noise_has_the_stated_deviation() -> None:
    grey = np.full((20, 1, 32, 32), 128, np.uint8)
    noisy = corrupt(grey, "gaussian_noise-3", generator=np.random.default_rng(0))
    assert noisy.std() / 255 == pytest.approx(0.08, rel=0.03)


@pytest.mark.parametrize("shape", [(37, 3, 32, 32), (16, 1, 8, 8), (8, 3, 64, 64)])
def test_each_image_is_the_same_bit_for_bit_alone_in_the_whole_batch_and_among_those_that_drew_its_operation(
    shape: tuple[int, ...],
) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    draws = torch.rand(len(images), 4, generator=generator)
    together = randaugment(images, draws, 15)
    assert torch.equal(randaugment(images, draws, 15, fixed=False), together)
    one_by_one = [randaugment(images[n : n + 1], draws[n : n + 1], 15) for n in range(len(images))]
    assert torch.equal(torch.cat(one_by_one), together)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("padding", "flip"), [(2, True), (1, False), (0, True)])
def test_every_image_is_cut_and_mirrored_by_its_own_draws(padding: int, flip: bool, dtype: torch.dtype) -> None:
    images = torch.randint(0, 256, (60, 3, 5, 6), generator=torch.Generator().manual_seed(3)).to(dtype)
    drawn = torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    padded = F.pad(images, (padding,) * 4)
    for image, draws, shown in zip(padded, drawn, Augment(padding=padding, flip=flip)(images, drawn), strict=True):
        top, left = (int(draw * (2 * padding + 1)) for draw in draws[:2])
        window = image[:, top : top + 5, left : left + 6]
        assert torch.equal(shown, window.flip(2) if flip and draws[2] >= 0.5 else window)


def test_the_plans_are_those_they_are_named_after() -> None:
    assert (PLANS["crop-flip"].padding, PLANS["crop-flip"].flip) == (4, True)
    assert (PLANS["shift"], PLANS["flip"]) == (Augment(padding=1), Augment(flip=True))
    assert PLANS["none"](IMAGES, torch.rand(4, 3)) is IMAGES


def test_randaugment_takes_its_draws_after_those_of_crop_and_flip() -> None:
    images = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    plan = Augment(randaugment=(2, 15))
    assert plan.columns == 7
    draws = torch.rand(64, plan.columns, generator=torch.Generator().manual_seed(2))
    changed = plan(images, draws)
    assert (changed != images).flatten(1).any(1).sum() > 40
    assert torch.equal(plan(images, torch.cat([1 - draws[:, :3], draws[:, 3:]], 1)), changed)
    assert not torch.equal(plan(images, torch.cat([draws[:, :5], 1 - draws[:, 5:]], 1)), changed)
