"""How much retain signal SAM and SGD learn in the same epochs, as a function of |phi| (Lemma 3.4)."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from theory.bounds import SURPLUS_IN_NORM
from theory.claims.finding import ClaimConfig, Finding, judge
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import Estimate, bootstrap, slope

NORMS = tuple(0.25 * 2.0**k for k in range(7))  # |phi|
EPOCHS = (10, 100)
TOLERANCE = 0.25  # an exponent counts as the claimed one within this distance
STARTS = {"initialization": ("sgd", 0), "SGD-pretrained": ("sgd", 100), "SAM-pretrained": ("sam", 100)}


@dataclass(frozen=True)
class Surplus:
    """Growth of kappa on the retain set from one start, shape `(norms, epochs, seeds)` each."""

    start: str
    sgd: np.ndarray
    sam: np.ndarray

    def combine(self, how: str, epoch: int, seeds: np.ndarray) -> np.ndarray:
        """Return "ratio", "difference", "sgd" or "sam" at every norm, from means over `seeds`, shape `(norms,)`."""
        sgd, sam = (growth[:, EPOCHS.index(epoch)][:, seeds].mean(axis=1) for growth in (self.sgd, self.sam))
        return {"ratio": sam / sgd, "difference": sam - sgd, "sgd": sgd, "sam": sam}[how]

    def exponent(self, how: str, epoch: int, config: ClaimConfig) -> Estimate:
        """Return the slope of its log on log |phi|, with a bootstrap interval; non-positive values are left out."""

        def fit(seeds: np.ndarray) -> float:
            values = self.combine(how, epoch, seeds)
            return slope(np.log(NORMS), np.log(np.where(values > 0.0, values, np.nan)))

        return bootstrap(fit, config.seeds, np.random.default_rng(config.first_seed))


@cache
def measure_surplus(seeds: int, first_seed: int) -> list[Surplus]:
    """Run NegGrad (alpha = 0.9) with SGD and full-radius SAM from each start; two claims read the result."""
    base = TheoryConfig(epochs=max(EPOCHS), checkpoint_every=10, rho_scale=1.0, directions=64, seeds=seeds,
                        first_seed=first_seed)  # fmt: skip
    found = []
    for start, (pretrain, epochs) in STARTS.items():
        growth = {}
        for unlearn in ("sgd", "sam"):
            cells = [base.changed(signal_strength=norm / base.signal_unit, pretrain=pretrain, pretrain_epochs=epochs,
                                  unlearn=unlearn) for norm in NORMS]  # fmt: skip
            growth[unlearn] = np.array(
                [_growth(run) for run in simulate_many(cells, description="surplus", oracle=False)]
            )
        found.append(Surplus(start, growth["sgd"], growth["sam"]))
    return found


def near_square(exponent: float | None) -> bool:
    """Return whether a fitted exponent is the claimed 2, within the tolerance."""
    return exponent is not None and abs(exponent - SURPLUS_IN_NORM) <= TOLERANCE


def exponent_text(exponent: float | None) -> str:
    """Return a fitted exponent in words."""
    return "not positive" if exponent is None else f"exponent {exponent:.2f}"


def _growth(run) -> np.ndarray:
    columns = [run.epochs.tolist().index(epoch) for epoch in EPOCHS]
    kappa = run.metrics["kappa_retain"]
    return (kappa[:, columns] - kappa[:, :1]).T


def rows_of(found: list[Surplus], how: str, exponents: dict[tuple[str, int], Estimate]) -> list[dict]:
    """Return one row a start and epoch: the quantity at every norm, its exponent, and those of each growth."""
    rows = []
    for surplus in found:
        seeds = np.arange(surplus.sgd.shape[2])
        for epoch in EPOCHS:
            values = [float(f"{value:.4g}") for value in surplus.combine(how, epoch, seeds)]
            fitted = exponents[surplus.start, epoch]
            row = {"start": surplus.start, "epochs": epoch, "norms": list(NORMS), how: values,
                   "exponent": fitted.value, "exponent_low": fitted.low, "exponent_high": fitted.high}  # fmt: skip
            for rule in ("sgd", "sam"):
                row[f"exponent_{rule}"] = slope(np.log(NORMS), np.log(surplus.combine(rule, epoch, seeds)))
            rows.append(row)
    return rows


def check_surplus(config: ClaimConfig, how: str, headline: tuple[str, int]) -> Finding:
    """Fit the exponent of the growth `how` ("ratio" or "difference") in |phi| from 0.25 to 16, from three starts.

    Args:
        config: seeds.
        how: which reading of the lemma.
        headline: start and epochs of the number that stands for the claim.
    """
    found = measure_surplus(config.seeds, config.first_seed)
    exponents = {(s.start, epoch): s.exponent(how, epoch, config) for s in found for epoch in EPOCHS}
    parts = {
        f"{how} ~ |phi|^2, {start}, {epoch} epochs ({exponent_text(value.value)})": near_square(value.value)
        for (start, epoch), value in exponents.items()
    }
    return judge(parts, exponents[headline], rows_of(found, how, exponents))
