"""One cell as it is asked for: its method, built from the run's config, and whether it can run at all."""

from dataclasses import fields
from typing import Any

from empirical.registry import dataset, forget_set, load, metric, rule
from empirical.settings.rule_labels import parse_legs, parse_options, parse_rule
from empirical.settings.run_config import RunConfig
from empirical.training.rules import RuleContext, build_rule
from empirical.training.step import Method
from repro.base.settings import build, reject

ONE_LOSS = "a rule of one loss (sgd, sam-..., asam-...)"


def build_method(config: RunConfig) -> Method:
    """Return the method of a run: its own options, the shared alpha, and the switches that concern methods.

    Raises:
        ConfigError: for an option the method does not have, with the nearest name.
    """
    method: Any = load("methods", config.method)
    if not hasattr(method, "__dataclass_fields__"):
        raise reject("method", config.method, "a dataclass with segments and loss, see empirical/methods/")
    known = {"alpha": config.alpha, "epochs": config.epochs} | config.fidelity.of_methods(config.dataset)
    shared = {field.name: known[field.name] for field in fields(method) if field.name in known}
    return build(method, shared | parse_options(config.method_options, "method_options"), where="method_options")


def _parts(config: RunConfig, label: str) -> set[str]:
    """Return the loss parts that a rule or a schedule of rules takes the gradient of."""
    legs = [leg for leg, _ in parse_legs(label, config.pretrain_epochs)]
    return {part for leg in legs for part in build_rule(leg, RuleContext(list, config.fidelity)).parts}


def check_cell(config: RunConfig) -> None:
    """Raise `ConfigError` when a rule needs loss parts that a method cannot tell apart, or scores are out of reach."""
    method = build_method(config)
    forget_set(config.difficulty)
    for name in config.metrics:
        if metric(name).shadows and (config.scores or not dataset(config.dataset).estimates):
            remedy = "its shadows are the subset models of scores estimated here, not imported"
            raise reject("metrics", name, "left out", remedy)
    for field in ("pretrain", "retrain"):
        label = getattr(config, field)
        if label not in ("pretrain", "none") and _parts(config, label) != {"all"}:
            raise reject(field, label, ONE_LOSS, "there is no forget set to train on")
    if config.method == "retrain":
        legs = parse_legs(config.rule, config.pretrain_epochs)
        if any(rule(parse_rule(label).name).forgets for label, _ in legs):
            raise reject("rule", config.rule, ONE_LOSS, "retraining has no forget set")
    if not _parts(config, config.rule) <= set(method.parts):
        allowed = "a rule of one loss (sgd, sam-..., asam-..., masked-...)"
        raise reject("rule", config.rule, allowed, f"{config.method} has no separate retain and forget loss")
    if not dataset(config.dataset).estimates and forget_set(config.difficulty).graded and not config.scores:
        remedy = f"`repro records import-scores FILE --dataset {config.dataset}` prints one; estimating would train "
        raise reject("scores", "", f"the id of imported scores on {config.dataset}", f"{remedy}{config.subsets} models")
