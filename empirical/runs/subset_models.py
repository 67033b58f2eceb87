"""The subset models behind memorization scores: each trained once, kept like any stage, shared by all processes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from empirical.augmentation.augment import augmentation
from empirical.data.memorization import draw_subsets, summarize_subsets
from empirical.methods.retain import Retrain
from empirical.models.network import Network, predict
from empirical.runs.stages import build_network, trained
from empirical.runs.workspace import Workspace
from empirical.settings.keys import subset_key
from empirical.settings.run_config import ESTIMATE, MemorizationConfig
from empirical.training.batches import row_sets
from empirical.training.rules import Plain
from empirical.training.step import Stage
from repro.base.errors import ConfigError
from repro.base.progress import track
from repro.records.claims import in_turn
from repro.records.identity import derive_seed, run_id
from repro.records.pack import PackedStore
from repro.records.record import Record
from repro.records.shipped import packs


@dataclass(frozen=True)
class SubsetModels:
    """The training of all subset models of an estimate.

    Attributes:
        config: the estimate; workspace: where it is computed.
    """

    config: MemorizationConfig
    workspace: Workspace = field(repr=False)

    def record(self) -> Record:
        """Return the estimate's record, trained now if the store lacks it.

        Its arrays are `scores`, `errors` (n,), and `inside`, `correct` (subsets, n).
        """
        store = self.workspace.store
        if found := self._finished():
            return found
        inside, correct = self.train()
        with store.lock(f"{run_id(ESTIMATE, self.config)}-estimate"):
            if found := self._finished():
                return found
            result, arrays = summarize_subsets(inside, correct)
            provenance = self.workspace.provenance()
            return store.save(ESTIMATE, self.config, result=result, arrays=arrays, provenance=provenance)

    def _finished(self) -> Record | None:
        """Return the estimate if it is there or committed; one from before reliability was known is made again.

        Committed estimates let a study go on elsewhere without its subset models, whose weights are not committed.
        """
        own, wanted = self.workspace.store.find(ESTIMATE, self.config), run_id(ESTIMATE, self.config)
        committed = (one for pack in packs() for one in PackedStore(pack).records(ESTIMATE))
        found = own or next((one for one in committed if one.run_id == wanted), None)
        return found if found and "reliability" in found.result else None

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which images each model saw and which it classifies correctly, both `(subsets, n)` boolean.

        A model in another process's hands comes after the rest. What is known is kept for the next call, for this one
        may end with the last models `Held`.
        """
        labels, workspace = self.workspace.dataset(self.config.training()).train_labels, self.workspace
        inside = draw_subsets(self.config, len(labels))
        known: dict[int, np.ndarray] = workspace.remember(("subset models", self.config), dict)

        def attempt(number: int) -> None:
            known[number] = self.correct(number, inside[number])

        missing = track([number for number in range(len(inside)) if number not in known], "memorization: subset models")
        in_turn(missing, attempt, wait=workspace.patient, deadline=workspace.deadline)
        return inside, np.stack([known[number] for number in range(len(inside))])

    def correct(self, number: int, subset: np.ndarray) -> np.ndarray:
        """Return which of all images one subset model classifies correctly, `(n,)` boolean.

        Raises:
            ConfigError: when its answers are not finite.
        """
        training, network = self.config.training(), self.network(number, subset)
        logits, _ = predict(network, self.workspace.train_images(training))
        if not bool(logits.isfinite().all()):
            raise self._diverged(number)
        return (logits.argmax(1).cpu() == self.workspace.dataset(training).train_labels).numpy()

    def shadows(self) -> Iterator[tuple[np.ndarray, Network]]:
        """Yield which images each model saw, `(n,)` boolean, and the model, trained now if its weights are not kept."""
        labels = self.workspace.dataset(self.config.training()).train_labels
        for number, subset in enumerate(draw_subsets(self.config, len(labels))):
            yield subset, self.network(number, subset)

    def network(self, number: int, subset: np.ndarray) -> Network:
        """Return one subset model, trained now if its weights are not kept.

        Raises:
            ConfigError: when its training diverged: it says nothing of what an image is remembered by.
        """
        training, device = self.config.training(), self.workspace.device
        images, held = self.workspace.dataset(training), self.workspace.train_images(training)
        settings, inside = training.pretraining(), np.flatnonzero(subset)
        seed = derive_seed(self.config.seed, "subset", number)

        def stage(_: Network) -> Stage:
            sets = row_sets(images, settings, inside, inside[:0], device=device)
            return Stage(Retrain(), Plain(), sets, settings, held, augmentation(training, held.dtype), seed)

        start = partial(build_network, training, images, seed=seed, device=device)
        key = subset_key(training, self.config.fraction, number)
        model = trained(self.workspace, key, start=start, stage=stage)
        if model.facts["diverged_at"]:
            raise self._diverged(number)
        return model.network

    def _diverged(self, number: int) -> ConfigError:
        batch = f"pretrain_batch_size {self.config.batch_size}, learning rate {self.config.lr:g}"
        remedy = "choose another subset_model, batch size or precision"
        return ConfigError(f"subset_model = {self.config.model!r}: number {number} diverged at {batch}: {remedy}")
