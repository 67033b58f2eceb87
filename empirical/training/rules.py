"""Gradient rules: how a loss becomes a gradient. One formula, `g0 + s (g1 - g0)`, and one `where(mask, ...)`.

A rule is called as `rule(model, loss)`, where `loss(part)` is the loss of `part` in {all, retain, forget}: a scalar, or
`Pieces` if a batch is computed in parts. `gradient` accepts both. A rule returns a gradient for each trainable
parameter and leaves the weights unchanged, bit for bit.
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
    """Return the Euclidean norm of all entries together, without waiting for the device."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))


def copy_(target: Tensors, source: Tensors) -> None:
    """Copy `source` over `target` in place."""
    torch._foreach_copy_(list(target), list(source))


def where(mask: Tensors, gradient: Tensors) -> list[Tensor]:
    """Return the gradient with zeros where the mask is False, tensor by tensor."""
    return [torch.where(owned, g, torch.zeros_like(g)) for owned, g in zip(mask, gradient, strict=True)]


@dataclass(frozen=True)
class Pieces:
    """A loss that is a sum of pieces; each piece is differentiated on its own and then freed.

    Attributes:
        values: functions that return a piece, a 0-dimensional tensor; only one piece is in memory at a time.
        complete: context manager around the pieces; it adds the gradients of other processes to their sum.
    """

    values: Sequence[Callable[[], Tensor]]
    complete: Callable[[list[Tensor]], AbstractContextManager[None]]

    def gradient(self, weights: Tensors) -> tuple[Tensor, ...]:
        """Return the gradient of the sum, a tensor for each weight."""
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
        passes: gradient evaluations per step, counted in passes over the batch.
        parts: the loss parts it reads; the method must offer them.
    """

    @property
    def passes(self) -> int: ...

    @property
    def parts(self) -> tuple[str, ...]: ...

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]: ...


@dataclass(frozen=True)
class Scope:
    """The weights that a rule owns.

    Attributes:
        mask: a boolean tensor per parameter, True = owned; None: the rule owns all weights.
        stage: what the mask acts on (D4). `combined`: gradient, norm and perturbation; `result`: only the result, after
            the whole network was perturbed; `perturbed`, as released: only g1, so g0 (1 - s) remains outside the mask.
    """

    mask: Mask | None = field(default=None, repr=False)
    stage: str = "combined"

    def clip(self, gradient: Sequence[Tensor], stage: str) -> Sequence[Tensor]:
        """Return the gradient, set to zero outside the mask if the mask acts at `stage`."""
        if self.mask is None or stage not in (self.stage, "always"):
            return gradient
        return where(self.mask, gradient)


class OnePart:
    """A rule that reads a single part of the loss."""

    part: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The loss part this rule reads."""
        return (self.part,)


@dataclass(frozen=True)
class Plain(OnePart):
    """The gradient itself: `g = grad L(w)`."""

    part: str = "all"
    scope: Scope = Scope()
    passes = 1

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the masked gradient of `loss(part)`."""
        return list(self.scope.clip(gradient(model, loss(self.part)), "always"))


@dataclass(frozen=True)
class Sam(OnePart):
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

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the combined gradient; BatchNorm statistics are updated in the first pass only."""
        first = self.scope.clip(gradient(model, loss(self.part)), "combined")
        weights = trainable(model)
        shift = perturbation(weights, first, rho=self.ascent * self.rho, adaptive=self.adaptive)
        with shifted(weights, shift), frozen_statistics(model):
            second = self.scope.clip(gradient(model, loss(self.part)), "always")
        first = self.scope.clip(first, "result")
        return add(first, add(second, first, -1), self.sharpness)


@dataclass(frozen=True)
class Branches:
    """A retain rule plus a forget rule: `g = g_retain + g_forget`.

    With disjoint scopes this is Sharp MinMax, `g = where(mask, g_forget, g_retain)`. Without scopes, with SAM on the
    retain side only, it is RetainSam.

    Attributes:
        retain: rule of the retain part.
        forget: rule of the forget part.
    """

    retain: "Plain | Sam"
    forget: "Plain | Sam"
    parts = ("retain", "forget")

    @property
    def passes(self) -> int:
        """Passes of the branches, each over its half of the batch, counted as passes over the whole batch."""
        return max(self.retain.passes, self.forget.passes)

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the sum of the two branch gradients."""
        return add(self.retain(model, loss), self.forget(model, loss))


@dataclass(frozen=True)
class Masked:
    """A rule under which weights outside the mask never move, not even by weight decay or momentum.

    Attributes:
        rule: the inner rule; its scopes are restricted to the mask.
        movable: a boolean tensor per parameter, True = may move.
    """

    rule: Rule
    movable: Mask = field(repr=False)

    @property
    def passes(self) -> int:
        """Passes of the inner rule."""
        return self.rule.passes

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the inner rule."""
        return self.rule.parts

    def __call__(self, model: nn.Module, loss: Loss) -> list[Tensor]:
        """Return the gradient of the inner rule, zero outside the mask."""
        return where(self.movable, self.rule(model, loss))


