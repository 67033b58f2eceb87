"""Lemma 3.4: the smallest retain weight alpha each rule tolerates, and how the gap between rules moves with d and n.

alpha is at most 1, so a gap in alpha is always below sqrt(d / n). A gap in odds, alpha / (1 - alpha), is not bounded in
this way; odds are the ratio of the weights of the two losses. Thresholds are found by bisection to 0.005.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from theory.claims.bounds import HARMFUL_TEST_ERROR, alpha_gap
from theory.claims.claim import ClaimResult, Grid, Part, Runs, TheoryClaim, judge, over_seeds, shown, spread
from theory.claims.comparison import compare, compared_settings, minus_sgd
from theory.config import ClaimConfig, TheoryConfig, fixed_clock, scaled_clock
from theory.stats import slope

COARSE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CLOSE = 0.005  # in alpha: where bisection ends
RULES = {"sgd": {"unlearn": "sgd"}, "sam": {"unlearn": "sam", "rho_scale": 1.0}}
CLOCKS = {"eta ~ 1/d": scaled_clock, "eta fixed": fixed_clock}
D_AXIS, N_AXIS = (500, 2000, 8000, 32000), (10, 20, 40, 80)  # d at n = 40, and n at d = 8000
MIDDLE = {"d": 8000, "n": 40}
# Signal strength, pretraining rule: both rules overfit benignly for some alpha. The first is the typical one.
SETTINGS = ((2.0, "sgd"), (1.0, "sam"), (2.0, "sam"))
MATCHED = tuple(TheoryConfig(alpha=alpha, pretrain="sam") for alpha in (0.5, 0.9))  # small alphas, matched forgetting
TOLERANCE = 0.1  # how far an exponent may lie beyond the bound's
BASE = TheoryConfig(epochs=100, checkpoint_every=1000, directions=256)  # measured at the ends only


class AlphaLine(NamedTuple):
    """A setting along an axis: signal strength, pretraining rule, clock, and "d" or "n"."""

    strength: float
    pretrain: str
    clock: str
    along: str

    @property
    def values(self) -> tuple[int, ...]:
        """Return the values of the axis."""
        return D_AXIS if self.along == "d" else N_AXIS

    def setting(self, value: int, rule: str, alpha: float) -> TheoryConfig:
        """Return NegGrad by a rule at a place of the axis."""
        size = MIDDLE | {self.along: value}
        setting = BASE.changed(signal_strength=self.strength, pretrain=self.pretrain, alpha=alpha, **size,
                               n_forget=size["n"] // 5, **RULES[rule])  # fmt: skip
        return CLOCKS[self.clock](setting)

    def name(self) -> str:
        """Return the line in words."""
        return f"along {self.along}, s = {self.strength:g}, pretrained {self.pretrain}, {self.clock}"


LINES = [*(AlphaLine(*setting, "eta ~ 1/d", along) for setting in SETTINGS for along in ("d", "n")),
         *(AlphaLine(*setting, "eta fixed", "d") for setting in SETTINGS[:2])]  # fmt: skip


def threshold(alphas: np.ndarray, errors: np.ndarray) -> float:
    """Return the smallest alpha above which the error stays at most 0.1, interpolated between finite errors.

    Args:
        alphas: increasing, from 0 to 1, shape `(A,)`.
        errors: mean test errors there; NaN if a seed diverged, which counts as harmful; the threshold is then the
            middle.

    Returns:
        0.0 if every alpha is benign, NaN if even alpha = 1 is harmful.
    """
    harmful = np.flatnonzero(~(errors <= HARMFUL_TEST_ERROR))
    if not len(harmful):
        return 0.0
    i = int(harmful[-1])
    if i == len(alphas) - 1:
        return float("nan")
    share = (errors[i] - HARMFUL_TEST_ERROR) / (errors[i] - errors[i + 1]) if np.isfinite(errors[i]) else 0.5
    return float(alphas[i] + share * (alphas[i + 1] - alphas[i]))


def next_alpha(alphas: np.ndarray, errors: np.ndarray) -> float | None:
    """Return the middle of the interval around the threshold; None if it is narrow enough or there is no threshold."""
    found = threshold(alphas, errors)
    if not 0.0 < found < 1.0:
        return None
    i = int(np.searchsorted(alphas, found))
    low, high = alphas[i - 1], alphas[i]
    return None if high - low <= CLOSE else float(round((low + high) / 2, 6))


def grid(runs: Runs) -> Grid:
    """Return NegGrad for 100 epochs at the alphas that thresholds need next, and small alphas at matched forgetting.

    Named (line, value, rule, alpha): coarse alphas first, then the middle of each interval that holds a threshold.
    """
    settings: Grid = {}
    for line in LINES:
        for value, rule in product(line.values, RULES):
            if (line, value, rule, COARSE[0]) in runs:
                middle = next_alpha(*_mean_errors(runs, line, value, rule))
                alphas = () if middle is None else (middle,)
            else:
                alphas = COARSE
            settings |= {(line, value, rule, alpha): line.setting(value, rule, alpha) for alpha in alphas}
    for setting in MATCHED:
        settings |= compared_settings(setting, ("SGD", "SAM 0.1"))
    return settings


def simulated(runs: Runs, line: AlphaLine, value: int, rule: str) -> dict[float, np.ndarray]:
    """Return alpha to test and forget errors there, shape `(2, seeds)`, for the alphas simulated, increasing."""
    there = {name[3]: run for name, run in runs.items() if name[:3] == (line, value, rule)}
    return {alpha: np.array([there[alpha].final("test_error"), there[alpha].final("forget_error")])
            for alpha in sorted(there)}  # fmt: skip


def _mean_errors(runs: Runs, line: AlphaLine, value: int, rule: str) -> tuple[np.ndarray, np.ndarray]:
    found = simulated(runs, line, value, rule)
    return np.array(list(found)), np.array([errors[0].mean() for errors in found.values()])


@dataclass(frozen=True)
class Thresholds:
    """The errors of one line over (place, alpha, seed) for each rule.

    Attributes:
        line: the setting.
        found: (value, rule) to alpha to test and forget errors, shape `(2, seeds)`.
    """

    line: AlphaLine
    found: Mapping[tuple[int, str], dict[float, np.ndarray]]

    def alpha(self, rule: str, seeds: np.ndarray) -> np.ndarray:
        """Return the threshold at every value of the axis from the mean over some seeds, shape `(values,)`."""
        found = [self.found[value, rule] for value in self.line.values]
        return np.array([threshold(np.array(list(one)), np.array([e[0, seeds].mean() for e in one.values()]))
                         for one in found])  # fmt: skip

    def alpha_gap(self, seeds: np.ndarray) -> np.ndarray:
        """Return the threshold of SGD minus that of SAM, shape `(values,)`."""
        return self.alpha("sgd", seeds) - self.alpha("sam", seeds)

    def mean_gap(self, seeds: np.ndarray) -> float:
        """Return the gap averaged over the values at which both rules have a threshold; NaN without any."""
        gap = self.alpha_gap(seeds)
        return float(np.mean(gap[np.isfinite(gap)])) if np.isfinite(gap).any() else float("nan")

    def odds_gap(self, seeds: np.ndarray) -> np.ndarray:
        """Return the same in odds, `alpha / (1 - alpha)`."""
        sgd, sam = (self.alpha(rule, seeds) for rule in ("sgd", "sam"))
        return sgd / (1 - sgd) - sam / (1 - sam)

    def exponent(self, seeds: np.ndarray) -> float:
        """Return the slope of the log of the odds gap on the log of d or n, over positive gaps."""
        gap = self.odds_gap(seeds)
        return slope(np.log(self.line.values), np.log(np.where(gap > 0, gap, np.nan)))

    def rows(self) -> list[dict]:
        """Return one row for each place: both thresholds, the gap in alpha and in odds, and the forget error at
        each."""
        seeds = np.arange(next(iter(self.found[self.line.values[0], "sgd"].values())).shape[1])
        thresholds = {rule: self.alpha(rule, seeds) for rule in RULES}
        rows = []
        for i, value in enumerate(self.line.values):
            row = self.line._asdict() | MIDDLE | {self.line.along: value, "gap": self.alpha_gap(seeds)[i]}
            row["odds_gap"] = self.odds_gap(seeds)[i]
            for rule, found in thresholds.items():
                errors = self.found[value, rule]
                distance = {alpha: abs(alpha - found[i]) for alpha in errors}
                near = min(distance, key=distance.__getitem__) if np.isfinite(found[i]) else None
                row |= {f"alpha_{rule}": found[i], f"every_alpha_{rule}": bool(found[i] == 0.0)}
                row[f"forget_error_{rule}"] = float("nan") if near is None else float(errors[near][1].mean())
            rows.append({name: float(v) if isinstance(v, np.floating) else v for name, v in row.items()})
        return rows


def measured_thresholds(runs: Runs) -> list[Thresholds]:
    """Return the errors of every line."""
    return [Thresholds(line, {(value, rule): simulated(runs, line, value, rule)
                              for value, rule in product(line.values, RULES)}) for line in LINES]  # fmt: skip


def tolerance(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Compare the smallest benign alpha after 100 epochs, and small alphas at matched forgetting."""
    parts, rows = {}, []
    for found in measured_thresholds(runs):
        gap = over_seeds(found.mean_gap, config)
        parts[f"matched epochs, {found.line.name()}"] = Part(gap, low=0.0, why="off the grid")
        rows += [row | spread("mean_gap", gap) for row in found.rows()]
    for setting in MATCHED:
        rows += compare(runs, setting, ("SGD", "SAM 0.1"))
        part = f"matched forgetting (test error of SAM 0.1 minus SGD), s = 0.5, pretrained sam, alpha = {setting.alpha}"
        difference = minus_sgd(runs, setting, "SAM 0.1", "forgetting")
        parts[part] = Part(difference, high=0.0, why="too few forget", inside=False)
    typical, *_, small, _ = parts
    middle = next(row for row in rows if row["along"] == "d" and row["d"] == MIDDLE["d"])
    sentence = (
        f"After 100 epochs of NegGrad full-radius SAM overfits benignly from alpha = {middle['alpha_sam']:.2f} on and "
        f"SGD from {middle['alpha_sgd']:.2f} (s = 2, SGD-pretrained, d / n = 200), having forgotten "
        f"{middle['forget_error_sam']:.2f} and {middle['forget_error_sgd']:.2f} of F there; at equal forgetting and "
        f"alpha = .5 the test error of SAM at a tenth of rho_th minus that of SGD is {shown(parts[small].estimate)}."
    )
    return judge(parts, typical, config, rows=rows, sentence=sentence)


