"""Every method with every rule on the tiny problem, as stages."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from empirical.augmentation.augment import Augment
from empirical.data.forget import Candidates
from empirical.methods.forget import GradientAscent, NegGrad, Scrub
from empirical.methods.relabel import RandomLabel, SalUn
from empirical.methods.retain import Finetune, L1Sparse, Retrain
from empirical.models.network import Network
from empirical.released import Fidelity
from empirical.training.batches import Rows, Sets
from empirical.training.rules import RuleContext, build_rule, method_rule
from empirical.training.step import Stage
from tests.empirical.tiny import make_network, make_stage

METHODS = {
    "retrain": Retrain(), "finetune": Finetune(), "l1_sparse": L1Sparse(0.01, 1, 3), "scrub": Scrub(ascent_epochs=3),
    "gradient_ascent": GradientAscent(), "neggrad": NegGrad(0.8), "random_label": RandomLabel(), "salun": SalUn(),
}  # fmt: skip
ONE_LOSS = ("sgd", "sam-0.1", "asam-0.5", "masked-sgd", "masked-sam-0.1")
TWO_LOSSES = ("minmax-sgd", "minmax-sam-0.1", "minmax-asam-0.5", "retain-sam-0.1")
PAIRS = [(method, rule) for method in METHODS for rule in ONE_LOSS]
PAIRS += [(method, rule) for method in ("neggrad", "random_label", "salun") for rule in TWO_LOSSES]


def rows_of_a_class_file(candidates: Candidates) -> np.ndarray:
    """Return the rows that a test gives, as a user's own forget set does."""
    return candidates.index()


def build(
    method: Any,
    label: str,
    *,
    fidelity: Fidelity = Fidelity(),
    device: str = "cpu",
    **recipe: Any,
) -> Stage:
    """Return a stage with a random mask: 20 retain rows by 3 make six full batches and an odd one of two."""
    generator = torch.Generator().manual_seed(4)
    mask = [torch.rand(weight.shape, generator=generator) < 0.5 for weight in make_network().parameters()]
    context = RuleContext(lambda: [part.to(device) for part in mask], fidelity)
    rule = method_rule(method, build_rule(label, context), context)
    stage = make_stage(method, rule, batch_size=3, augment=Augment(padding=1, flip=True), schedule="cosine", **recipe)
    sets = Sets(move(stage.sets.retain, device), move(stage.sets.forget, device), stage.sets.classes, stage.sets.epochs)
    teacher = on_device(stage.teacher, device) if stage.teacher else None
    return replace(stage, fidelity=fidelity, images=stage.images.to(device), sets=sets, teacher=teacher)


def move(rows: Rows, device: str) -> Rows:
    return Rows(rows.index.to(device), rows.labels.to(device), rows.forget.to(device), rows.batch_size)


def on_device(network: Network, device: str) -> Network:
    return Network(network.model.to(device), (0.5,), (2.0,))
