"""Steps on a pretended GPU, for test_fake_device: `python -m tests.empirical.fake_device` prints what each raised.

`FakeTensorMode` computes shapes, layouts and devices of a step and no number. It raises where a step asks for a number
(`item()`, an `if` on a tensor) or where a result's shape depends on one; `OneDevice` raises where a tensor of the
processor takes part, which a captured step would read only once. The device is registered with torch for good, so that
this runs in a process of its own.
"""

import json
import sys
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

from empirical.augmentation import randaugment
from empirical.augmentation.augment import augmentation
from empirical.methods.retain import Finetune
from empirical.models.network import Network
from empirical.registry import BUILT_IN, load
from empirical.runs.unlearning import build_method, check_run
from empirical.settings.run_config import RunConfig
from empirical.training.batches import Arranger, Rows, Sets
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.step import Stage, Step, frozen_copy
from repro.base.errors import ConfigError

COUNT, KEPT, CLASSES = 24, 16, 10
# What stands for a registered rule: one label each, of the rules that wrap another both of its kinds where they differ.
MODELS = ("resnet8", "resnet18", "vit-s")
LABELS = {"sgd": ("sgd",), "sam": ("sam-0.1",), "asam": ("asam-1.0",), "retain-sam": ("retain-sam-0.1",),
          "minmax": ("minmax-sgd", "minmax-asam-1.0"), "masked": ("masked-asam-1.0",)}  # fmt: skip


class Arithmetic(_DummyBackendModule):
    """What torch asks a device for before it turns mixed precision off."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


_setup_privateuseone_for_python_backend("pretended", Arithmetic())
GPU = torch.device("pretended", 0)


class OneDevice(TorchDispatchMode):
    """Raises where an operator reads or makes a tensor that is not on the GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        fused = "_fused_" in func.__name__  # an optimizer: it works in place, and torch knows no shapes for it
        results = None if fused else func(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, results)):
            if isinstance(leaf, Tensor) and leaf.device != GPU:
                raise RuntimeError(f"{func}: a tensor on {leaf.device} in a step on {GPU}")
        return results