def rate(runs: Runs, config: ClaimConfig) -> ClaimResult:
    """Return the supremum of odds gap / sqrt(d / n) over the grid, which `O()` bounds, and whether it still grows."""
    parts, rows, suprema = {}, [], {}
    for found in measured_thresholds(runs):
        line = found.line
        sizes = [MIDDLE | {line.along: value} for value in line.values]
        scale = np.array([alpha_gap(size["d"] / size["n"]) for size in sizes])
        constants = lambda seeds, found=found, scale=scale: found.odds_gap(seeds) / scale  # noqa: E731
        sup = over_seeds(lambda seeds, ratio=constants: float(np.nanmax(ratio(seeds))), config)
        grows = over_seeds(lambda seeds, ratio=constants: float(ratio(seeds)[-1] - ratio(seeds)[0]), config)
        parts[f"constant no larger at the end, {line.name()}"] = Part(grows, high=0.0, why="off the grid",
                                                                      inside=line.along == "d")  # fmt: skip
        suprema[line.along] = max(suprema.get(line.along, 0.0), sup.value or 0.0)
        every, exponent = np.arange(config.seeds), spread("exponent", over_seeds(found.exponent, config))
        rows += [row | spread("sup", sup) | spread("grows", grows) | {"constant": float(constant)}
                 | exponent
                 for row, constant in zip(found.rows(), constants(every), strict=True)]  # fmt: skip
    sentence = (
        f"In odds alpha / (1 - alpha) the gap between the thresholds of SGD and SAM is at most "
        f"{max(suprema.values()):.2f} sqrt(d / n) over the whole grid: {suprema['d']:.2f} over the lines along d, and "
        f"{suprema['n']:.2f} over those along n. "
        "In alpha itself, at most 1, any gap is below the bound."
    )
    return judge(parts, next(iter(parts)), config, rows=rows, sentence=sentence)


