"""Numbers of single images, kept as arrays for the figures: margins of forget images, features of both sets."""

import numpy as np

from empirical.data.images import stratified_subset
from empirical.metrics.evaluation import ROLES, Evaluation

LARGEST = 500


def margins(evaluation: Evaluation) -> dict[str, np.ndarray | float]:
    """Return `margin_<model>`, `(forget images,)`: score of the true class minus the largest other, in logits.

    `margin_distance` is the mean gap between the sorted margins of the unlearned and the retrained model (their W_1).
    """
    found = {f"margin_{role}": margin(*_forget(evaluation, role)).astype(np.float32) for role in ROLES}
    ours, theirs = (np.sort(found[f"margin_{role}"].astype(float)) for role in ("unlearned", "retrained"))
    return {**found, "margin_distance": float(np.abs(ours - theirs).mean())}


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `s_y - max over k != y of s_k` of every row, `(n,)`."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return logits[rows, labels] - others.max(1)


def features(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return `features_<model>` of the same at most 500 retained and 500 forget images, their `labels`, `is_forget`."""
    generator = np.random.default_rng(evaluation.seed)
    labels = evaluation.images.train_labels.numpy()
    chosen = [_draw(rows, labels, generator) for rows in (evaluation.split.retain, evaluation.split.forget)]
    rows = np.concatenate(chosen)
    found = {f"features_{role}": evaluation.outputs[role].train.features[rows].astype(np.float32) for role in ROLES}
    return {**found, "labels": labels[rows], "is_forget": np.repeat([False, True], [len(side) for side in chosen])}


def _forget(evaluation: Evaluation, role: str) -> tuple[np.ndarray, np.ndarray]:
    outputs, labels = evaluation.on(role, "forget")
    return outputs.logits, labels


def _draw(rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    if len(rows) <= LARGEST:
        return rows
    return rows[stratified_subset(labels[rows], LARGEST, generator)]
