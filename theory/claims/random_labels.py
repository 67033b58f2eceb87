"""The same analysis with forget labels flipped instead of the loss ascended."""

from theory import matching
from theory.claims.finding import Claim, ClaimConfig, Finding, judge
from theory.config import TheoryConfig
from theory.engine import simulate_many
from theory.stats import mean_interval

RULES = ("SGD", "SAM 0.1", "SAM 1")
LATE = 1000


def check(config: ClaimConfig) -> Finding:
    """Compare the rules under random labels (alpha = 0.7), and the growth of the forget loss with that of NegGrad."""
    base = TheoryConfig(alpha=0.7, epochs=100, method="random_label", seeds=config.seeds, first_seed=config.first_seed)
    rows, parts = [], {}
    for pretrain in ("sam", "sgd"):
        for strength in (0.5, 1.0):
            rows += matching.compare(base.changed(pretrain=pretrain, signal_strength=strength), RULES)
    main = {(row["pretrain"], row["signal_strength"], row["rule"], row["matched"]): row for row in rows}
    for pretrain in ("sam", "sgd"):
        for matched in ("epochs", "forgetting"):
            better = matching.lower(main[pretrain, 0.5, "SAM 0.1", matched])
            parts[f"SAM 0.1 has lower test error than SGD, matched {matched}, pretrained {pretrain}"] = better
    late = {method: simulate_many([base.changed(method=method, epochs=LATE)], description="random labels")[0]
            for method in ("random_label", "neggrad")}  # fmt: skip
    losses = {method: mean_interval(run.final("forget_loss")) for method, run in late.items()}
    for method, loss in losses.items():
        rows.append({"pretrain": "sgd", "rule": "SGD", "method": method, "epochs": LATE, "forget_loss": loss.value,
                     "test_error": mean_interval(late[method].final("test_error")).value,
                     "forget_error": mean_interval(late[method].final("forget_error")).value})  # fmt: skip
    limited = losses["random_label"].below(losses["neggrad"].value or 0.0)
    parts["the forget loss limits itself, unlike that of NegGrad"] = limited
    return judge(parts, matching.minus_sgd(main["sam", 0.5, "SAM 0.1", "forgetting"]), rows)


CLAIM = Claim(
    "Random labels",
    "the same analysis with forget labels flipped",
    "test error of SAM (0.1 rho_th) minus SGD at forget error 0.5 under random labels, SAM-pretrained, s = 0.5",
    check,
)
