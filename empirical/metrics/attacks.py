"""Membership inference: scores of single examples, the SVC attack of the released code, and threshold attacks."""

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
    """Return the modified entropy of the released code (D9), `-sum_k w_k log p_k`, of every row.

    `w_k` is `1 - p_k` for every class that is the label of any row, and p_k for the others. The released code exchanges
    whole columns instead of one entry per row, so the row's own label has no effect; it also has log p for log(1 - p).
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
        Term("mia_*", "Fraction of forget images that a membership attack (an RBF SVM on one score, such as the "
             "confidence) labels as not trained on.", also=("MIA", "membership inference")),
    ),
)  # fmt: skip
def svc_attack(
    evaluation: Evaluation,
    *,
    attack_size: Annotated[
        int, limits_of("images per side (retain, test) that train the SVC attack; 0: size of the test set", low=0)
    ] = 1000,
) -> dict[str, float]:
    """Return the fraction in [0, 1] of forget images that an attack labels as not trained on, by model and score.

    An RBF SVM (C = 3, gamma = 1 / dimension, no scaling) learns to tell retain from test images and then labels F.
    The target is the retrained model's value, not 1. `mia_m_entropy` is the variant that the preset asks for (D9).
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
    """Return the rows of the retain and of the test images that train the attack: `size` of each, if there are so many.

    With size 0 all test images are used. Both are stratified random samples; D10 "first" takes the first retain images
    in index order, as the released code does.
    """
    _, retain = evaluation.on("original", "retain")
    _, test = evaluation.on("original", "test")
    count = min(size or len(test), len(retain), len(test))
    others = stratified_subset(test, count, generator)
    first = evaluation.config.fidelity.mia_members == "first"
    return np.arange(count) if first else stratified_subset(retain, count, generator), others


def attack_model(evaluation: Evaluation, role: str, members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return the fraction of F that the attack labels as not trained on, for each score of one model."""
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
    """Train an attack on members (1) against others (0) and return the fraction of `target` that it labels 0.

    Args:
        members, others, target: scores, `(n, k)`.
        constant: the result if all training scores are equal: `chance` gives 0.5; D26 `machine` asks the SVM, which
            labels ties as members and so gives 0.
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
        Term("attack_*_auc", "Area under the ROC curve of thresholds on one score that tell the forget set from the "
             "test set; 0.5 is guessing."),
        Term("attack_*_balanced_accuracy", "Best balanced accuracy of such a threshold.", range="[0.5, 1]"),
        Term("attack_*_tpr_at_1_percent", "True positive rate of such a threshold at 1 % false positives."),
        Term("attack_*_tpr_at_01_percent", "True positive rate of such a threshold at 0.1 % false positives."),
    ),
)  # fmt: skip
def threshold_attack(evaluation: Evaluation) -> dict[str, Any]:
    """Return how well a threshold on a score tells the forget set (members) from the test set, for each model.

    At AUC 0.5 the two sets look the same; the target is the retrained model's value. The AUC of the loss has a 95 %
    bootstrap interval over examples, and its ROC curve is an array over `attack_roc_fpr`.
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
    """Return four scores by name, each `(n,)` and higher for likely members."""
    p = probabilities(outputs.logits)
    return {
        "loss": -losses(outputs.logits, labels), "confidence": confidence(p, labels), "entropy": -entropy(p),
        "m_entropy": -modified_entropy(p, labels),
    }  # fmt: skip


def threshold_numbers(members: np.ndarray, others: np.ndarray) -> dict[str, float]:
    """Return the AUC, the best balanced accuracy, and the true-positive rates at 1 % and 0.1 % false positives."""
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
    """Return the true-positive rate of the best threshold whose false-positive rate does not exceed each of `rates`."""
    return hits[np.searchsorted(alarms, np.asarray(rates) + 1e-12, side="right") - 1]


def auc_interval(members: np.ndarray, others: np.ndarray, generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC over examples."""
    draws = [
        [side[generator.integers(0, len(side), len(side))] for side in (members, others)] for _ in range(RESAMPLES)
    ]
    areas = auc(*(np.stack(side) for side in zip(*draws, strict=True)))
    low, high = np.quantile(areas, (0.025, 0.975))
    return float(low), float(high)
