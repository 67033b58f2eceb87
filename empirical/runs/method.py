"""From a run's config to its method: options, the shared alpha, and the discrepancy switches that concern methods."""

from dataclasses import fields
from typing import Any

from empirical.registry import load
from empirical.settings.rule_labels import parse_options
from empirical.settings.run_config import RunConfig
from empirical.training.loop import Method
from repro.records.settings import build


def build_method(config: RunConfig) -> Method:
    """Return the method of a run.

    Raises:
        ConfigError: for an option the method does not have, with the nearest name.
    """
    method: Any = load("methods", config.method)
    options = parse_options(config.method_options, "method_options")
    return build(method, _from_run(config, method) | options, where="method_options")


def _from_run(config: RunConfig, method: Any) -> dict[str, Any]:
    """Return the fields a method takes from the run itself."""
    fidelity = config.fidelity
    known = {
        "alpha": config.alpha,
        "epochs": config.epochs,
        "cached": fidelity.forget_cycle == "cached",
        "relabel": fidelity.relabel_all or config.dataset not in ("tiny-imagenet", "tinyimagenet100"),
        "one_more": fidelity.scrub_max_epochs == "plus-one",
    }
    return {field.name: known[field.name] for field in fields(method) if field.name in known}
