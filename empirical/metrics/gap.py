"""Average gap to the retrained model, and ToW with membership inference in place of forget accuracy."""

from typing import Any

import numpy as np

from empirical.metrics.accuracy import tow
from empirical.metrics.evaluation import Evaluation, prefix

TERMS = ("retain_accuracy", "forget_accuracy", "test_accuracy", "mia_confidence")


def gaps(evaluation: Evaluation) -> dict[str, float]:
    """Return both for the unlearned model and for doing nothing; reads the numbers of `accuracy` and `mia`.

    `average_gap = mean |u - r|` over retain, forget and test accuracy and MIA confidence (Jia et al. 2023);
    `tow_mia = prod (1 - |u - r|)` with MIA confidence in place of forget accuracy (Zhao et al. 2024).
    """
    result: dict[str, Any] = evaluation.result
    found = {}
    for role in ("unlearned", "original"):
        own = {name: result[prefix(role) + name] for name in TERMS}
        reference = {name: result[f"retrained_{name}"] for name in TERMS}
        found[f"{prefix(role)}average_gap"] = float(np.mean([abs(own[name] - reference[name]) for name in TERMS]))
        found[f"{prefix(role)}tow_mia"] = tow(_triple(own), _triple(reference))
    return found


def _triple(numbers: dict[str, float]) -> dict[str, float]:
    return {
        "retain": numbers["retain_accuracy"], "forget": numbers["mia_confidence"], "test": numbers["test_accuracy"]
    }  # fmt: skip
