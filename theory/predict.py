"""Predictions of a setting without simulating it: closed forms, and the mean field over the epochs of the setting.

Closed forms (derived here by averaging the step over samples). N counts the steps of pretraining, a is the share of
active noise neurons with `j = y`, and f is the output `y f` on the training set. `df/dN` is proportional to `1 / (1 +
e^f)`, so that f + e^f grows linearly:

    Y = eta N |phi|^2 / (4 m)                           signal drive
    X = eta N a (P - 1)^2 sigma_p^2 d / (n m)           noise drive
    SAM, noise switched off:  f + e^f = 1 + 2 Y,        kappa = f
    SGD:                      f + e^f = 1 + 2 Y + X,    kappa = 2 Y f / (2 Y + X),   (P - 1) a V = f - kappa

They hold for large N and small n/d, and need a. `predict` has no such limits: it integrates the mean field
(`theory/mean_field/`) over the epochs of the setting, which also gives a. The exact test error (`theory/measures/`) is
then computed from the mean field's `W W^T`. The cost does not depend on d or n.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from repro.base.errors import ConfigError
from theory.checks.trust import with_intervals
from theory.config import TheoryConfig, checkpoint_epochs, grouped
from theory.mean_field.population import (
    Constants,
    EpochPlan,
    Population,
    law_of,
    pretrain_epoch,
    start_population,
    unlearn_epoch,
)
from theory.measures.metrics import SIDES, TEST_METRICS
from theory.measures.points import lattice_count, normal_points
from theory.stats import bisect
from theory.training import phases_between

if TYPE_CHECKING:
    from theory.mean_field.compiled_field import CompiledMeanField
    from theory.mean_field.plain_field import PlainMeanField

ERROR_LEVEL = 0.1  # test error at the boundary of benign overfitting (Theorem 3.2)
HELD_ALPHA = 0.9  # below it, seeds differ widely after long ascent and their mean is not typical: figures draw no line
WEAK_ALPHA = 0.45  # predicted thresholds of alpha below it are often wrong
UNPREDICTED = ("forget_angle", "label_noise", "activation_power", "momentum", "weight_decay", "sharpness_batch")
PREDICTED_RULES = ("sgd", "sam", "retain_sam", "sharpen")
PREDICTED_METRICS = (
    *TEST_METRICS,
    *(f"{side}_{name}" for name in ("error", "loss", "margin") for side in SIDES),
    *(f"{name}_{side}" for name in ("kappa", "zeta") for side in SIDES),
    *(f"active_{side}_{sign}" for side in SIDES for sign in ("match", "oppose")),
)


@dataclass(frozen=True)
class Prediction:
    """What is predicted of one setting, at the epochs that a simulation measures; names as in
    `theory.measures.measure`.

    Attributes:
        config: the setting.
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
    """Return why the mean field does not cover a setting; an empty string if it does."""
    if config.noise != "orthogonal":
        return f"noise = {config.noise!r}: the prediction needs noise orthogonal to the signal"
    if config.noise_patches == "independent" and config.patches > 2:
        return "noise_patches = 'independent': the prediction needs one noise vector a sample"
    for name in UNPREDICTED:
        if getattr(config, name) != getattr(TheoryConfig, name):
            return f"{name} = {getattr(config, name):g}: the prediction needs {getattr(TheoryConfig, name):g}"
    if adaptive := [name for name, _, _ in config.pretrain_phases() if name not in PREDICTED_RULES]:
        return f"pretrain = {config.pretrain!r}: the prediction covers no {adaptive[0]}"
    if config.unlearn not in PREDICTED_RULES:
        return f"unlearn = {config.unlearn!r}: the prediction covers {', '.join(PREDICTED_RULES)}"
    return ""


def predict(config: TheoryConfig) -> Prediction:
    """Predict pretraining and unlearning of one setting.

    Raises:
        ConfigError: where `unpredictable` gives a reason.
    """
    return predict_many([config])[0]


def predict_many(configs: Sequence[TheoryConfig], *, plainly: bool = False) -> list[Prediction]:
    """Predict several settings; those that differ only in unlearning share their pretraining.

    Args:
        configs: the settings.
        plainly: whether to compute in plain numpy, which compiles nothing.

    Raises:
        ConfigError: where `unpredictable` gives a reason.
    """
    for reason in filter(None, map(unpredictable, configs)):
        raise ConfigError(reason)
    trained: dict[TheoryConfig, Followed] = {}
    for keys in grouped((config.pretrain_key() for config in configs), _trained_alike).values():
        trained |= dict(zip(keys, _pretrained(keys, plainly=plainly), strict=True))
    found: dict[TheoryConfig, Prediction] = {}
    for settings in grouped(configs, _unlearned_alike).values():
        before = [trained[setting.pretrain_key()] for setting in settings]
        own, kappa = (np.stack([getattr(one, name) for one in before]) for name in ("own", "kappa"))
        phases = [[(unlearn_epoch(setting), setting.epochs)] for setting in settings]
        for setting, one, after in zip(
            settings, before, _follow(settings[0], (own, kappa), phases, plainly=plainly), strict=True
        ):
            found[setting] = Prediction(setting, after.epochs, _held(setting, after.metrics), one.epochs, one.metrics)
    return [found[config] for config in configs]


