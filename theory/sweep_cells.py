"""What a sweep keeps of each of its cells: mean and standard error of every metric."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from theory import matching
from theory.coefficients import METRICS
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.study import mean_and_error
from theory.trajectory import Trajectory


def measure(cells: Sequence[TheoryConfig], *, matched: bool) -> list[dict[str, Any]]:
    """Return mean and standard error of every metric of each cell and, if asked, at the forget level."""
    stopped = [matching.until_forgotten(cell) for cell in cells] if matched else []
    runs = simulate_many([*cells, *stopped])
    found = [_cell_values(run) for run in runs[: len(cells)]]
    for values, run in zip(found, runs[len(cells) :], strict=False):
        values["matched_reached"] = float(matching.reached(run).mean())
        for name in ("test_error", "forget_error"):
            values |= _with_error(f"matched_{name}", matching.at_forget_level(run, name))
        values |= _with_error("matched_epochs", matching.at_epoch(run))
    return found


def _cell_values(run: Trajectory) -> dict[str, Any]:
    values: dict[str, Any] = {"status": run.status, "diverged": int(np.sum(run.diverged_at >= 0))}
    for name in METRICS:
        values |= _with_error(name, run.final(name))
    for name in ("test_error", "forget_error", "kappa_retain"):
        values |= _with_error(f"pretrained_{name}", run.pretrain[name][:, -1])
        values |= _with_error(f"retrained_{name}", run.retrained[name])
    return values | _with_error("oracle_gap", run.oracle_gap("forget_error")[:, -1])


def _with_error(name: str, values: np.ndarray) -> dict[str, float | None]:
    mean, error = mean_and_error(values.tolist())
    return {name: mean, f"{name}_se": error}
