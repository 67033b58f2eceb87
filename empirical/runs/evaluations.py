"""Evaluations: each metric of a run is measured once, and its numbers are stored by what they depend on."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from empirical.metrics.evaluation import Evaluation
from empirical.metrics.outputs import ModelOutputs, featured_rows, model_outputs
from empirical.models.network import Network
from empirical.registry import load, metric
from empirical.runs.experiment import Experiment, Models
from empirical.runs.stages import Trained
from empirical.runs.subset_models import SubsetModels
from empirical.settings.keys import evaluation_keys
from empirical.settings.run_config import RunConfig, config_for
from repro.base.parts import settings_of_metrics
from repro.records.identity import derive_seed
from repro.records.stages import same_weights


class Overflowed(ArithmeticError):
    """Models of these roles give outputs that are not finite, though their weights are."""

    def __init__(self, models: list[str]) -> None:
        super().__init__(f"outputs are not finite: {', '.join(models)}")
        self.models = models


def measure_metrics(experiment: Experiment, models: Models) -> dict[str, str]:
    """Return the ids of the evaluations of every metric the config names and needs; the missing ones are made now.

    Raises:
        Overflowed: when a model's logits are not finite: no metric is defined on them.
    """
    store, found = experiment.resources.store, {}
    checksums = models.checksums()
    evaluation: Evaluation | None = None
    numbers: dict[str, Any] = {}
    for name, key in evaluation_keys(experiment.config, models.parents(experiment)).items():
        record = store.find_evaluation(key)
        if record is None or not same_weights(record.provenance.get("weights") or {}, checksums):
            evaluation = evaluation or make_evaluation(experiment, models)
            evaluation.result.update(numbers)
            result, arrays = numbers_of(name, evaluation)
            result |= evaluation.scope
            provenance = experiment.resources.provenance(weights=checksums)
            record = store.save_evaluation(key, result=result, arrays=arrays, provenance=provenance)
        numbers |= record.result
        found[name] = record.run_id
    return found


def values_of(name: str, evaluation: Evaluation) -> dict[str, Any]:
    """Return what a metric returns, with its own settings as the run's config has them."""
    own = {setting: getattr(evaluation.config, setting) for setting in metric(name).own}
    return load("metrics", name)(evaluation, **own)


def numbers_of(name: str, evaluation: Evaluation) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the numbers of one metric, None in place of NaN and infinities, and its arrays."""
    values = values_of(name, evaluation)
    arrays = {key: value for key, value in values.items() if isinstance(value, np.ndarray)}
    numbers = {key: value for key, value in values.items() if key not in arrays}
    # JSON holds neither NaN nor infinities.
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in numbers.items()}, arrays


def make_evaluation(experiment: Experiment, models: Models) -> Evaluation:
    """Return what metrics see: all images, or the half that the config names.

    The outputs of original and retrained model are shared between runs.

    Raises:
        Overflowed: when a model's logits are not finite.
    """
    stages = {"original": models.original, "unlearned": models.unlearned}
    if models.retrained:
        stages["retrained"] = models.retrained
    networks: dict[str, Callable[[], Network]] = {role: partial(_network, stage) for role, stage in stages.items()}
    outputs = {role: _outputs(experiment, stage, shared=role != "unlearned") for role, stage in stages.items()}
    broken = [role for role, sides in outputs.items() if not sides.finite()]
    if broken:
        raise Overflowed(broken)
    config, resources, images = experiment.config, experiment.resources, experiment.images
    seed = derive_seed(config.seed, "evaluate", config.unlearn_seed)
    networks["random"] = lambda: experiment.new_network(seed)
    networks["initial"] = experiment.initial
    trained = tuple(stages[role].stage_id for role in ("original", "retrained") if role in stages)
    shared = (*trained, experiment.split.identity, config.n_test, *_seen(config))
    estimate = config_for(config)  # of the shadow models of an attack
    settings = (config.fidelity, *(getattr(config, name) for name in settings_of_metrics()), estimate)
    return Evaluation(
        config, images, experiment.split, outputs, networks, resources.train_images(config), seed,
        shadow_models=SubsetModels(estimate, resources.alone()).shadow_models,
        key=(*shared, seed, *settings, config.rows_measured), shared=resources.remember,
    ).as_asked()  # fmt: skip


def _seen(config: RunConfig) -> tuple[Any, ...]:
    """Return what images a model is shown and how, which the id of an imported model does not tell."""
    images = (config.data, config.dataset, config.dataset_options, config.n_train)
    return (*images, config.precision, config.fidelity.double_normalize)


def _network(stage: Trained) -> Network:
    return stage.network


def _outputs(experiment: Experiment, stage: Trained, *, shared: bool) -> ModelOutputs:
    images, split, resources = experiment.images, experiment.split, experiment.resources

    def make() -> ModelOutputs:
        return model_outputs(stage.network, images, split=split, folder=resources.store.root)

    if not shared:
        return make()
    # Of many images, only a part has features, and which part depends on the forget set.
    part = "" if featured_rows(len(images.train_labels), split) is None else split.identity
    key = ("outputs", stage.stage_id, experiment.config.n_test, *_seen(experiment.config), part)
    return resources.remember(key, make)
