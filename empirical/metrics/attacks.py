"""Membership inference: scores of single examples, the released SVC attack, and the attack by one threshold."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from scipy.special import entr, log_softmax
from scipy.stats import mannwhitneyu
from sklearn.metrics import roc_curve
from sklearn.svm import SVC

from empirical.data.images import stratified_subset
from empirical.metrics.evaluation import Evaluation, prefix, probabilities
from empirical.metrics.outputs import Outputs
from repro.base.parts import Term, metric
from repro.base.settings import limits_of

TINY = 1e-30
FALSE_ALARMS = {"tpr_at_1_percent": 0.01, "tpr_at_01_percent": 0.001}
RESAMPLES = 200
GRID = np.concatenate([[0.0], np.logspace(-3, 0, 61)])
Side = tuple[Outputs, np.ndarray]


def confidence(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of the true class, `(n,)`, in [0, 1]."""
    return p[np.arange(len(p)), labels]


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross entropy of every example, `(n,)`, in nats."""
    return -log_softmax(logits, axis=1)[np.arange(len(logits)), labels]


def entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy of every row, `-sum_k p_k log p_k`, in nats."""
    return entr(p).sum(1)


def modified_entropy(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `-(1 - p_y) log p_y - sum over k != y of p_k log(1 - p_k)` of every row (Song and Mittal 2021).

    It is 0 for a confident correct answer and grows without bound for a confident wrong one.
    """
    rows = np.arange(len(p))
    terms = -p * np.log(np.maximum(1 - p, TINY))
    own = p[rows, labels]
    terms[rows, labels] = -(1 - own) * np.log(np.maximum(own, TINY))
    return terms.sum(1)


def released_modified_entropy(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return what the released code computes (D9), `-sum_k w_k log p_k`.

    `w_k` is `1 - p_k` for every class that is the label of some row, p_k for the others: whole columns are exchanged
    instead of one entry a row, so the row's own label plays no part; and log p stands where log(1 - p) is meant.
    """
    weights = p.copy()
    present = np.unique(labels)
    weights[:, present] = 1 - p[:, present]
    return -(weights * np.log(np.where(p > 0, p, TINY))).sum(1)


SVC_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "correctness": lambda p, y: (p.argmax(1) == y).astype(float),
    "confidence": confidence,
    "entropy": lambda p, y: entropy(p),
    "m_entropy_per_row": modified_entropy,
    "m_entropy_released": released_modified_entropy,
    "prob": lambda p, y: p,
}


@metric(
    "mia", version=2, switches=("m_entropy", "mia_members", "constant_score"),
    terms=(
        Term("mia_*", "Share of the forget set that an RBF machine, trained on retained against test images by one "
             "score, calls non-members.", also=("MIA", "membership inference")),
    ),
)  # fmt: skip
def svc_attack(
    evaluation: Evaluation,
    *,
    attack_size: Annotated[
        int, limits_of("images of each side the SVC attack learns from; 0 is the size of the test set", low=0)
    ] = 1000,
) -> dict[str, float]:
    """Return, for each model and score, the share of the forget set that an attack calls non-members, in [0, 1].

    An RBF machine (C = 3, gamma = 1 / dimension, no scaling) learns retained from test images and judges F. Higher is
    more forgotten; the target is the retrained model's own value, not 1. `mia_m_entropy` is the one the preset takes.
    """
    generator = np.random.default_rng(evaluation.seed)
    members, others = attack_rows(evaluation, attack_size, generator)
    chosen = f"m_entropy_{evaluation.config.fidelity.m_entropy.replace('-', '_')}"
    found: dict[str, float] = {}
    for role in evaluation.roles:
        shares = evaluation.once(role, "mia", lambda role=role: attack_model(evaluation, role, members, others))
        named = shares | {"m_entropy": shares[chosen]}
        found |= {f"{prefix(role)}mia_{name}": share for name, share in named.items()}
    return found


