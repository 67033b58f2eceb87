"""Margins of fixed images: from those of many models, KLoM compares unlearning with retraining image by image."""

import numpy as np
from scipy.special import logsumexp

from empirical.metrics.evaluation import ROLES, Evaluation

LARGEST = 100


def klom_margins(evaluation: Evaluation) -> dict[str, np.ndarray | int]:
    """Return `klom_<model>_<set>`, (at most 100,) float32: `s_y - log sum over k != y of exp(s_k)` of each image.

    `klom_images` is the number of forget images.

    The margin of KLoM (Georgiev et al. 2024, appendix E.1). The images of a retain, forget and test set are the same
    in every run on the same sets, whatever its seed, so that runs of many seeds give each image a distribution.
    """
    found: dict[str, np.ndarray | int] = {"klom_images": len(fixed_rows(len(evaluation.split.forget)))}
    for role in ROLES:
        for name, outputs, labels in evaluation.sets(role):
            rows = fixed_rows(len(labels))
            found[f"klom_{role}_{name}"] = logit_margin(outputs.logits[rows], labels[rows]).astype(np.float32)
    return found


def fixed_rows(count: int) -> np.ndarray:
    """Return at most 100 of `count` row numbers, ascending, the same at every call."""
    return np.sort(np.random.default_rng(0).permutation(count)[:LARGEST])


def logit_margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `s_y - log sum over k != y of exp(s_k)` of every row, `(n,)`: the log-odds of the true class.

    Args:
        logits: `(n, classes)`.
        labels: `(n,)`.
    """
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return logits[rows, labels] - logsumexp(others, axis=1)
