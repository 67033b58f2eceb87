"""What theory predicts of a cell without simulating it: closed forms, and the mean field at the cell's own epochs.

Closed forms (derived here by averaging the step over samples). With N steps of pretraining, the share a of noise
neurons that are active where `j = y`, and f the output `y f` on the training set, `df/dN` is proportional to
`1 / (1 + e^f)`, so that f + e^f grows linearly:

    Y = eta N |phi|^2 / (4 m)                           signal drive
    X = eta N a (P - 1)^2 sigma_p^2 d / (n m)           noise drive
    SAM, noise switched off:  f + e^f = 1 + 2 Y,        kappa = f
    SGD:                      f + e^f = 1 + 2 Y + X,    kappa = 2 Y f / (2 Y + X),   (P - 1) a V = f - kappa

They hold for N large and n/d small, and need a. `predict` needs neither: it integrates the mean field of
`theory/meanfield.py` over the very epochs of a cell, from which a follows, and hands `W W^T` of the mean field to the
exact test error of `theory/measure.py`. Its cost does not depend on d or n.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from repro.records.errors import ConfigError
from theory.config import TheoryConfig, checkpoint_epochs
from theory.meanfield import (
    Population,
    advance_population,
    law_of,
    preactivations,
    pretrain_course,
    start_population,
    unlearn_course,
)
from theory.measure import SIDES, sphere_directions, test_error

ERROR_LEVEL = 0.1  # test error at the boundary of benign overfitting (Theorem 3.2)
PREDICTED_RULES = ("sgd", "sam", "retain_sam", "sharpen")
METRICS = (
    "test_error",
    *(f"{side}_{name}" for name in ("error", "margin") for side in SIDES),
    *(f"{name}_{side}" for name in ("kappa", "zeta") for side in SIDES),
    *(f"active_{side}_{sign}" for side in SIDES for sign in ("match", "oppose")),
)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one cell, at the epochs a simulation measures; names as in `theory.measure`.

    Attributes:
        config: the cell.
        epochs: of unlearning, shape `(checkpoints,)`.
        metrics: name to values, shape `(checkpoints,)`.
        pretrain_epochs: of pretraining, shape `(pretrain checkpoints,)`.
        pretrain: name to values, shape `(pretrain checkpoints,)`.
    """

    config: TheoryConfig
    epochs: np.ndarray
    metrics: dict[str, np.ndarray]
    pretrain_epochs: np.ndarray
    pretrain: dict[str, np.ndarray]


def unpredictable(config: TheoryConfig) -> str:
    """Return why the mean field says nothing about a cell, or an empty string where it does."""
    if config.noise != "orthogonal":
        return f"noise = {config.noise!r}: the prediction needs noise orthogonal to the signal"
    if config.unlearn not in PREDICTED_RULES:
        return f"unlearn = {config.unlearn!r}: the prediction covers {', '.join(PREDICTED_RULES)}"
    return ""


def predict(config: TheoryConfig) -> Prediction:
    """Predict pretraining and unlearning of one cell.

    Raises:
        ConfigError: where `unpredictable` gives a reason.
    """
    reason = unpredictable(config)
    if reason:
        raise ConfigError(reason)
    population, law = start_population(config), law_of(config)
    before = checkpoint_epochs(config.pretrain_epochs, config.checkpoint_every)
    after = checkpoint_epochs(config.epochs, config.checkpoint_every)
    found = []
    for course, epochs in ((pretrain_course(config), before), (unlearn_course(config), after)):
        rows = []
        for begin, end in zip([0, *epochs], epochs, strict=False):
            advance_population(law, population, course, begin, end)
            rows.append(observe(config, population))
        found.append({name: np.array([row[name] for row in rows]) for name in METRICS})
    return Prediction(config, np.array(after), _held(config, found[1]), np.array(before), found[0])


