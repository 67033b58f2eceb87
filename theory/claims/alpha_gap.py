"""Lemma 3.4, rate: the alpha thresholds of SGD and SAM differ by O(sqrt(d/n))."""

from theory.bounds import ALPHA_GAP_IN_RATIO
from theory.claims.alpha import measure_thresholds
from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread

TOLERANCE = 0.1


def check(config: ClaimConfig) -> Finding:
    """Fit the exponent of the gap in d/n from 12.5 to 800."""
    rows = []
    parts = {"as an upper bound, but vacuously: a gap is at most 1, which is below sqrt(d/n)": True}
    exponents = []
    for found in measure_thresholds(config.seeds, config.first_seed):
        exponent = found.gap_exponent(config)
        exponents.append(exponent)
        rows += [row | spread("exponent", exponent) for row in found.rows()]
        text = "no fit" if exponent.value is None else f"exponent {exponent.value:.2f}"
        near = exponent.value is not None and abs(exponent.value - ALPHA_GAP_IN_RATIO) <= TOLERANCE
        parts[f"as a rate sqrt(d/n), {found.setting} ({text})"] = near
    return judge(parts, exponents[0], rows)


CLAIM = Claim(
    "Lemma 3.4: gap of alpha thresholds",
    "the alpha thresholds of SGD and SAM differ by O(sqrt(d/n)) in the benign regime",
    "exponent of d/n in the gap, s = 2, SGD-pretrained, fixed eta (as a rate: 0.5)",
    check,
)
