"""Runs made by hand: what a claim's analysis says of numbers that are known."""

import numpy as np

from theory.config import TheoryConfig
from theory.engine import Trajectory
from theory.measures.metrics import METRICS, TRAINING_METRICS


def made(cell: TheoryConfig, *, epochs=(0, 1), stopped_at=None, retrained: float = 0.0, **metrics) -> Trajectory:
    """Return a trajectory whose metrics are given, and zero where they are not.

    Args:
        cell: its config; the number of seeds is taken from it.
        epochs: checkpoints.
        stopped_at: epoch at which each seed reached the forget level, -1 where it did not; all -1 by default.
        retrained: every metric of the model trained on R alone.
        metrics: name to values that broadcast to `(seeds, checkpoints)`.
    """
    shape = (cell.seeds, len(epochs))
    values = {name: np.zeros(shape) + np.asarray(metrics.get(name, 0.0)) for name in METRICS}
    start = {name: values[name][:, :1] for name in TRAINING_METRICS}
    reached = np.full(cell.seeds, -1) if stopped_at is None else np.zeros(cell.seeds, int) + stopped_at
    return Trajectory(
        cell,
        seeds=np.arange(cell.seeds),
        epochs=np.array(epochs),
        metrics=values,
        pretrain_epochs=np.array([0]),
        pretrain=start,
        retrained={name: np.full(cell.seeds, retrained) for name in TRAINING_METRICS},
        stopped_at=reached,
        diverged_at=np.full(cell.seeds, -1),
        pretrained_at=np.full(cell.seeds, -1),
    )


def seeded(grid: dict, seeds: int) -> dict:
    """Return a claim's grid on a number of seeds."""
    return {name: cell.changed(seeds=seeds) for name, cell in grid.items()}


def grown(grid, make, seeds: int) -> dict:
    """Return the runs that a grid asks for until it asks no more, each made by `make(name, cell)`."""
    runs: dict = {}
    while new := {name: cell for name, cell in seeded(grid(runs), seeds).items() if name not in runs}:
        runs |= {name: make(name, cell) for name, cell in new.items()}
    return runs


def falling(grid, seeds: int, norm) -> dict:
    """Return runs whose test error falls through 0.1 at |phi| = `norm(name, cell)`, the forget error rising there."""

    def make(name, cell):
        distance = np.log(cell.signal_norm / norm(name, cell))
        return made(cell, test_error=0.1 - 0.02 * distance, forget_error=0.5 + 0.02 * distance, retain_loss=0.6,
                    stopped_at=5 if cell.stop_forget_error else None)  # fmt: skip

    return grown(grid, make, seeds)


def sides(finding) -> dict[str, int]:
    """Return each part of a finding and its side: +1 where claimed, -1 elsewhere, 0 undecided."""
    return {row["part"]: row["side"] for row in finding.parts}
