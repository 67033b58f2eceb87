"""Lemma 3.4: how much retain signal SAM and SGD learn in the same epochs, as a ratio and as a difference, by |phi|."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from theory.bounds import signal_surplus
from theory.claims.claim import Claim, Finding, Grid, Runs, judge, spread
from theory.config import ClaimConfig, TheoryConfig
from theory.stats import Estimate, bootstrap, slope

NORMS = tuple(0.25 * 2.0**k for k in range(7))  # |phi|
EPOCHS = (10, 100)
TOLERANCE = 0.25  # an exponent counts as the claimed one within this distance
STARTS = {"initialization": ("sgd", 0), "SGD-pretrained": ("sgd", 100), "SAM-pretrained": ("sam", 100)}
RULES = ("sgd", "sam")


@dataclass(frozen=True)
class Growth:
    """Growth of kappa on the retain set in some epochs from one start, shape `(norms, seeds)` each."""

    sgd: np.ndarray
    sam: np.ndarray

    def combine(self, how: str, seeds: np.ndarray) -> np.ndarray:
        """Return "ratio", "difference", "sgd" or "sam" at every norm, from means over `seeds`, shape `(norms,)`."""
        sgd, sam = self.sgd[:, seeds].mean(axis=1), self.sam[:, seeds].mean(axis=1)
        return {"ratio": sam / sgd, "difference": sam - sgd, "sgd": sgd, "sam": sam}[how]

    def exponent(self, how: str, first_seed: int) -> Estimate:
        """Return the slope of its log on log |phi|, with a bootstrap interval; non-positive values are left out."""

        def fit(seeds: np.ndarray) -> float:
            values = self.combine(how, seeds)
            return slope(np.log(NORMS), np.log(np.where(values > 0.0, values, np.nan)))

        return bootstrap(fit, self.sgd.shape[1], np.random.default_rng(first_seed))

    def row(self, how: str) -> dict:
        """Return the quantity at every norm, and the exponents of each rule's own growth."""
        seeds = np.arange(self.sgd.shape[1])
        values = [float(f"{value:.4g}") for value in self.combine(how, seeds)]
        exponents = {f"exponent_{rule}": slope(np.log(NORMS), np.log(self.combine(rule, seeds))) for rule in RULES}
        return {"norms": list(NORMS), how: values} | exponents


def grid() -> Grid:
    """Return NegGrad (alpha = 0.9) with SGD and full-radius SAM, named (start, rule, |phi|)."""
    base = TheoryConfig(epochs=max(EPOCHS), checkpoint_every=10, rho_scale=1.0, directions=64)
    return {(start, rule, norm): base.changed(signal_strength=norm / base.signal_unit, pretrain=pretrain,
                                              pretrain_epochs=epochs, unlearn=rule)
            for start, (pretrain, epochs) in STARTS.items() for rule in RULES for norm in NORMS}  # fmt: skip


def growth(runs: Runs, start: str, epoch: int) -> Growth:
    """Return how much kappa grew on R between the start and an epoch."""

    def grown(rule: str) -> np.ndarray:
        found = [runs[start, rule, norm] for norm in NORMS]
        kappa = [run.metrics["kappa_retain"] for run in found]
        columns = [run.epochs.tolist().index(epoch) for run in found]
        return np.array([values[:, column] - values[:, 0] for values, column in zip(kappa, columns, strict=True)])

    return Growth(grown("sgd"), grown("sam"))


def analyse(runs: Runs, config: ClaimConfig, *, how: str, headline: tuple[str, int]) -> Finding:
    """Fit the exponent of the growth `how` ("ratio" or "difference") in |phi| from 0.25 to 16, from three starts.

    Args:
        runs: the grid.
        config: seeds.
        how: which reading of the lemma.
        headline: start and epochs of the number that stands for the claim.
    """
    stated = slope(np.log(NORMS), np.log([signal_surplus(norm) for norm in NORMS]))
    parts, rows, exponents = {}, [], {}
    for start in STARTS:
        for epoch in EPOCHS:
            found = growth(runs, start, epoch)
            fitted = exponents[start, epoch] = found.exponent(how, config.first_seed)
            text = "not positive" if fitted.value is None else f"exponent {fitted.value:.2f}"
            near = fitted.value is not None and abs(fitted.value - stated) <= TOLERANCE
            parts[f"{how} ~ |phi|^2, {start}, {epoch} epochs ({text})"] = near
            rows.append({"start": start, "epochs": epoch} | found.row(how) | spread("exponent", fitted))
    return judge(parts, exponents[headline], rows)


STATEMENT = "SAM learns retain signal Theta(|phi|^2) faster than SGD"
CLAIMS = {
    "lemma-3.4-surplus-ratio": Claim(
        "Lemma 3.4: signal surplus as a ratio",
        STATEMENT,
        "exponent of |phi| in the ratio of kappa growth SAM / SGD, SAM-pretrained, 100 epochs (claimed: 2)",
        grid, partial(analyse, how="ratio", headline=("SAM-pretrained", 100)), oracle=False,
    ),
    "lemma-3.4-surplus-difference": Claim(
        "Lemma 3.4: signal surplus as a difference",
        STATEMENT,
        "exponent of |phi| in the difference of kappa growth SAM - SGD, from initialization, 10 epochs (claimed: 2)",
        grid, partial(analyse, how="difference", headline=("initialization", 10)), oracle=False,
    ),
}  # fmt: skip
