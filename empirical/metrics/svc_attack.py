"""Membership inference by support vector machines on five scores, as released, and on the correct modified entropy."""

from collections.abc import Callable

import numpy as np

from empirical.data.images import stratified_subset
from empirical.metrics.evaluation import ROLES, Evaluation, Outputs, prefix
from empirical.metrics.scores import confidence, entropy, modified_entropy, probabilities, released_modified_entropy

Side = tuple[Outputs, np.ndarray]

SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "correctness": lambda p, y: (p.argmax(1) == y).astype(float),
    "confidence": confidence,
    "entropy": lambda p, y: entropy(p),
    "m_entropy_per_row": modified_entropy,
    "m_entropy_released": released_modified_entropy,
    "prob": lambda p, y: p,
}


def svc_attack(evaluation: Evaluation) -> dict[str, float]:
    """Return, for each model and score, the share of the forget set that an attack calls non-members, in [0, 1].

    An RBF machine (C = 3, gamma = 1 / dimension, no scaling) learns retained from test images and judges F. Higher is
    more forgotten; the target is the retrained model's own value, not 1. `mia_m_entropy` is the one the preset takes.
    """
    generator = np.random.default_rng(evaluation.seed)
    members, others = attack_rows(evaluation, generator)
    chosen = f"m_entropy_{evaluation.config.fidelity.m_entropy.replace('-', '_')}"
    found: dict[str, float] = {}
    for role in ROLES:
        shares = evaluation.once(role, "mia", lambda role=role: attack_model(evaluation, role, members, others))
        named = shares | {"m_entropy": shares[chosen]}
        found |= {f"{prefix(role)}mia_{name}": share for name, share in named.items()}
    return found


def attack_model(evaluation: Evaluation, role: str, members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return the share of F called non-members by the attack of each score on one model."""
    sides = {name: (outputs, labels) for name, outputs, labels in evaluation.sets(role)}
    inside, outside = _take(sides["retain"], members), _take(sides["test"], others)
    return {name: forgotten_share(score, inside, outside, sides["forget"]) for name, score in SCORES.items()}


def attack_rows(evaluation: Evaluation, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return which retained and which test images the attack learns from, as many of each.

    Both are stratified draws; D10 "first" takes the first retained ones in index order, as the released code.
    """
    _, retain = evaluation.on("original", "retain")
    _, test = evaluation.on("original", "test")
    count = min(evaluation.config.attack_size or len(test), len(retain), len(test))
    others = stratified_subset(test, count, generator)
    first = evaluation.config.fidelity.mia_members == "first"
    return np.arange(count) if first else stratified_subset(retain, count, generator), others


def forgotten_share(score: Callable[..., np.ndarray], members: Side, others: Side, target: Side) -> float:
    """Train one attack on members (1) against others (0) and return the share of `target` it calls 0."""
    from sklearn.svm import SVC

    inputs = [score(probabilities(outputs.logits), labels) for outputs, labels in (members, others, target)]
    columns = [values[:, None] if values.ndim == 1 else values for values in inputs]
    truth = np.repeat((1, 0), (len(columns[0]), len(columns[1])))
    learned = np.concatenate(columns[:2])
    if np.ptp(learned, axis=0).max() == 0:
        return 0.5
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(learned, truth)
    return float(1 - machine.predict(columns[2]).mean())


def _take(side: Side, rows: np.ndarray) -> Side:
    outputs, labels = side
    return Outputs(outputs.logits[rows], outputs.features[rows]), labels[rows]
