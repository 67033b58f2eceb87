"""Numbers of single images, stored as arrays for figures: margins, KLoM's margins, features of both sets."""

import numpy as np
from scipy.special import logsumexp

from empirical.data.images import stratified_subset
from empirical.metrics.evaluation import Evaluation
from repro.base.parts import Term, metric

MOST_FEATURES = 500
MOST_KLOM = 100


@metric(
    "margins", reference=True,
    terms=(
        Term("margin_distance", "Wasserstein distance between the margins of forget images under the unlearned and the "
             "retrained model.",
             "W_1 of z_y - max over k != y of z_k", "logits", ">= 0", "0"),
    ),
)  # fmt: skip
def margins(evaluation: Evaluation) -> dict[str, np.ndarray | float]:
    """Return `margin_<model>`, `(forget images,)`: the logit of the true class minus the largest other logit.

    `margin_distance` is W_1 between the margins of the unlearned and the retrained model: the mean gap when sorted.
    """
    found = {}
    for role in evaluation.roles:
        outputs, labels = evaluation.on(role, "forget")
        found[f"margin_{role}"] = margin(outputs.logits, labels).astype(np.float32)
    ours, theirs = (np.sort(found[f"margin_{role}"].astype(float)) for role in ("unlearned", "retrained"))
    return {**found, "margin_distance": float(np.abs(ours - theirs).mean())}


def margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `z_y - max over k != y of z_k` of every row of logits z, `(n,)`."""
    own, others = split_logits(logits, labels)
    return own - others.max(1)


@metric(
    "klom_margins",
    terms=(
        Term("klom_images", "Forget images whose margins are recorded for KLoM and U-LiRA.", "", "images", ">= 0", ""),
    ),
)  # fmt: skip
def klom_margins(evaluation: Evaluation) -> dict[str, np.ndarray | int]:
    """Return `klom_<model>_<set>`, (at most 100,) float32: the log-odds of the true class of each image.

    This is the margin of KLoM (Georgiev et al. 2024, appendix E.1). All runs on the same retain, forget and test sets
    use the same images, so runs of many seeds give a distribution for each image. `klom_images` counts forget images.
    """
    found: dict[str, np.ndarray | int] = {"klom_images": len(fixed_rows(len(evaluation.split.forget)))}
    for role in evaluation.roles:
        for name, outputs, labels in evaluation.sets(role):
            rows = fixed_rows(len(labels))
            found[f"klom_{role}_{name}"] = logit_margin(outputs.logits[rows], labels[rows]).astype(np.float32)
    return found


def logit_margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return `z_y - log sum over k != y of exp(z_k)` of every row of logits z, `(n,)`: the log-odds of the class y."""
    own, others = split_logits(logits, labels)
    return own - logsumexp(others, axis=1)


def split_logits(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of the true classes, `(n,)`, and all logits with those set to -inf, `(n, classes)`."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return logits[rows, labels], others


def fixed_rows(count: int) -> np.ndarray:
    """Return at most 100 of `count` row numbers, ascending; the same at every call."""
    return np.sort(np.random.default_rng(0).permutation(count)[:MOST_KLOM])


@metric("features")
def image_features(evaluation: Evaluation) -> dict[str, np.ndarray]:
    """Return `features_<model>` of at most 500 retain and 500 forget images, and their `labels` and `is_forget`."""
    generator = np.random.default_rng(evaluation.seed)
    chosen: dict[str, np.ndarray] = {}
    labels = []
    for name in ("retain", "forget"):
        outputs, every = evaluation.on("original", name)
        featured = outputs.labels(every)
        few = len(featured) <= MOST_FEATURES
        chosen[name] = np.arange(len(featured)) if few else stratified_subset(featured, MOST_FEATURES, generator)
        labels.append(featured[chosen[name]])
    found = {
        f"features_{role}": np.concatenate(
            [evaluation.on(role, name)[0].features[rows] for name, rows in chosen.items()]
        )
        for role in evaluation.roles
    }
    return {**found, "labels": np.concatenate(labels), "is_forget": np.repeat([False, True], [len(k) for k in labels])}
