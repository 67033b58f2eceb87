"""Lemma 3.4, read as a ratio: SAM's retain signal grows Theta(|phi|^2) times as fast as SGD's."""

from theory.claims.finding import Claim, ClaimConfig, Finding
from theory.claims.surplus import check_surplus


def check(config: ClaimConfig) -> Finding:
    """Fit the exponent of the growth ratio SAM / SGD in |phi|."""
    return check_surplus(config, "ratio", ("SAM-pretrained", 100))


CLAIM = Claim(
    "Lemma 3.4: signal surplus as a ratio",
    "SAM learns retain signal Theta(|phi|^2) faster than SGD",
    "exponent of |phi| in the ratio of kappa growth SAM / SGD, SAM-pretrained, 100 epochs (claimed: 2)",
    check,
)
