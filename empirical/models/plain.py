"""Adapts any classifier to the pipeline: a model with `features(x)` and `head`, whose composition is the model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from repro.base.settings import reject


@torch.no_grad()
def composed(model: Any, example: Tensor) -> bool:
    """Return whether a model has `features` and `head` whose composition gives its output on a batch of images."""
    if not callable(getattr(model, "features", None)) or not callable(getattr(model, "head", None)):
        return False
    with evaluating(model):
        try:
            return torch.equal(model.head(model.features(example)), model(example))
        except (RuntimeError, TypeError, ValueError, AttributeError):  # parts that happen to have these names
            return False


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Put models into evaluation mode inside the block, and restore the mode of each of their parts afterwards."""
    modes = {module: module.training for model in models for module in model.modules()}
    for module in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def logits_in(answer: Any) -> Any:
    """Return the logits of an answer: itself, or what it holds as `answer["logits"]` or `answer.logits`."""
    if isinstance(answer, Mapping) and "logits" in answer:
        return answer["logits"]
    return getattr(answer, "logits", answer)


class Wrapped(nn.Module):
    """A classifier of somebody else's making, which returns logits, `{"logits": ...}`, or an object with `.logits`.

    The features `(b, f)` are the inputs of its last linear layer. If the model's output is not that layer's output, for
    instance because a softmax follows, the outputs are used as features.

    Args:
        model: maps a batch of images to logits `(b, classes)`.
        example: a batch of images, to find the features.

    Raises:
        ConfigError: if the model does not return a matrix of logits.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.model = model
        linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
        self._last: list[nn.Linear] = linear[-1:]  # in a list, so that its weights are not registered twice
        logits = self._answer(example)
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(example):
            raise reject("model output", shape, f"({len(example)}, classes): one row of logits an image")
        if self._last and not self._ends_with(self._last[0], example, logits):
            self._last = []

    @torch.no_grad()
    def _answer(self, images: Tensor) -> Tensor:
        with evaluating(self.model):
            return self(images)

    @torch.no_grad()
    def _ends_with(self, layer: nn.Linear, images: Tensor, logits: Tensor) -> bool:
        seen = self._inputs_of(layer, lambda: self._answer(images))
        return len(seen) == 1 and seen[0].ndim == 2 and torch.equal(layer(seen[0]), logits)

    def _inputs_of(self, layer: nn.Module, call: Callable[[], Any]) -> list[Tensor]:
        seen: list[Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            call()
        finally:
            hook.remove()
        return seen

    def features(self, images: Tensor) -> Tensor:
        """Return the features `(b, f)` of prepared images."""
        if not self._last:
            return self(images)
        return self._inputs_of(self._last[0], lambda: self.model(images))[0]

    def head(self, features: Tensor) -> Tensor:
        """Return the logits `(b, classes)` of features."""
        return self._last[0](features) if self._last else features

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits `(b, classes)` of prepared images."""
        return logits_in(self.model(images))
