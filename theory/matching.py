"""Two ways to compare unlearning rules: after the same epochs, and at the same forget error."""

from collections.abc import Sequence

import numpy as np

from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, mean_interval
from theory.trajectory import Trajectory

FORGET_LEVEL = 0.5  # a forget error no retrained model exceeds here; see the oracle gap beside it
PATIENCE = 1000  # epochs after which a rule counts as not forgetting
# Rule, radius in units of rho_th.
RULES = {
    "SGD": {"unlearn": "sgd"},
    "SAM 0.1": {"unlearn": "sam", "rho_scale": 0.1},
    "SAM 1": {"unlearn": "sam", "rho_scale": 1.0},
    "sharpness maximization 0.1": {"unlearn": "sharpen", "rho_scale": 0.1},
    "retain-only SAM 0.1": {"unlearn": "retain_sam", "rho_scale": 0.1},
    "MinMax 0.1": {"unlearn": "minmax", "rho_scale": 0.1},
    "MinMax 0.1, fixed mask": {"unlearn": "minmax", "rho_scale": 0.1, "mask_refresh": 0},
}


def until_forgotten(base: TheoryConfig, **changes) -> TheoryConfig:
    """Return a cell that stops at the first checkpoint whose forget error reaches the level."""
    return base.changed(epochs=PATIENCE, stop_forget_error=FORGET_LEVEL, **changes)


def reached(run: Trajectory) -> np.ndarray:
    """Return which seeds reached the forget level, shape `(seeds,)`."""
    return run.stopped_at >= 0


def at_forget_level(run: Trajectory, name: str) -> np.ndarray:
    """Return a metric where each seed reached the forget level, NaN where it did not, shape `(seeds,)`."""
    return np.where(reached(run), run.final(name), np.nan)


def difference(run: Trajectory, other: Trajectory, name: str = "test_error", *, matched: bool) -> Estimate:
    """Return the paired difference `run - other` of a final metric, over the seeds both have."""
    pick = at_forget_level if matched else Trajectory.final
    return mean_interval(pick(run, name) - pick(other, name))


def _compare_row(run: Trajectory, reference: Trajectory, *, matched: bool) -> dict:
    """Return test and forget error of a cell side by side, the gap to its retrained model and to a reference rule."""
    pick = at_forget_level if matched else Trajectory.final
    test, forget = mean_interval(pick(run, "test_error")), mean_interval(pick(run, "forget_error"))
    gap = np.abs(pick(run, "forget_error") - run.retrained["forget_error"])
    paired = difference(run, reference, matched=matched)
    row = {"matched": "forgetting" if matched else "epochs"}
    row |= {"test_error": test.value, "test_error_low": test.low, "test_error_high": test.high}
    row |= {"forget_error": forget.value, "oracle_gap": mean_interval(gap).value}
    row |= {"minus_sgd": paired.value, "minus_sgd_low": paired.low, "minus_sgd_high": paired.high}
    if matched:
        row |= {"reached": float(reached(run).mean()), "epochs": mean_interval(at_epoch(run)).value}
    return row


def at_epoch(run: Trajectory) -> np.ndarray:
    """Return the epoch at which each seed reached the forget level, NaN where it did not, shape `(seeds,)`."""
    return np.where(reached(run), run.stopped_at.astype(float), np.nan)


def compare(cell: TheoryConfig, rules: Sequence[str]) -> list[dict]:
    """Return two rows a rule, at matched epochs and at matched forgetting, each with its difference to SGD."""
    changes = [RULES[rule] for rule in rules]
    together = [cell.changed(**change) for change in changes]
    together += [until_forgotten(cell, **change) for change in changes]
    runs = simulate_many(together, description="epochs against forgetting")
    rows = []
    for start, matched in ((0, False), (len(rules), True)):
        for i, rule in enumerate(rules):
            labels = {name: getattr(cell, name) for name in ("pretrain", "signal_strength", "alpha", "method")}
            row = _compare_row(runs[start + i], runs[start], matched=matched)
            rows.append(labels | {"rule": rule} | row)
    return rows


def lower(row: dict) -> bool:
    """Return whether the interval of the paired difference to SGD lies below zero."""
    return row["minus_sgd_high"] is not None and row["minus_sgd_high"] < 0.0


def minus_sgd(row: dict) -> Estimate:
    """Return the paired difference to SGD of a row."""
    return Estimate(row["minus_sgd"], row["minus_sgd_low"], row["minus_sgd_high"])