class Made(TorchFunctionMode):
    """What happens before the first step: numbers become tensors, and torch.optim asks whether a rate is below 0."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.tensor:
            real = torch.tensor(args[0], dtype=(kwargs or {}).get("dtype"), device="meta")
            return torch.empty(real.shape, dtype=real.dtype, device=GPU)
        answers = {"lt": False, "ge": True}
        name = func.__name__.strip("_")
        asked = name in answers and args[0].dim() == 0
        return answers[name] if asked else func(*args, **(kwargs or {}))


def allowed(**settings: Any) -> bool:
    try:
        check_run(RunConfig(**settings))
    except ConfigError:
        return False
    return True


CELLS = [
    {"model": model, "method": method, "rule": rule}
    for model in MODELS[1:]
    for method in BUILT_IN["methods"]
    for rule in [label for name in BUILT_IN["rules"] for label in LABELS[name]]
    if allowed(model=model, method=method, rule=rule)
]


def rows(first: int, last: int) -> Rows:
    index = torch.arange(first, last)
    return Rows(index, torch.zeros_like(index), index >= KEPT, 8)


@cache
def shapes(model: str) -> torch.nn.Module:
    """Return a model without numbers, made once."""
    return load("models", model)((3, 32, 32), CLASSES).to(memory_format=torch.channels_last).to("meta")


def network_of(model: str) -> Network:
    """Return a network whose weights and buffers are on the pretended GPU."""
    made = shapes(model)
    there: dict[int, Any] = {
        id(weight): torch.nn.Parameter(torch.empty_strided(weight.shape, weight.stride(), dtype=weight.dtype))
        for weight in made.parameters()
    }
    there |= {id(one): torch.empty(one.shape, dtype=one.dtype) for one in made.buffers()}
    with Made():
        return Network(deepcopy(made, there), (0.5,) * 3, (0.25,) * 3)


# What a method makes before the first step, where it may wait for the host: here without numbers.
PREPARED: dict[str, Any] = {
    "bad_teacher": lambda model: frozen_copy(network_of(model)),
    "unsir": lambda model: (torch.empty(8, 3, 32, 32), torch.empty(8, dtype=torch.long)),
}


def take_steps(config: RunConfig, method: Any = None) -> list[Tensor]:
    """Take a step of each phase of an epoch on fake images, as the engine does; return the losses."""
    network, teacher = (network_of(config.model) for _ in range(2))
    method = method or build_method(config)
    context = RuleContext(
        lambda: [torch.empty_like(w, dtype=torch.bool) for w in network.parameters()], config.fidelity
    )
    rule = method_rule(method, build_rule(config.rule, context), context)
    sets = Sets(rows(0, KEPT), rows(KEPT, COUNT), CLASSES, config.epochs)
    images = torch.empty(COUNT, 3, 32, 32, dtype=torch.uint8)
    augment = augmentation(config, images.dtype)
    stage = Stage(method, rule, sets, config.unlearning(), images, augment, 0, frozen_copy(teacher), config.fidelity)
    stage = replace(stage, prepared=PREPARED[config.method](config.model) if config.method in PREPARED else None)
    with Made():
        step, losses = Step(network, stage), []
    with torch.device("cpu"):
        arranger = Arranger(0, augment.columns, GPU)
        phases = method.phases(sets, 0, torch.Generator())
        orders = [arranger.arrange(phase, "epoch", 0, place) for place, phase in enumerate(phases)]
    randaugment._constant.cache_clear()
    if not orders:  # a method of no steps
        return [torch.zeros((), device=GPU)]
    with Made():  # the first steps of a stage are no part of a graph: there RandAugment makes its constants
        augment(images[:1], orders[0][next(iter(orders[0]))].draws[:1])
    for order in orders:
        with OneDevice():
            step.set_rate(0.1)
            losses.append(step({name: one.batch(images, 0) for name, one in order.items()}))
    return losses


class Careless(Finetune):
    """Fine-tuning whose loss does something of its own to the losses of the images."""

    spoil: Any

    def __init__(self, spoil: Any) -> None:
        object.__setattr__(self, "spoil", spoil)

    def loss(self, part: str, batch: Any, logits: Any) -> Tensor:
        retain = batch["retain"]
        return self.spoil(torch.nn.functional.cross_entropy(logits(retain.images), retain.labels, reduction="none"))


SETTINGS = [
    {"batch_parts": 2}, {"batch_parts": 2, "perturbation": "local"}, {"optimizer": "adamw"}, {"optimizer": "adam"},
    {"augment": "resized-crop"}, {"preset": "official-release"}, {"preset": "official-paper"},
    {"switches": "randaugment=true"},
]  # fmt: skip
SPOILED = {
    "nothing": lambda losses: losses.mean(),
    "item": lambda losses: losses.mean() * losses.detach().max().item(),
    "if": lambda losses: losses.mean() if losses.mean() > 0 else losses.sum(),
    "mask": lambda losses: losses[losses > 0].mean(),
    "processor": lambda losses: (losses * torch.ones(8, device="cpu")).mean(),
    "number": lambda losses: losses.mean() * torch.tensor(2.0, device="cpu"),
}


def raised(config: dict[str, Any], method: Any = None) -> str:
    """Return what a step raises, an empty text for nothing."""
    try:
        with FakeTensorMode(), torch.device(GPU):
            losses = take_steps(replace(RunConfig(augment="crop-flip"), **config), method)
            return "" if all(loss.device == GPU and loss.shape == () for loss in losses) else "no loss on the device"
    except (RuntimeError, TypeError, DataDependentOutputException, DynamicOutputShapeException) as error:
        return f"{type(error).__name__}: {error}"


def main() -> None:
    """Print a JSON object: by test, what each of its cases raised."""
    for model in MODELS:
        shapes(model)
    minmax = {"model": "resnet18", "rule": "minmax-asam-1.0"}
    sys.stdout.write(json.dumps({
        "cells": [[cell, raised(cell)] for cell in CELLS],
        "settings": [[settings, raised(minmax | settings)] for settings in SETTINGS],
        "spoiled": {name: raised({"model": "resnet8"}, Careless(spoil)) for name, spoil in SPOILED.items()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