def _trained_alike(key: TheoryConfig) -> tuple[Any, ...]:
    """Return what pretrainings must share to run together: all but their radii, as SGD is SAM of radius 0."""
    epochs = tuple(last for _, _, last in key.pretrain_phases())
    return key.changed(pretrain="sgd"), epochs, key.pretrain if key.pretrain_stop_loss is not None else ""


def _unlearned_alike(config: TheoryConfig) -> TheoryConfig:
    """Return the same for unlearning, from any pretrained state."""
    return config.changed(pretrain="sgd", unlearn="sgd" if config.unlearn == "sam" else config.unlearn)


PlanPhases = list[tuple[EpochPlan, int]]  # plans of an epoch in order, each with its epochs


class Followed(NamedTuple):
    """A population that was followed to its end: metrics of shape `(checkpoints,)`, and what it learned."""

    epochs: np.ndarray
    metrics: dict[str, np.ndarray]
    own: np.ndarray
    kappa: np.ndarray


def pretrain_plans(config: TheoryConfig) -> PlanPhases:
    """Return the plans of pretraining in order, each with its epochs."""
    phases = config.pretrain_phases()
    return [(pretrain_epoch(config, rho if name == "sam" else 0.0), epochs) for name, rho, epochs in phases]


def _pretrained(configs: Sequence[TheoryConfig], *, plainly: bool = False) -> list[Followed]:
    start, config = start_population(configs[0]), configs[0]
    own, kappa = (np.stack([array] * len(configs)) for array in (start.own, start.kappa))
    return _follow(config, (own, kappa), [pretrain_plans(one) for one in configs], plainly=plainly,
                   stop_loss=config.pretrain_stop_loss)  # fmt: skip


@np.errstate(over="ignore", invalid="ignore")  # of a population that diverges
def _follow(
    config: TheoryConfig, learned: tuple[np.ndarray, np.ndarray], phases: Sequence[PlanPhases], *,
    stop_loss: float | None = None, plainly: bool = False,
) -> list[Followed]:  # fmt: skip
    """Advance populations in place from checkpoint to checkpoint and observe them there, down to a mean training loss.

    Their phases have the same epochs. `stop_loss` may be given for a single population only.
    """
    (own, kappa), law, start = learned, law_of(config), start_population(config)
    epochs = checkpoint_epochs(sum(last for _, last in phases[0]), config.checkpoint_every)
    field = _field(law, start, plainly)
    rows: list[dict[str, np.ndarray]] = []
    for begin, end in zip([0, *epochs], epochs, strict=False):
        for parts in zip(*(phases_between(each, begin, end) for each in phases), strict=True):
            _, first, last = parts[0]
            field.advance(own, kappa, [plan for plan, _, _ in parts], first, last)
        rows.append(observe(config, field, own, kappa))
        loss = law.counts @ [rows[-1]["retain_loss"], rows[-1]["forget_loss"]] / config.n
        if stop_loss is not None and np.all(loss <= stop_loss):
            rows += [rows[-1]] * (len(epochs) - len(rows))
            break
    metrics = {name: np.stack([row[name] for row in rows], axis=1) for name in PREDICTED_METRICS}
    return [Followed(np.array(epochs), {name: values[place] for name, values in metrics.items()}, own[place],
                     kappa[place]) for place in range(len(phases))]  # fmt: skip


def _field(law: Constants, start: Population, plainly: bool) -> "CompiledMeanField | PlainMeanField":
    if plainly:
        from theory.mean_field.plain_field import PlainMeanField

        return PlainMeanField.of(law, start)
    from theory.mean_field.compiled_field import CompiledMeanField

    return CompiledMeanField(law, start)


