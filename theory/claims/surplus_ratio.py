"""Lemma 3.4, read as a ratio: SAM's retain signal grows Theta(|phi|^2) times as fast as SGD's."""

from theory.claims.finding import Claim, ClaimConfig, Finding, judge
from theory.claims.surplus import EPOCHS, exponent_text, measure_surplus, near_square, rows_of


def check(config: ClaimConfig) -> Finding:
    """Fit the exponent of the growth ratio SAM / SGD in |phi| from 0.25 to 16, from three starts."""
    found = measure_surplus(config.seeds, config.first_seed)
    exponents = {(s.start, epoch): s.exponent("ratio", epoch, config) for s in found for epoch in EPOCHS}
    parts = {
        f"ratio ~ |phi|^2, {start}, {epoch} epochs ({exponent_text(value.value)})": near_square(value.value)
        for (start, epoch), value in exponents.items()
    }
    return judge(parts, exponents["SAM-pretrained", 100], rows_of(found, "ratio", exponents))


CLAIM = Claim(
    "Lemma 3.4: signal surplus as a ratio",
    "SAM learns retain signal Theta(|phi|^2) faster than SGD",
    "exponent of |phi| in the ratio of kappa growth SAM / SGD, SAM-pretrained, 100 epochs (claimed: 2)",
    check,
)
