"""Lemma 3.4, read as a difference: SAM learns Theta(|phi|^2) more retain signal than SGD."""

from theory.claims.finding import Claim, ClaimConfig, Finding, judge
from theory.claims.surplus import EPOCHS, exponent_text, measure_surplus, near_square, rows_of


def check(config: ClaimConfig) -> Finding:
    """Fit the exponent of the growth difference SAM - SGD in |phi| from 0.25 to 16, from three starts."""
    found = measure_surplus(config.seeds, config.first_seed)
    exponents = {(s.start, epoch): s.exponent("difference", epoch, config) for s in found for epoch in EPOCHS}
    parts = {
        f"difference ~ |phi|^2, {start}, {epoch} epochs ({exponent_text(value.value)})": near_square(value.value)
        for (start, epoch), value in exponents.items()
    }
    return judge(parts, exponents["initialization", 10], rows_of(found, "difference", exponents))


CLAIM = Claim(
    "Lemma 3.4: signal surplus as a difference",
    "SAM learns retain signal Theta(|phi|^2) faster than SGD",
    "exponent of |phi| in the difference of kappa growth SAM - SGD, from initialization, 10 epochs (claimed: 2)",
    check,
)
