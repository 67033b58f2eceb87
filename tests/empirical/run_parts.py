"""The parts of a run by themselves: its data, its trained models, what metrics see, and its saliency mask."""

from typing import NamedTuple

from torch import Tensor

from empirical.metrics.evaluation import Evaluation
from empirical.runs.evaluations import make_evaluation
from empirical.runs.experiment import Experiment, Models, prepare, train_models, train_original
from empirical.runs.unlearning import forget_mask
from empirical.runs.workspace import Workspace
from empirical.settings.run_config import RunConfig


class TrainedRun(NamedTuple):
    """A run's data with its trained models."""

    data: Experiment
    models: Models


def prepared(config: RunConfig, workspace: Workspace) -> Experiment:
    return prepare(workspace.identified(config), workspace)


def trained_run(config: RunConfig, workspace: Workspace) -> TrainedRun:
    data = prepared(config, workspace)
    return TrainedRun(data, train_models(data))


def evaluated(config: RunConfig, workspace: Workspace) -> Evaluation:
    return make_evaluation(*trained_run(config, workspace))


def mask_of(data: Experiment) -> list[Tensor]:
    """Return the saliency mask of the original model."""
    held, network = data.workspace.train_images(data.config), train_original(data).network.copy()
    return forget_mask(data.config, data.images, held, data.split, network)
