"""Relearning: how fast forget accuracy returns when a model is fine-tuned on the retain set only."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from empirical.methods.retain import Finetune
from empirical.metrics.evaluation import Evaluation, prefix
from empirical.models.network import Network, accuracy, drawing_from
from empirical.training.batches import Arranger, Phase, row_sets
from empirical.training.rules import Plain
from empirical.training.step import Stage, Step
from repro.base.parts import Term, metric
from repro.records.identity import derive_seed

STEPS = (0, 1, 2, 4, 8, 16, 32)
RATE = 0.1  # times the pretraining rate: the same attack on every method, whatever its own rate


@metric(
    "relearning", reference=True,
    terms=(
        Term("relearning_excess", "How far forget accuracy exceeds the retrained model's when both are tuned on R.",
             "mean difference of forget accuracy after 0, 1, 2, ..., 32 steps", "share", "[-1, 1]", "0"),
    ),
)  # fmt: skip
def relearning(evaluation: Evaluation) -> dict[str, Any]:
    """Return forget accuracy after 0, 1, 2, ..., 32 steps of plain SGD on R, for the unlearned and retrained model.

    A model that has forgotten F follows the retrained model's curve; a model that only hides F rises above it.
    `relearning_excess` is the mean difference over the steps.
    """
    curves = {
        role: evaluation.once(role, "relearning", lambda role=role: relearn(evaluation, evaluation.networks[role]()))
        for role in ("unlearned", "retrained")
    }
    found: dict[str, Any] = {f"{prefix(role)}relearning_forget": curve for role, curve in curves.items()}
    excess = float(np.mean(np.subtract(curves["unlearned"], curves["retrained"])))
    return found | {"relearning_steps": list(STEPS), "relearning_excess": excess}


def relearn(evaluation: Evaluation, network: Network) -> list[float]:
    """Return the forget accuracy of a copy of the network after 0, 1, 2, 4, 8, 16 and 32 steps of fine-tuning."""
    copied = network.copy()
    for weight in copied.model.parameters():
        weight.requires_grad_(True)
    config, images, split = evaluation.config, evaluation.images, evaluation.split
    recipe = replace(config.pretraining(), optimizer="sgd", lr=RATE * config.pretrain_lr)
    sets = row_sets(images, recipe, split.retain, split.forget, device=copied.device)
    step = Step(copied, Stage(Finetune(), Plain(), sets, recipe, images.train_images, seed=evaluation.seed))
    phase = Phase({"retain": sets.retain})
    forget = torch.from_numpy(split.forget)
    curve = [forget_accuracy(copied, evaluation, forget)]
    for number in range(max(STEPS)):
        epoch, place = divmod(number, phase.steps)
        if place == 0:
            orders = Arranger(evaluation.seed, 3, copied.device).arrange(phase, "relearning", epoch)
        copied.model.train()
        with drawing_from(derive_seed(evaluation.seed, "relearning", number)):
            step({"retain": orders["retain"].batch(images.train_images, place)})
        if number + 1 in STEPS:
            curve.append(forget_accuracy(copied, evaluation, forget))
    return curve


def forget_accuracy(network: Network, evaluation: Evaluation, rows: torch.Tensor) -> float:
    """Return the accuracy on the forget rows, in [0, 1]."""
    return accuracy(network, evaluation.images.train_images[rows], evaluation.images.train_labels[rows])
