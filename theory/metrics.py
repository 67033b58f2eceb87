"""The names of what is measured at a checkpoint, in their order."""

from typing import NamedTuple

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
ACTIVATION_METRICS = tuple(
    f"{name}_{side}_{sign}{where}"
    for side in SIDES
    for sign in ("match", "oppose")
    for name, where in (
        ("active", ""),
        ("active", "_perturbed"),
        ("active", "_joint"),
        ("active", "_predicted"),
        ("depth", ""),
    )
)
METRICS = TRAINING_METRICS + ACTIVATION_METRICS


def metric_names(config: TheoryConfig, *, probing: bool = True) -> tuple[str, ...]:
    """Return the metrics of a cell in order: those every cell has, and those that its own settings ask for.

    With a forget angle the test error on data that carry the forget signal, with label noise the errors against true
    labels, the curvature of the retain loss, and what attacks on F find. `probing` takes in the activations.
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
