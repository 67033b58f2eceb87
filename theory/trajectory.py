"""The result of a simulation: metrics over checkpoints and seeds, as arrays with named axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from theory.config import TheoryConfig

if TYPE_CHECKING:
    import pandas

AXES = ("seed", "epoch")


@dataclass(frozen=True)
class Trajectory:
    """Everything one cell measured.

    Attributes:
        config: its settings.
        seeds: seed of each row, shape `(seeds,)`.
        epochs: measured epochs of unlearning, 0 being the pretrained model, shape `(checkpoints,)`.
        metrics: name to values, axes ("seed", "epoch"), shape `(seeds, checkpoints)`.
        pretrain_epochs: measured epochs of pretraining, shape `(pretrain checkpoints,)`.
        pretrain: name to values, shape `(seeds, pretrain checkpoints)`.
        retrained: name to values of the model trained on R alone from the same start, shape `(seeds,)`.
        stopped_at: epoch at which the forget level was reached, or -1, shape `(seeds,)`; values stay as they were then.
        diverged_at: step, counted from the start of pretraining, at which the loss left the finite range, or -1.
    """

    config: TheoryConfig
    seeds: np.ndarray
    epochs: np.ndarray
    metrics: dict[str, np.ndarray]
    pretrain_epochs: np.ndarray
    pretrain: dict[str, np.ndarray]
    retrained: dict[str, np.ndarray]
    stopped_at: np.ndarray
    diverged_at: np.ndarray

    @property
    def status(self) -> str:
        """Return "diverged" when any seed left the finite range, else "ok"."""
        return "diverged" if np.any(self.diverged_at >= 0) else "ok"

    def final(self, name: str) -> np.ndarray:
        """Return a metric at the last checkpoint, shape `(seeds,)`."""
        return self.metrics[name][:, -1]

    def oracle_gap(self, name: str) -> np.ndarray:
        """Return `|metric - metric of the retrained model|` at every checkpoint, shape `(seeds, checkpoints)`."""
        return np.abs(self.metrics[name] - self.retrained[name][:, None])

    def matched(self, forget_error: float) -> np.ndarray:
        """Return the first checkpoint whose forget error reaches a level, or -1 where none does, shape `(seeds,)`."""
        reached = self.metrics["forget_error"] >= forget_error
        return np.where(reached.any(axis=1), reached.argmax(axis=1), -1)

    def at(self, name: str, checkpoints: np.ndarray) -> np.ndarray:
        """Return a metric at one checkpoint a seed, NaN where the checkpoint is -1, shape `(seeds,)`."""
        values = self.metrics[name][np.arange(len(self.seeds)), checkpoints]
        return np.where(checkpoints < 0, np.nan, values)

    def to_frame(self) -> pandas.DataFrame:
        """Return one row a seed, phase and epoch, one column a metric."""
        import pandas as pd

        phases = {"pretrain": (self.pretrain_epochs, self.pretrain), "unlearn": (self.epochs, self.metrics)}
        frames = []
        for phase, (epochs, metrics) in phases.items():
            index = pd.MultiIndex.from_product([self.seeds, epochs], names=AXES)
            frame = pd.DataFrame({name: values.ravel() for name, values in metrics.items()}, index=index)
            frames.append(frame.reset_index().assign(phase=phase))
        return pd.concat(frames, ignore_index=True)
