"""Sharp MinMax: SAM on the retain part of the network, sharpness maximization on its forget part."""

from theory import matching
from theory.claims.finding import Claim, ClaimConfig, Finding, judge
from theory.config import TheoryConfig

RULES = ("SGD", "SAM 0.1", "MinMax 0.1", "MinMax 0.1, fixed mask", "sharpness maximization 0.1")
STRENGTHS = (0.5, 1.0, 2.0)
FRACTIONS = (0.25, 0.75)


def check(config: ClaimConfig) -> Finding:
    """Compare Sharp MinMax with SGD and SAM over strengths, pretrainings and mask sizes (alpha = 0.9)."""
    base = TheoryConfig(seeds=config.seeds, first_seed=config.first_seed)
    rows, parts = [], {}
    for pretrain in ("sam", "sgd"):
        for strength in STRENGTHS:
            rows += matching.compare(base.changed(pretrain=pretrain, signal_strength=strength), RULES)
    main = {(row["pretrain"], row["signal_strength"], row["rule"], row["matched"]): row for row in rows}
    for pretrain in ("sam", "sgd"):
        row = main[pretrain, 0.5, "MinMax 0.1", "forgetting"]
        parts[f"lower test error than SGD at matched forgetting, pretrained {pretrain}, s = 0.5"] = matching.lower(row)
        for matched in ("epochs", "forgetting"):
            harmful = matching.minus_sgd(main[pretrain, 0.5, "sharpness maximization 0.1", matched]).above(0.0)
            parts[f"sharpness maximization alone harms test error, matched {matched}, pretrained {pretrain}"] = harmful
    fixed = main["sam", 0.5, "MinMax 0.1, fixed mask", "forgetting"]
    parts["a mask fixed at the start forgets (90 % of seeds), pretrained sam"] = fixed["reached"] >= 0.9
    for fraction in FRACTIONS:
        cell = base.changed(pretrain="sam", mask_fraction=fraction)
        compared = [row | {"mask_fraction": fraction} for row in matching.compare(cell, ("SGD", "MinMax 0.1"))]
        rows += compared
        parts[f"lower test error than SGD with a mask of {fraction:.0%}, pretrained sam"] = matching.lower(compared[-1])
    return judge(parts, matching.minus_sgd(main["sam", 0.5, "MinMax 0.1", "forgetting"]), rows)


CLAIM = Claim(
    "Sharp MinMax",
    "the forget part needs a stronger signal than SGD to avoid harmful overfitting; overfitting to F helps "
    "sample-level unlearning",
    "test error of Sharp MinMax (0.1 rho_th, mask of half the neurons, refreshed every 5 epochs) minus SGD at forget "
    "error 0.5, SAM-pretrained, s = 0.5",
    check,
)
