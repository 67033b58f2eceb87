"""The names of what is measured at a checkpoint, in their order."""

from typing import Any, NamedTuple

import numpy as np

from theory.config import TheoryConfig
from theory.training import Schedule

SIDES = ("retain", "forget")
TEST_METRICS = ("test_error", "test_error_quadrature")
TRAINING_METRICS = (
    *TEST_METRICS,
    *(f"{side}_{name}" for name in ("error", "loss", "margin") for side in SIDES),
    *(f"kappa_{side}{sign}" for side in SIDES for sign in ("", "_plus", "_minus")),
    *(f"zeta_{side}{sign}" for side in SIDES for sign in ("", "_oppose")),
    "weight_norm",
)
SIGNS = ("match", "oppose")
# Metric, field of `TrainingNumbers`, and 0 for R or 1 for F; then the same of `ActivationNumbers`, and the place of j.
TRAINING_FIELDS = tuple(
    (name.format(side), field, part)
    for part, side in enumerate(SIDES)
    for field, name in {
        **{field: f"{{}}_{field}" for field in ("error", "loss", "margin", "clean_error")},
        "kappa": "kappa_{}", "kappa_plus": "kappa_{}_plus", "kappa_minus": "kappa_{}_minus",
        "zeta": "zeta_{}", "zeta_oppose": "zeta_{}_oppose",
    }.items()
)  # fmt: skip
ACTIVATION_FIELDS = tuple(
    (name.format(side, sign), field, part, oppose)
    for part, side in enumerate(SIDES)
    for oppose, sign in enumerate(SIGNS)
    for field, name in {
        "active": "active_{}_{}", "perturbed": "active_{}_{}_perturbed", "joint": "active_{}_{}_joint",
        "predicted": "active_{}_{}_predicted", "depth": "depth_{}_{}",
    }.items()
)  # fmt: skip
ACTIVATION_METRICS = tuple(name for name, *_ in ACTIVATION_FIELDS)
METRICS = TRAINING_METRICS + ACTIVATION_METRICS


def metric_names(config: TheoryConfig, *, probing: bool = True) -> tuple[str, ...]:
    """Return the names of a setting's metrics in order: those that are always measured, then those it asks for.

    A forget angle adds the test error on data with the forget signal, label noise the errors against true labels.
    `curvature` and `attacks` add their own metrics, `probing` the activations.
    """
    return (TRAINING_METRICS + _own_metrics(config)) + (ACTIVATION_METRICS if probing else ())


def _own_metrics(config: TheoryConfig) -> tuple[str, ...]:
    asked = {
        ("forget_signal_error", "forget_signal_error_quadrature"): config.forget_angle > 0.0,
        ("retain_clean_error", "forget_clean_error"): config.label_noise > 0.0,
        ("retain_curvature_top", "retain_curvature_trace"): config.curvature,
        ("forget_auc", "forget_auc_quadrature", "relearning_epochs"): config.attacks,
    }
    return tuple(name for names, wanted in asked.items() if wanted for name in names)


class Probe(NamedTuple):
    """The batches and the radius at which perturbed activations are measured."""

    schedule: Schedule
    rho: float


class TrainingNumbers(NamedTuple):
    """The metrics of a network on its training set: means over R and over F, each of shape `(2,)`, and `|W|_F`.

    For several networks, these have the first axes; in `metrics` they have the last ones. `kappa_plus` and
    `kappa_minus` are means over the neurons of one sign. `zeta` is the mean over pairs of a neuron and a noise vector
    with `j = y`, `zeta_oppose` over pairs with `j = -y`. `clean_error` counts true labels.
    """

    error: Any
    loss: Any
    margin: Any
    clean_error: Any
    kappa: Any
    kappa_plus: Any
    kappa_minus: Any
    zeta: Any
    zeta_oppose: Any
    weight_norm: Any

    def metrics(self) -> dict[str, Any]:
        """Return them by the names of metrics."""
        found = {name: getattr(self, field).T[part] for name, field, part in TRAINING_FIELDS}
        return found | {"weight_norm": np.transpose(self.weight_norm)}


class ActivationNumbers(NamedTuple):
    """How a perturbation changes noise activations, by R or F and by `j = y` or `j = -y`, each of shape `(2, 2)`.

    For several networks, these have the first axes.

    Attributes:
        active, perturbed: shares of pairs that are active at W, and at W + eps.
        joint: share active at both.
        predicted: share active at W and predicted to survive, see `theory.steps.dynamics.probe`.
        depth: mean V over mean V_c of the pairs active at W; 0 if there are none.
    """

    active: Any
    perturbed: Any
    joint: Any
    predicted: Any
    depth: Any

    def metrics(self) -> dict[str, Any]:
        """Return them by the names of metrics."""
        return {name: getattr(self, field).T[oppose, part] for name, field, part, oppose in ACTIVATION_FIELDS}
