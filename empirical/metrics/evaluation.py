"""The input of metrics: logits and features of the three models, computed once, and access to the models."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from empirical.data.forget import Split
from empirical.data.images import ImageSet, picked
from empirical.metrics.outputs import ModelOutputs, Outputs
from empirical.models.network import Network
from empirical.settings.run_config import RunConfig
from repro.base.settings import reject
from repro.records.identity import derive_seed, digest

T = TypeVar("T")
ROLES = ("original", "retrained", "unlearned")
SETS = ("retain", "forget", "test")


class Measured(NamedTuple):
    """The images that metrics use: `forget`, rows of the training images, and `test`, rows of the test images."""

    forget: np.ndarray
    test: np.ndarray


def measured(part: str, forget: np.ndarray, test_labels: np.ndarray) -> Measured:
    """Return the images of a part: `all`, or the half `validation` (for the learning-rate search) or `report`.

    The halves are disjoint and together contain all images. They depend only on the forget set and the test labels, so
    all runs on a forget set have the same halves. The halves of the test images have equal numbers of each class.

    Raises:
        ConfigError: when a half would be empty.
    """
    if part == "all":
        return Measured(forget, np.arange(len(test_labels)))
    if min(len(forget), len(test_labels)) < 2:
        raise reject("rows_measured", part, "all", "a forget or test set of one image has no halves")
    rows = halves(np.zeros(len(forget)), derive_seed(0, "halves", digest(forget)))[part]
    return Measured(forget[rows], halves(test_labels, derive_seed(0, "halves", "test"))[part])


def halves(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return two random halves of the rows of `groups`, `(n,)`, ascending; each half has half of every group."""
    shuffled = np.random.default_rng(seed).permutation(len(groups))
    by_group = shuffled[np.argsort(groups[shuffled], kind="stable")]
    return {"validation": np.sort(by_group[::2]), "report": np.sort(by_group[1::2])}


@dataclass(frozen=True)
class Evaluation:
    """A finished run, as metrics see it.

    Attributes:
        config: the run's config.
        images: its clean data; split: its rows. Both are without the forget and test images that are not measured.
        outputs: model outputs by role (original, retrained, unlearned).
        networks: functions that return a model, by role; also `initial`, the original before its first step, and
            `random`, an untrained model.
        trained_on: the images the models were trained on, corrupted if the config says so.
        shadow_models: yields, for each subset model, which training images it saw, `(n,)` boolean, and the model;
            None if the run has no subset models.
        seed: seed of a metric's random numbers.
        result: the numbers of the metrics before this metric.
        key: everything that the numbers of the original and the retrained model depend on.
        shared: caches such numbers for the next run with the same key.
    """

    config: RunConfig
    images: ImageSet = field(repr=False)
    split: Split = field(repr=False)
    outputs: dict[str, ModelOutputs] = field(repr=False)
    networks: dict[str, Callable[[], Network]] = field(repr=False)
    trained_on: Tensor = field(repr=False)
    seed: int = 0
    shadow_models: Callable[[], Iterable[tuple[np.ndarray, Network]]] | None = field(default=None, repr=False)
    result: dict[str, Any] = field(default_factory=dict)
    key: tuple[Any, ...] = ()
    shared: Callable[[Any, Callable[[], Any]], Any] | None = field(default=None, repr=False)

    @property
    def shadows(self) -> Callable[[], Iterable[tuple[np.ndarray, Network]]] | None:
        """The older name of `shadow_models`, until 0.4."""
        return self.shadow_models

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that have a model; a run may have no retrained model."""
        return tuple(role for role in ROLES if role in self.outputs)

    @property
    def scope(self) -> dict[str, Any]:
        """Which images the numbers are about, and how many; recorded with the numbers."""
        counts = {"n_forget_measured": len(self.split.forget), "n_test_measured": len(self.images.test_labels)}
        return {"rows_measured": self.config.rows_measured, **counts}

    def only(self, seen: Measured) -> "Evaluation":
        """Return the evaluation with the forget and test images of `seen`; the retain set stays whole."""
        rows = torch.from_numpy(seen.test)
        images = replace(
            self.images, test_images=picked(self.images.test_images, rows), test_labels=self.images.test_labels[rows]
        )
        outputs = {role: ModelOutputs(train, test.pick(seen.test)) for role, (train, test) in self.outputs.items()}
        return replace(self, images=images, split=replace(self.split, forget=seen.forget), outputs=outputs)

    def as_asked(self) -> "Evaluation":
        """Return the evaluation on the images that its config names: all of them, or a half."""
        part = self.config.rows_measured
        if part == "all":
            return self
        return self.only(measured(part, self.split.forget, self.images.test_labels.numpy()))

    def sets(self, role: str) -> Iterator[tuple[str, Outputs, np.ndarray]]:
        """Yield (name, outputs, labels) of the retain, forget and test set of a model."""
        for name in ("retain", "forget", "test"):
            yield name, *self.on(role, name)

    def once(self, role: str, name: str, make: Callable[[], T]) -> T:
        """Return `make()`; models that many runs share (original, retrained) are measured only the first time."""
        if self.shared is None or role == "unlearned":
            return make()
        return self.shared((name, role, *self.key), make)

    def on(self, role: str, name: str) -> tuple[Outputs, np.ndarray]:
        """Return the outputs and labels of one set of one model: `retain`, `forget` or `test`."""
        train, test = self.outputs[role]
        if name == "test":
            return test._replace(logits=test.logits.astype(float)), self.images.test_labels.numpy()
        rows = getattr(self.split, name)
        return train.pick(rows), self.images.train_labels.numpy()[rows]


def prefix(role: str) -> str:
    """Return the prefix of a role's numbers; the unlearned model has none."""
    return "" if role == "unlearned" else f"{role}_"


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of logits `(n, classes)`."""
    return np.exp(log_softmax(logits, axis=1))
