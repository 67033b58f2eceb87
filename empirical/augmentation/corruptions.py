"""Image corruptions of Hendrycks and Dietterich (2019) at CIFAR strength, severities 1-5, for the noisy-data study."""

import itertools

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, rotate, zoom
from scipy.signal import fftconvolve

from empirical.data.images import ImageSet
from empirical.settings.run_config import RunConfig
from repro.base.settings import choose, reject
from repro.records.identity import derive_seed

GAUSSIAN = (0.04, 0.06, 0.08, 0.09, 0.10)
GLASS = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))
SNOW = (
    (0.1, 0.2, 1, 0.6, 8, 0.95), (0.1, 0.2, 1, 0.5, 10, 0.9), (0.15, 0.3, 1.75, 0.55, 10, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12, 0.85), (0.3, 0.3, 1.25, 0.65, 14, 0.8),
)  # fmt: skip


def corrupted_images(config: RunConfig, images: ImageSet) -> torch.Tensor:
    """Return the training images with the corruption of a config, on the CPU; the same ones in every run.

    Raises:
        ConfigError: when the images are not uint8 images in memory.
    """
    if not isinstance(images.train_images, torch.Tensor) or images.train_images.dtype != torch.uint8:
        raise reject("corruption", config.corruption, f"none on {config.dataset}", "it needs images held in memory")
    generator = np.random.default_rng(derive_seed(0, "corruption", config.corruption))
    swap = config.fidelity.glass_blur == "swap"
    return torch.from_numpy(corrupt(images.train_images.numpy(), config.corruption, generator=generator, swap=swap))


def corrupt(images: np.ndarray, name: str, *, generator: np.random.Generator, swap: bool = True) -> np.ndarray:
    """Return corrupted copies of uint8 images.

    Args:
        images: `(n, c, h, w)` uint8.
        name: a corruption and its severity, such as `snow-3`.
        generator: source of random numbers.
        swap: glass blur exchanges pixel pairs; False copies a pixel over the other, as the released code does (D24).
    """
    kind, _, severity = name.rpartition("-")
    choose("corruption", kind, CORRUPTIONS)
    level = int(severity) - 1
    scaled = images.astype(np.float64) / 255
    if kind == "glass_blur":
        changed = glass_blur(scaled, level, generator, swap=swap)
    else:
        changed = CORRUPTIONS[kind](scaled, level, generator)
    return np.round(np.clip(changed, 0, 1) * 255).astype(np.uint8)


def gaussian_noise(images: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Add independent Gaussian noise to every pixel; images `(n, c, h, w)` in [0, 1]."""
    return images + GAUSSIAN[level] * generator.standard_normal(images.shape)


def glass_blur(images: np.ndarray, level: int, generator: np.random.Generator, *, swap: bool = True) -> np.ndarray:
    """Blur, exchange each pixel with a random pixel nearby, from bottom right to top left, and blur again."""
    sigma, reach, rounds = GLASS[level]
    blurred = _blur(images, sigma)
    count, _, height, width = images.shape
    every = np.arange(count)
    inner = (range(edge - reach - 1, reach - 1, -1) for edge in (height, width))
    for _, row, column in itertools.product(range(rounds), *inner):
        dy, dx = generator.integers(-reach, reach, (2, count), endpoint=True)
        other = (every, slice(None), row + dy, column + dx)
        here = blurred[:, :, row, column].copy()
        blurred[:, :, row, column] = blurred[other]
        if swap:
            blurred[other] = here
    return _blur(blurred, sigma)


def snow(images: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Whiten the images and add motion-blurred flakes from two directions."""
    mean, spread, scale, threshold, length, keep = SNOW[level]
    count, channels, height, width = images.shape
    flakes = np.stack([
        _streaks(generator.normal(mean, spread, (height, width)), scale, threshold, int(length), angle)
        for angle in generator.uniform(-135, -45, count)
    ])[:, None]  # fmt: skip
    grey = images.mean(axis=1, keepdims=True) * 1.5 + 0.5
    whitened = keep * images + (1 - keep) * np.maximum(images, np.repeat(grey, channels, axis=1))
    return whitened + flakes + flakes[:, :, ::-1, ::-1]


def _streaks(layer: np.ndarray, scale: float, threshold: float, length: int, angle: float) -> np.ndarray:
    height, width = layer.shape
    large = np.asarray(zoom(layer, scale, order=1))
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    cut = large[top : top + height, left : left + width]
    cut = np.where(cut < threshold, 0, np.clip(cut, 0, 1))
    kernel = np.zeros((2 * length + 1, 2 * length + 1))
    kernel[length] = 1
    kernel = np.clip(rotate(kernel, angle, reshape=False, order=1), 0, None)
    return np.clip(fftconvolve(cut, kernel / kernel.sum(), mode="same"), 0, 1)


def _blur(images: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_filter(images, (0, 0, sigma, sigma))


CORRUPTIONS = {"gaussian_noise": gaussian_noise, "glass_blur": glass_blur, "snow": snow}
