"""Is SAM the better unlearning rule? Test error after the same epochs, and at the same forget error, side by side."""

from theory import matching
from theory.claims.finding import Claim, ClaimConfig, Finding, judge
from theory.config import TheoryConfig

STRENGTHS = (0.25, 0.5, 1.0, 2.0)
ALPHAS = (0.5, 0.7, 0.8, 0.95)
RULES = ("SGD", "SAM 0.1", "SAM 1", "retain-only SAM 0.1")


def check(config: ClaimConfig) -> Finding:
    """Compare SGD, SAM at 0.1 and 1 rho_th and retain-only SAM from both pretrainings, over strengths and alphas."""
    base = TheoryConfig(seeds=config.seeds, first_seed=config.first_seed)
    rows, parts = [], {}
    settings = [(pretrain, s, 0.9, RULES) for pretrain in ("sam", "sgd") for s in STRENGTHS]
    settings += [("sam", 0.5, alpha, ("SGD", "SAM 0.1", "retain-only SAM 0.1")) for alpha in ALPHAS]
    for pretrain, strength, alpha, rules in settings:
        cell = base.changed(signal_strength=strength, alpha=alpha, pretrain=pretrain)
        rows += matching.compare(cell, rules)
    main = {(row["pretrain"], row["signal_strength"], row["alpha"], row["rule"], row["matched"]): row for row in rows}
    for pretrain in ("sam", "sgd"):
        for matched in ("epochs", "forgetting"):
            row = main[pretrain, 0.5, 0.9, "SAM 0.1", matched]
            parts[f"SAM 0.1 at matched {matched}, pretrained {pretrain}, s = 0.5"] = matching.lower(row)
    for alpha in ALPHAS:
        row = main["sam", 0.5, alpha, "SAM 0.1", "forgetting"]
        parts[f"SAM 0.1 at matched forgetting, pretrained sam, s = 0.5, alpha = {alpha}"] = matching.lower(row)
    row = main["sam", 0.5, 0.9, "SAM 0.1", "forgetting"]
    return judge(parts, matching.minus_sgd(row), rows)


CLAIM = Claim(
    "SAM unlearning against SGD unlearning",
    "SAM improves unlearning, as pretraining and as unlearning rule",
    "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5, same seeds, SAM-pretrained, s = 0.5, alpha = 0.9",
    check,
)
