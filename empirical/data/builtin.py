"""Data sets that need no file: scikit-learn's scanned digits, and images drawn from the patch model of the theory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from empirical.data.images import ImageSet, channel_statistics, no_options, stratified_subset
from empirical.settings.run_config import Runtime
from repro.records.settings import build, check, refuse_cost, setting


def load_digits(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Return scikit-learn's 1,797 scanned digits (8x8, 10 classes), every class split 80/20 into train and test."""
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

    Chen et al. 2023 (arXiv 2310.07269); the signal norm is `|phi| = s (P - 1) sigma_p (d / n)^(1/4)`.
    """

    signal_strength: float = setting(1.0, "dimensionless signal strength", symbol="s", low=0)
    side: int = setting(32, "edge of a patch; d = side^2", unit="pixels", low=2)
    patches: int = setting(2, "patches an image", symbol="P", low=2)
    n: int = setting(200, "training images", symbol="n", low=4)
    n_test: int = setting(1000, "test images", low=2)
    sigma_p: float = setting(1.0, "standard deviation of the noise", symbol="sigma_p", low=0, open_low=True)
    draw: int = setting(0, "seed of the draw", low=0)

    def __post_init__(self) -> None:
        check(self)
        name = "side" if self.side > max(self.n, self.n_test) else "n" if self.n > self.n_test else "n_test"
        size = (self.n + self.n_test) * self.side**2 * self.patches * 4e-9
        refuse_cost(name, getattr(self, name), size, 200, unit="GB of images")

    @property
    def signal_norm(self) -> float:
        """|phi|, in units of a pixel."""
        return self.signal_strength * (self.patches - 1) * self.sigma_p * (self.side**2 / self.n) ** 0.25


def load_signal_noise(options: dict[str, Any], runtime: Runtime) -> ImageSet:
    """Draw a train and a test set; class 1 is y = +1, class 0 is y = -1, in equal numbers.

    The patches lie side by side in one image `(1, side, patches * side)`; the first carries the signal.
    """
    model = build(SignalNoise, options, where="dataset_options")
    generator = np.random.default_rng(model.draw)
    direction = generator.standard_normal(model.side**2)
    direction /= np.linalg.norm(direction)
    train = _draw(model, direction, model.n, generator)
    test = _draw(model, direction, model.n_test, generator)
    return ImageSet("signal-noise", *train, *test, 2, (0.0,), (1.0,))


def _draw(
    model: SignalNoise, direction: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    labels = generator.permutation(np.arange(count) % 2)
    noise = model.sigma_p * generator.standard_normal((count, model.patches - 1, len(direction)))
    noise -= (noise @ direction)[..., None] * direction
    signal = (2 * labels - 1)[:, None, None] * model.signal_norm * direction
    patches = np.concatenate([signal, noise], axis=1).reshape(count, model.patches, model.side, model.side)
    images = patches.transpose(0, 2, 1, 3).reshape(count, 1, model.side, model.patches * model.side)
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))
