"""Names of data sets, models, rules, methods and metrics, loaded on first use; a user's package adds its own."""

import importlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from repro.fields import choose

METHODS = {
    "retrain": "empirical.methods.finetune:Retrain",
    "neggrad": "empirical.methods.neggrad:NegGrad",
    "random_label": "empirical.methods.random_label:RandomLabel",
}
RULES = {
    "sgd": "empirical.rule_builders:build_plain",
    "sam": "empirical.rule_builders:build_sam",
    "asam": "empirical.rule_builders:build_asam",
    "minmax": "empirical.rule_builders:build_minmax",
}
METRICS = {
    "accuracy": "empirical.metrics.accuracy:accuracies",
    "tow": "empirical.metrics.accuracy:tug_of_war",
}
DATASETS = {
    "digits": "empirical.data:load_digits",
    "signal-noise": "empirical.signal_noise:load_signal_noise",
}
MODELS = {
    "resnet8": "empirical.models:resnet8",
    "resnet8-narrow": "empirical.models:resnet8_narrow",
}
BUILT_IN = {"methods": METHODS, "rules": RULES, "metrics": METRICS, "datasets": DATASETS, "models": MODELS}


@cache
def plugins(kind: str) -> dict[str, EntryPoint]:
    """Return the entry points that installed packages declare in the group `repro.<kind>`."""
    return {point.name: point for point in entry_points(group=f"repro.{kind}")}


def names(kind: str) -> list[str]:
    """Return every known name of a kind: the built-in ones, then those of installed packages."""
    return [*BUILT_IN[kind], *(name for name in plugins(kind) if name not in BUILT_IN[kind])]


def load(kind: str, name: str) -> Callable[..., Any]:
    """Import and return what `name` stands for.

    Raises:
        ConfigError: when no such name is known, with the nearest one.
    """
    choose(kind.removesuffix("s"), name, names(kind))
    if name not in BUILT_IN[kind]:
        return plugins(kind)[name].load()
    module, attribute = BUILT_IN[kind][name].split(":")
    return getattr(importlib.import_module(module), attribute)
