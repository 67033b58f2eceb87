"""Unlearn and evaluate your own model from Python, without a store, with the same functions that runs use."""

import copy
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader

from empirical.data.forget import Split
from empirical.data.images import ImageSet
from empirical.data.memory import GivenExamples, concatenated, given, memory_set
from empirical.exchange.arguments import device_of, known_arguments, memory_config
from empirical.metrics.closeness import better_than_nothing, judgement
from empirical.metrics.evaluation import Evaluation
from empirical.metrics.outputs import model_outputs
from empirical.models.network import Network, fresh
from empirical.models.plain import Wrapped, composed, evaluating
from empirical.portable import check_portable
from empirical.registry import metric
from empirical.runs.evaluations import numbers_of
from empirical.runs.unlearning import check_run, unlearning_stage
from empirical.settings.keys import absent_metrics, present_metrics
from empirical.settings.run_config import RunConfig, altered
from empirical.training.loop import Log, fit
from repro.base.errors import ConfigError, DivergedError
from repro.base.glossary import OWNERS, describe
from repro.base.settings import reject

WELL_FITTED = 0.7  # retain accuracy of an original model, below which unlearning mostly goes on training it
CHUNK = 100  # examples that pass through a model at once
PACKAGE = str(Path(__file__).parents[1])
FIT_ROWS = 1000  # examples of a set that a model is judged by while it is trained, evenly spaced


class UnlearningWarning(UserWarning):
    """The numbers are valid, but they may not mean what they seem to mean."""


@dataclass(frozen=True)
class Unlearned:
    """What `unlearn` returns; `evaluate` takes it wherever a model is asked for.

    Attributes:
        model: a new model with the unlearned weights; the one that was given is as it was.
        log: epochs, gradient evaluations, seconds.
    """

    model: nn.Module
    log: Log


Model = nn.Module | Unlearned


class Numbers(dict[str, Any]):
    """What `evaluate` returns: numbers and arrays by name; other models' names start with their role."""

    def table(self) -> pd.DataFrame:
        """Return a row per number: its value for each model, the best value (`target`), the better side, its meaning.

        The target of most numbers is the retrained model's value; without that model it is unknown (NaN).
        """
        scalars = {name: value for name, value in self.items() if isinstance(value, int | float)}
        owners = tuple(OWNERS)
        names = dict.fromkeys(
            next((name.removeprefix(owner) for owner in owners if name.startswith(owner)), name) for name in scalars
        )
        rows = []
        for name in names:
            term = describe(name)
            goal = term.goal if term else ""
            target = scalars.get(f"retrained_{name}", np.nan) if goal == "retrained" else goal or np.nan
            better = {"retrained": "as retrained", "1": "higher", "0": "lower", "": "neither"}.get(goal, f"near {goal}")
            rows.append({
                "number": name, "unlearned": scalars.get(name, np.nan),
                "original": scalars.get(f"original_{name}", np.nan),
                "retrained": scalars.get(f"retrained_{name}", np.nan),
                "target": pd.to_numeric(target, errors="coerce"), "better": better,
                "meaning": term.meaning if term else "",
            })  # fmt: skip
        return pd.DataFrame(rows).set_index("number")


