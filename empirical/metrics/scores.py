"""Per-example membership scores of class scores: confidence, loss, entropy and modified entropy."""

import numpy as np
from scipy.special import log_softmax

TINY = 1e-30


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of `(n, classes)` scores."""
    return np.exp(log_softmax(logits, axis=1))


def confidence(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the probability of the true class, `(n,)`, in [0, 1]."""
    return p[np.arange(len(p)), labels]


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cross entropy of every example, `(n,)`, in nats."""
    return -log_softmax(logits, axis=1)[np.arange(len(logits)), labels]


def entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy of every row, `-sum_k p_k log p_k`, in nats."""
    return -(p * np.log(np.maximum(p, TINY))).sum(1)


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
    """Return what the released code computes (D9): columns, not entries, of all labels present are exchanged.

    With every label present it is `-sum_k (1 - p_k) log p_k`, whatever the true label.
    """
    log_p, rest = -np.log(np.maximum(p, TINY)), 1 - p
    swapped_p, swapped_log = p.copy(), -np.log(np.maximum(rest, TINY))
    present = np.unique(labels)
    swapped_p[:, present] = rest[:, present]
    swapped_log[:, present] = log_p[:, present]
    return (swapped_p * swapped_log).sum(1)


MODIFIED_ENTROPY = {"per-row": modified_entropy, "released": released_modified_entropy}