def _held(config: TheoryConfig, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hold every metric from the first checkpoint that reaches the forget level, as a simulation does."""
    level = math.inf if config.stop_forget_error is None else config.stop_forget_error
    reached = np.flatnonzero(metrics["forget_error"] >= level)
    last = reached[0] if len(reached) else len(metrics["forget_error"]) - 1
    return {name: values[np.minimum(np.arange(len(values)), last)] for name, values in metrics.items()}


def observe(config: TheoryConfig, population: Population) -> dict[str, float]:
    """Return every metric of a population: errors, margins, kappa, zeta and active shares (see `theory.measure`)."""
    m, kappa = config.m, population.kappa
    V = np.empty_like(population.own)
    preactivations(law_of(config), population, V)
    hidden = np.maximum(V, 0.0)
    margins = kappa.sum() + (config.patches - 1) / m * (hidden[..., :m].sum(-1) - hidden[..., m:].sum(-1))
    found = {"test_error": predicted_test_error(config, population, V)}
    for part, side in enumerate(SIDES):
        found |= {f"{side}_error": np.mean(margins[part] <= 0.0), f"{side}_margin": margins[part].mean()}
        found[f"kappa_{side}"] = kappa[part]
        found[f"zeta_{side}"] = (config.patches - 1) * population.own[part, :, :m].mean()
        found[f"active_{side}_match"] = np.mean(V[part, :, :m] > 0.0)
        found[f"active_{side}_oppose"] = np.mean(V[part, :, m:] > 0.0)
    return {name: float(value) for name, value in found.items()}


def predicted_test_error(config: TheoryConfig, population: Population, V: np.ndarray) -> float:
    """Return the exact test error of the mean network: `u_a = j_a kappa + <w0_a, phi>` and the mean of `W W^T`."""
    signs = np.repeat([1.0, -1.0], config.m)
    start = config.sigma_0 * config.signal_norm * _normal_quantiles(config.m)
    u = signs * (population.kappa.sum() + np.tile(start, 2))
    K = mean_weight_gram(config, population, V) + np.outer(u, u) / config.signal_norm**2
    scale = (config.patches - 1) * config.sigma_p / config.m
    return test_error(K, u, config.signal_norm**2, scale, sphere_directions(2 * config.m, config.directions))


def mean_weight_gram(config: TheoryConfig, population: Population, V: np.ndarray) -> np.ndarray:
    """Return the mean of `W W^T` across the signal, shape `(2m, 2m)`.

    `W W^T = W0 W0^T + V0 q^T + q V^T` has three means: a neuron's own norm, pairs of one sign, pairs of two signs.
    Half the samples match the neurons of a sign, so each entry is the sum over R and F of N/2 times what the
    match-match and oppose-oppose (or the two mixed) blocks of a sample have in the mean.
    """
    m, q = config.m, population.own / (config.sigma_p**2 * config.d)
    products = np.zeros((2 * m, 2 * m))
    for part, count in enumerate((config.n_retain, config.n_forget)):
        mean = (population.V0[part].T @ q[part] + q[part].T @ V[part]) / q.shape[1]
        products += count / 2 * (mean + mean.T) / 2
    match, oppose, mixed = products[:m, :m], products[m:, m:], products[:m, m:]
    both = match + oppose
    norm = np.trace(both) / m
    pairs = (both.sum() - np.trace(both)) / max(1, m * (m - 1))
    same = np.full((m, m), pairs) + (norm - pairs + config.sigma_0**2 * config.d) * np.eye(m)
    across = np.full((m, m), 2 * mixed.mean())
    return np.block([[same, across], [across, same]])


def _normal_quantiles(count: int) -> np.ndarray:
    from scipy.special import ndtri

    return ndtri((np.arange(count) + 0.5) / count)


def pretrained(config: TheoryConfig) -> dict[str, float]:
    """Return the prediction at the end of pretraining alone."""
    population = start_population(config)
    advance_population(law_of(config), population, pretrain_course(config), 0, config.pretrain_epochs)
    return observe(config, population)


def steps(config: TheoryConfig) -> int:
    """Return the steps of pretraining, N."""
    return config.pretrain_epochs * -(-config.n // config.batch_size)


def signal_drive(config: TheoryConfig) -> float:
    """Return `Y = eta N |phi|^2 / (4 m)`, dimensionless."""
    return config.eta * steps(config) * config.signal_norm**2 / (4 * config.m)


def noise_drive(config: TheoryConfig, active: float) -> float:
    """Return `X = eta N a (P-1)^2 sigma_p^2 d / (n m)`, dimensionless.

    Args:
        config: the cell.
        active: share a of active noise neurons where `j = y`, in [0, 1]; 1/2 at the start and in the limit n/d -> 0.
    """
    unit = (config.patches - 1) ** 2 * config.sigma_p**2 * config.d
    return config.eta * steps(config) * active * unit / (config.n * config.m)


def saturate(drive: float) -> float:
    """Return the f with `f + e^f = 1 + drive`, drive >= 0: linear, `drive / 2`, then logarithmic."""
    f = math.log1p(drive) if drive > 1.0 else drive / 2
    for _ in range(50):
        f -= (f + math.exp(f) - 1.0 - drive) / (1.0 + math.exp(f))
    return f


def closed_forms(config: TheoryConfig, active: float) -> dict[str, float]:
    """Return the closed forms at the head of this file.

    Args:
        config: the cell, of which pretraining counts.
        active: share a of active noise neurons where `j = y`.

    Returns:
        `Y`, `X`, `kappa_sam`, `kappa_sgd` and `zeta_sgd = (f - kappa) / a * a`, the memorized noise a neuron.
    """
    Y, X = signal_drive(config), noise_drive(config, active)
    f = saturate(2 * Y + X)
    kappa = f * 2 * Y / (2 * Y + X) if Y + X > 0 else 0.0
    return {"Y": Y, "X": X, "kappa_sam": saturate(2 * Y), "kappa_sgd": kappa, "zeta_sgd": f - kappa}


def boundary(config: TheoryConfig, level: float = ERROR_LEVEL) -> float:
    """Return s*, the signal strength at which the predicted test error after pretraining is `level`; NaN if none is.

    By bisection in log s between 1e-3 and 1e3, to four digits; test error falls in s.
    """
    error = lambda log_s: pretrained(config.changed(signal_strength=math.exp(log_s)))["test_error"]  # noqa: E731
    low, high = math.log(1e-3), math.log(1e3)
    if not error(high) < level < error(low):
        return math.nan
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > level else (low, middle)
    return math.exp((low + high) / 2)


def boundary_exponent(config: TheoryConfig, level: float = ERROR_LEVEL) -> float:
    """Return the local exponent of d in `|phi|* = s* (P-1) sigma_p (d/n)^(1/4)`, from d/2 to 2d at the cell's n."""
    ends = [config.changed(d=d) for d in (max(2, config.d // 2), min(2 * config.d, 10**12))]
    logs = [math.log(boundary(cell, level) * cell.signal_unit) for cell in ends]
    return (logs[1] - logs[0]) / math.log(ends[1].d / ends[0].d)


def as_result(prediction: Prediction) -> dict[str, Any]:
    """Return the end points as a part of a record's result: `{"pretrained": ..., "final": ...}`."""
    stages = {"pretrained": prediction.pretrain, "final": prediction.metrics}
    return {stage: {name: float(f"{values[-1]:.7g}") for name, values in metrics.items()}
            for stage, metrics in stages.items()}  # fmt: skip
