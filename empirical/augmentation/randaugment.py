"""RandAugment (Cubuk et al. 2020) for a whole batch on the device, without waiting for the device.

torchvision's own draws an operation on the host for each image, which a CUDA graph cannot record. Here every image has
its own operation: on a GPU all operations run on the whole batch and `torch.where` selects results, so a step is a
fixed sequence of kernels. The five operations that move pixels are a single warp with a matrix per image. On a CPU an
operation runs on its images only. Images are float in [0, 255].
"""

import math
from collections.abc import Callable
from functools import cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 30


def randaugment(images: Tensor, draws: Tensor, magnitude: int, *, fixed: bool = True) -> Tensor:
    """Apply random operations one after the other.

    Args:
        images: `(b, c, h, w)` uint8 or float in [0, 255].
        draws: `(b, 2 k)` uniform random numbers: two for each of k operations, its number and the sign of its strength.
        magnitude: strength, 0 to 30.
        fixed: whether the sequence of kernels must not depend on `draws`; otherwise operations wait for the device.
    """
    result = images.float()
    for place in range(0, draws.shape[1], 2):
        chosen = (draws[:, place] * len(OPERATIONS)).long()
        strength = torch.where(draws[:, place + 1] < 0.5, 1.0, -1.0) * (magnitude / BINS)
        result = (_on_all if fixed else _on_chosen)(result, chosen, strength)
    return result.round().clamp(0, 255).to(images.dtype)


def _on_all(images: Tensor, chosen: Tensor, strength: Tensor) -> Tensor:
    """Return each image after its operation, by a sequence of kernels that does not depend on `chosen`."""
    matrix = _affine(strength, 1.0, 0.0, 0.0, 1.0)
    moved = torch.zeros_like(chosen, dtype=torch.bool)
    result = images
    for number, (name, operation) in enumerate(OPERATIONS.items()):
        drew = chosen == number
        if name in MATRICES:
            matrix = torch.where(drew.view(-1, 1, 1), MATRICES[name](images, strength), matrix)
            moved = moved | drew
        elif operation is not identity:
            result = torch.where(drew.view(-1, 1, 1, 1), operation(images, strength), result)
    return torch.where(moved.view(-1, 1, 1, 1), _warp(images, matrix), result)


def _on_chosen(images: Tensor, chosen: Tensor, strength: Tensor) -> Tensor:
    """Return each image after its operation; an operation runs only on its own images."""
    result = images.clone()
    for number, operation in enumerate(OPERATIONS.values()):
        rows = (chosen == number).nonzero()[:, 0]
        if len(rows) and operation is not identity:
            result[rows] = operation(images[rows], strength[rows])
    return result


@cache
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return numbers as a float32 tensor, made once per device, as a CUDA graph cannot copy them from the host."""
    return torch.tensor(values, device=device)


def _warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample by an affine map `(b, 2, 3)` from output to input pixels about the centre: nearest pixel, 0 outside."""
    height, width = images.shape[-2:]
    aspect = _constant((1.0, height / width, width / height, 1.0), images.device).view(2, 2)
    shift = _constant((2 / width, 2 / height), images.device)
    theta = torch.cat([matrix[:, :, :2] * aspect, (matrix[:, :, 2] * shift)[:, :, None]], dim=2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="nearest", align_corners=False)


def _affine(strength: Tensor, a: Tensor | float, b: Tensor | float, c: Tensor | float, d: Tensor | float) -> Tensor:
    one = torch.ones_like(strength)
    rows = [torch.stack([one * a, one * b, one * 0], 1), torch.stack([one * c, one * d, one * 0], 1)]
    return torch.stack(rows, 1)


def shear(images: Tensor, strength: Tensor, axis: int) -> Tensor:
    """Return the matrix that shears rows sideways (axis 0) or columns upwards (axis 1) by up to 0.3 pixels each."""
    matrix = _affine(strength, 1.0, 0.0, 0.0, 1.0)
    matrix[:, axis, 1 - axis] = 0.3 * strength
    return matrix


