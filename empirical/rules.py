"""Gradient rules: how a loss becomes a gradient. One formula, `g0 + s (g1 - g0)`, and one `where(mask, ...)`.

A rule is called as `rule(model, loss)` where `loss(part)` is the scalar loss of `part` in {all, retain, forget}.
It returns one gradient per trainable parameter and leaves the weights as they were, bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from empirical import tensors
from empirical.network import frozen_statistics

Loss = Callable[[str], Tensor]
Mask = Sequence[Tensor]


class Rule(Protocol):
    """What every rule offers.

    Attributes:
        passes: gradient evaluations a step, counted in passes over the batch.
        parts: the loss parts it asks for; a method must offer them.
    """

    @property
    def passes(self) -> int: ...

    @property
    def parts(self) -> tuple[str, ...]: ...

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]: ...


@dataclass(frozen=True)
class Scope:
    """Which weights a rule owns.

    Attributes:
        mask: one boolean tensor per parameter, True = owned; None owns all.
        stage: `combined` restricts gradient, norm and perturbation to owned weights; `perturbed` is the released
            code (D4), which perturbs the whole network and masks only g1.
    """

    mask: Mask | None = field(default=None, repr=False)
    stage: str = "combined"

    def clip(self, gradient: Sequence[Tensor], stage: str) -> Sequence[Tensor]:
        """Return the gradient with weights outside the mask set to zero, if the mask acts at `stage`."""
        if self.mask is None or stage not in (self.stage, "always"):
            return gradient
        return [torch.where(owned, g, torch.zeros_like(g)) for owned, g in zip(self.mask, gradient, strict=True)]


@dataclass(frozen=True)
class Plain:
    """The gradient itself: `g = grad L(w)`."""

    part: str = "all"
    scope: Scope = Scope()
    passes = 1

    @property
    def parts(self) -> tuple[str, ...]:
        """The one loss part this rule reads."""
        return (self.part,)

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the masked gradient of `loss(part)`."""
        return list(self.scope.clip(gradient(model, loss(self.part)), "always"))


@dataclass(frozen=True)
class Sam:
    """Sharpness-aware gradient: `g0 + s (g1 - g0)`, `g0 = grad L(w)`, `g1 = grad L(w + eps)`.

    `eps = rho g0 / |g0|` (Foret et al. 2021), or adaptive `eps = rho w^2 g0 / |w g0|` (Kwon et al. 2021, ASAM).

    Attributes:
        rho: radius of the perturbation.
        adaptive: ASAM.
        sharpness: s; +1 minimizes sharpness, -1 maximizes it (`2 g0 - g1`).
        part: the loss part it reads.
        ascent: sign of eps; -1 perturbs against the gradient (D13).
        scope: the weights it owns.
    """

    rho: float
    adaptive: bool = False
    sharpness: int = 1
    part: str = "all"
    ascent: int = 1
    scope: Scope = Scope()
    passes = 2

    @property
    def parts(self) -> tuple[str, ...]:
        """The one loss part this rule reads."""
        return (self.part,)

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the combined gradient; BatchNorm statistics move in the first pass only."""
        first = self.scope.clip(gradient(model, loss(self.part)), "combined")
        weights = trainable(model)
        shift = perturbation(weights, first, rho=self.ascent * self.rho, adaptive=self.adaptive)
        with shifted(weights, shift), frozen_statistics(model):
            second = self.scope.clip(gradient(model, loss(self.part)), "always")
        return tensors.add(first, tensors.add(second, first, -1), self.sharpness)


@dataclass(frozen=True)
class Branches:
    """A retain rule and a forget rule side by side: `g = g_retain + g_forget`.

    With disjoint scopes this is Sharp MinMax, `g = where(mask, g_forget, g_retain)`; without scopes and with SAM on
    the retain side alone it is RetainSam.

    Attributes:
        retain: rule of the retain part.
        forget: rule of the forget part.
    """

    retain: "Plain | Sam"
    forget: "Plain | Sam"
    parts = ("retain", "forget")

    @property
    def passes(self) -> int:
        """Passes of the two branches over their halves of the batch, counted as passes over the whole."""
        return max(self.retain.passes, self.forget.passes)

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the sum of the two branch gradients."""
        return tensors.add(self.retain(model, loss), self.forget(model, loss))


@dataclass(frozen=True)
class Masked:
    """A rule whose weights outside the mask never move, weight decay and momentum included.

    Attributes:
        rule: the rule inside; its scopes are cut down to the mask.
        movable: one boolean tensor per parameter, True = may move.
    """

    rule: Rule
    movable: Mask = field(repr=False)

    @property
    def passes(self) -> int:
        """Passes of the rule inside."""
        return self.rule.passes

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the rule inside."""
        return self.rule.parts

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the gradient of the rule inside, zero outside the mask."""
        inner = self.rule(model, loss)
        return [torch.where(m, g, torch.zeros_like(g)) for m, g in zip(self.movable, inner, strict=True)]


def restrict(rule: Rule, mask: Mask, stage: str = "combined") -> Rule:
    """Return the rule with its scopes cut down to `mask`, so that norm and perturbation see owned weights only."""
    if isinstance(rule, Branches):
        return Branches(restrict(rule.retain, mask, stage), restrict(rule.forget, mask, stage))  # type: ignore[arg-type]
    if not isinstance(rule, Plain | Sam):
        return rule
    owned = rule.scope.mask
    both = mask if owned is None else [m & o for m, o in zip(mask, owned, strict=True)]
    return replace(rule, scope=Scope(both, stage))


def trainable(model: nn.Module) -> list[Tensor]:
    """Return the parameters that take a gradient."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gradient(model: nn.Module, loss: Tensor) -> tuple[Tensor, ...]:
    """Return the gradient of a scalar loss, zeros where it does not depend on a parameter."""
    return torch.autograd.grad(loss, trainable(model), materialize_grads=True)


@torch.no_grad()
def perturbation(weights: Sequence[Tensor], grads: Sequence[Tensor], *, rho: float, adaptive: bool) -> list[Tensor]:
    """Return eps; zero where the gradient is zero, without asking the device for the norm."""
    size = [w.abs() for w in weights] if adaptive else None
    scaled = tensors.multiply(grads, size) if size else list(grads)
    norm = tensors.norm(scaled)
    factor = torch.where(norm > 0, rho / norm, torch.zeros_like(norm))
    if size:
        scaled = tensors.multiply(scaled, size)
    return tensors.multiply(scaled, factor)


@contextmanager
def shifted(weights: Sequence[Tensor], shift: Sequence[Tensor]) -> Iterator[None]:
    """Move the weights by `shift` inside the block and put the saved ones back after it."""
    weights = [w.detach() for w in weights]
    saved = [w.clone() for w in weights]
    tensors.add_(weights, shift)
    try:
        yield
    finally:
        tensors.copy_(weights, saved)
