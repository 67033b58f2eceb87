"""Gradient rules: how a loss becomes a gradient. One formula, `g0 + s (g1 - g0)`, and one `where(mask, ...)`.

A rule is called as `rule(model, loss)` where `loss(part)` is the loss of `part` in {all, retain, forget}: a scalar, or
`Pieces` of one where a batch is computed in parts; `gradient` takes either. It returns one gradient per trainable
parameter and leaves the weights as they were, bit for bit.
"""
# pyright: reportPrivateImportUsage=false

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from empirical.models.network import frozen_statistics
from empirical.registry import load
from empirical.released import Fidelity
from empirical.settings.rule_labels import RuleSpec, parse_rule
from repro.base.parts import rule
from repro.base.settings import reject

Tensors = Sequence[Tensor]


def add(left: Tensors, right: Tensors, scale: float = 1.0) -> list[Tensor]:
    """Return `left + scale * right`, tensor by tensor."""
    return list(torch._foreach_add(list(left), list(right), alpha=scale))


def add_(target: Tensors, other: Tensors) -> None:
    """Add `other` to `target` in place."""
    torch._foreach_add_(list(target), list(other))


def multiply(left: Tensors, right: Tensors | Tensor) -> list[Tensor]:
    """Return `left * right`, tensor by tensor or by one 0-dimensional tensor."""
    return list(torch._foreach_mul(list(left), right if isinstance(right, Tensor) else list(right)))


def norm(tensors: Tensors) -> Tensor:
    """Return the Euclidean length of all entries together, without waiting for the device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


def copy_(target: Tensors, source: Tensors) -> None:
    """Copy `source` over `target` in place."""
    torch._foreach_copy_(list(target), list(source))


def where(mask: Tensors, gradient: Tensors) -> list[Tensor]:
    """Return the gradient with zeros where the mask is False, tensor by tensor."""
    return [torch.where(kept, g, torch.zeros_like(g)) for kept, g in zip(mask, gradient, strict=True)]


@dataclass(frozen=True)
class Pieces:
    """A loss that is a sum: each piece is differentiated on its own and then forgotten.

    Attributes:
        values: functions that return a piece, 0-dimensional; only one of them is in memory at a time.
        complete: called around them with the sum of their gradients so far: adds those of other processes to it.
    """

    values: Sequence[Callable[[], Tensor]]
    complete: Callable[[list[Tensor]], AbstractContextManager[None]]

    def gradient(self, weights: Tensors) -> tuple[Tensor, ...]:
        """Return the gradient of the sum, one tensor a weight."""
        total = [torch.zeros_like(weight) for weight in weights]
        with self.complete(total):
            for value in self.values:
                add_(total, torch.autograd.grad(value(), list(weights), materialize_grads=True))
        return tuple(total)


Loss = Callable[[str], Any]
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
        stage: what the mask acts on (D4). `combined`: gradient, norm and perturbation; `result`: the result alone,
            after the whole network was perturbed; `perturbed`, as released: g1 alone, so g0 (1 - s) remains outside.
    """

    mask: Mask | None = field(default=None, repr=False)
    stage: str = "combined"

    def clip(self, gradient: Sequence[Tensor], stage: str) -> Sequence[Tensor]:
        """Return the gradient with weights outside the mask set to zero, if the mask acts at `stage`."""
        if self.mask is None or stage not in (self.stage, "always"):
            return gradient
        return where(self.mask, gradient)


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
        first = self.scope.clip(first, "result")
        return add(first, add(second, first, -1), self.sharpness)


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
        return add(self.retain(model, loss), self.forget(model, loss))


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
        return where(self.movable, self.rule(model, loss))


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


def gradient(model: nn.Module, loss: Tensor | Pieces) -> tuple[Tensor, ...]:
    """Return the gradient of a scalar loss or of one in pieces, zeros where it does not depend on a parameter."""
    if isinstance(loss, Pieces):
        return loss.gradient(trainable(model))
    return torch.autograd.grad(loss, trainable(model), materialize_grads=True)


@torch.no_grad()
def perturbation(weights: Sequence[Tensor], grads: Sequence[Tensor], *, rho: float, adaptive: bool) -> list[Tensor]:
    """Return eps; zero where the gradient is zero, without asking the device for the norm."""
    size = list(torch._foreach_abs(list(weights))) if adaptive else None
    scaled = multiply(grads, size) if size else list(grads)
    length = norm(scaled)
    factor = torch.where(length > 0, rho / length, torch.zeros_like(length))
    if size is None:
        return multiply(scaled, factor)
    torch._foreach_mul_(scaled, size)  # in place: each of these copies is as large as the weights
    torch._foreach_mul_(scaled, factor)
    return scaled