CLAIMS = {
    "lemma-3.4-alpha-tolerance": TheoryClaim(
        "Lemma 3.4: SAM tolerates a smaller alpha",
        "SAM tolerates a smaller alpha than SGD",
        "Both rules run for equally many epochs, and some alpha is benign.",
        "smallest benign alpha of SGD minus that of SAM, mean over d = 500 to 32000, matched epochs, s = 2, "
        "SGD-pretrained, eta ~ 1/d",
        "Matching what was forgotten instead of the epochs: SAM's smaller alphas are those at which it forgets little.",
        grid, tolerance,
    ),
    "lemma-3.4-alpha-gap": TheoryClaim(
        "Lemma 3.4: gap of alpha thresholds",
        "the alpha thresholds of SGD and SAM differ by O(sqrt(d/n)) in the benign regime",
        "Both rules overfit benignly for some alpha, and d / n grows at fixed n.",
        "gap of odds alpha / (1 - alpha) over sqrt(d / n), at the largest d minus at the smallest, n = 40, s = 2, "
        "SGD-pretrained, eta ~ 1/d (claimed: at most 0)",
        "The axis: with d the gap in odds grows more slowly than the bound allows; with n, where d / n falls, it does "
        "not fall, so that the constant of the bound grows as sqrt(n).",
        grid, rate,
    ),
}  # fmt: skip