def rotate(images: Tensor, strength: Tensor) -> Tensor:
    """Return the matrix that rotates by up to 30 degrees."""
    angle = strength * (math.pi / 6)
    return _affine(strength, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def translate(images: Tensor, strength: Tensor, axis: int) -> Tensor:
    """Return the matrix that moves sideways (axis 0) or up and down (axis 1) by up to 150/331 of the image."""
    matrix = _affine(strength, 1.0, 0.0, 0.0, 1.0)
    matrix[:, axis, 2] = -(strength * (150 / 331 * images.shape[-1 - axis])).trunc()
    return matrix


def warp_by(images: Tensor, strength: Tensor, matrix: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Warp a batch by the matrices of an operation."""
    return _warp(images, matrix(images, strength))


def _blend(images: Tensor, base: Tensor, strength: Tensor) -> Tensor:
    factor = (1 + 0.9 * strength).view(-1, 1, 1, 1)
    return (factor * images + (1 - factor) * base).clamp(0, 255)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    weights = _constant((0.2989, 0.587, 0.114), images.device).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def brightness(images: Tensor, strength: Tensor) -> Tensor:
    """Blend with black."""
    return _blend(images, torch.zeros_like(images), strength)


def color(images: Tensor, strength: Tensor) -> Tensor:
    """Blend with the grey version of the image."""
    return _blend(images, _grey(images).expand_as(images), strength)


def contrast(images: Tensor, strength: Tensor) -> Tensor:
    """Blend with the mean grey value."""
    return _blend(images, _grey(images).mean((1, 2, 3), keepdim=True).expand_as(images), strength)


def sharpness(images: Tensor, strength: Tensor) -> Tensor:
    """Blend with the smoothed image; the border does not change."""
    channels = images.shape[1]
    smooth = images.clone()
    kernel = _constant((1.0, 1.0, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0, 1.0), images.device).view(3, 3)
    weight = (kernel / 13).expand(channels, 1, 3, 3)
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images, weight, groups=channels)
    return _blend(images, smooth, strength)


def posterize(images: Tensor, strength: Tensor) -> Tensor:
    """Keep the upper 8 to 4 bits."""
    step = 2.0 ** (strength.abs() * BINS / ((BINS) / 4)).round()
    return (images / step.view(-1, 1, 1, 1)).floor() * step.view(-1, 1, 1, 1)


def solarize(images: Tensor, strength: Tensor) -> Tensor:
    """Invert pixels that are at least as bright as a threshold, 255 (weak) to 0 (strong)."""
    threshold = (255 * (1 - strength.abs())).view(-1, 1, 1, 1)
    return torch.where(images >= threshold, 255 - images, images)


def autocontrast(images: Tensor, strength: Tensor) -> Tensor:
    """Stretch every channel to the full range; a constant channel does not change."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    stretched = (images - low) * (255 / (high - low).clamp(min=1))
    return torch.where(high > low, stretched.clamp(0, 255), images)


def equalize(images: Tensor, strength: Tensor) -> Tensor:
    """Flatten the histogram of every channel, as PIL does."""
    shape = images.shape
    flat = images.round().clamp(0, 255).long().reshape(-1, shape[2] * shape[3])
    counts = torch.zeros(len(flat), 256, device=images.device).scatter_add_(1, flat, torch.ones_like(flat).float())
    last = counts.gather(1, flat.amax(1, keepdim=True))
    step = ((counts.sum(1, keepdim=True) - last) / 255).floor()
    table = ((counts.cumsum(1) - counts + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(0, 255)
    return torch.where(step > 0, table.gather(1, flat), flat.float()).view(shape)


def identity(images: Tensor, strength: Tensor) -> Tensor:
    """Return the images unchanged."""
    return images


MATRICES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ShearX": partial(shear, axis=0), "ShearY": partial(shear, axis=1),
    "TranslateX": partial(translate, axis=0), "TranslateY": partial(translate, axis=1), "Rotate": rotate,
}  # fmt: skip
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Identity": identity, **{name: partial(warp_by, matrix=matrix) for name, matrix in MATRICES.items()},
    "Brightness": brightness, "Color": color, "Contrast": contrast, "Sharpness": sharpness,
    "Posterize": posterize, "Solarize": solarize, "AutoContrast": autocontrast, "Equalize": equalize,
}  # fmt: skip
