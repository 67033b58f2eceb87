"""How far the unlearned model is from the retrained one: in its answers, and in its weights."""

from typing import Any

import numpy as np
import torch

from empirical.metrics.evaluation import Evaluation, prefix
from empirical.metrics.scores import TINY, probabilities
from empirical.models.network import Network, predict

SETS = ("retain", "forget", "test")


def distances(evaluation: Evaluation) -> dict[str, Any]:
    """Return the distances of the unlearned and of the original model to the retrained one, and ZRF.

    `jsd_*` is the mean Jensen-Shannon divergence of the answers in bits, `activation_distance_*` their mean Euclidean
    distance, `weight_distance` a list of `|w - w*| / |w*|` per weight tensor (names in `weight_layers`).
    """
    found: dict[str, Any] = {}
    for role in ("unlearned", "original"):
        for name in SETS:
            ours, theirs = (probabilities(evaluation.on(r, name)[0].logits) for r in (role, "retrained"))
            found[f"{prefix(role)}jsd_{name}"] = float(jensen_shannon(ours, theirs).mean())
            distance = np.linalg.norm(ours - theirs, axis=1).mean()
            found[f"{prefix(role)}activation_distance_{name}"] = float(distance)
        layers = weight_distances(evaluation.networks[role](), evaluation.networks["retrained"]())
        found[f"{prefix(role)}weight_distance"] = list(layers.values())
        found["weight_layers"] = list(layers)
    return found | _zero_retrain(evaluation)


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return the Jensen-Shannon divergence of rows `(n, classes)`, in bits, in [0, 1]."""
    middle = (p + q) / 2
    ratios = [np.log2(np.maximum(side, TINY) / np.maximum(middle, TINY)) for side in (p, q)]
    return 0.5 * (p * ratios[0] + q * ratios[1]).sum(1)


def weight_distances(ours: Network, theirs: Network) -> dict[str, float]:
    """Return `|w - w*| / |w*|` by parameter name; the length of w where w* is zero."""
    pairs = zip(ours.model.named_parameters(), theirs.model.parameters(), strict=True)
    found = {}
    for (name, own), other in pairs:
        size = float(torch.linalg.vector_norm(other.detach()))
        found[name] = float(torch.linalg.vector_norm((own - other).detach())) / (size or 1.0)
    return found


def _zero_retrain(evaluation: Evaluation) -> dict[str, float]:
    """Return ZRF of the three models: `1 - mean JSD` on F between a model and a random one (Chundawat et al. 2023)."""
    images = evaluation.images.train_images[torch.from_numpy(evaluation.split.forget)]
    random = probabilities(predict(evaluation.networks["random"](), images)[0].double().cpu().numpy())
    return {
        f"{prefix(role)}zrf": float(
            1 - jensen_shannon(probabilities(evaluation.on(role, "forget")[0].logits), random).mean()
        )
        for role in ("unlearned", "original", "retrained")
    }
