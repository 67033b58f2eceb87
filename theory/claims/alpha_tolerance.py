"""Lemma 3.4, consequence: SAM tolerates a smaller retain weight alpha than SGD."""

from theory import matching
from theory.claims.alpha import measure_thresholds
from theory.claims.finding import Claim, ClaimConfig, Finding, judge, spread
from theory.config import TheoryConfig


def check(config: ClaimConfig) -> Finding:
    """Compare the smallest benign alpha after 100 epochs; beside it, small alphas at matched forgetting."""
    rows, parts, gaps = [], {}, []
    for found in measure_thresholds(config.seeds, config.first_seed):
        gap = found.mean_gap(config)
        gaps.append(gap)
        rows += [row | spread("mean_gap", gap) for row in found.rows()]
        parts[f"matched epochs, {found.setting}"] = gap.above(0.0)
    for alpha in (0.5, 0.9):
        cell = TheoryConfig(alpha=alpha, pretrain="sam", seeds=config.seeds, first_seed=config.first_seed)
        compared = matching.compare(cell, ("SGD", "SAM 0.1"))
        rows += compared
        parts[f"matched forgetting, SAM 0.1, s = 0.5, pretrained sam, alpha = {alpha}"] = matching.lower(compared[-1])
    return judge(parts, gaps[0], rows)


CLAIM = Claim(
    "Lemma 3.4: SAM tolerates a smaller alpha",
    "SAM tolerates a smaller alpha than SGD",
    "smallest benign alpha of SGD minus that of SAM, mean over d/n, matched epochs, s = 2, SGD-pretrained, fixed eta",
    check,
)
