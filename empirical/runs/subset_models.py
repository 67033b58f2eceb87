"""The subset models behind memorization scores: each trained once, kept like any stage, shared by all processes."""

import os
import random
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
from empirical.settings.run_config import MemorizationConfig
from empirical.training.batches import row_sets
from empirical.training.loop import Stage
from empirical.training.rules import Plain
from repro.base.progress import track
from repro.records.identity import derive_seed
from repro.records.record import Record


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
        with store.lock(f"memorization-{self.config.dataset}"):
            if found := self._finished():
                return found
            result, arrays = summarize_subsets(inside, correct)
            provenance = self.workspace.provenance()
            return store.save("memorization", self.config, result=result, arrays=arrays, provenance=provenance)

    def _finished(self) -> Record | None:
        """Return the estimate if it is there; one from before reliability was known is summarized again."""
        found = self.workspace.store.find("memorization", self.config)
        return found if found and "reliability" in found.result else None

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which images each model saw and which it classifies correctly, both `(subsets, n)` boolean.

        Every process goes through the models in an order of its own, so that several rarely want the same one.
        """
        labels = self.workspace.dataset(self.config.training()).train_labels
        inside = draw_subsets(self.config, len(labels))
        correct = np.zeros_like(inside)
        order = random.Random(os.getpid()).sample(range(len(inside)), len(inside))
        for number in track(order, "memorization: subset models"):
            correct[number] = self.correct(number, inside[number])
        return inside, correct

    def correct(self, number: int, subset: np.ndarray) -> np.ndarray:
        """Train one subset model and return which of all images it classifies correctly, `(n,)` boolean."""
        training, device = self.config.training(), self.workspace.device
        images, held = self.workspace.dataset(training), self.workspace.train_images(training)
        settings, inside = training.pretraining(), np.flatnonzero(subset)
        seed = derive_seed(self.config.seed, "subset", number)

        def stage(_: Network) -> Stage:
            sets = row_sets(images, settings, inside, inside[:0], device=device)
            return Stage(Retrain(), Plain(), sets, settings, held, augmentation(training), seed)

        start = partial(build_network, training, images, seed=seed, device=device)
        model = trained(self.workspace, subset_key(training, self.config.fraction, number), start=start, stage=stage)
        logits, _ = predict(model.network, held)
        return (logits.argmax(1).cpu() == images.train_labels).numpy()
