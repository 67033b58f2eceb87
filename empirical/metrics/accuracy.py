"""Accuracies, and ToW: how near an unlearned model is to the retrained one in all three."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from empirical.data.augment import augmentation
from empirical.metrics.evaluation import ROLES, Evaluation, prefix
from empirical.models.network import predict

SETS = ("retain", "forget", "test")


def accuracies(evaluation: Evaluation) -> dict[str, float]:
    """Return the share of correct answers on retain, forget and test, in [0, 1], for each model.

    Models trained on corrupted images are also scored on those (`corrupted_*`), unless D18 says clean only. Where rows
    were held out for validation, the original is scored on them too (D17: with or without augmentation).
    """
    found = {
        f"{prefix(role)}{name}_accuracy": share_correct(outputs.logits, labels)
        for role in ROLES
        for name, outputs, labels in evaluation.sets(role)
    }
    if evaluation.config.corruption != "none" and evaluation.config.fidelity.corrupted_evaluation:
        found |= corrupted_accuracies(evaluation)
    if len(evaluation.split.validation):
        found["original_validation_accuracy"] = validation_accuracy(evaluation)
    return found


def share_correct(logits: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy of scores `(n, classes)`, in [0, 1]."""
    return float(np.mean(logits.argmax(1) == labels))


def corrupted_accuracies(evaluation: Evaluation) -> dict[str, float]:
    """Return retain and forget accuracy of each model on the corrupted images it was trained on."""
    labels = evaluation.images.train_labels.numpy()
    found = {}
    for role in ROLES:
        logits = predict(evaluation.networks[role](), evaluation.trained_on)[0].cpu().numpy()
        for name in ("retain", "forget"):
            rows = getattr(evaluation.split, name)
            found[f"{prefix(role)}corrupted_{name}_accuracy"] = share_correct(logits[rows], labels[rows])
    return found


def validation_accuracy(evaluation: Evaluation) -> float:
    """Return the original's accuracy on the held-out rows, on test images or (D17 "train") on augmented ones."""
    rows = evaluation.split.validation
    logits = evaluation.outputs["original"].train.logits[rows]
    if evaluation.config.fidelity.validation_images == "train":
        augment = augmentation(evaluation.config)
        images = evaluation.trained_on[torch.from_numpy(rows).to(evaluation.trained_on.device)]
        generator = torch.Generator().manual_seed(evaluation.seed)
        draws = torch.rand(len(rows), augment.columns, generator=generator).to(images.device)
        logits = predict(evaluation.networks["original"](), augment(images, draws))[0].cpu().numpy()
    return share_correct(logits, evaluation.images.train_labels.numpy()[rows])


def tow(accuracy: Mapping[str, float], reference: Mapping[str, float], *, signed: bool = False) -> float:
    """Return the tug of war, `prod over sets of (1 - |a - a*|)` (Zhao et al. 2024).

    The signed variant of the released code is `(1 - (r* - r)) (1 - (f - f*)) (1 - (t* - t))`, which exceeds 1 when a
    model forgets more than the retrained one (D6).

    Args:
        accuracy: by set name (retain, forget, test), in [0, 1].
        reference: the same of the retrained model.
        signed: keep the signs.
    """
    gap = {name: reference[name] - accuracy[name] for name in SETS}
    gap["forget"] = -gap["forget"]
    return float(np.prod([1 - (gap[name] if signed else abs(gap[name])) for name in SETS]))


def tug_of_war(evaluation: Evaluation) -> dict[str, float | None]:
    """Return ToW of the unlearned model and of doing nothing, absolute and signed, against the own retrained model.

    `tow_reported` is the one the preset asks for (D6, D7); under published references it is 0 where the released code
    has none, as there.
    """
    from empirical.metrics.published import published_reference

    result, fidelity = evaluation.result, evaluation.config.fidelity
    own, original, retrained = (_triple(result, prefix(role)) for role in ("unlearned", "original", "retrained"))
    reference: Mapping[str, float] | None = retrained
    if fidelity.tow_reference == "published":
        reference = published_reference(evaluation.config)
    reported = tow(own, reference, signed=fidelity.tow == "signed") if reference else 0.0
    return {
        "tow": tow(own, retrained),
        "tow_signed": tow(own, retrained, signed=True),
        "original_tow": tow(original, retrained),
        "original_tow_signed": tow(original, retrained, signed=True),
        "tow_reported": reported,
    }


def _triple(result: Mapping[str, Any], role: str) -> dict[str, float]:
    return {name: result[f"{role}{name}_accuracy"] for name in SETS}
