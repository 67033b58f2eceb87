"""The smallest retain weight alpha each rule tolerates, and how the gap between rules moves with d/n (Lemma 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theory.claims.boundary import SPARSE, fixed_clock, scaled_clock
from theory.claims.finding import ClaimConfig
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, bootstrap, slope

ALPHAS = np.round(np.arange(0.05, 1.001, 0.05), 2)
RATIOS = (12.5, 50.0, 200.0, 800.0)  # d / n at n = 40
RULES = {"sgd": {"unlearn": "sgd"}, "sam": {"unlearn": "sam", "rho_scale": 1.0}}
BENIGN = 0.1  # test error up to which overfitting counts as benign
# (signal strength, pretraining rule): those where both rules overfit benignly for some alpha at every d / n
SETTINGS = ((2.0, "sgd"), (1.0, "sam"), (2.0, "sam"))
CLOCKS: dict[str, Callable[[TheoryConfig], TheoryConfig]] = {"fixed eta": fixed_clock, "eta ~ 1/d": scaled_clock}


@dataclass(frozen=True)
class Thresholds:
    """Errors over (d/n, alpha, seed) for each rule.

    Attributes:
        label: signal strength, pretraining rule and clock.
        test: rule to test errors, shape `(ratios, alphas, seeds)`.
        forget: rule to forget errors, same shape.
    """

    label: dict
    test: dict[str, np.ndarray]
    forget: dict[str, np.ndarray]

    def alpha(self, rule: str, seeds: np.ndarray) -> np.ndarray:
        """Return the smallest alpha from which on the mean test error is at most 0.1, shape `(ratios,)`; NaN if none."""
        good = self.test[rule][:, :, seeds].mean(axis=2) <= BENIGN
        lasting = np.logical_and.accumulate(good[:, ::-1], axis=1)[:, ::-1]
        return np.where(lasting.any(axis=1), ALPHAS[lasting.argmax(axis=1)], np.nan)

    def gap(self, seeds: np.ndarray) -> np.ndarray:
        """Return the threshold of SGD minus that of SAM, shape `(ratios,)`."""
        return self.alpha("sgd", seeds) - self.alpha("sam", seeds)

    def mean_gap(self, config: ClaimConfig) -> Estimate:
        """Return the gap averaged over d/n, with a bootstrap interval over seeds."""
        fit = lambda seeds: float(np.nanmean(self.gap(seeds)))  # noqa: E731
        return bootstrap(fit, config.seeds, np.random.default_rng(config.first_seed), repeats=400)

    def gap_exponent(self, config: ClaimConfig) -> Estimate:
        """Return the slope of log gap on log d/n, with a bootstrap interval over seeds."""

        def fit(seeds: np.ndarray) -> float:
            gap = self.gap(seeds)
            return slope(np.log(RATIOS), np.log(np.where(gap > 0.0, gap, np.nan)))

        return bootstrap(fit, config.seeds, np.random.default_rng(config.first_seed), repeats=400)

    def rows(self) -> list[dict]:
        """Return one row a d/n: both thresholds, the gap, and the forget error each rule has at its threshold."""
        seeds = np.arange(self.test["sgd"].shape[2])
        thresholds = {rule: self.alpha(rule, seeds) for rule in RULES}
        rows = []
        for i, ratio in enumerate(RATIOS):
            row = self.label | {"d_over_n": ratio, "gap": float(thresholds["sgd"][i] - thresholds["sam"][i])}
            for rule, found in thresholds.items():
                row[f"alpha_{rule}"] = float(found[i])
                row[f"at_grid_floor_{rule}"] = bool(found[i] == ALPHAS[0])
                place = np.argmin(np.abs(ALPHAS - found[i])) if np.isfinite(found[i]) else None
                forget = float("nan") if place is None else float(self.forget[rule][i, place].mean())
                row[f"forget_error_{rule}"] = forget
            rows.append(row)
        return rows


def measure_thresholds(config: ClaimConfig) -> list[Thresholds]:
    """Run NegGrad for 100 epochs over the grid of alpha and d/n, under both clocks."""
    return [_thresholds(config, strength, pretrain, clock) for strength, pretrain in SETTINGS for clock in CLOCKS]


def _thresholds(config: ClaimConfig, strength: float, pretrain: str, clock: str) -> Thresholds:
    base = TheoryConfig(signal_strength=strength, pretrain=pretrain, epochs=100, checkpoint_every=SPARSE, directions=256,
                        seeds=config.seeds, first_seed=config.first_seed)  # fmt: skip
    cells = [CLOCKS[clock](base.changed(d=round(ratio * base.n), alpha=float(alpha), **change))
             for change in RULES.values() for ratio in RATIOS for alpha in ALPHAS]  # fmt: skip
    runs = simulate_many(cells, description="alpha thresholds")
    shape = (len(RULES), len(RATIOS), len(ALPHAS), config.seeds)
    errors = {name: np.array([run.final(name) for run in runs]).reshape(shape) for name in ("test_error", "forget_error")}
    label = {"signal_strength": strength, "pretrain": pretrain, "clock": clock}
    return Thresholds(label, *(dict(zip(RULES, errors[name], strict=True)) for name in ("test_error", "forget_error")))
