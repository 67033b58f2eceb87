"""Unlearning and evaluation of a model of your own, from Python, without a store: the pipeline's own functions."""

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from empirical.data.forget import Split
from empirical.data.memory import ListedImages, as_dataset, listed, memory_set
from empirical.metrics.closeness import better_than_nothing, judgement
from empirical.metrics.evaluation import Evaluation
from empirical.metrics.outputs import model_outputs
from empirical.models.network import Network, drawing_from
from empirical.models.plain import Wrapped, composed, evaluating
from empirical.portable import check_portable
from empirical.registry import metric
from empirical.runs.cell import check_cell
from empirical.runs.evaluations import numbers_of
from empirical.runs.unlearning import Unlearning
from empirical.settings.keys import absent_metrics, ordered_metrics
from empirical.settings.run_config import RunConfig, altered
from empirical.training.loop import Log, fit
from repro.base.errors import ConfigError, DivergedError
from repro.base.settings import build, reject

WELL_FITTED = 0.7  # retain accuracy of an original model, below which unlearning mostly goes on training it
CHUNK = 100  # examples that pass through a model at once
FIT_ROWS = 1000  # retained examples that it is judged by, evenly spaced


class UnlearningWarning(UserWarning):
    """The numbers that follow are valid, but they may not mean what a reader takes them for."""


@dataclass(frozen=True)
class Unlearned:
    """What `unlearn` returns.

    Attributes:
        model: a new model with the unlearned weights; the one that was given is as it was.
        log: epochs, gradient evaluations, seconds.
    """

    model: nn.Module
    log: Log


def unlearn(
    model: nn.Module, retain: Any, forget: Any, *, method: str = "neggrad", rule: str = "sgd", **settings: Any
) -> Unlearned:
    """Unlearn some of a model's training examples.

    Args:
        model: maps images `(b, c, h, w)`, as the datasets give them, to logits `(b, classes)`.
        retain: a `Dataset` or `DataLoader` of the examples to keep, each `(image, label)`.
        forget: the same of the examples to forget.
        method: such as `neggrad`, `salun`, `scrub`, `finetune`; see `repro empirical run --help`.
        rule: how a loss becomes a gradient, such as `sgd`, `sam-0.1`, `minmax`.
        **settings: further settings of a run: `epochs`, `lr`, `batch_size`, `alpha`, `seed`, `method_options`, ...
            Images are taken as they are (`augment` is `none` unless it is given; uint8 is scaled to [0, 1]). The batch
            size of a DataLoader is taken, its order is not: it follows from `seed`.

    Raises:
        ConfigError: for a setting that is unknown or out of range, or a method and a rule that do not go together.
        DivergedError: when the loss is no longer finite.

    Warns:
        UnlearningWarning: when `retain` contains forget examples, or when the model's accuracy on `retain` is below
            0.7: such a model has not learned yet what it should keep.
    """
    own = {"batch_size": retain.batch_size} if isinstance(retain, DataLoader) and retain.batch_size else {}
    config = memory_config(method=method, rule=rule, **{**own, **settings})
    check_cell(config)
    if config.method == "retrain":
        raise reject("method", "retrain", "one that starts from the model", "train a fresh model on the retain set")
    held, labels = listed(("retain", retain), ("forget", forget))
    networks = [network_of(copy.deepcopy(model), held, precision=config.precision) for _ in range(2)]
    if config.portable:
        check_portable(device=networks[0].device.type, threads=torch.get_num_threads())
    if not any(weight.requires_grad for weight in model.parameters()):
        raise ConfigError("model: none of its weights can be trained; set requires_grad of those that may move")
    images = memory_set((held, labels), (held, labels), classes_of(networks[0], held))
    warn_of_overlap(held)
    warn_of_poor_fit(networks[1], held, labels)
    work: Any = held
    unlearning = Unlearning(config, images, work, split_of(retain, len(labels)))
    log = fit(networks[0], unlearning.stage(networks[0], teacher=networks[1]))
    networks[0].model.eval()
    if log.diverged_at:
        where = "epoch {epoch}, step {step}".format(**log.diverged_at)
        raise DivergedError(f"unlearning diverged at {where}: lr = {config.lr:g} is too large here; try a smaller one")
    return Unlearned(plain_model(networks[0]), log)