def _held(config: TheoryConfig, metrics: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Repeat every metric from the first checkpoint that reaches the forget level, as a simulation does."""
    level = math.inf if config.stop_forget_error is None else config.stop_forget_error
    reached = np.flatnonzero(metrics["forget_error"] >= level)
    last = reached[0] if len(reached) else len(metrics["forget_error"]) - 1
    return {name: values[np.minimum(np.arange(len(values)), last)] for name, values in metrics.items()}


def observe(
    config: TheoryConfig, field: "CompiledMeanField | PlainMeanField", own: np.ndarray, kappa: np.ndarray
) -> dict[str, np.ndarray]:
    """Return every metric of C populations: errors, margins, kappa, zeta and active shares (see `theory.measures`).

    All are NaN for a population that diverged, whose margins would otherwise count as correct.
    """
    m, V = config.m, field.preactivations(own, kappa)
    hidden = np.maximum(V, 0.0)
    noise = hidden[..., :m].sum(-1) - hidden[..., m:].sum(-1)
    margins = kappa.sum(axis=1)[:, None, None] + (config.patches - 1) / m * noise
    found = dict(zip(TEST_METRICS, predicted_test_errors(config, field, (own, kappa), V), strict=True))
    for part, side in enumerate(SIDES):
        margin, active = margins[:, part], V[:, part] > 0.0
        found |= {f"{side}_error": np.mean(margin <= 0.0, axis=1), f"{side}_margin": margin.mean(axis=1)}
        found[f"{side}_loss"] = np.logaddexp(0.0, -margin).mean(axis=1)
        found[f"kappa_{side}"] = kappa[:, part].copy()
        found[f"zeta_{side}"] = (config.patches - 1) * own[:, part, :, :m].mean(axis=(1, 2))
        found[f"active_{side}_match"] = active[..., :m].mean(axis=(1, 2))
        found[f"active_{side}_oppose"] = active[..., m:].mean(axis=(1, 2))
    finite = np.isfinite(margins).all(axis=(1, 2))
    return {name: np.where(finite, values, np.nan) for name, values in found.items()}


def predicted_test_errors(
    config: TheoryConfig, field: "CompiledMeanField | PlainMeanField", learned: tuple[np.ndarray, np.ndarray],
    V: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the test errors of C mean networks and the standard errors of their quadrature, each of shape `(C,)`.

    A mean network has `u_a = j_a kappa + <w0_a, phi>` and the mean of `W W^T`.
    """
    (own, kappa), norm2 = learned, config.signal_norm**2
    start = config.sigma_0 * config.signal_norm * _normal_quantiles(config.m)
    u = np.repeat([1.0, -1.0], config.m) * (kappa.sum(axis=1)[:, None] + np.tile(start, 2))
    across = np.stack([mean_weight_gram(config, field.start.V0, *one) for one in zip(own, V, strict=True)])
    K = across + u[:, :, None] * u[:, None] / norm2
    points = normal_points(2 * config.m + 1, config.directions, 0)
    scale = (config.patches - 1) * config.sigma_p / config.m
    return field.test_errors(K, u, scale, points, lattice_count(config.directions))


def mean_weight_gram(config: TheoryConfig, V0: np.ndarray, own: np.ndarray, V: np.ndarray) -> np.ndarray:
    """Return the mean of `W W^T` across the signal, shape `(2m, 2m)`.

    `W W^T = W0 W0^T + V0 q^T + q V^T` has three means: a neuron's own norm, pairs of one sign, pairs of two signs. Half
    of the samples match the neurons of a sign. So each entry is the sum over R and F of N/2 times the mean of two
    blocks of a sample: match-match and oppose-oppose, or the two mixed ones.
    """
    m, q = config.m, own / (config.sigma_p**2 * config.d)
    products = np.zeros((2 * m, 2 * m))
    for part, count in enumerate((config.n_retain, config.n_forget)):
        mean = (V0[part].T @ q[part] + q[part].T @ V[part]) / q.shape[1]
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
    """Return the prediction at the end of pretraining."""
    ends = config if config.pretrain_stop_loss is not None else config.changed(checkpoint_every=10**6)
    return {name: float(values[-1]) for name, values in _pretrained([ends])[0].metrics.items()}


def ends(configs: Sequence[TheoryConfig]) -> dict[TheoryConfig, dict[str, float]]:
    """Return the predicted end points of settings; figures draw them as lines.

    Returns:
        `predicted_pretrained_test_error` of each setting that the mean field covers. Unlearning at alpha >= 0.9 also
        has `predicted_test_error` and `predicted_forget_error`, NaN if it never reaches its forget level.
    """
    covered = [config for config in configs if not unpredictable(config)]
    found = {}
    for prediction in predict_many(covered):
        config, after = prediction.config, {name: float(v[-1]) for name, v in prediction.metrics.items()}
        values = {"predicted_pretrained_test_error": float(prediction.pretrain["test_error"][-1])}
        if config.alpha >= HELD_ALPHA and config.epochs > 0:
            reached = after["forget_error"] >= (config.stop_forget_error or 0.0)
            for name in ("test_error", "forget_error"):
                values[f"predicted_{name}"] = after[name] if reached else math.nan
        found[config] = values
    return found


def steps(config: TheoryConfig) -> int:
    """Return the steps of pretraining, N."""
    return config.pretrain_epochs * -(-config.n // config.batch_size)


def signal_drive(config: TheoryConfig) -> float:
    """Return `Y = eta N |phi|^2 / (4 m)`, dimensionless."""
    return config.eta * steps(config) * config.signal_norm**2 / (4 * config.m)


def noise_drive(config: TheoryConfig, active: float) -> float:
    """Return `X = eta N a (P-1)^2 sigma_p^2 d / (n m)`, dimensionless.

    Args:
        config: the setting.
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
        config: the setting; only its pretraining counts.
        active: share a of active noise neurons where `j = y`.

    Returns:
        `Y`, `X`, `kappa_sam`, `kappa_sgd` and `zeta_sgd = f - kappa = (P - 1) a V`, the mean over neurons with `j = y`.
    """
    Y, X = signal_drive(config), noise_drive(config, active)
    f = saturate(2 * Y + X)
    kappa = f * 2 * Y / (2 * Y + X) if Y + X > 0 else 0.0
    return {"Y": Y, "X": X, "kappa_sam": saturate(2 * Y), "kappa_sgd": kappa, "zeta_sgd": f - kappa}


def boundary(config: TheoryConfig) -> float:
    """Return s*, the signal strength at which the predicted test error after pretraining is 0.1; NaN if there is none.

    By bisection in log s between 1e-3 and 1e3, to four digits; test error falls in s.
    """

    def errors(log_s: np.ndarray) -> np.ndarray:
        settings = (config.changed(signal_strength=math.exp(value)) for value in log_s)
        return np.array([pretrained(setting)["test_error"] for setting in settings])

    low, high = np.log([1e-3]), np.log([1e3])
    if not errors(high)[0] < ERROR_LEVEL < errors(low)[0]:
        return math.nan
    low, high = bisect(lambda log_s: errors(log_s) > ERROR_LEVEL, low, high, 1e-4)
    return math.exp((low[0] + high[0]) / 2)


def boundary_exponent(config: TheoryConfig) -> float:
    """Return the local exponent of d in `|phi|* = s* (P-1) sigma_p (d/n)^(1/4)`, from d/2 to 2d at the setting's n."""
    ends = [config.changed(d=d) for d in (max(2, config.d // 2), min(2 * config.d, 10**12))]
    logs = [math.log(boundary(setting) * setting.signal_unit) for setting in ends]
    return (logs[1] - logs[0]) / math.log(ends[1].d / ends[0].d)


def outlook(config: TheoryConfig) -> dict[str, Any]:
    """Return all predictions for a setting.

    Args:
        config: its `pretrain` and `unlearn` are replaced by SGD and SAM in turn.

    Returns:
        `rows`, a dict for each pretraining and unlearning rule ("" means not unlearned), with the intervals of
        `theory.checks.trust`; `drives`, the closed forms of SGD with `a` from the mean field; `boundary` of SGD
        pretraining with its local `exponent_of_d`.
    """
    settings = [config.changed(pretrain=before, unlearn=after) for before in ("sgd", "sam") for after in ("sgd", "sam")]
    rows = []
    for prediction in predict_many(settings):
        setting = prediction.config
        found = with_intervals(vars(setting), as_result(prediction))
        if setting.unlearn == "sgd":
            rows.append({"pretrain": setting.pretrain, "unlearn": ""} | found["pretrained"])
        rows.append({"pretrain": setting.pretrain, "unlearn": setting.unlearn} | found["final"])
    sgd = config.changed(pretrain="sgd")
    active = rows[0]["active_retain_match"]
    if active is None:
        remedy = "take a smaller eta_scale or sigma_p, or more noise at the start"
        raise ConfigError(f"the mean field is not finite at this setting, so it predicts nothing; {remedy}")
    strength = boundary(sgd)
    exponent = boundary_exponent(sgd) if np.isfinite(strength) else math.nan
    return {
        "rows": rows,
        "drives": closed_forms(sgd, active) | {"a": active},
        "boundary": {"signal_strength": strength, "signal_norm": strength * sgd.signal_unit, "exponent_of_d": exponent},
    }


def as_result(prediction: Prediction) -> dict[str, dict[str, float | None]]:
    """Return the end points as a part of a record's result: `{"pretrained": ..., "final": ...}`, None for NaN."""
    stages = {"pretrained": prediction.pretrain, "final": prediction.metrics}
    return {stage: {name: float(f"{values[-1]:.7g}") if np.isfinite(values[-1]) else None
                    for name, values in metrics.items()} for stage, metrics in stages.items()}  # fmt: skip


def as_arrays(prediction: Prediction) -> dict[str, np.ndarray]:
    """Return the curves as arrays of a record, `predicted_<metric>` and `predicted_pretrain_<metric>`."""
    stages = {"predicted_": prediction.metrics, "predicted_pretrain_": prediction.pretrain}
    return {f"{stage}{name}": values for stage, metrics in stages.items() for name, values in metrics.items()}
