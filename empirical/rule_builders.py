"""From a rule label to a gradient rule: the registry's entries."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from empirical.fidelity import Fidelity
from empirical.registry import load
from empirical.rules import Branches, Mask, Masked, Plain, Rule, Sam, Scope, restrict
from empirical.spec import RuleSpec, parse_rule
from repro.fields import reject


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


def build_plain(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return the plain gradient."""
    return Plain()


def build_sam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return SAM."""
    return Sam(spec.rho)


def build_asam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return adaptive SAM."""
    return Sam(spec.rho, adaptive=True)


def build_retain_sam(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return SAM on the retain loss beside the plain gradient of the forget loss."""
    return Branches(Sam(spec.rho, part="retain"), Plain(part="forget"))


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


def build_masked(spec: RuleSpec, context: RuleContext) -> Rule:
    """Return a rule that moves salient weights only; D21 "ignored" drops the mask of a SAM rule."""
    inner = build_rule(spec.inner, context)
    if context.fidelity.joint_mask == "ignored" and isinstance(inner, Sam):
        return inner
    return mask_rule(inner, context.saliency())


def mask_rule(rule: Rule, mask: Mask) -> Masked:
    """Wrap a rule so that only weights where `mask` is True move."""
    return Masked(restrict(rule, mask), mask)


def phases(rule: Rule, fidelity: Fidelity) -> tuple[Rule, ...]:
    """Return the rules that step one after the other, each with an optimizer of its own.

    One, except for branches under D5 "double": the released code steps on retain, then on forget at the moved weights.
    """
    if fidelity.minmax_update == "owned" or not isinstance(rule, Branches) or rule.retain.scope.mask is None:
        return (rule,)
    return (rule.retain, rule.forget)


def method_rule(method: object, rule: Rule, context: RuleContext) -> Rule:
    """Return the rule a method runs under: a method marked `masked` (SalUn) moves salient weights only."""
    return mask_rule(rule, context.saliency()) if getattr(method, "masked", False) else rule
