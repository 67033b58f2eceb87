"""Run the metrics a config names on a finished experiment."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from empirical.metrics.evaluation import Evaluation, ModelOutputs, model_outputs
from empirical.models.network import Network
from empirical.registry import load
from empirical.runs.build import build_network
from empirical.runs.experiment import Experiment
from empirical.runs.stages import Trained
from repro.records.identity import derive_seed


def evaluate(experiment: Experiment) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbers and the arrays of all metrics, in the order the config names them; NaN becomes None."""
    evaluation = make_evaluation(experiment)
    numbers: dict[str, Any] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in experiment.config.metrics:
        for key, value in load("metrics", name)(evaluation).items():
            (arrays if isinstance(value, np.ndarray) else numbers)[key] = value
        evaluation.result.update(numbers)
    return finite(numbers), arrays


def make_evaluation(experiment: Experiment) -> Evaluation:
    """Return what metrics see; the outputs of original and retrained model are shared between runs."""
    stages = {"original": experiment.original, "retrained": experiment.retrained, "unlearned": experiment.unlearned}
    networks: dict[str, Callable[[], Network]] = {role: _getter(stage.network) for role, stage in stages.items()}
    outputs = {role: _outputs(experiment, stage, shared=role != "unlearned") for role, stage in stages.items()}
    config, workspace, images = experiment.config, experiment.workspace, experiment.images
    seed = derive_seed(config.seed, "evaluate", config.unlearn_seed)
    networks["random"] = lambda: build_network(config, images, seed=seed, device=workspace.device)
    return Evaluation(
        config, images, experiment.split, outputs, networks, workspace.train_images(config), seed,
        key=_shared_key(experiment, seed), shared=workspace.remember,
    )  # fmt: skip


def _shared_key(experiment: Experiment, seed: int) -> tuple[Any, ...]:
    """Return all that a metric of the original or the retrained model depends on."""
    config = experiment.config
    stages = (experiment.original.stage_id, experiment.retrained.stage_id, experiment.split.identity)
    return (*stages, seed, config.fidelity, config.attack_size, config.landscape_points, config.landscape_radius)


def _getter(network: Network) -> Callable[[], Network]:
    return lambda: network


def _outputs(experiment: Experiment, stage: Trained, *, shared: bool) -> ModelOutputs:
    if not shared:
        return model_outputs(stage.network, experiment.images)
    key = ("outputs", stage.stage_id)
    return experiment.workspace.remember(key, lambda: model_outputs(stage.network, experiment.images))


def finite(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers with None in place of NaN and infinities, which JSON cannot hold."""
    return {key: None if isinstance(v, float) and not np.isfinite(v) else v for key, v in numbers.items()}