@contextmanager
def shifted(weights: Sequence[Tensor], shift: Sequence[Tensor]) -> Iterator[None]:
    """Move the weights by `shift` inside the block and put the saved ones back after it."""
    weights = [w.detach() for w in weights]
    saved = [w.clone() for w in weights]
    add_(weights, shift)
    try:
        yield
    finally:
        copy_(weights, saved)


@dataclass(frozen=True)
class RuleContext:
    """What a rule may need to know about its run.

    Attributes:
        saliency: computes the boolean mask (True = forget side), one tensor per parameter, when asked.
        fidelity: the discrepancy switches.
    """

    saliency: Callable[[], list[Tensor]]
    fidelity: Fidelity = Fidelity()


def build_rule(label: str, context: RuleContext) -> Rule:
    """Return the rule a label names."""
    spec = parse_rule(label)
    return load("rules", spec.name)(spec, context)


@rule("sgd", label="SGD", marker="o", place=1, passes=1, copies=3.0)
def build_plain(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return the plain gradient."""
    return Plain()


@rule("sam", label="SAM", marker="s", place=2, passes=2, copies=6.0, radius=0.1)
def build_sam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return SAM."""
    return Sam(spec.rho)


@rule("asam", label="ASAM", marker="^", place=3, passes=2, copies=6.0, radius=1.0)
def build_asam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return adaptive SAM."""
    return Sam(spec.rho, adaptive=True)


@rule("retain-sam", label="SAM on R only", marker="v", place=4, passes=2, copies=7.0, radius=0.1, forgets=True)
def build_retain_sam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return SAM on the retain loss beside the plain gradient of the forget loss."""
    return Branches(Sam(spec.rho, part="retain"), Plain(part="forget"))


@rule("minmax", label="MinMax", marker="D", place=5, copies=1.5, inner="asam-1.0", forgets=True)
def build_minmax(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return Sharp MinMax over the saliency mask; D4, D5 and D13 choose the released code's variants.

    D13 "cross-entropy": with `L = -(1 - alpha) CE`, maximizing the sharpness of CE descends `L` at the point where CE
    is largest, so eps points against the gradient of L and g1 is taken as it is.
    """
    fidelity = context.fidelity
    mask = context.saliency()
    rest = [~m for m in mask]
    base = build_rule(spec.inner, context)
    if not isinstance(base, Plain | Sam):
        raise reject("rule", f"minmax-{spec.inner}", "sgd, sam-... or asam-... inside minmax")
    retain = replace(base, part="retain", scope=Scope(rest, fidelity.mask_stage))
    forget = replace(base, part="forget", scope=Scope(mask, fidelity.mask_stage))
    if isinstance(forget, Sam):
        released = fidelity.minmax_sign == "negated-loss"
        forget = replace(forget, sharpness=-1) if released else replace(forget, ascent=-1)
    return Branches(retain, forget)


@rule("masked", place=7, copies=1.25, inner="sgd", forgets=True)
def build_masked(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return a rule that moves salient weights only; D21 "ignored" drops the mask of a SAM rule."""
    inner = build_rule(spec.inner, context)
    if context.fidelity.joint_mask == "ignored" and isinstance(inner, Sam):
        return inner
    return mask_rule(inner, context)


def mask_rule(rule: Rule, context: RuleContext) -> Rule:
    """Return a rule that moves salient weights only, with the mask at the stage of D4.

    The others keep their bits (`Masked`), except under D5 "double": there, as released, they only lose their gradient
    and the optimizer's weight decay still moves them. A rule of two branches has no released form and stays `Masked`.
    """
    mask, fidelity = context.saliency(), context.fidelity
    inner = restrict(rule, mask, fidelity.mask_stage)
    decays = fidelity.minmax_update == "double" and isinstance(inner, Plain | Sam)
    return inner if decays else Masked(inner, mask)


def phases(rule: Rule, fidelity: Fidelity) -> tuple[Rule, ...]:
    """Return the rules that step one after the other, each with an optimizer of its own.

    One, except for branches under D5 "double": the released code steps on retain, then on forget at the moved weights.
    """
    if fidelity.minmax_update == "owned" or not isinstance(rule, Branches) or rule.retain.scope.mask is None:
        return (rule,)
    return (rule.retain, rule.forget)


def method_rule(method: object, rule: Rule, context: RuleContext) -> Rule:
    """Return the rule a method runs under: a method marked `masked` (SalUn) moves salient weights only."""
    return mask_rule(rule, context) if getattr(method, "masked", False) else rule