def evaluate(
    unlearned: nn.Module, retain: Any, forget: Any, test: Any, *, original: nn.Module | None = None,
    retrained: nn.Module | None = None, **settings: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return the numbers and arrays of an unlearned model by name, those of the other models with theirs in front.

    `absent_metrics` names each metric that cannot be had without a retrained model.

    Args:
        unlearned: the model to look at.
        retain: a dataset of `(image, label)`.
        forget: the same of the forget set.
        test: the same of held-out examples.
        original: the model before unlearning; without it, the unlearned one takes its place and is not reported.
        retrained: the model trained on the retain set alone, which others are held against.
        **settings: `metrics`, names of metrics (those they need are measured, too); their settings, such as
            `landscape_points`, `rows_measured`; `seed`.

    Raises:
        ConfigError: for a setting that is unknown or out of range, or a model whose outputs are not finite.

    Warns:
        UnlearningWarning: when `retain` contains forget examples, or when the unlearned model is no nearer to the
            retrained one than the original (by `tow`; this needs `original` and `retrained`).
    """
    config = altered(memory_config(**settings), retrain="pretrain" if retrained else "none")
    for name in (name for name in config.metrics if metric(name).pooled):
        raise reject("metrics", name, "left out", "it pools the runs of many seeds: `repro empirical evaluate`")
    train, seen = listed(("retain", retain), ("forget", forget)), listed(("test", test))
    warn_of_overlap(train[0])
    models = {"original": original or unlearned, "retrained": retrained, "unlearned": unlearned}
    given = {role: model for role, model in models.items() if model is not None}
    networks = {role: network_of(model, train[0], precision=config.precision) for role, model in given.items()}
    if config.portable:
        check_portable(device=networks["unlearned"].device.type, threads=torch.get_num_threads())
    images = memory_set(train, seen, classes_of(networks["unlearned"], train[0]))
    split = split_of(retain, len(train[1]))
    reach: dict[str, Callable[[], Network]] = {role: (lambda one=network: one) for role, network in networks.items()}
    reach["initial"] = reach["original"]
    reach["random"] = lambda: fresh(networks["unlearned"], config.seed)
    held: Any = train[0]
    absent = absent_metrics(config)
    found: dict[str, Any] = {}
    with evaluating(*given.values()):
        outputs = {role: model_outputs(network, images, split=split) for role, network in networks.items()}
        for role in (role for role in reversed(outputs) if not outputs[role].finite()):  # the unlearned one first
            raise ConfigError(f"{role}: its outputs are not finite, so that no metric is defined on them")
        evaluation = Evaluation(config, images, split, outputs, reach, held, config.seed).as_asked()
        for name in (one for one in ordered_metrics(config.metrics) if one not in absent):
            evaluation.result.update(found)
            numbers, arrays = numbers_of(name, evaluation)
            found |= numbers | arrays
    if original is not None and original is not unlearned and "tow" in found and not better_than_nothing(found):
        warnings.warn(judgement(found), UnlearningWarning, stacklevel=2)
    if original is None:
        found = {name: value for name, value in found.items() if "original" not in name.split("_")}
    return found | ({"absent_metrics": absent} if absent else {})


def warn_of_overlap(held: ListedImages) -> None:
    """Warn when the first of two listed datasets, the retain set, contains examples of the second, the forget set."""
    retained, forgotten = set(held.marks[: held.ends[0]]), held.marks[held.ends[0] :]
    if both := sum(mark in retained for mark in forgotten):
        text = f"retain contains {both} of the {len(forgotten)} forget examples (same image, same label): the model "
        text += "goes on learning what it should forget; leave them out of retain"
        warnings.warn(text, UnlearningWarning, stacklevel=3)


def warn_of_poor_fit(network: Network, held: ListedImages, labels: torch.Tensor) -> None:
    """Warn when a model's accuracy on the retain set is below `WELL_FITTED`, by at most `FIT_ROWS` examples."""
    rows = np.unique(np.linspace(0, held.ends[0] - 1, min(FIT_ROWS, held.ends[0])).astype(int))
    with evaluating(network.model), torch.no_grad():
        parts = np.array_split(rows, -(-len(rows) // CHUNK))
        answers = [network.outputs(held[part].to(network.device))[0].argmax(1).cpu() for part in parts]
    accuracy = float((torch.cat(answers) == labels[rows]).double().mean())
    if accuracy < WELL_FITTED:
        text = (
            f"the original model's accuracy on retain is {accuracy:.2f}, below {WELL_FITTED}: unlearning will mostly "
        )
        text += "go on training it; train the model first, and check that images are scaled as in its training"
        warnings.warn(text, UnlearningWarning, stacklevel=3)


# What says where images, forget rows and the other models come from: here they are given.
GIVEN = {
    "dataset", "dataset_options", "n_train", "n_test", "data", "corruption", "difficulty", "forget_fraction",
    "forget_class", "forget_index", "forget_seed", "scores", "subsets", "subset_model", "subset_epochs",
    "subset_precision", "model", "original", "pretrain", "retrain", "trajectory",
    "pretrain_epochs", "pretrain_batch_size", "pretrain_optimizer", "pretrain_schedule", "pretrain_stop_loss",
}  # fmt: skip


def memory_config(**settings: Any) -> RunConfig:
    """Return the settings of a run on models and images in memory: none of those that say where these come from."""
    for name in sorted(GIVEN & set(settings)):
        raise reject(name, settings[name], "left out: the models and the images are given")
    if settings.get("precision") == "fp64":
        raise reject("precision", "fp64", "fp32 or bf16", "give `model.double()`")
    return build(RunConfig, {"augment": "none", "method": "neggrad", **settings})


def network_of(model: nn.Module, images: Any, *, precision: str = "fp32") -> Network:
    """Return a model whose images enter as they are; one without `features` and `head` of its own is wrapped.

    Raises:
        ConfigError: when it is no module with weights.
    """
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise reject("model", type(model).__name__, "an nn.Module with weights")
    channels, weight = images.shape[1], next(model.parameters())
    example = images[slice(0, 2)].to(weight.device, weight.dtype)
    inner = model if composed(model, example) else Wrapped(model, example)
    return Network(inner, (0.0,) * channels, (1.0,) * channels, precision=precision)


def plain_model(network: Network) -> nn.Module:
    """Return the model that was given, without what wraps it."""
    return network.model.model if isinstance(network.model, Wrapped) else network.model


@torch.no_grad()
def classes_of(network: Network, images: Any) -> int:
    """Return how many classes a model tells apart."""
    with evaluating(network.model):
        return network.outputs(images[slice(0, 2)].to(network.device))[0].shape[1]


def split_of(retain: Any, total: int) -> Split:
    """Return the rows of images in which the retained ones come first."""
    count = len(as_dataset(retain, "retain"))
    rows = np.arange(total)
    return Split(rows, rows[:count], rows[count:], rows[:0])


def fresh(network: Network, seed: int) -> Network:
    """Return the network with weights drawn anew, as a model that never learned.

    A layer that knows how draws its own; of any other the weights are shuffled, which leaves their scale alone.
    """
    other = network.copy()
    with drawing_from(seed), torch.no_grad():
        for module in other.model.modules():
            reset: Any = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for weight in module.parameters(recurse=False):
                weight.copy_(weight.flatten()[torch.randperm(weight.numel()).to(weight.device)].view_as(weight))
    return other
