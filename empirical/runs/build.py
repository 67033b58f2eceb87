"""From a config to the things a training stage is made of: network, augmentation, row sets."""

import numpy as np
import torch

from empirical.data.augment import PLANS, Augment
from empirical.data.images import ImageSet
from empirical.models.network import Network
from empirical.registry import load
from empirical.settings.run_config import Recipe, RunConfig
from empirical.training.batches import Rows, Sets

TWICE_NORMALIZED = ("tiny-imagenet", "imagenet", "tinyimagenet100")


def build_network(config: RunConfig, images: ImageSet, *, seed: int, device: torch.device) -> Network:
    """Return a freshly initialized network; the same seed gives the same weights on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = load("models", config.model)(images.image_shape, images.classes)
    if config.precision == "fp64":
        model = model.double()
    twice = config.fidelity.double_normalize and config.dataset in TWICE_NORMALIZED
    model = model.to(device).to(memory_format=torch.channels_last)  # the layout tensor cores and oneDNN compute in
    return Network(model, images.mean, images.std, precision=config.precision, normalize_twice=twice)


def augmentation(config: RunConfig) -> Augment:
    """Return the training augmentation; D2 adds RandAugment."""
    plan = PLANS[config.augment]
    return Augment(plan.padding, plan.flip, (2, 15)) if config.fidelity.randaugment else plan


def row_sets(images: ImageSet, recipe: Recipe, retain: np.ndarray, forget: np.ndarray, *, device: torch.device) -> Sets:
    """Return the retain and forget rows with their true labels and a recipe's batch sizes, on the device."""
    sizes = (recipe.batch_size, recipe.forget_batch_size or recipe.batch_size)
    pair = [
        _rows(index, images, size, forget=flag, device=device)
        for index, size, flag in zip((retain, forget), sizes, (False, True), strict=True)
    ]
    return Sets(pair[0], pair[1], images.classes, recipe.epochs)


def _rows(index: np.ndarray, images: ImageSet, batch_size: int, *, forget: bool, device: torch.device) -> Rows:
    where = torch.from_numpy(np.ascontiguousarray(index))
    flags = torch.full((len(index),), forget)
    return Rows(where.to(device), images.train_labels[where].to(device), flags.to(device), batch_size)
