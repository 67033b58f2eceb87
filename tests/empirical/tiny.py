"""A tiny problem in float64: 26 images of 4x4 pixels in three classes, the last six of which are to be forgotten."""

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from empirical.augmentation.augment import Augment
from empirical.methods.retain import Retrain
from empirical.models.network import Network
from empirical.models.resnet import Classifier
from empirical.settings.run_config import Hyperparameters
from empirical.training.batches import Rows, Sets
from empirical.training.loop import fit
from empirical.training.rules import Plain
from empirical.training.step import Stage, frozen_copy

COUNT, FORGOTTEN, CLASSES = 26, 6, 3
LABELS = torch.arange(COUNT) % CLASSES
RECIPE = Hyperparameters(3, 0.05, 4, 4, "sgd", 0.9, 0.01, "constant", 0, 0.0)
PLAIN = Plain()


def make_images() -> Tensor:
    """Return noise about a mean of each class, `(26, 1, 4, 4)`: what is learned of some images helps on others."""
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(CLASSES, 1, 4, 4, generator=generator, dtype=torch.float64)
    return means[LABELS] + torch.randn(COUNT, 1, 4, 4, generator=generator, dtype=torch.float64)


IMAGES = make_images()


def rows(index: Tensor, batch_size: int, *, forget: bool) -> Rows:
    return Rows(index, LABELS[index], torch.full((len(index),), forget), batch_size)


def make_sets(batch_size: int = 4, *, epochs: int = 3) -> Sets:
    """Return twenty rows to keep and six to forget; `batch_size` 26 makes every epoch one step on everything."""
    kept, forgotten = torch.arange(COUNT - FORGOTTEN), torch.arange(COUNT - FORGOTTEN, COUNT)
    return Sets(rows(kept, batch_size, forget=False), rows(forgotten, batch_size, forget=True), CLASSES, epochs)


def make_network(seed: int = 0) -> Network:
    """Return a convolution, BatchNorm, a tanh and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten())
        return Network(Classifier(body, 12, CLASSES).double(), (0.5,), (2.0,))


def make_stage(
    method: Any, rule: Any = PLAIN, *, batch_size: int = 4, augment: Augment = Augment(), **recipe: Any
) -> Stage:
    """Return a stage on the tiny problem with the trained original as its teacher."""
    chosen = replace(RECIPE, **recipe)
    sets = make_sets(batch_size, epochs=chosen.epochs)
    return Stage(method, rule, sets, chosen, IMAGES, augment, seed=3, teacher=frozen_copy(original()))


@cache
def trained() -> Network:
    network = make_network()
    everything = Sets(rows(torch.arange(COUNT), 4, forget=False), rows(torch.arange(0), 4, forget=True), CLASSES)
    fit(network, Stage(Retrain(), Plain(), everything, replace(RECIPE, epochs=2), IMAGES))
    return network


def original() -> Network:
    """Return a new copy of a network that was trained on all 26 images."""
    return trained().copy()


def weights(network: Network) -> list[Tensor]:
    return [weight.detach().clone() for weight in network.parameters()]


def state(network: Network) -> dict[str, Tensor]:
    """Return weights and BatchNorm statistics, copied."""
    return {name: tensor.detach().clone() for name, tensor in network.model.state_dict().items()}
