"""A model together with the preparation of its images: scaling, normalization, arithmetic."""

import copy
import importlib.util
import logging
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

LOG = logging.getLogger("repro.fallback")
VARIANTS = 512  # most variants of compiled models in a process


class Network:
    """A model that takes raw images.

    Args:
        model: a module with `features(x)`, `(b, f)`, and `head`, such that `model(x) = head(features(x))`.
        mean, std: per-channel statistics of images scaled to [0, 1].
        precision: arithmetic of training: `fp32`, `fp64`, or `bf16` (autocast with fp32 weights).
        normalize_twice: normalize twice, an error of the released code on ImageNet-like data sets (D16).
    """

    def __init__(
        self, model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...], *,
        precision: str = "fp32", normalize_twice: bool = False,
    ) -> None:  # fmt: skip
        self.model = model
        self.precision = precision
        parameter = next(model.parameters())
        self.device, self.dtype = parameter.device, parameter.dtype
        self.mean = torch.tensor(mean, dtype=self.dtype, device=self.device)[:, None, None]
        self.std = torch.tensor(std, dtype=self.dtype, device=self.device)[:, None, None]
        self.repeats = 2 if normalize_twice else 1
        self._forward: Callable[[Tensor], Tensor] = model

    @property
    def size(self) -> int:
        """The number of trainable weights."""
        return count_parameters(self.model)

    def copy(self) -> "Network":
        """Return the network with a copy of the model, not compiled."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        other._forward = other.model
        return other

    def replace_model(self, model: nn.Module) -> None:
        """Use another model with the same weights."""
        self.model = self._forward = model

    def compile(self) -> None:
        """Generate code for training on full batches, if torch can; evaluation uses the plain model.

        Code is generated for each variant: shape, arithmetic, and whether BatchNorm's statistics move (SAM changes this
        within a step). All ResNets share a `forward`, so torch's limit of 8 variants applies to the whole process. The
        limit is raised; beyond it the plain model runs, and `compiled` is False.
        """
        if not can_generate_code() or self.compiled:
            return
        from torch._dynamo import config
        from torch._dynamo.exc import FailOnRecompileLimitHit

        config.recompile_limit = max(config.recompile_limit, VARIANTS)
        config.accumulated_recompile_limit = max(config.accumulated_recompile_limit, VARIANTS)
        config.fail_on_recompile_limit_hit = True  # otherwise torch runs the plain model silently
        generated = torch.compile(self.model, dynamic=False)

        def forward(images: Tensor) -> Tensor:
            try:
                return generated(images)
            except FailOnRecompileLimitHit:
                LOG.warning(f"more than {VARIANTS} variants of a model: this one runs uncompiled")
                self._forward = self.model
                return self.model(images)

        self._forward = forward

    @property
    def compiled(self) -> bool:
        """Whether training uses generated code."""
        return self._forward is not self.model

    @contextmanager
    def uncompiled(self) -> Iterator[None]:
        """Run the plain model inside the block."""
        compiled, self._forward = self._forward, self.model
        try:
            yield
        finally:
            self._forward = compiled

    def normalize(self, images: Tensor) -> Tensor:
        """Return images for the model: `(x - mean) / std`, after scaling uint8 to [0, 1]."""
        # A single copy, then in place: on a CPU this takes as long as decoding a JPEG.
        scaled = images.to(self.dtype, copy=True, memory_format=torch.channels_last)
        if images.dtype == torch.uint8:
            scaled.div_(255)
        for _ in range(self.repeats):
            scaled.sub_(self.mean).div_(self.std)
        return scaled

    prepare = normalize  # the older name, until 0.4

    def logits(self, prepared: Tensor) -> Tensor:
        """Return the logits `(b, classes)` of prepared images."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return self._forward(prepared).to(self.dtype)

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits `(b, classes)` and the features `(b, f)` of raw images, for evaluation.

        They have the precision of the weights, fp32 or fp64, also after training in bf16, which has three digits.
        """
        model: Any = self.model
        features = model.features(self.normalize(images))
        return model.head(features), features

    def parameters(self) -> list[Tensor]:
        """Return the trainable parameters."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]


def can_generate_code() -> bool:
    """Return whether torch can compile for a GPU here: it needs Triton, a C compiler and Python.h."""
    compilers = [os.environ["CC"]] if os.environ.get("CC") else ["gcc", "clang"]
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    builds = headers.is_file() and any(shutil.which(name) for name in compilers)
    return builds and importlib.util.find_spec("triton") is not None


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable weights."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@contextmanager
def drawing_from(seed: int) -> Iterator[None]:
    """Seed torch's global generator (initial weights, dropout) inside the block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def fresh(network: Network, seed: int) -> Network:
    """Return the network with weights drawn anew, as a model that never learned.

    A layer that knows how draws its own; of any other the weights are shuffled, which leaves their scale alone.
    """
    other = network.copy()
    with drawing_from(seed), torch.no_grad():
        for module in other.model.modules():
            reset: Any = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for weight in module.parameters(recurse=False):
                weight.copy_(weight.flatten()[torch.randperm(weight.numel()).to(weight.device)].view_as(weight))
    return other


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Freeze BatchNorm's running statistics (and batch count) inside the block; batches still normalize themselves."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


@torch.no_grad()
def predict(network: Network, images: Tensor, *, batch_size: int = 512) -> tuple[Tensor, Tensor]:
    """Return logits `(n, classes)` and features `(n, f)` of raw images, in evaluation mode."""
    was_training = network.model.training
    network.model.eval()
    parts = [network.outputs(chunk.to(network.device)) for chunk in images.split(batch_size)]
    network.model.train(was_training)
    logits, features = zip(*parts, strict=True)
    return torch.cat(logits), torch.cat(features)


def accuracy(network: Network, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of raw images that a network classifies correctly, in [0, 1]."""
    logits, _ = predict(network, images)
    return float((logits.argmax(1).cpu() == labels).float().mean())
