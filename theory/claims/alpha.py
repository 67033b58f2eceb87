"""Lemma 3.4: the smallest retain weight alpha each rule tolerates, and how the gap between rules moves with d/n."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from theory.bounds import HARMFUL_TEST_ERROR, alpha_gap
from theory.claims.claim import Claim, Finding, Grid, Runs, judge, spread
from theory.claims.comparison import compare, compared_cells, minus_sgd
from theory.config import ClaimConfig, TheoryConfig, fixed_clock, scaled_clock
from theory.stats import Estimate, bootstrap, slope

ALPHAS = np.concatenate([[0.005, 0.01, 0.02], np.round(np.arange(0.05, 1.001, 0.05), 2)])
RATIOS = (12.5, 50.0, 200.0, 800.0)  # d / n at n = 40
RULES = {"sgd": {"unlearn": "sgd"}, "sam": {"unlearn": "sam", "rho_scale": 1.0}}
CLOCKS = {"fixed eta": fixed_clock, "eta ~ 1/d": scaled_clock}
# (signal strength, pretraining rule): those where both rules overfit benignly for some alpha at every d / n
SETTINGS = [(*setting, clock) for setting in ((2.0, "sgd"), (1.0, "sam"), (2.0, "sam")) for clock in CLOCKS]
MATCHED = tuple(TheoryConfig(alpha=alpha, pretrain="sam") for alpha in (0.5, 0.9))  # small alphas, matched forgetting
TOLERANCE = 0.1  # an exponent counts as 1/2 within this distance


@dataclass(frozen=True)
class Thresholds:
    """Errors of one setting over (d/n, alpha, seed) for each rule.

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

    def estimate(self, statistic: Callable[[np.ndarray], float], config: ClaimConfig) -> Estimate:
        """Return a statistic of the gaps, shape `(ratios,)`, with a bootstrap interval over seeds."""
        of_seeds = lambda seeds: statistic(self.gap(seeds))  # noqa: E731
        return bootstrap(of_seeds, config.seeds, np.random.default_rng(config.first_seed), repeats=400)

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
                there = self.forget[rule][i, found[i] == ALPHAS]  # no row where there is no threshold
                row |= {f"alpha_{rule}": float(found[i]), f"at_grid_floor_{rule}": bool(found[i] == ALPHAS[0])}
                row[f"forget_error_{rule}"] = float(there.mean()) if there.size else float("nan")
            rows.append(row)
        return rows


def grid() -> Grid:
    """Return NegGrad for 100 epochs over alpha and d/n under both clocks, and small alphas at matched forgetting."""
    base = TheoryConfig(epochs=100, checkpoint_every=1000, directions=256)  # measured at the ends only
    cells: Grid = {}
    for (strength, pretrain, clock), rule, ratio, alpha in product(SETTINGS, RULES, RATIOS, ALPHAS):
        cell = base.changed(signal_strength=strength, pretrain=pretrain, d=round(ratio * base.n), alpha=float(alpha))
        cells[strength, pretrain, clock, rule, ratio, alpha] = CLOCKS[clock](cell.changed(**RULES[rule]))
    for cell in MATCHED:
        cells |= compared_cells(cell, ("SGD", "SAM 0.1"))
    return cells


def thresholds(runs: Runs) -> list[Thresholds]:
    """Return the errors of every setting."""
    found = []
    for setting in SETTINGS:
        errors = [{rule: np.array([[runs[*setting, rule, ratio, alpha].final(name) for alpha in ALPHAS]
                                   for ratio in RATIOS]) for rule in RULES}
                  for name in ("test_error", "forget_error")]  # fmt: skip
        label = dict(zip(("signal_strength", "pretrain", "clock"), setting, strict=True))
        found.append(Thresholds(label, *errors))
    return found


def mean_gap(gap: np.ndarray) -> float:
    """Return the gap averaged over d/n."""
    return float(np.nanmean(gap))


def gap_exponent(gap: np.ndarray) -> float:
    """Return the slope of log gap on log d/n, over positive gaps."""
    return slope(np.log(RATIOS), np.log(np.where(gap > 0.0, gap, np.nan)))


def tolerance(runs: Runs, config: ClaimConfig) -> Finding:
    """Compare the smallest benign alpha after 100 epochs; beside it, small alphas at matched forgetting."""
    rows, parts, gaps = [], {}, []
    for found in thresholds(runs):
        gap = found.estimate(mean_gap, config)
        gaps.append(gap)
        rows += [row | spread("mean_gap", gap) for row in found.rows()]
        parts[f"matched epochs, {found.setting}"] = gap.above(0.0)
    for cell in MATCHED:
        rows += compare(runs, cell, ("SGD", "SAM 0.1"))
        part = f"matched forgetting, SAM 0.1, s = 0.5, pretrained sam, alpha = {cell.alpha}"
        parts[part] = minus_sgd(runs, cell, "SAM 0.1", "forgetting").below(0.0)
    return judge(parts, gaps[0], rows)


def rate(runs: Runs, config: ClaimConfig) -> Finding:
    """Compare the gap with the bound `sqrt(d/n)` itself, and its exponent in d/n from 12.5 to 800 with one half."""
    measured = thresholds(runs)
    stated = slope(np.log(RATIOS), np.log([alpha_gap(ratio) for ratio in RATIOS]))
    beyond = any(row["gap"] > alpha_gap(row["d_over_n"]) for found in measured for row in found.rows())
    parts = {"as an upper bound, but vacuously: a gap is at most 1, which is below sqrt(d/n)": not beyond}
    rows, exponents = [], []
    for found in measured:
        exponent = found.estimate(gap_exponent, config)
        exponents.append(exponent)
        rows += [row | spread("exponent", exponent) for row in found.rows()]
        text = "no fit" if exponent.value is None else f"exponent {exponent.value:.2f}"
        near = exponent.value is not None and abs(exponent.value - stated) <= TOLERANCE
        parts[f"as a rate sqrt(d/n), {found.setting} ({text})"] = near
    return judge(parts, exponents[0], rows)


CLAIMS = {
    "lemma-3.4-alpha-tolerance": Claim(
        "Lemma 3.4: SAM tolerates a smaller alpha",
        "SAM tolerates a smaller alpha than SGD",
        "smallest benign alpha of SGD minus that of SAM, mean over d/n, matched epochs, s = 2, SGD-pretrained, "
        "fixed eta",
        grid, tolerance,
    ),
    "lemma-3.4-alpha-gap": Claim(
        "Lemma 3.4: gap of alpha thresholds",
        "the alpha thresholds of SGD and SAM differ by O(sqrt(d/n)) in the benign regime",
        "exponent of d/n in the gap, s = 2, SGD-pretrained, fixed eta (as a rate: 0.5)",
        grid, rate,
    ),
}  # fmt: skip
