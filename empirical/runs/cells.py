"""What makes a run impossible, asked before any work."""

from empirical.runs.method import build_method
from empirical.settings.rule_labels import parse_rule
from empirical.settings.run_config import GRADED, RunConfig
from empirical.training.rules import RuleContext, build_rule
from repro.records.settings import reject


def check_cell(config: RunConfig) -> None:
    """Raise `ConfigError` when a rule needs loss parts that a method cannot tell apart, or scores are out of reach."""
    method = build_method(config)
    if config.method == "retrain" and parse_rule(config.rule).name in ("masked", "minmax", "retain-sam"):
        raise reject("rule", config.rule, "a rule of one loss (sgd, sam-..., asam-...)", "retraining has no forget set")
    wanted = build_rule(config.rule, RuleContext(list, config.fidelity)).parts
    if not set(wanted) <= set(method.parts):
        allowed = "a rule of one loss (sgd, sam-..., asam-..., masked-...)"
        raise reject("rule", config.rule, allowed, f"{config.method} has no separate retain and forget loss")
    if config.dataset == "imagenet" and config.difficulty in GRADED and not config.scores:
        remedy = "`repro empirical import-scores FILE --dataset imagenet` prints one; estimating would train "
        raise reject("scores", "", "the id of imported scores on imagenet", f"{remedy}{config.subsets} models")