def restrict(rule: Rule, mask: Mask, stage: str = "combined") -> Rule:
    """Return the rule with its scopes restricted to `mask`: norm and perturbation then see owned weights only."""
    if isinstance(rule, Branches):
        return Branches(restrict(rule.retain, mask, stage), restrict(rule.forget, mask, stage))  # type: ignore[arg-type]
    if not isinstance(rule, Plain | Sam):
        return rule
    owned = rule.scope.mask
    both = mask if owned is None else [m & o for m, o in zip(mask, owned, strict=True)]
    return replace(rule, scope=Scope(both, stage))


def trainable(model: nn.Module) -> list[Tensor]:
    """Return the parameters that require a gradient."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def gradient(model: nn.Module, loss: Tensor | Pieces) -> tuple[Tensor, ...]:
    """Return the gradient of a scalar loss or of `Pieces`; zeros for parameters that the loss does not depend on."""
    if isinstance(loss, Pieces):
        return loss.gradient(trainable(model))
    return torch.autograd.grad(loss, trainable(model), materialize_grads=True)


@torch.no_grad()
def perturbation(weights: Sequence[Tensor], grads: Sequence[Tensor], *, rho: float, adaptive: bool) -> list[Tensor]:
    """Return eps (see `Sam`), without waiting for the device; zero if the gradient is zero."""
    size = list(torch._foreach_abs(list(weights))) if adaptive else None
    scaled = multiply(grads, size) if size else list(grads)
    length = norm(scaled)
    factor = torch.where(length > 0, rho / length, torch.zeros_like(length))
    if size is None:
        return multiply(scaled, factor)
    torch._foreach_mul_(scaled, size)  # in place, as each copy is as large as the weights
    torch._foreach_mul_(scaled, factor)
    return scaled


@contextmanager
def shifted(weights: Sequence[Tensor], shift: Sequence[Tensor]) -> Iterator[None]:
    """Move the weights by `shift` inside the block, and restore the saved weights after it."""
    weights = [w.detach() for w in weights]
    saved = [w.clone() for w in weights]
    add_(weights, shift)
    try:
        yield
    finally:
        copy_(weights, saved)


@dataclass(frozen=True)
class RuleContext:
    """What a rule may need from its run.

    Attributes:
        saliency: computes the saliency mask when called: a boolean tensor per parameter, True = forget side.
        fidelity: the discrepancy switches.
    """

    saliency: Callable[[], list[Tensor]]
    fidelity: Fidelity = Fidelity()


def build_rule(label: str, context: RuleContext) -> Rule:
    """Return the rule that a label names."""
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
    """Return SAM on the retain loss plus the plain gradient of the forget loss."""
    return Branches(Sam(spec.rho, part="retain"), Plain(part="forget"))


@rule("minmax", label="MinMax", marker="D", place=5, copies=1.5, inner="asam-1.0", forgets=True)
def build_minmax(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return Sharp MinMax over the saliency mask; D4, D5 and D13 select the variants of the released code.

    D13 "cross-entropy": with `L = -(1 - alpha) CE`, maximizing the sharpness of CE means to descend `L` at the point
    where CE is largest. So eps points against the gradient of L, and g1 is the result.
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
        negates_loss = fidelity.minmax_sign == "negated-loss"
        forget = replace(forget, sharpness=-1) if negates_loss else replace(forget, ascent=-1)
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

    The other weights do not move (`Masked`), except with D5 "double": there, as in the released code, they only lose
    their gradient, and weight decay still moves them. Rules of two branches have no released form and stay `Masked`.
    """
    mask, fidelity = context.saliency(), context.fidelity
    inner = restrict(rule, mask, fidelity.mask_stage)
    decays = fidelity.minmax_update == "double" and isinstance(inner, Plain | Sam)
    return inner if decays else Masked(inner, mask)


def successive_rules(rule: Rule, fidelity: Fidelity) -> tuple[Rule, ...]:
    """Return the rules that step one after the other, each with its own optimizer.

    There is a single rule, except for branches with D5 "double": the released code steps on the retain part, then on
    the forget part at the moved weights.
    """
    if fidelity.minmax_update == "owned" or not isinstance(rule, Branches) or rule.retain.scope.mask is None:
        return (rule,)
    return (rule.retain, rule.forget)


def method_rule(method: object, rule: Rule, context: RuleContext) -> Rule:
    """Return the rule for a method: a method marked `masked` (SalUn) moves salient weights only."""
    return mask_rule(rule, context) if getattr(method, "masked", False) else rule