@known_arguments
def unlearn(
    model: Model, retain: Any, forget: Any, *, method: str = "neggrad", rule: str = "sgd", epochs: int = 5,
    lr: float = 0.02, batch_size: int | None = None, forget_batch_size: int = 0, alpha: float = 0.9,
    method_options: Mapping[str, Any] | str = "", optimizer: str = "sgd", momentum: float = 0.9,
    weight_decay: float = 5e-4, schedule: str = "constant", warmup_epochs: int = 0, mask_fraction: float = 0.3,
    augment: str = "none", precision: str = "fp32", batch_parts: int = 1, perturbation: str = "global", seed: int = 0,
    unlearn_seed: int = 0, portable: bool = False, preset: str = "correct", switches: str = "",
    device: str | torch.device | None = None, progress: bool = False,
    on_epoch: Callable[[dict[str, Any]], Any] | None = None,
) -> Unlearned:  # fmt: skip
    """Unlearn some of a model's training examples.

    Args:
        model: maps images `(b, c, h, w)`, as the data give them, to logits `(b, classes)`, to `{"logits": ...}` or to
            an object with `.logits`.
        retain: the examples to keep: a `Dataset`, a `DataLoader` (its workers, collate function and sampler are used),
            two tensors `(x, y)`, or anything that yields `(image, label)` or dicts with `image` and `label`. Each
            example is read once; one that a random transform changes is read anew by every step.
        forget: the same of the examples to forget.
        method: such as `neggrad`, `salun`, `scrub`, `ssd`, `finetune`; see `repro run --help`.
        rule: how a loss becomes a gradient, such as `sgd`, `sam-0.1`, `minmax`.
        epochs: passes over the retain set.
        lr: the learning rate.
        batch_size: rows a step; None takes that of the loader `retain`, or 64.
        forget_batch_size: forget rows a step; 0 is `batch_size`.
        alpha: weight of the retain loss against the forget loss, in [0, 1].
        optimizer: `sgd` or `adamw`.
        momentum: of SGD.
        weight_decay: L2 regularization.
        schedule: of the learning rate, see `repro run --help`.
        warmup_epochs: epochs of a lower learning rate at the start.
        mask_fraction: fraction of the weights in the saliency mask.
        method_options: further settings of the method, such as `{"beta": 0.5}`.
        augment: `none` takes images as they are; uint8 is scaled to [0, 1].
        precision: `fp32`, `fp64` or `bf16`.
        batch_parts: parts of a batch whose gradients are summed.
        perturbation: whether SAM perturbs by the gradient of the whole batch or of each part.
        portable: refuse what would give other digits on another processor.
        preset: `correct`, or a variant of the released code.
        switches: single switches on top of it, such as `tow=signed`.
        seed: what the order of the batches follows from, whatever the loader's order is.
        unlearn_seed: another order with the same `seed`.
        device: where the new model is trained; None is where the model is.
        progress: whether a bar is shown.
        on_epoch: called after every epoch with `epoch`, `loss`, `lr`, and `retain_accuracy` and `forget_accuracy` of at
            most 1,000 examples each.

    Raises:
        ConfigError: for an argument that is unknown or out of range, data that are no labelled images, or a method and
            a rule that do not go together.
        DivergedError: when the loss is no longer finite.

    Warns:
        UnlearningWarning: when `retain` contains forget examples, or when the model's accuracy on `retain` is below
            0.7: such a model has not learned yet what it should keep.
    """
    config = memory_config(
        method_options, method=method, rule=rule, epochs=epochs, lr=lr, batch_size=size_of(batch_size, retain),
        forget_batch_size=forget_batch_size, alpha=alpha, optimizer=optimizer, momentum=momentum,
        weight_decay=weight_decay, schedule=schedule, warmup_epochs=warmup_epochs, mask_fraction=mask_fraction,
        augment=augment, precision=precision, batch_parts=batch_parts, perturbation=perturbation, seed=seed,
        unlearn_seed=unlearn_seed, portable=portable, preset=preset, switches=switches,
    )  # fmt: skip
    check_run(config)
    task = Task.from_examples(model, retain, forget, device)
    task.warn_of_poor_fit()
    return task.unlearned(config, progress=progress, on_epoch=on_epoch)


