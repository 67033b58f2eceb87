"""Lemma 3.4, read as a difference: SAM learns Theta(|phi|^2) more retain signal than SGD."""

from theory.claims.finding import Claim, ClaimConfig, Finding
from theory.claims.surplus import check_surplus


def check(config: ClaimConfig) -> Finding:
    """Fit the exponent of the growth difference SAM - SGD in |phi|."""
    return check_surplus(config, "difference", ("initialization", 10))


CLAIM = Claim(
    "Lemma 3.4: signal surplus as a difference",
    "SAM learns retain signal Theta(|phi|^2) faster than SGD",
    "exponent of |phi| in the difference of kappa growth SAM - SGD, from initialization, 10 epochs (claimed: 2)",
    check,
)
