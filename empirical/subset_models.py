"""The subset models behind memorization scores: trained once, kept as a record."""

from dataclasses import dataclass, field

import numpy as np

from empirical.build import augmentation, build_network, row_sets
from empirical.memorization import draw_subsets, summarize_subsets
from empirical.memorization_config import MemorizationConfig
from empirical.network import predict
from empirical.reference import Retrain, Workspace, derive_seed
from empirical.rules import Plain
from empirical.train import Stage, fit
from repro.progress import track
from repro.store import Record


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
        with store.lock(f"memorization-{self.config.dataset}"):
            found = store.find("memorization", self.config)
            if found:
                return found
            inside, correct = self.train()
            result, arrays = summarize_subsets(inside, correct)
            provenance = self.workspace.provenance()
            return store.save("memorization", self.config, result=result, arrays=arrays, provenance=provenance)

    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Return which images each model saw and which it classifies correctly, both `(subsets, n)` boolean."""
        labels = self.workspace.dataset(self.config.training()).train_labels
        inside = draw_subsets(self.config, len(labels))
        described = track(list(enumerate(inside)), "memorization: subset models")
        return inside, np.array([self.correct(number, subset) for number, subset in described])

    def correct(self, number: int, subset: np.ndarray) -> np.ndarray:
        """Train one subset model and return which of all images it classifies correctly, `(n,)` boolean."""
        training, device = self.config.training(), self.workspace.device
        images, held = self.workspace.dataset(training), self.workspace.train_images(training)
        seed = derive_seed(self.config.seed, "subset", number)
        network = build_network(training, images, seed=seed, device=device)
        recipe = training.pretrain_recipe()
        inside = np.flatnonzero(subset)
        sets = row_sets(images, recipe, inside, inside[:0], device=device)
        stage = Stage(Retrain(), Plain(), sets, recipe, held, augmentation(training), seed)
        fit(network, stage, self.workspace.runtime.engine)
        logits, _ = predict(network, held)
        return (logits.argmax(1).cpu() == images.train_labels).numpy()
