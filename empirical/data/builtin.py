"""Data sets that need no files: scikit-learn's scanned digits, and random images of the theory's patch model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from empirical.data.images import ImageSet, channel_statistics, no_options, stratified_subset
from empirical.settings.run_config import Runtime
from repro.base.settings import build, check, refuse_cost, reject, setting

PICTURE = 32  # edge of a CIFAR image
LABELS = ("balanced", "iid")
NOISE_PATCHES = ("independent", "repeated")
NOISES = ("gaussian", "cifar10")


def load_digits(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return scikit-learn's 1,797 scanned digits (8x8, 10 classes); each class is split 80/20 into train and test."""
    from sklearn.datasets import load_digits as scans

    no_options("digits", options)
    bunch: Any = scans()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    test = stratified_subset(labels, 360, np.random.default_rng(0))
    train = np.setdiff1d(np.arange(len(labels)), test)
    images, tests = torch.from_numpy(pixels[train]), torch.from_numpy(pixels[test])
    mean, std = channel_statistics(images)
    answers = (torch.from_numpy(labels[rows]) for rows in (train, test))
    return ImageSet("digits", images, next(answers), tests, next(answers), 10, mean, std)


@dataclass(frozen=True)
class SignalNoise:
    """The patch model: `x = (y phi, xi_1, ..., xi_{P-1})`, `xi ~ N(0, sigma_p^2 (I - phi phi^T / |phi|^2))`.

    Chen et al. 2023 (arXiv 2310.07269); the signal norm is `|phi| = s (P - 1) sigma_p (d / n)^(1/4)`. The theory
    repeats a noise vector in all P - 1 patches and draws labels independently (`noise_patches`, `labels`). With
    `noise` = "cifar10" the noise patches are real images, centred, scaled to the same size and projected too.
    """

    signal_strength: float = setting(1.0, "dimensionless signal strength", symbol="s", low=0)
    side: int = setting(32, "edge of a patch; d = side^2", unit="pixels", low=2)
    patches: int = setting(2, "patches per image", symbol="P", low=2)
    n: int = setting(200, "training images", symbol="n", low=4)
    n_test: int = setting(1000, "test images", low=2)
    sigma_p: float = setting(1.0, "standard deviation of the noise", symbol="sigma_p", low=0, open_low=True)
    draw: int = setting(0, "seed of the images", low=0)
    labels: str = setting("balanced", "classes in equal numbers, or independent labels", choices=LABELS)
    noise_patches: str = setting("independent", "noise vectors of an image's patches", choices=NOISE_PATCHES)
    noise: str = setting("gaussian", "content of the noise patches", choices=NOISES)

    def __post_init__(self) -> None:
        check(self)
        name = "side" if self.side > max(self.n, self.n_test) else "n" if self.n > self.n_test else "n_test"
        size = (self.n + self.n_test) * self.side**2 * self.patches * 4e-9
        refuse_cost(name, getattr(self, name), size, 200, unit="GB of images")
        if self.noise == "cifar10" and self.side != PICTURE:
            raise reject("side", self.side, f"{PICTURE} when noise = 'cifar10'", "an image is one patch")

    @property
    def signal_norm(self) -> float:
        """|phi|, in units of a pixel."""
        return self.signal_strength * (self.patches - 1) * self.sigma_p * (self.side**2 / self.n) ** 0.25


Noise = Callable[[int], np.ndarray]  # number of images -> noise vectors (images, P - 1, d) before the projection


def load_signal_noise(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return a random train and test set; class 1 is y = +1, class 0 is y = -1.

    The patches of an image lie next to each other, `(1, side, patches * side)`; the first carries the signal.

    Raises:
        MissingDataError: if the noise is CIFAR-10 and its files are missing.
    """
    model = build(SignalNoise, options, where="dataset_options")
    generator = np.random.default_rng(model.draw)
    direction = generator.standard_normal(model.side**2)
    direction /= np.linalg.norm(direction)
    drawn = 1 if model.noise_patches == "repeated" else model.patches - 1

    def gaussian(count: int) -> np.ndarray:
        return model.sigma_p * generator.standard_normal((count, drawn, len(direction)))

    pictures = (model.n + model.n_test) * drawn
    noise = gaussian if model.noise == "gaussian" else _photographs(model, generator, runtime, count=pictures)
    train = _draw(model, direction, model.n, (generator, noise))
    test = _draw(model, direction, model.n_test, (generator, noise))
    return ImageSet("signal-noise", *train, *test, 2, (0.0,), (1.0,))


def _photographs(model: SignalNoise, generator: np.random.Generator, runtime: Runtime, *, count: int) -> Noise:
    """Return a source of grey CIFAR-10 images without repetition; all pixels have mean 0 and deviation sigma_p."""
    from empirical.data.files import load_cifar10

    images = load_cifar10({}, runtime).train_images
    if count > len(images):
        raise reject("n_test", model.n_test, f"such that (n + n_test) (P - 1) = {count} is at most {len(images)}")
    grey = images.float().mean(1).flatten(1)
    chosen = grey[torch.from_numpy(generator.permutation(len(images))[:count])].double().numpy()
    chosen = model.sigma_p * (chosen - float(grey.mean())) / float(grey.std())
    place = 0

    def take(images_wanted: int) -> np.ndarray:
        nonlocal place
        drawn = count // (model.n + model.n_test)
        first, place = place, place + images_wanted * drawn
        return chosen[first:place].reshape(images_wanted, drawn, -1)

    return take


def _draw(
    model: SignalNoise, direction: np.ndarray, count: int, source: tuple[np.random.Generator, Noise]
) -> tuple[torch.Tensor, torch.Tensor]:
    generator, draw_noise = source
    balanced = model.labels == "balanced"
    labels = generator.permutation(np.arange(count) % 2) if balanced else generator.integers(2, size=count)
    noise = draw_noise(count)
    noise = noise - (noise @ direction)[..., None] * direction
    noise = np.broadcast_to(noise, (count, model.patches - 1, len(direction)))
    signal = (2 * labels - 1)[:, None, None] * model.signal_norm * direction
    patches = np.concatenate([signal, noise], axis=1).reshape(count, model.patches, model.side, model.side)
    images = patches.transpose(0, 2, 1, 3).reshape(count, 1, model.side, model.patches * model.side)
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
