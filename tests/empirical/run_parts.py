"""The parts of a run by themselves: its data, its trained models, what metrics see, its mask, and its record."""

from typing import Any, NamedTuple

from torch import Tensor

from empirical.metrics.evaluation import Evaluation
from empirical.runs.evaluations import make_evaluation
from empirical.runs.experiment import Experiment, Models, make_experiment, train_models, train_original
from empirical.runs.resources import Resources
from empirical.runs.unlearning import forget_mask
from empirical.settings.keys import evaluation_keys
from empirical.settings.run_config import RunConfig, Runtime
from empirical.studies.recipe import Recipe
from repro.records.identity import plain
from repro.records.record import Record
from repro.records.store import Store

CPU = Runtime(device="cpu")
PARENTS = {"pretrain": "a", "retrain": "b", "unlearn": "c", "forget_set": "d"}


class TrainedRun(NamedTuple):
    """A run's data with its trained models."""

    data: Experiment
    models: Models


def prepared(config: RunConfig, resources: Resources) -> Experiment:
    return make_experiment(resources.identified(config), resources)


def trained_run(config: RunConfig, resources: Resources) -> TrainedRun:
    data = prepared(config, resources)
    return TrainedRun(data, train_models(data))


def evaluated(config: RunConfig, resources: Resources) -> Evaluation:
    return make_evaluation(*trained_run(config, resources))


def mask_of(data: Experiment) -> list[Tensor]:
    """Return the saliency mask of the original model."""
    held, network = data.resources.train_images(data.config), train_original(data).network.copy()
    return forget_mask(data.config, data.images, held, data.split, network)


def recipe_of(config: RunConfig, *blocks: dict[str, Any], leave_open: str = "", **settings: Any) -> Recipe:
    """Return a recipe `tiny` of a config's settings and of `settings`, one of them left open for a search."""
    defaults = {name: value for name, value in plain(config).items() if name not in ("type", leave_open)}
    return Recipe("tiny", defaults=defaults | settings, blocks=blocks)


def save_finished(store: Store, cell: RunConfig, kind: str = "unlearn", *, status: str = "ok", **result: Any) -> Record:
    """Save a run with all that it measures, as if it had been run."""
    ids = {name: store.save_evaluation(key, result={}).run_id for name, key in evaluation_keys(cell, PARENTS).items()}
    return store.save(kind, cell, result={"parents": PARENTS} | result, evaluations=ids, status=status)
