"""Accuracies, and ToW: how near an unlearned model is to the retrained one in all three."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from empirical.evaluation import ROLES, Evaluation, prefix

SETS = ("retain", "forget", "test")


def accuracies(evaluation: Evaluation) -> dict[str, float]:
    """Return the share of correct answers on retain, forget and test, in [0, 1], for each model."""
    return {
        f"{prefix(role)}{name}_accuracy": float(np.mean(outputs.logits.argmax(1) == labels))
        for role in ROLES
        for name, outputs, labels in evaluation.sets(role)
    }


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
    from empirical.published import published_reference

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