def attack_rows(evaluation: Evaluation, size: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return which retained and which test images the attack learns from, at most `size` of each (0: all test images).

    Both are stratified draws; D10 "first" takes the first retained ones in index order, as the released code.
    """
    _, retain = evaluation.on("original", "retain")
    _, test = evaluation.on("original", "test")
    count = min(size or len(test), len(retain), len(test))
    others = stratified_subset(test, count, generator)
    first = evaluation.config.fidelity.mia_members == "first"
    return np.arange(count) if first else stratified_subset(retain, count, generator), others


def attack_model(evaluation: Evaluation, role: str, members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return the share of F called non-members by the attack of each score on one model."""
    sides = []
    for name, rows in (("retain", members), ("test", others), ("forget", None)):
        outputs, labels = evaluation.on(role, name)
        some = slice(None) if rows is None else rows
        sides.append((probabilities(outputs.logits[some]), labels[some]))
    constant = evaluation.config.fidelity.constant_score
    return {
        name: forgotten_share(*(score(p, y).reshape(len(y), -1) for p, y in sides), constant=constant)
        for name, score in SVC_SCORES.items()
    }


def forgotten_share(members: np.ndarray, others: np.ndarray, target: np.ndarray, *, constant: str = "chance") -> float:
    """Train one attack on members (1) against others (0) and return the share of `target` called 0.

    Args:
        members, others, target: scores, rows `(n, k)`.
        constant: what a score says that is the same for all it learns from: `chance`, a half, or (D26) what the
            machine makes of it, which calls ties members and so returns 0.
    """
    learned = np.concatenate([members, others])
    if constant == "chance" and np.ptp(learned, axis=0).max() == 0:
        return 0.5
    truth = np.repeat((1, 0), (len(members), len(others)))
    machine = SVC(C=3, gamma="auto", kernel="rbf").fit(learned, truth)
    return float(1 - machine.predict(target).mean())


@metric(
    "attacks",
    terms=(
        Term("attack_*_auc", "Area under the ROC curve of a threshold on one score, forget set against test set; 0.5 "
             "is guessing."),
        Term("attack_*_balanced_accuracy", "Best balanced accuracy of such a threshold.", range="[0.5, 1]"),
        Term("attack_*_tpr_at_1_percent", "True positive rate of such a threshold at 1 % false positives."),
        Term("attack_*_tpr_at_01_percent", "True positive rate of such a threshold at 0.1 % false positives."),
    ),
)  # fmt: skip
def threshold_attack(evaluation: Evaluation) -> dict[str, Any]:
    """Return how well thresholds tell the forget set (members) from the test set, for each model.

    AUC 0.5 means they look alike; the target is the retrained model's value. The interval of the AUC of the loss is a
    95 % bootstrap over examples. The ROC curve of the loss is an array over `attack_roc_fpr`.
    """
    found: dict[str, Any] = {"attack_roc_fpr": GRID}
    for role in evaluation.roles:
        forget, test = (membership_scores(*evaluation.on(role, name)) for name in ("forget", "test"))
        for name, members in forget.items():
            numbers = threshold_numbers(members, test[name])
            found |= {f"{prefix(role)}attack_{name}_{key}": value for key, value in numbers.items()}
        generator = np.random.default_rng(evaluation.seed)
        interval = auc_interval(forget["loss"], test["loss"], generator)
        found[f"{prefix(role)}attack_loss_auc_interval"] = list(interval)
        found[f"attack_roc_tpr_{role}"] = hits_at(*curve(forget["loss"], test["loss"]), GRID)
    return found


def membership_scores(outputs: Outputs, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores `(n,)` that are higher for likely members."""

    def scores(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        p = probabilities(logits)
        four = (-losses(logits, labels), confidence(p, labels), -entropy(p), -modified_entropy(p, labels))
        return np.stack(four, axis=1)

    found = scores(outputs.logits, labels)
    return dict(zip(("loss", "confidence", "entropy", "m_entropy"), np.ascontiguousarray(found.T), strict=True))


def threshold_numbers(members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return AUC, the best balanced accuracy, and the true-positive rates at 1 % and 0.1 % false positives."""
    alarms, hits = curve(members, others)
    few = {name: float(hits_at(alarms, hits, rate)) for name, rate in FALSE_ALARMS.items()}
    return {"auc": float(auc(members, others)), "balanced_accuracy": float(np.max(1 + hits - alarms) / 2), **few}


def auc(members: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return `P(member > other) + P(member = other) / 2`, the area under the ROC curve: Mann and Whitney's U / (n m).

    Args:
        members: scores `(..., n)`; others: scores `(..., m)`; areas are taken along the last axis.
    """
    pairs = members.shape[-1] * others.shape[-1]
    return mannwhitneyu(members, others, axis=-1, method="asymptotic").statistic / pairs


def curve(members: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the false-positive and the true-positive rate of every threshold, ascending from (0, 0) to (1, 1)."""
    truth = np.repeat((1, 0), (len(members), len(others)))
    return roc_curve(truth, np.concatenate([members, others]), drop_intermediate=False)[:2]


def hits_at(alarms: np.ndarray, hits: np.ndarray, rates: np.ndarray | float) -> np.ndarray:
    """Return the true-positive rate at false-positive rates: of the best threshold that does not exceed each."""
    return hits[np.searchsorted(alarms, np.asarray(rates) + 1e-12, side="right") - 1]


def auc_interval(members: np.ndarray, others: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC over examples."""
    draws = [
        [side[generator.integers(0, len(side), len(side))] for side in (members, others)] for _ in range(RESAMPLES)
    ]
    areas = auc(*(np.stack(side) for side in zip(*draws, strict=True)))
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)