def answers(network: Network, images: Any, rows: np.ndarray) -> np.ndarray:
    """Return the class that a network predicts for each of some rows, in evaluation mode, `CHUNK` at a time."""
    with evaluating(network.model), torch.no_grad():
        chunks = (images[torch.from_numpy(part)] for part in np.array_split(rows, -(-len(rows) // CHUNK)))
        return np.concatenate(
            [network.outputs(chunk.to(network.device))[0].argmax(1).cpu().numpy() for chunk in chunks]
        )


def size_of(batch_size: int | None, retain: Any) -> int | None:
    """Return the given batch size, else that of the retain set's loader, else None."""
    return retain.batch_size if batch_size is None and isinstance(retain, DataLoader) else batch_size


@dataclass(frozen=True)
class Task:
    """A model and the examples to keep and to forget, read once; several unlearnings can start from it.

    Attributes:
        model: a copy of the one that was given, on the device.
        images: the retained examples, then those to forget; split: which is which.
    """

    model: nn.Module
    images: ImageSet
    split: Split

    @classmethod
    def from_examples(cls, model: Model, retain: Any, forget: Any, device: str | torch.device | None = None) -> "Task":
        """Read the examples and copy the model.

        Raises:
            ConfigError: if the model is no module, the data are no labelled images, or no weight can be trained.
        """
        sides = given("retain", retain, transforms=True), given("forget", forget, transforms=True)
        own = on_device(model, device, copied=True)
        train = concatenated(*sides)
        network = network_of(own, train[0])
        if not any(weight.requires_grad for weight in own.parameters()):
            raise ConfigError("model: none of its weights can be trained; set requires_grad of those that may move")
        images = images_of(network, train, sides)
        warn_of_overlap(*sides)
        return cls(own, images, split_of(*sides))

    def network(self, precision: str = "fp32") -> Network:
        """Return a copy of the model, ready to be trained."""
        return network_of(copy.deepcopy(self.model), self.images.train_images, precision=precision)

    def accuracy(self, network: Network, rows: np.ndarray) -> float:
        """Return the accuracy on at most `FIT_ROWS` of some rows, in evaluation mode."""
        some = rows[np.unique(np.linspace(0, len(rows) - 1, min(FIT_ROWS, len(rows))).astype(int))]
        right = answers(network, self.images.train_images, some) == self.images.train_labels.numpy()[some]
        return float(right.mean())

    def warn_of_poor_fit(self) -> None:
        """Warn when the model's accuracy on the retain set is below `WELL_FITTED`."""
        accuracy = self.accuracy(self.network(), self.split.retain)
        if accuracy < WELL_FITTED:
            warn(
                f"the original model's accuracy on retain is {accuracy:.2f}, below {WELL_FITTED}: unlearning will "
                "mostly go on training it; train the model first, and check that images are scaled as in its training"
            )

    def unlearned(
        self, config: RunConfig, *, progress: bool = False, on_epoch: Callable[[dict[str, Any]], Any] | None = None
    ) -> Unlearned:
        """Return the model after one unlearning.

        Raises:
            DivergedError: when its loss is no longer finite.
        """
        if config.method == "retrain":
            raise reject("method", "retrain", "one that starts from the model", "train a fresh model on the retain set")
        network, teacher = self.network(config.precision), self.network(config.precision)
        if config.portable:
            check_portable(device=network.device.type, threads=torch.get_num_threads())
        held: Any = self.images.train_images
        stage = unlearning_stage(config, self.images, held, self.split, network, teacher=teacher)
        with Progress(transient=True) if progress else nullcontext() as bar:
            label = f"{config.method} by {config.rule}"
            job = bar.add_task(label, total=config.epochs) if bar else None

            def observe(network: Network, epochs: float) -> dict[str, float]:
                if on_epoch is None or epochs % 1:
                    return {}
                return {f"{name}_accuracy": self.accuracy(network, getattr(self.split, name)) for name in SEEN}

            def tell(row: Mapping[str, Any]) -> None:
                if bar is not None and job is not None:
                    loss = "" if row["loss"] is None else f", loss {row['loss']:.3g}"
                    bar.update(job, advance=1, description=label + loss)
                if on_epoch is not None:
                    seen = (row.get("accuracies") or [{}])[-1]
                    on_epoch({name: row[name] for name in ("epoch", "loss", "lr")}
                             | {name: value for name, value in seen.items() if name.endswith("_accuracy")})  # fmt: skip

            log = fit(network, stage, observe=observe if on_epoch else None, tell=tell)
        log.seconds += stage.mask_seconds
        network.model.eval()
        if log.diverged_at:
            where = "epoch {epoch}, step {step}".format(**log.diverged_at)
            remedy = f"lr = {config.lr:g} is too large here; try a smaller one"
            raise DivergedError(f"unlearning diverged at {where}: {remedy}")
        return Unlearned(network.model.model if isinstance(network.model, Wrapped) else network.model, log)


SEEN = ("retain", "forget")


@known_arguments
def evaluate(
    unlearned: Model, retain: Any, forget: Any, test: Any, *, original: Model | None = None,
    retrained: Model | None = None, metrics: str | Sequence[str] = ("accuracy", "tow"),
    metric_options: Mapping[str, Any] | None = None, rows_measured: str = "all", seed: int = 0, portable: bool = False,
    device: str | torch.device | None = None,
) -> Numbers:  # fmt: skip
    """Return the numbers and arrays of an unlearned model by name, those of the other models with theirs in front.

    `.table()` of the result says of each number which way is better. `absent_metrics` names each metric that cannot be
    had without a retrained model.

    Args:
        unlearned: the model to look at.
        retain: the examples to keep, as `unlearn` takes them; each is read once.
        forget: the examples to forget.
        test: held-out examples.
        original: the model before unlearning; without it, the unlearned one takes its place and is not reported.
        retrained: the model trained on the retain set alone, which others are held against.
        metrics: one name or several (those they need are measured, too).
        metric_options: settings of the metrics, such as `{"landscape_points": 21}`.
        rows_measured: `all`, or one of two halves of forget and test set: `validation`, `report`.
        seed: what metrics draw follows from it.
        portable: refuse what would give other digits on another processor.
        device: where the models compute; None is where the unlearned one is.

    Raises:
        ConfigError: for an argument that is unknown or out of range, data that are no labelled images, or a model whose
            outputs are not finite.

    Warns:
        UnlearningWarning: when `retain` contains forget examples, or when the unlearned model is no nearer to the
            retrained one than the original (by `tow`; this needs `original` and `retrained`).
    """
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    config = memory_config(metrics=names, rows_measured=rows_measured, seed=seed, portable=portable,
                           **(metric_options or {}))  # fmt: skip
    config = altered(config, retrain="pretrain" if retrained else "none")
    for name in (name for name in config.metrics if metric(name).pooled):
        raise reject("metrics", name, "left out", "it pools the runs of many seeds: `repro records evaluate`")
    retained, forgotten, fresh_ones = given("retain", retain), given("forget", forget), given("test", test)
    warn_of_overlap(retained, forgotten)
    device = device or next(module_of(unlearned).parameters(), torch.empty(0)).device
    models = {"original": original or unlearned, "retrained": retrained, "unlearned": unlearned}
    shown = {role: on_device(model, device) for role, model in models.items() if model is not None}
    train = concatenated(retained, forgotten)
    networks = {role: network_of(model, train[0]) for role, model in shown.items()}
    if config.portable:
        check_portable(device=networks["unlearned"].device.type, threads=torch.get_num_threads())
    images = images_of(networks["unlearned"], train, (retained, forgotten), fresh_ones)
    split = split_of(retained, forgotten)
    reach: dict[str, Callable[[], Network]] = {role: (lambda one=network: one) for role, network in networks.items()}
    reach["initial"] = reach["original"]
    reach["random"] = lambda: fresh(networks["unlearned"], config.seed)
    absent = absent_metrics(config)
    found: dict[str, Any] = {}
    with evaluating(*shown.values()):
        outputs = {role: model_outputs(network, images, split=split) for role, network in networks.items()}
        for role in (role for role in reversed(outputs) if not outputs[role].finite()):  # the unlearned one first
            raise ConfigError(f"{role}: its outputs are not finite, so that no metric is defined on them")
        evaluation = Evaluation(config, images, split, outputs, reach, images.train_images, config.seed).as_asked()
        for name in present_metrics(config):
            evaluation.result.update(found)
            numbers, arrays = numbers_of(name, evaluation)
            found |= numbers | arrays
    if original is not None and original is not unlearned and "tow" in found and not better_than_nothing(found):
        warn(judgement(found))
    if original is None:
        found = {name: value for name, value in found.items() if "original" not in name.split("_")}
    return Numbers(found | ({"absent_metrics": absent} if absent else {}))


def warn(text: str) -> None:
    """Warn, and point at the line outside this package that called."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UnlearningWarning, stacklevel=level)


def warn_of_overlap(retain: GivenExamples, forget: GivenExamples) -> None:
    """Warn when the retain set contains examples of the forget set."""
    retained = set(retain.marks)
    if both := sum(mark in retained for mark in forget.marks):
        warn(
            f"retain contains {both} of the {len(forget)} forget examples (same image, same label): the model "
            "goes on learning what it should forget; leave them out of retain"
        )


def module_of(model: Any, name: str = "model") -> nn.Module:
    """Return a model, or that of an `Unlearned`.

    Raises:
        ConfigError: when it is no module with weights.
    """
    model = model.model if isinstance(model, Unlearned) else model
    if not isinstance(model, nn.Module) or not any(True for _ in model.parameters()):
        raise reject(name, type(model).__name__, "an nn.Module with weights, or what `unlearn` returned")
    return model


def on_device(model: Any, device: str | torch.device | None, *, copied: bool = False) -> nn.Module:
    """Return the model if it is on the device, otherwise a copy there."""
    model = module_of(model)
    here = next(model.parameters()).device
    there = here if device is None else device_of(device)
    same = there.type == here.type and there.index in (None, here.index)
    return (model if same and not copied else copy.deepcopy(model)).to(here if same else there)


def network_of(model: nn.Module, images: Any, *, precision: str = "fp32") -> Network:
    """Return a network that does not normalize images; a model without `features` and `head` is wrapped."""
    channels, weight = images.shape[1], next(model.parameters())
    example = images[slice(0, 2)].to(weight.device, weight.dtype)
    inner = model if composed(model, example) else Wrapped(model, example)
    return Network(inner, (0.0,) * channels, (1.0,) * channels, precision=precision)


def images_of(
    network: Network,
    train: tuple[Any, torch.Tensor],
    sides: tuple[GivenExamples, ...],
    test: GivenExamples | None = None,
) -> ImageSet:
    """Return the image set of `train`, which is `sides` one after the other, and of the test set, or `train` again.

    Raises:
        ConfigError: for a label that is not the number of one of the model's outputs.
    """
    with evaluating(network.model), torch.no_grad():
        classes = network.outputs(train[0][slice(0, 2)].to(network.device))[0].shape[1]
    for side in (*sides, *([test] if test else [])):
        for place in ((side.labels < 0) | (side.labels >= classes)).nonzero().flatten()[:1].tolist():
            remedy = f"the model has {classes} outputs; give each class its place among them"
            raise reject(f"label of {side.name}[{place}]", int(side.labels[place]), f"in [0, {classes - 1}]", remedy)
    return memory_set(train, concatenated(test) if test else train, classes)


def split_of(retain: GivenExamples, forget: GivenExamples) -> Split:
    """Return the split of images in which the retained ones come first."""
    rows = np.arange(len(retain) + len(forget))
    return Split(rows, rows[: len(retain)], rows[len(retain) :], rows[:0])
