"""The smallest retain weight alpha each rule tolerates, and how the gap between rules moves with d/n (Lemma 3.4)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from theory.bounds import HARMFUL_TEST_ERROR
from theory.claims.boundary import SPARSE
from theory.claims.finding import ClaimConfig
from theory.clocks import fixed_clock, scaled_clock
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, bootstrap, slope

ALPHAS = np.concatenate([[0.005, 0.01, 0.02], np.round(np.arange(0.05, 1.001, 0.05), 2)])
RATIOS = (12.5, 50.0, 200.0, 800.0)  # d / n at n = 40
RULES = {"sgd": {"unlearn": "sgd"}, "sam": {"unlearn": "sam", "rho_scale": 1.0}}
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
        """Return the smallest alpha from which on the mean test error is at most 0.1, else NaN, shape `(ratios,)`."""
        good = self.test[rule][:, :, seeds].mean(axis=2) <= HARMFUL_TEST_ERROR
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

    @property
    def setting(self) -> str:
        """Return the setting in words."""
        return f"s = {self.label['signal_strength']:g}, pretrained {self.label['pretrain']}, {self.label['clock']}"

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


@cache
def measure_thresholds(seeds: int, first_seed: int) -> list[Thresholds]:
    """Run NegGrad for 100 epochs over the grid of alpha and d/n, under both clocks; two claims read the result."""
    base = TheoryConfig(epochs=100, checkpoint_every=SPARSE, directions=256, seeds=seeds, first_seed=first_seed)
    return [_thresholds(base.changed(signal_strength=strength, pretrain=pretrain), clock)
            for strength, pretrain in SETTINGS for clock in CLOCKS]  # fmt: skip


def _thresholds(base: TheoryConfig, clock: str) -> Thresholds:
    cells = [CLOCKS[clock](base.changed(d=round(ratio * base.n), alpha=float(alpha), **change))
             for change in RULES.values() for ratio in RATIOS for alpha in ALPHAS]  # fmt: skip
    runs = simulate_many(cells, description="alpha thresholds", oracle=False)
    shape = (len(RULES), len(RATIOS), len(ALPHAS), base.seeds)
    label = {"signal_strength": base.signal_strength, "pretrain": base.pretrain, "clock": clock}
    names = "test_error", "forget_error"
    test, forget = (np.array([run.final(name) for run in runs]).reshape(shape) for name in names)
    return Thresholds(label, dict(zip(RULES, test, strict=True)), dict(zip(RULES, forget, strict=True)))
