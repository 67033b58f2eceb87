"""Where test error crosses 0.1 in signal strength, and how that boundary moves with d and n (Theorems 3.2 and 3.3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from theory.claims.finding import ClaimConfig
from theory.clocks import fixed_clock
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, bootstrap, crossing, slope
from theory.trajectory import Trajectory

DIMENSIONS = (1000, 2000, 4000, 8000, 16000)
STRENGTHS = tuple(float(s) for s in np.round(np.geomspace(0.04, 3.6, 14), 4))
SPARSE = 1000  # checkpoints are the two ends only
D_AXIS = [{"d": d} for d in DIMENSIONS]
WIDE_AXIS = [{"d": d} for d in (1000, 4000, 16000, 64000)]


@dataclass(frozen=True)
class Boundary:
    """The boundary along one axis.

    Attributes:
        axis: values of d or n, shape `(A,)`.
        norms: |phi| at each value and strength, shape `(A, S)`.
        errors: test errors, shape `(A, S, seeds)`.
        forget: forget errors, same shape.
    """

    axis: np.ndarray
    norms: np.ndarray
    errors: np.ndarray
    forget: np.ndarray

    def thresholds(self, seeds: np.ndarray) -> np.ndarray:
        """Return |phi*|, where the mean test error over `seeds` falls below 0.1, shape `(A,)`; NaN off the grid."""
        means = self.errors[:, :, seeds].mean(axis=2)
        return np.array([crossing(norm, mean) for norm, mean in zip(self.norms, means, strict=True)])

    def exponent(self, config: ClaimConfig) -> Estimate:
        """Return the slope of log |phi*| on the log of the axis, with a bootstrap interval over seeds."""
        fit = lambda seeds: slope(np.log(self.axis), np.log(self.thresholds(seeds)))  # noqa: E731
        return bootstrap(fit, self.errors.shape[2], np.random.default_rng(config.first_seed), repeats=400)

    def row(self, **labels) -> dict:
        """Return a table row: |phi*| at each value of the axis, in units of strength too, and forget error there."""
        found = self.thresholds(np.arange(self.errors.shape[2]))
        near = [self._forget_near(i, norm) for i, norm in enumerate(found)]
        unit = self.norms[:, 0] / STRENGTHS[0]
        row = labels | {"axis": self.axis.tolist(), "boundary": _plain(found), "forget_error_there": _plain(near)}
        return row | {"boundary_strength": _plain(found / unit)}

    def _forget_near(self, i: int, norm: float) -> float:
        if not np.isfinite(norm):
            return float("nan")
        return float(self.forget[i, np.argmin(np.abs(np.log(self.norms[i] / norm)))].mean())


def base_config(config: ClaimConfig, **changes) -> TheoryConfig:
    """Return the common setting: alpha = 0.7, 100 + 100 epochs, measured at the ends only."""
    common = TheoryConfig(alpha=0.7, epochs=100, checkpoint_every=SPARSE, seeds=config.seeds,
                          first_seed=config.first_seed, directions=256)  # fmt: skip
    return common.changed(**changes)


def along(
    base: TheoryConfig, cells: Sequence[dict], axis: Sequence[dict], *, clock: Callable = fixed_clock
) -> list[Boundary]:
    """Return one boundary per cell along an axis of settings.

    Args:
        base: the common setting.
        cells: changes to it; `{"epochs": 0}` is the pretrained network itself.
        axis: at least three points, such as `{"d": 1000}`; the first setting of each is what varies.
        clock: how learning rate and epochs follow d.
    """
    rows = [[base.changed(signal_strength=s, **point) for s in STRENGTHS] for point in axis]
    flat = [clock(row.changed(**cell)) for line in rows for row in line for cell in cells]
    runs = iter(simulate_many(flat, description="boundary", oracle=False))
    grid: list[list[list[Trajectory]]] = [[[next(runs) for _ in cells] for _ in STRENGTHS] for _ in axis]
    norms = np.array([[row.signal_norm for row in line] for line in rows])
    values = np.array([next(iter(point.values())) for point in axis])
    pick = partial(_collect, grid)
    return [Boundary(values, norms, pick(c, "test_error"), pick(c, "forget_error")) for c in range(len(cells))]


def _collect(grid: list[list[list[Trajectory]]], cell: int, name: str) -> np.ndarray:
    return np.array([[runs[cell].final(name) for runs in line] for line in grid])


def _plain(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
