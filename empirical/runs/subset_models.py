"""Memorization scores, and the subset models they are estimated from, each of which is a stage that is trained once."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from empirical.data.memorization import draw_subsets, filled, summarize_subsets
from empirical.models.network import Network, predict
from empirical.registry import forget_set
from empirical.runs.resources import Resources
from empirical.runs.stages import train_afresh
from empirical.settings.keys import subset_key
from empirical.settings.run_config import ESTIMATE, MemorizationConfig, RunConfig, config_for
from repro.base.errors import ConfigError
from repro.base.places import published_files
from repro.base.progress import track
from repro.base.settings import reject
from repro.records.identity import run_id
from repro.records.leases import in_turn
from repro.records.published import PublishedStudy
from repro.records.record import Record


@dataclass(frozen=True)
class SubsetModels:
    """The subset models of an estimate of memorization scores.

    Attributes:
        config: the estimate; resources: where it is computed.
    """

    config: MemorizationConfig
    resources: Resources = field(repr=False)

    def record(self) -> Record:
        """Return the record of the estimate; the subset models are trained now if it does not exist.

        Its arrays are `scores`, `errors` (n,), and `inside`, `correct` (subsets, n).
        """
        store = self.resources.store
        if found := self._known_estimate():
            return found
        inside, correct = self.train()
        with store.lease(f"{run_id(ESTIMATE, self.config)}-estimate"):
            if found := self._known_estimate():
                return found
            result, arrays = summarize_subsets(inside, correct)
            provenance = self.resources.provenance()
            return store.save(ESTIMATE, self.config, result=result, arrays=arrays, provenance=provenance)

    def _known_estimate(self) -> Record | None:
        """Return the estimate from the store or a published study; one without a reliability is made again.

        With a published estimate a study can go on without the subset models, whose weights are not published.
        """
        own, wanted = self.resources.store.find(ESTIMATE, self.config), run_id(ESTIMATE, self.config)
        committed = (one for pack in published_files() for one in PublishedStudy(pack).records(ESTIMATE))
        found = own or next((one for one in committed if one.run_id == wanted), None)
        return found if found and "reliability" in found.result else None

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which images each model saw and which it classifies correctly, both `(subsets, n)` boolean.

        A model that another process trains comes last. Results are remembered for the next call, because this one may
        end with `Held`.
        """
        labels, resources = self.resources.images(self.config.training()).train_labels, self.resources
        inside = draw_subsets(self.config, len(labels))
        known: dict[int, np.ndarray] = resources.remember(("subset models", self.config), dict)

        def attempt(number: int) -> None:
            known[number] = self.correct(number, inside[number])

        missing = track([number for number in range(len(inside)) if number not in known], "memorization: subset models")
        in_turn(missing, attempt, wait=resources.patient, deadline=resources.deadline)
        return inside, np.stack([known[number] for number in range(len(inside))])

    def correct(self, number: int, subset: np.ndarray) -> np.ndarray:
        """Return which of all images one subset model classifies correctly, `(n,)` boolean.

        Raises:
            ConfigError: when its answers are not finite.
        """
        training, network = self.config.training(), self.network(number, subset)
        logits, _ = predict(network, self.resources.train_images(training))
        if not bool(logits.isfinite().all()):
            raise self._diverged(number)
        return (logits.argmax(1).cpu() == self.resources.images(training).train_labels).numpy()

    def shadow_models(self) -> Iterator[tuple[np.ndarray, Network]]:
        """Yield which images each model saw, `(n,)` boolean, and the model; it is trained now if it is not stored."""
        labels = self.resources.images(self.config.training()).train_labels
        for number, subset in enumerate(draw_subsets(self.config, len(labels))):
            yield subset, self.network(number, subset)

    def network(self, number: int, subset: np.ndarray) -> Network:
        """Return one subset model, trained now if its weights are not stored.

        Raises:
            ConfigError: when its training diverged, because its answers then say nothing about memorization.
        """
        training = self.config.training()
        key = subset_key(training, self.config.fraction, number)
        model = train_afresh(training, self.resources, key, np.flatnonzero(subset))
        if model.facts["diverged_at"]:
            raise self._diverged(number)
        return model.network

    def _diverged(self, number: int) -> ConfigError:
        batch = f"pretrain_batch_size {self.config.batch_size}, learning rate {self.config.lr:g}"
        remedy = "choose another subset_model, batch size or precision"
        return ConfigError(f"subset_model = {self.config.model!r}: number {number} diverged at {batch}: {remedy}")


def memorization_scores(config: RunConfig, resources: Resources) -> np.ndarray:
    """Return the memorization scores of a run, `(n,)`: imported ones, or an estimate made here."""
    if not config.scores:
        return filled(SubsetModels(config_for(config), resources).record().arrays()["scores"])
    record = resources.store.load(config.scores)
    if record.kind != ESTIMATE:
        remedy = "`repro records import-scores FILE` prints the id of some"
        raise reject("scores", config.scores, f"imported scores, not a run of kind {record.kind!r}", remedy)
    for name in ("dataset", "dataset_options", "n_train", *(["data"] if config.data else [])):
        theirs, ours = record.config.get(name), getattr(config, name)
        if theirs and ours != theirs:
            raise reject("scores", config.scores, f"scores of {name} = {ours!r}, not of {theirs!r}", "import its own")
    scores = record.arrays()["scores"]
    expected = len(resources.images(config).train_labels)
    if len(scores) != expected:
        raise ConfigError(f"scores = {config.scores!r}: has {len(scores)} rows, {config.dataset} has {expected}")
    return filled(scores)


def memorization_facts(config: RunConfig, resources: Resources) -> dict[str, Any]:
    """Return how far the scores behind a graded forget set can be trusted; nothing where none were estimated here.

    With `memorization_reliability` below 0.8 the grading by difficulty is unreliable; `memorization_ties` is the
    fraction of images whose order among others of the same score was drawn at random.
    """
    if config.scores or not forget_set(config.difficulty).graded:
        return {}
    found = SubsetModels(config_for(config), resources).record().result
    return {f"memorization_{name}": found[name] for name in ("reliability", "ties")}
