"""Membership inference by one threshold on a score: AUC, balanced accuracy, and hits at few false alarms."""

from typing import Any

import numpy as np

from empirical.metrics.evaluation import ROLES, Evaluation, Outputs, prefix
from empirical.metrics.scores import confidence, entropy, losses, modified_entropy, probabilities

FALSE_ALARMS = {"tpr_at_1_percent": 0.01, "tpr_at_01_percent": 0.001}
RESAMPLES = 200
GRID = np.concatenate([[0.0], np.logspace(-3, 0, 61)])


def threshold_attack(evaluation: Evaluation) -> dict[str, Any]:
    """Return how well thresholds tell the forget set (members) from the test set, for each model.

    AUC 0.5 means they look alike; the target is the retrained model's value. The interval of the AUC of the loss is a
    95 % bootstrap over examples. The ROC curve of the loss is an array over `attack_roc_fpr`.
    """
    found: dict[str, Any] = {"attack_roc_fpr": GRID}
    for role in ROLES:
        forget, test = (membership_scores(*evaluation.on(role, name)) for name in ("forget", "test"))
        for name, members in forget.items():
            numbers = threshold_numbers(members, test[name])
            found |= {f"{prefix(role)}attack_{name}_{key}": value for key, value in numbers.items()}
        generator = np.random.default_rng(evaluation.seed)
        interval = auc_interval(forget["loss"], test["loss"], generator)
        found[f"{prefix(role)}attack_loss_auc_interval"] = list(interval)
        found[f"attack_roc_tpr_{role}"] = roc(forget["loss"], test["loss"], GRID)
    return found


def membership_scores(outputs: Outputs, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores `(n,)` that are higher for likely members."""
    p = probabilities(outputs.logits)
    return {
        "loss": -losses(outputs.logits, labels),
        "confidence": confidence(p, labels),
        "entropy": -entropy(p),
        "m_entropy": -modified_entropy(p, labels),
    }


def threshold_numbers(members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return AUC, the best balanced accuracy, and the true-positive rates at 1 % and 0.1 % false positives."""
    points = np.concatenate([[0.0], false_alarm_rates(others)])
    rates = roc(members, others, points)
    few = {name: float(roc(members, others, np.array([rate]))[0]) for name, rate in FALSE_ALARMS.items()}
    return {"auc": auc(members, others), "balanced_accuracy": float(np.max(1 + rates - points) / 2), **few}


def false_alarm_rates(others: np.ndarray) -> np.ndarray:
    """Return every false-positive rate that a threshold can reach."""
    return np.unique([np.mean(others >= value) for value in np.unique(others)])


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """Return `P(member > other) + P(member = other) / 2`, the area under the ROC curve (Mann-Whitney)."""
    ordered = np.sort(others)
    below, upto = (np.searchsorted(ordered, members, side=side) for side in ("left", "right"))
    return float((below + upto).mean() / (2 * len(others)))


def roc(members: np.ndarray, others: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Return the true-positive rate at each false-positive rate: the best threshold that does not exceed it."""
    candidates = np.concatenate([[np.inf], np.unique(np.concatenate([members, others]))[::-1]])
    alarms = 1 - np.searchsorted(np.sort(others), candidates, side="left") / len(others)
    hits = 1 - np.searchsorted(np.sort(members), candidates, side="left") / len(members)
    return hits[np.searchsorted(alarms, rates + 1e-12, side="right") - 1]


def auc_interval(members: np.ndarray, others: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC over examples."""
    areas = [auc(_resample(members, generator), _resample(others, generator)) for _ in range(RESAMPLES)]
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)


def _resample(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return values[generator.integers(0, len(values), len(values))]
