"""How entangled retain and forget features are: a variance ratio and an exact optimal-transport distance."""

from collections.abc import Callable
from functools import partial

import numpy as np
import ot

from empirical.metrics.evaluation import Evaluation, prefix
from repro.base.parts import Term, metric

RELEASED_DIVISOR = 1300.0
SAMPLE = 1000
Pair = tuple[np.ndarray, np.ndarray]


@metric(
    "entanglement", version=2, switches=("entanglement_scale",),
    terms=(
        Term("entanglement_var_*", "E_Var: spread within retain and forget features over the distance between them. "
             "Higher is more entangled. `raw` is unscaled, `scaled` is divided by 1300 and clipped to [0, 1], "
             "`class` is taken within classes. Above 10,000 images it uses a sample, up to half of it forget images.",
             "(var R + var F) / (|mu_R - mu|^2 + |mu_F - mu|^2) * 2", "ratio", ">= 0", "retrained"),
        Term("entanglement_wp*", "E_Wp: 1 minus half the optimal-transport distance between retain and forget features "
             "of unit length; higher is more entangled.", goal="retrained"),
    ),
)  # fmt: skip
def entanglement(evaluation: Evaluation) -> dict[str, float]:
    """Return E_Var (raw and scaled) and E_Wp of each model, over all images and class by class.

    Features are scaled to unit length. Class values are means over the classes with at least two images in both sets,
    weighted by their number of images. D22 "released" also includes classes with one image in E_Var.

    Above 10,000 images only a sample has features (`empirical.metrics.outputs.featured_rows`), and the share p of F in
    it differs from the data set's. E_Var depends on p: `(V_R + V_F) / (0.5 (p^2 + (1 - p)^2) |mu_R - mu_F|^2)`. The
    sample changes it by the same factor for every model: 1.26 for half of a forget set of 2,500 images out of 50,000.
    So models of a run, and runs on one forget set, can be compared, but not data sets of different sizes.
    """
    found = {}
    for role in evaluation.roles:
        scores = evaluation.once(role, "entanglement", lambda role=role: entangle(evaluation, role))
        found |= {f"{prefix(role)}entanglement_{name}": value for name, value in scores.items()}
    return found


def entangle(evaluation: Evaluation, role: str) -> dict[str, float]:
    """Return the scores of one model by name."""
    released = evaluation.config.fidelity.entanglement_scale == "released"
    sides = [evaluation.on(role, name) for name in ("retain", "forget")]
    retain, forget = (unit_rows(outputs.features.astype(float)) for outputs, _ in sides)
    pair = (retain, forget)
    labels: Pair = (sides[0][0].labels(sides[0][1]), sides[1][0].labels(sides[1][1]))
    by_class = class_pairs(pair, labels)
    counted = class_pairs(pair, labels, least=1) if released else by_class
    generator = np.random.default_rng(evaluation.seed)
    measure = partial(overlap, generator=generator, scale="max" if released else "diameter")
    spread = partial(variance_ratio, coincident=0.0 if released else float("nan"))
    ratio, classwise = spread(*pair), weighted(spread, counted)
    return {
        "var_raw": ratio, "var_scaled": scaled_ratio(ratio), "var_class_raw": classwise,
        "var_class_scaled": scaled_ratio(classwise), "wp": measure(*pair), "wp_class": weighted(measure, by_class),
    }  # fmt: skip


def unit_rows(features: np.ndarray) -> np.ndarray:
    """Return rows `(n, f)` scaled to length 1; a zero row stays zero."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(lengths > 0, lengths, 1)


def variance_ratio(retain: np.ndarray, forget: np.ndarray, *, coincident: float = float("nan")) -> float:
    """Return E_Var: `(V_R + V_F) / (0.5 (|mu_R - mu|^2 + |mu_F - mu|^2))`.

    V is the mean squared distance to the set's mean, mu the mean of all features. Higher is more entangled.

    Args:
        retain, forget: features `(n, f)`.
        coincident: the value if the means agree: NaN, or 0 (not entangled) as in the released code.
    """
    means = [side.mean(0) for side in (retain, forget)]
    spread = sum(((side - mean) ** 2).sum(1).mean() for side, mean in zip((retain, forget), means, strict=True))
    middle = np.concatenate([retain, forget]).mean(0)
    apart = 0.5 * sum(((mean - middle) ** 2).sum() for mean in means)
    return float(spread / apart) if apart > 0 else coincident


def scaled_ratio(raw: float) -> float:
    """Return E_Var as the released code reports it: divided by 1300 and clipped to [0, 1] (D22)."""
    return float(np.clip(raw / RELEASED_DIVISOR, 0, 1))


def overlap(retain: np.ndarray, forget: np.ndarray, *, generator: np.random.Generator, scale: str) -> float:
    """Return E_Wp: `max(0, 1 - W_1)` between at most 1,000 points of each set.

    Args:
        retain, forget: unit features `(n, f)`.
        generator: draws the points.
        scale: the unit of distances: `diameter`, 2 as in the unit sphere, the same for all models; or `max`, the
            largest distance, as in the released code (D22).
    """
    sides = [side[generator.permutation(len(side))[:SAMPLE]] for side in (retain, forget)]
    squared = (sides[0] ** 2).sum(1)[:, None] + (sides[1] ** 2).sum(1) - 2 * sides[0] @ sides[1].T
    cost = np.sqrt(np.maximum(squared, 0))
    unit = cost.max() if scale == "max" else 2.0
    return max(0.0, 1 - transport_cost(cost / unit)) if unit > 0 else 1.0


def transport_cost(cost: np.ndarray) -> float:
    """Return the exact optimal-transport cost between two uniform samples.

    Args:
        cost: `(n, m)` pairwise costs.
    """
    n, m = cost.shape
    return float(np.asarray(ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost, numItermax=1_000_000)))


def class_pairs(pair: Pair, labels: Pair, *, least: int = 2) -> list[Pair]:
    """Return (retain, forget) of every class with at least `least` images in both sets."""
    shared = np.intersect1d(*labels)
    pairs = [(pair[0][labels[0] == c], pair[1][labels[1] == c]) for c in shared]
    return [both for both in pairs if min(map(len, both)) >= least]


def weighted(measure: Callable[[np.ndarray, np.ndarray], float], pairs: list[Pair]) -> float:
    """Return the mean of a measure over classes, weighted by their number of images; NaN without classes."""
    if not pairs:
        return float("nan")
    weights = [len(retain) + len(forget) for retain, forget in pairs]
    return float(np.average([measure(*pair) for pair in pairs], weights=weights))
