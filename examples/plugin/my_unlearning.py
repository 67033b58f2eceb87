"""Everything a package of yours can add to the toolkit; the entry points stand in pyproject.toml."""

from dataclasses import dataclass, replace
from typing import Annotated

import torch.nn.functional as F

from empirical.data.builtin import load_digits
from empirical.training.batches import Phase
from empirical.training.rules import gradient
from repro.base.parts import Term, method, metric, rule
from repro.base.settings import check, limits_of, setting


@method("forget_uniform", label="Forget uniformly", marker="h", beside=True)
@dataclass(frozen=True)
class ForgetUniform:
    """`L = alpha CE_R + (1 - alpha) KL(uniform || model)_F`: forgotten images should get no answer."""

    alpha: float = setting(0.9, "weight of the retain loss", low=0, high=1)
    parts = ("all", "retain", "forget")

    def __post_init__(self):
        check(self)

    def phases(self, sets, epoch, generator):
        return [Phase({"retain": sets.retain, "forget": sets.forget})]

    def loss(self, part, batch, logits):
        if part == "all":
            return self.loss("retain", batch, logits) + self.loss("forget", batch, logits)
        if part == "retain":
            return self.alpha * F.cross_entropy(logits(batch[part].images), batch[part].labels)
        return -(1 - self.alpha) * F.log_softmax(logits.forget(batch[part].images), dim=1).mean()


@dataclass(frozen=True)
class Sign:
    """`g = sign(grad L)`, scaled by 0.01."""

    passes, parts = 1, ("all",)

    def __call__(self, model, loss):
        return [0.01 * g.sign() for g in gradient(model, loss("all"))]


@rule("sign", label="Sign", marker="<", passes=1, copies=3.0)
def build_sign(spec, context):
    """Return the rule that a label names, such as `sign`."""
    return Sign()


@metric("forget_margin", terms=(Term("forget_margin", "Largest logit less the mean one on F.", "", "logits", ">= 0"),))
def forget_margin(evaluation, *, margin_power: Annotated[float, limits_of("power of each margin", low=0)] = 1.0):
    """Return the mean margin of the forget images."""
    logits = evaluation.on("unlearned", "forget")[0].logits
    return {"forget_margin": float(((logits.max(1) - logits.mean(1)) ** margin_power).mean())}


def load_upside_down(options, runtime):
    images = load_digits(options, runtime)
    flipped = {name: getattr(images, name).flip(2) for name in ("train_images", "test_images")}
    return replace(images, name="digits-upside-down", **flipped)


def every_twentieth(candidates):
    return candidates.rows[::20]
